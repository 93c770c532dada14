"""One variant in one month: fitted on the month's window, and what its forecasts were worth; spread over processes."""

import hashlib
import importlib.metadata
import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tradecore_pipeline import models
from tradecore_pipeline.domain.errors import ModelFitError
from tradecore_pipeline.features.month import frame_digest
from tradecore_pipeline.models.variants import Variant
from tradecore_pipeline.tuning.workers import workers

if TYPE_CHECKING:
    from tradecore_pipeline.models.variant_fits import Fold

COLUMNS = ("log_score", "mean", "variance", "day_variance")
"""Of a month's rows, by the bar that was forecast: nats; percent; percent squared of that bar, and of 24 h from it."""
_LIBRARIES = ("arch", "hmmlearn", "numba", "numpy", "pandas", "scikit-learn", "scipy", "torch")


@dataclass(frozen=True, slots=True)
class Job:
    """What one variant needs for one month; nothing else decides what comes of it."""

    variant: Variant
    month: date
    fold: "Fold"
    first: datetime
    """The month's first moment: rows begin with the bar that opens there."""
    tick: float
    """The market's price step in the month's window, the same for every variant."""
    earlier: int
    """How many months before the month's own window the window ends: 0, or more where no fit came of that."""

    def digest(self) -> str:
        """SHA-256 of data, configuration and the code that fits: equal digests have equal rows."""
        frames = (self.fold.window, self.fold.seen, self.fold.columns, self.fold.tuned)
        told = {
            "config": self.variant.config,
            "timeframe": str(self.fold.timeframe),
            "first": self.first.isoformat(),
            "tick": self.tick,
            "earlier": self.earlier,
            "frames": [None if frame is None else frame_digest(frame) for frame in frames],
            "machinery": machinery(),
        }
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def month_rows(job: Job) -> pd.DataFrame:
    """``COLUMNS`` for each bar of the month, as it was forecast at the close of the bar before it.

    Raises:
        ModelFitError: no acceptable model came out of the window.
    """
    from threadpoolctl import threadpool_limits  # noqa: PLC0415 (only fits need it)

    from tradecore_pipeline.models.ticks import next_log_scores  # noqa: PLC0415 (scipy)
    from tradecore_pipeline.models.variant_fits import density_of, period_variances  # noqa: PLC0415 (scipy)

    seen, timeframe = job.fold.seen, job.fold.timeframe
    # One thread: how a sum is split among several decides its last bits.
    with threadpool_limits(limits=1):
        density = density_of(job.variant, job.fold)
        found = {
            "log_score": next_log_scores(density, seen, timeframe=timeframe, tick=job.tick),
            "mean": density.mean,
            "variance": density.variance,
            "day_variance": period_variances(density, job.fold, bars=timeframe.bars_per_day),
        }
    index = pd.DatetimeIndex(seen.index[1:]).as_unit("ms")  # as it is when recalled
    rows = pd.DataFrame({name: values[:-1] for name, values in found.items()}, index=index)
    # After a gap the forecast was for a bar that does not exist: its score says so, and the rest goes with it.
    rows.loc[rows["log_score"].isna()] = np.nan
    return rows.loc[job.first :]


def run_jobs(jobs: Sequence[Job], *, processes: int) -> Iterator[tuple[Job, pd.DataFrame | ModelFitError]]:
    """Each job with its rows, or with why there is no fit, as they are done; the same whatever ``processes`` is."""
    if processes == 1 or len(jobs) < 2:
        for job in jobs:
            try:
                yield job, month_rows(job)
            except ModelFitError as error:
                yield job, error
        return
    with workers(min(processes, len(jobs))) as pool:
        waiting: dict[Future[pd.DataFrame], Job] = {pool.submit(month_rows, job): job for job in jobs}
        while waiting:
            done, _ = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                job = waiting.pop(future)
                try:
                    yield job, future.result()
                except ModelFitError as error:
                    yield job, error


def to_document(job: Job, rows: pd.DataFrame) -> dict[str, Any]:
    """What is kept of a month's rows."""
    values = {name: rows[name].to_numpy(dtype=np.float64).tolist() for name in COLUMNS}
    return {
        "digest": job.digest(),
        "config": job.variant.config,
        "earlier": job.earlier,
        "ts_open_ms": pd.DatetimeIndex(rows.index).asi8.tolist(),
        # NaN is the one number that differs from itself, and JSON has none.
        **{name: [value if value == value else None for value in column] for name, column in values.items()},  # noqa: PLR0124
    }


def from_document(document: Mapping[str, Any]) -> pd.DataFrame:
    """The rows that ``to_document`` kept."""
    index = pd.DatetimeIndex(pd.to_datetime(document["ts_open_ms"], unit="ms", utc=True), name="ts_open").as_unit("ms")
    return pd.DataFrame({name: np.array(document[name], dtype=np.float64) for name in COLUMNS}, index=index)


def document_kind(variant: Variant) -> str:
    """Where a variant's months are kept: one place per configuration, whatever its spelling."""
    digest = hashlib.sha256(json.dumps(variant.config, sort_keys=True).encode()).hexdigest()
    return f"comparison_{variant.family}_{digest[:10]}"


@cache
def machinery() -> str:
    """SHA-256 of all that turns a window into densities: our models' source, and the versions of what they use."""
    digest = hashlib.sha256(repr([(name, importlib.metadata.version(name)) for name in _LIBRARIES]).encode())
    folder = Path(models.__file__ or "").parent
    for path in sorted([*folder.rglob("*.py"), Path(__file__)]):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()
