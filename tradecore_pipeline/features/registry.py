"""The features: their names, order, inputs, warm-up and meaning, and the one function that computes them all."""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import numpy as np
import numpy.typing as npt
import pandas as pd

from tradecore_pipeline.domain.errors import MissingInputError
from tradecore_pipeline.domain.time import Timeframe, day_range
from tradecore_pipeline.features import perpetuals, prices
from tradecore_pipeline.features.bars import milliseconds, moments_index
from tradecore_pipeline.features.prices import Sources
from tradecore_pipeline.features.windows import rows_since

Floats = npt.NDArray[np.float64]

OWN_NAME = re.compile("[a-z][a-z0-9_]{0,62}")
"""What a feature may be called, a user's own included."""
WILDER_WARM_UP = 45
"""Times its length: how many bars a Wilder-smoothed indicator reads back."""
WILDER_SETTLED = 30
"""Times its length: how many of those must exist; by then the start has faded below 1e-9 (24 times were measured)."""


@dataclass(frozen=True, slots=True)
class Feature:
    """One feature: a number known at each bar's ``ts_close``."""

    name: str
    inputs: tuple[str, ...]
    warm_up_bars: int
    """Bars before the row that are read."""
    needed_bars: int
    """How many bars must exist before the row, or the value is null."""
    warm_up_hours: int
    """For windows of time rather than of bars: how far back they read; else 0."""
    compute: Callable[[Sources], Floats]
    unit: str
    meaning: str

    def reach_bars(self, timeframe: Timeframe) -> int:
        """The bar lengths before a row that its value may read."""
        return max(self.warm_up_bars, -(-self.warm_up_hours * 60 // timeframe.minutes))


def _har(hours: int) -> Feature:
    return Feature(
        name=f"har_rv_{hours}h",
        inputs=("bars",),
        warm_up_bars=0,
        needed_bars=0,
        warm_up_hours=hours,
        compute=lambda sources: prices.log_mean_variance(sources.bars, sources.timeframe, hours=hours),
        unit="log of squared log return",
        meaning=f"log of the mean realized variance of the bars in the last {hours} h, and at least one bar (floored "
        f"at {prices.VARIANCE_FLOOR:g}); null where more than a third of that time has no bars",
    )


def _wilder(name: str, compute: Callable[[Sources], Floats], meaning: str) -> Feature:
    return Feature(name, ("bars",), 14 * WILDER_WARM_UP, 14 * WILDER_SETTLED, 0, compute, "0 to 100", meaning)


FEATURES: tuple[Feature, ...] = (
    Feature(
        "log_return",
        ("bars",),
        1,
        1,
        0,
        prices.log_return,
        "log return",
        "log of the close over the close of the bar before it; across a gap, over the last known close",
    ),
    Feature(
        "volatility_14",
        ("bars",),
        14,
        14,
        0,
        prices.volatility_14,
        "log return",
        "standard deviation (n - 1) of the last 14 log returns",
    ),
    Feature(
        "volume_zscore_20",
        ("bars",),
        19,
        19,
        0,
        prices.volume_zscore_20,
        "standard deviations",
        "volume less the mean of the last 20 bars' (its own included), over their standard deviation (n - 1); "
        "null where they are all equal",
    ),
    _wilder(
        "adx_14", prices.adx_14, "average directional index over 14 bars: how strong a trend is, whatever its sign"
    ),
    _wilder("rsi_14", prices.rsi_14, "relative strength index over 14 bars: above 50 where gains outweigh losses"),
    *(_har(hours) for hours in (1, 3, 6, 24, 168)),
    Feature(
        "funding_rate",
        ("funding_rates",),
        0,
        0,
        perpetuals.FUNDING_AGE_HOURS,
        perpetuals.funding_rate,
        "fraction per interval",
        "the last rate settled before ts_close; null where that was over a day ago, and for spot",
    ),
    Feature(
        "funding_rate_mean_7d",
        ("funding_rates",),
        0,
        0,
        perpetuals.MEAN_DAYS * 24,
        perpetuals.funding_rate_mean_7d,
        "fraction per interval",
        "mean of the rates settled in the seven days before ts_close; null where the first or last of those days has "
        "none, and for spot",
    ),
    Feature(
        "open_interest_change_1",
        ("open_interest",),
        1,
        0,
        perpetuals.OPEN_INTEREST_AGE_HOURS,
        perpetuals.open_interest_change_1,
        "log change",
        "log of the open contracts (in coins) standing just before ts_close over those just before ts_open; null where "
        "the last snapshot was over an hour before, and for spot",
    ),
    Feature(
        "open_interest_zscore_168",
        ("open_interest",),
        perpetuals.ZSCORE_BARS,
        perpetuals.ZSCORE_BARS - 1,
        perpetuals.OPEN_INTEREST_AGE_HOURS,
        perpetuals.open_interest_zscore_168,
        "standard deviations",
        "log of the open contracts less the mean of the last 168 bars' (its own included), over their standard "
        "deviation (n - 1); null where more than a third of them has no snapshot, and for spot",
    ),
)

FEATURE_NAMES: tuple[str, ...] = tuple(feature.name for feature in FEATURES)
"""The columns of the features table, in order."""


def warm_up_bars(timeframe: Timeframe) -> int:
    """The bar lengths before a row that must be read for all its features."""
    return max(feature.reach_bars(timeframe) for feature in FEATURES)


def compute_features(
    bars: pd.DataFrame, funding: pd.DataFrame | None, open_interest: pd.DataFrame | None, *, timeframe: Timeframe
) -> pd.DataFrame:
    """One row per bar, indexed by ``ts_open``: ``ts_close``, then every feature known at that moment.

    Give ``bars`` (and funding by ``ts_settle``, open interest by ``ts_event``) from ``warm_up_bars`` bar lengths before
    the rows that are wanted, or from the first listed bar: those rows then equal the full history's within 1e-9. A
    value is NaN where fewer bars than the feature needs exist in that time before it, and where its source has no rows.
    Settlements and snapshots are read only where stamped before ``ts_close``, so a day needs no other day's after it.
    """
    opened = milliseconds(bars.index)
    length = timeframe.minutes * 60_000
    reach = warm_up_bars(timeframe)
    before = rows_since(opened, reach * length)
    sources = Sources(bars, funding, open_interest, timeframe)
    columns: dict[str, object] = {"ts_close": moments_index(opened + length, "ts_close")}
    for feature in FEATURES:
        columns[feature.name] = np.where(before >= feature.needed_bars, feature.compute(sources), np.nan)
    return pd.DataFrame(columns, index=bars.index)


def require_warm_up(
    rows: pd.DataFrame,
    table: str,
    *,
    reach_bars: int,
    first_listed: datetime,
    start: datetime,
    timeframe: Timeframe,
    empty_days: Collection[date],
) -> None:
    """Check that every day within ``reach_bars`` bar lengths before ``start`` is there, back to ``first_listed``.

    ``empty_days`` are stored days for which the exchange published nothing. Missing bars inside a day are gaps of the
    exchange, not of ours, and are no reason to refuse.

    Raises:
        MissingInputError: days are missing; the message names them.
    """
    first = max(first_listed, start - reach_bars * timeframe.duration).date()
    last = (start - timedelta(microseconds=1)).date()
    days_ms = np.unique(milliseconds(rows.index) // 86_400_000)
    present = {date(1970, 1, 1) + timedelta(days=int(day)) for day in days_ms}
    missing = [day for day in day_range(first, last) if day not in present and day not in empty_days]
    if missing:
        raise MissingInputError(
            f"{table} of {_spans(missing)} are missing and {start:%Y-%m-%d} needs them for its warm-up of {reach_bars} "
            f"{timeframe} bars: materialize {table} for those days first"
        )


def _spans(days: list[date]) -> str:
    """Days as text, neighbours joined: ``2022-05-01..2022-05-03, 2022-05-07``."""
    spans: list[tuple[date, date]] = []
    for day in days:
        if spans and day - spans[-1][1] == timedelta(days=1):
            spans[-1] = (spans[-1][0], day)
        else:
            spans.append((day, day))
    return ", ".join(str(first) if first == last else f"{first}..{last}" for first, last in spans)
