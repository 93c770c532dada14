"""Training windows: the bars that a month's models may see, and the months they come from."""

from datetime import date, datetime, timedelta

import dagster as dg
import numpy as np
import pandas as pd

from tradecore_pipeline.defs import feature_days, features
from tradecore_pipeline.defs.partitions import same_instrument
from tradecore_pipeline.defs.resources import Adapters, missing_days
from tradecore_pipeline.domain.errors import InvalidDataError, NotEnoughHistoryError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.tables import BARS
from tradecore_pipeline.domain.time import Timeframe, day_range
from tradecore_pipeline.settings import Settings
from tradecore_pipeline.validation.walk_forward import training_window

_ONE_DAY = timedelta(days=1)
_PRICES = ("open", "high", "low", "close")


def window_dependency(settings: Settings, timeframe: Timeframe, *, more_months: int) -> dg.AssetDep:
    """The month digests that a month's training window reaches into; its own month is not among them.

    ``more_months``: how many months earlier another window ends that is read, too.
    """
    first = feature_days.window_months(settings, timeframe) + more_months
    reach = same_instrument(first_offset=-first, last_offset=-1)
    return dg.AssetDep(features.asset_key(timeframe, feature_days.FEATURE_MONTH), partition_mapping=reach)


def training_bars(adapters: Adapters, instrument: Instrument, month: date, *, timeframe: Timeframe) -> pd.DataFrame:
    """The bars of the window that ends where ``month`` begins; labels beyond its end do not exist in it.

    Raises:
        MissingInputError: days inside the window are not stored (days before the first stored one are allowed).
        NotEnoughHistoryError: the window holds fewer bars than the settings ask for.
        InvalidDataError: as in ``read_bars``.
    """
    start, end = training_window(month, bars=adapters.settings.window_bars(timeframe), timeframe=timeframe)
    stored = {d for d in adapters.lake.days(BARS, instrument, timeframe=timeframe) if start.date() <= d < month}
    absent = [d for d in day_range(min(stored), month - _ONE_DAY) if d not in stored] if stored else []
    if absent:
        raise missing_days(f"{timeframe} bars", instrument, absent, f"the models of {month:%Y-%m} need those days")
    bars = read_bars(adapters, instrument, start, end, timeframe=timeframe)
    least = adapters.settings.minimum_bars(timeframe)
    if len(bars) < least:
        raise NotEnoughHistoryError(
            f"{instrument} has {len(bars)} {timeframe} bars in the window before {month:%Y-%m} and {least} are needed: "
            f"backfill from {start:%Y-%m-%d}, or train a later month"
        )
    return bars


def read_bars(
    adapters: Adapters, instrument: Instrument, start: datetime, end: datetime, *, timeframe: Timeframe
) -> pd.DataFrame:
    """The stored bars that open in [start, end), for models: one value that is no number would reach all rows after it.

    Raises:
        InvalidDataError: a price or a variance is NaN, infinite or impossible; the message names bar and column.
    """
    bars = adapters.lake.read(BARS, instrument, start, end, timeframe=timeframe)
    for name in (*_PRICES, "realized_variance", "minutes"):
        values = bars[name].to_numpy(dtype=np.float64)
        wrong = ~np.isfinite(values) | (values < 0 if name == "realized_variance" else values <= 0)
        if wrong.any():
            raise InvalidDataError(
                f"{instrument} {timeframe}: {name} of the bar at {bars.index[wrong.argmax()]:%Y-%m-%d %H:%M} is "
                f"{values[wrong.argmax()]:g}: materialize bars of that day again"
            )
    return bars
