"""What one month of bars and features amounts to: counts, gaps and a digest."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, date, datetime

import numpy as np
import numpy.typing as npt
import pandas as pd

from tradecore_pipeline.domain.time import Timeframe, day_start
from tradecore_pipeline.features.bars import milliseconds, to_milliseconds

Integers = npt.NDArray[np.int64]


def frame_digest(frame: pd.DataFrame) -> str:
    """SHA-256 of a frame's times, column names and values; the same for the same data on every machine.

    Numbers are hashed as float64, times as milliseconds; every NaN is the same NaN.
    """
    digest = hashlib.sha256(milliseconds(frame.index).astype("<i8").tobytes())
    for name in frame.columns:
        digest.update(f"\n{name}\n".encode())
        column = frame[name]
        if isinstance(column.dtype, pd.DatetimeTZDtype):
            digest.update(pd.DatetimeIndex(column).as_unit("ms").asi8.astype("<i8").tobytes())
            continue
        values = column.to_numpy(dtype=np.float64, na_value=np.nan) + 0.0
        digest.update(np.where(np.isnan(values), np.nan, values).astype("<f8").tobytes())
    return digest.hexdigest()


def month_digest(
    bars: pd.DataFrame, features: pd.DataFrame, *, days: Sequence[date], timeframe: Timeframe
) -> dict[str, object]:
    """Counts, gaps and a digest of the bars and features that open on ``days``; a pure function of those rows.

    ``days`` are the month's days that should hold bars: leave out those before the listing and those still to come.
    """
    bars, features = _on_days(bars, days), _on_days(features, days)
    opened = milliseconds(bars.index)
    absent = np.setdiff1d(_expected(days, timeframe), opened)
    names = [name for name in features.columns if name != "ts_close"]
    return {
        "timeframe": str(timeframe),
        "days": len(days),
        "days_with_bars": int(np.unique(opened // 86_400_000).size),
        "bars": int(opened.size),
        "missing_bars": int(absent.size),
        "gaps": _gaps(absent, timeframe.minutes * 60_000),
        "first_ts_open": _text(opened[0]) if opened.size else None,
        "last_ts_open": _text(opened[-1]) if opened.size else None,
        "features": len(features),
        "nulls": {name: int(np.isnan(features[name].to_numpy(dtype=np.float64)).sum()) for name in names},
        "bars_sha256": frame_digest(bars),
        "features_sha256": frame_digest(features),
    }


def _expected(days: Sequence[date], timeframe: Timeframe) -> Integers:
    within = np.arange(timeframe.bars_per_day, dtype=np.int64) * timeframe.minutes * 60_000
    starts = np.array([to_milliseconds(day_start(day)) for day in sorted(days)], dtype=np.int64)
    return (starts[:, None] + within).ravel()


def _on_days(frame: pd.DataFrame, days: Sequence[date]) -> pd.DataFrame:
    starts = [to_milliseconds(day_start(day)) for day in days]
    day_of_row = milliseconds(frame.index) // 86_400_000 * 86_400_000
    return frame.loc[np.isin(day_of_row, np.array(starts, dtype=np.int64))]


def _gaps(absent: Integers, length: int) -> list[dict[str, object]]:
    if not absent.size:
        return []
    runs = np.split(absent, np.flatnonzero(np.diff(absent) != length) + 1)
    return [
        {"first_missing": _text(run[0]), "last_missing": _text(run[-1]), "missing_bars": int(run.size)} for run in runs
    ]


def _text(moment: np.int64) -> str:
    return datetime.fromtimestamp(int(moment) / 1000, UTC).isoformat()
