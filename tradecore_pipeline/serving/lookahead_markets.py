"""What the look-ahead detector works on: a home's stored rows or a simulated market's, each known at its own moment."""

from datetime import date, timedelta

import pandas as pd

from tradecore_pipeline.domain.errors import MissingInputError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.tables import BARS, BARS_1M, FUNDING_RATES, OPEN_INTEREST
from tradecore_pipeline.domain.time import Timeframe, day_start
from tradecore_pipeline.features.bars import aggregate_bars
from tradecore_pipeline.storage.lake import Lake
from tradecore_pipeline.validation.lookahead import Source, Sources

MINUTE = timedelta(minutes=1)
NO_TIME = timedelta(0)
MINUTES_SPAN = timedelta(days=60)
"""The newest minutes, from which bars are aggregated at each cut; a year of them would say no more."""
_SIMULATED_END = date(2025, 1, 1)


def stored_sources(lake: Lake, instrument: Instrument, timeframe: Timeframe, *, span: timedelta) -> Sources:
    """The home's newest rows, ``span`` of them.

    Raises:
        MissingInputError: the home has no bars of this timeframe.
    """
    days = lake.days(BARS, instrument, timeframe=timeframe)
    if not days:
        raise MissingInputError(
            f"{instrument} has no {timeframe} bars: run `tradecore run` first, or try --simulated, which needs no data"
        )
    end = day_start(days[-1]) + timedelta(days=1)
    start = max(day_start(days[0]), end - span)
    bars = lake.read(BARS, instrument, start, end, timeframe=timeframe)
    minutes = lake.read(BARS_1M, instrument, max(start, end - MINUTES_SPAN), end)
    funding, interest = (
        lake.read(table, instrument, start, end) if instrument.is_perpetual else None
        for table in (FUNDING_RATES, OPEN_INTEREST)
    )
    return sources(bars, minutes, funding, interest, timeframe=timeframe)


def simulated_sources(instrument: Instrument, timeframe: Timeframe, *, span: timedelta, seed: int) -> Sources:
    """``span`` of a simulated market; the same for the same seed.

    Raises:
        UsageError: no such instrument is simulated; the message names those that are.
    """
    from tradecore_pipeline.simulator.market import SimulatedMarket  # noqa: PLC0415 (only where one is asked for)
    from tradecore_pipeline.simulator.parameters import demo_parameters  # noqa: PLC0415 (likewise)
    from tradecore_pipeline.simulator.rows import utc_index  # noqa: PLC0415 (likewise)

    start = _SIMULATED_END - span
    market = SimulatedMarket(demo_parameters(), seed, start=start, end=_SIMULATED_END)
    minutes = market.bars(instrument)
    bars = aggregate_bars(minutes, timeframe, start=day_start(start), end=day_start(_SIMULATED_END))
    funding = interest = None
    if instrument.is_perpetual:
        listing = market.listing(instrument)
        rates, amounts = market.funding_rates(listing), market.open_interest(listing)
        funding = pd.DataFrame({"funding_rate": rates.rate}, index=utc_index(rates.time_ms))
        interest = pd.DataFrame({"open_interest_base": amounts.base}, index=utc_index(amounts.time_ms))
    newest = minutes.loc[minutes.index >= minutes.index[-1] - MINUTES_SPAN]
    return sources(bars, newest, funding, interest, timeframe=timeframe)


def sources(
    bars: pd.DataFrame,
    minutes: pd.DataFrame,
    funding: pd.DataFrame | None,
    open_interest: pd.DataFrame | None,
    *,
    timeframe: Timeframe,
) -> Sources:
    """The rows by the name of their table, each with how long after its index it is known."""
    found = {BARS.name: Source(bars, timeframe.duration), BARS_1M.name: Source(minutes, MINUTE)}
    moments = {FUNDING_RATES.name: funding, OPEN_INTEREST.name: open_interest}
    return found | {name: Source(rows, NO_TIME) for name, rows in moments.items() if rows is not None}
