"""Missing rows on a time grid."""

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from tradecore_pipeline.domain.market_data import Gap

pc: Any = pyarrow.compute  # its functions are made at import, where no type checker sees them


def epoch_ms(keys: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """The keys (timestamps in ms) as int64 milliseconds since 1970."""
    whole = keys.chunk(0) if isinstance(keys, pa.ChunkedArray) and keys.num_chunks == 1 else keys
    return np.asarray(pc.cast(whole, pa.int64()).to_numpy(zero_copy_only=False), dtype=np.int64)


def find_gaps(keys: pa.Array | pa.ChunkedArray, *, start: datetime, end: datetime, step: timedelta) -> tuple[Gap, ...]:
    """The runs of grid points in [start, end) that no key falls on, in order.

    Keys outside the window or off the grid (start, start + step, ...) fill nothing; order and duplicates do not
    matter.
    """
    step_ms = round(step.total_seconds() * 1000)
    start_ms = round(start.timestamp() * 1000)
    count = max(0, -(-(round(end.timestamp() * 1000) - start_ms) // step_ms))
    offsets = epoch_ms(keys) - start_ms
    if np.array_equal(offsets, np.arange(0, count * step_ms, step_ms)):
        return ()
    slots = offsets[(offsets >= 0) & (offsets < count * step_ms) & (offsets % step_ms == 0)] // step_ms
    missing = np.ones(count + 2, dtype=np.int8)
    missing[[0, -1]] = 0
    missing[slots + 1] = 0
    edges = np.diff(missing)
    firsts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    return tuple(
        Gap(start + int(first) * step, start + int(after - 1) * step, int(after - first))
        for first, after in zip(firsts, ends, strict=True)
    )
