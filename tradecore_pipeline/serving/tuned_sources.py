"""What tuned indicators are computed from, read from the lake."""

from datetime import timedelta

import pandas as pd

from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.tables import FUNDING_RATES, OPEN_INTEREST
from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.features.perpetuals import FUNDING_AGE_HOURS
from tradecore_pipeline.features.prices import Sources
from tradecore_pipeline.storage.lake import Lake


def tuned_sources(lake: Lake, instrument: Instrument, bars: pd.DataFrame, *, timeframe: Timeframe) -> Sources:
    """``bars`` with a perpetual's funding and open interest up to the last one's close; spot has neither."""
    if not instrument.is_perpetual or bars.empty:
        return Sources(bars, None, None, timeframe)
    start = bars.index[0].to_pydatetime() - timedelta(hours=FUNDING_AGE_HOURS)
    end = bars.index[-1].to_pydatetime() + timeframe.duration
    funding = lake.read(FUNDING_RATES, instrument, start, end, columns=["funding_rate"])
    interest = lake.read(OPEN_INTEREST, instrument, start, end, columns=["open_interest_base"])
    return Sources(bars, funding, interest, timeframe)
