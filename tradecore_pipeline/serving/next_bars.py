"""What a bar must be to come next in a stream: checked before the filter moves, so that a refusal changes nothing."""

from datetime import date, datetime, timedelta
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tradecore_pipeline.domain.errors import InvalidDataError, MissingInputError, UsageError
from tradecore_pipeline.domain.time import Timeframe, add_months, day_start

BAR_COLUMNS = ("close", "realized_variance", "minutes")
"""What every regime model reads of a bar."""

_CLOCK_SLACK = timedelta(seconds=5)
"""By how much this machine's clock may be behind the exchange's."""
_AS_STORED = "give the stored bar, or let `tradecore predict` publish it and open the filter again"


def require_next_bars(
    bars: pd.DataFrame,
    next_open: pd.Timestamp,
    *,
    which: str,
    timeframe: Timeframe,
    features: tuple[str, ...],
    month: date,
    now: datetime,
    after_gap: bool,
) -> pd.DataFrame:
    """The columns of ``bars`` that a filter reads, as float64.

    Args:
        bars: indexed by ts_open (UTC).
        next_open: where the first one opens if none is missing.
        which: instrument and timeframe, for messages.
        timeframe: the length of the bars.
        features: the columns that the model reads beside ``BAR_COLUMNS``.
        month: the month that the model is in force.
        now: bars that close later are refused.
        after_gap: whether bars may be missing before or between these.

    Raises:
        UsageError: they are no bars, not the next ones, not in order, or not closed, or ``now`` has no time zone.
        InvalidDataError: a value is no number, NaN, infinite or impossible.
        MissingInputError: a column is missing, or a bar belongs to another month.
    """
    _require_types(which, after_gap=after_gap, now=now)
    index = _index(bars, which)
    if absent := [name for name in (*BAR_COLUMNS, *features) if name not in bars.columns]:
        raise MissingInputError(f"{which}: the bars lack {', '.join(absent)}: give them as load_bars and features do")
    _require_order(index, next_open, which=which, timeframe=timeframe, after_gap=after_gap)
    _require_month(index, month, which)
    late = index[index + timeframe.duration > pd.Timestamp(now + _CLOCK_SLACK)]
    if len(late):
        raise UsageError(f"{which}: the bar at {_text(late[0])} has not closed at {_text(now)}: give closed bars only")
    columns = {name: _numbers(bars[name], name, index, which) for name in (*BAR_COLUMNS, *features)}
    rows = pd.DataFrame(columns, index=index, dtype=np.float64)
    _require_values(rows, which, timeframe)
    return rows


def kind_of(value: object) -> str:
    """What a person gave instead of something else, in a few words."""
    return f"the text {value[:40]!r}" if isinstance(value, str) else f"a {type(value).__name__}"


def _require_types(which: str, *, after_gap: object, now: object) -> None:
    if not isinstance(after_gap, bool):
        raise UsageError(f"{which}: after_gap is {kind_of(after_gap)}: give True or False")
    if not isinstance(now, datetime) or now.tzinfo is None:
        raise UsageError(f"{which}: the clock gives {kind_of(now)} without a time zone: let it give the present in UTC")


def _numbers(column: Any, name: str, index: pd.DatetimeIndex, which: str) -> NDArray[np.float64]:
    """A column as float64; NaN where there is none. Text is no number, whatever it says."""
    if not isinstance(column, pd.Series):
        raise UsageError(f"{which}: several columns are called {name}: give the bars as load_bars does")
    if column.dtype.kind in "fiu":
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    values = np.full(len(column), np.nan)
    for at, value in enumerate(column.tolist()):
        if isinstance(value, bool) or not (value is None or value is pd.NA or isinstance(value, Real | Decimal)):
            raise InvalidDataError(
                f"{which}: {name} of the bar at {_text(index[at])} is {kind_of(value)}, not a number: {_AS_STORED}"
            )
        values[at] = np.nan if value is None or value is pd.NA else float(value)
    return values


def _index(bars: object, which: str) -> pd.DatetimeIndex:
    if not isinstance(bars, pd.DataFrame):
        raise UsageError(f"{which}: the bars are {kind_of(bars)}, not a pandas DataFrame: give them as load_bars does")
    index = bars.index
    if not isinstance(index, pd.DatetimeIndex) or index.tz is None or index.hasnans:
        raise UsageError(f"{which}: the bars are not indexed by ts_open in UTC: give them as load_bars does")
    return index.tz_convert("UTC").as_unit("us").rename("ts_open")


def _require_order(
    index: pd.DatetimeIndex, next_open: pd.Timestamp, *, which: str, timeframe: Timeframe, after_gap: bool
) -> None:
    expected = next_open
    step = pd.Timedelta(timeframe.duration)
    for ts_open in index:
        if ts_open < expected:
            raise UsageError(
                f"{which}: the bar at {_text(ts_open)} is not the next one, which opens at {_text(expected)}: give "
                "each bar once and in order"
            )
        if (ts_open - expected) % step:
            raise UsageError(f"{which}: no bar opens at {_text(ts_open)}: the next one opens at {_text(expected)}")
        if ts_open > expected and not after_gap:
            raise UsageError(
                f"{which}: bars are missing between {_text(expected)} and {_text(ts_open)}: give them, or pass "
                "after_gap=True where the exchange published none"
            )
        expected = ts_open + step


def _require_month(index: pd.DatetimeIndex, month: date, which: str) -> None:
    later = index[index >= pd.Timestamp(day_start(add_months(month, 1)))]
    if len(later):
        raise MissingInputError(
            f"{which}: the bar at {_text(later[0])} is not of {month:%Y-%m}, whose model this is: run `tradecore "
            f"train` and `tradecore predict` for {later[0]:%Y-%m}, then open the filter again"
        )


def _require_values(rows: pd.DataFrame, which: str, timeframe: Timeframe) -> None:
    for name in rows.columns:
        values = rows[name].to_numpy(dtype=np.float64)
        wrong = ~np.isfinite(values)
        if name in BAR_COLUMNS:
            least = 0.0 if name == "realized_variance" else np.nextafter(0.0, 1.0)
            wrong |= values < least
        if name == "minutes":
            wrong |= values > timeframe.minutes
        if wrong.any():
            at = int(wrong.argmax())
            raise InvalidDataError(
                f"{which}: {name} of the bar at {_text(rows.index[at])} is {values[at]:g}: {_AS_STORED}"
            )


def _text(moment: Any) -> str:
    return f"{moment:%Y-%m-%d %H:%M}"
