"""Variants on identical folds: what is fitted, what is recalled from before, and how pools come of both."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd

from tradecore_pipeline.domain.errors import MissingInputError, ModelFitError, NotEnoughHistoryError
from tradecore_pipeline.domain.tables import REGIMES
from tradecore_pipeline.domain.time import add_months, day_start
from tradecore_pipeline.models.variants import PUBLISHED, Variant
from tradecore_pipeline.serving.compare_folds import MOST_EARLIER, Asked, Folds
from tradecore_pipeline.serving.compare_months import (
    COLUMNS,
    Job,
    document_kind,
    from_document,
    run_jobs,
    to_document,
)
from tradecore_pipeline.storage.lake import Lake


@dataclass(frozen=True, slots=True)
class Evaluated:
    """Forecasts of every variant on the same bars, and what came; a column per variant, indexed by the bar's ts_open.

    A row is there only where every variant has a score; what is missing beside it is NaN.
    """

    log_scores: pd.DataFrame
    """Nats."""
    variances: pd.DataFrame
    """Percent squared, of the bar."""
    day_variances: pd.DataFrame
    """Percent squared, of the 24 h that begin with the bar."""
    realized: pd.DataFrame
    """``bar`` and ``day``: realized variances of both, percent squared."""
    notes: tuple[str, ...]
    """What a reader must know about single variants or months, a sentence each."""
    fitted: int
    """Months of variants that were fitted now; the others were recalled."""
    recalled: int


def evaluate(
    lake: Lake, variants: Sequence[Variant], asked: Asked, *, processes: int, done: Callable[[str], None]
) -> Evaluated:
    """Every variant on the bars of the asked months, each month by fits on that month's own training window.

    All variants have the same windows and are scored on the same bars. A month of a variant that was fitted before,
    with the same data, configuration and code, is recalled. Where no fit comes out, one on the window that ended a
    month earlier (or two) stands in, with a note.

    Raises:
        MissingInputError: days of bars, features, tuned indicators or published rows are missing.
        NotEnoughHistoryError: a month's window holds too few bars.
        ModelFitError: a variant found no fit on any of a month's windows.
    """
    # In the order of their configurations, not of the command: the same jobs whoever asks for them.
    wanted = {document_kind(part): part for variant in variants for part in variant.fitted}
    folds = Folds(lake, asked)
    parts = {
        kind: _published(lake, asked) if part.family == PUBLISHED else None for kind, part in sorted(wanted.items())
    }
    months = _Months(lake, folds, processes, done)
    found = months.rows({kind: wanted[kind] for kind, rows in parts.items() if rows is None})
    rows = {kind: found[kind] if own is None else own for kind, own in parts.items()}
    whole = {variant.name: _pooled([rows[document_kind(part)] for part in variant.fitted]) for variant in variants}
    return _assembled(whole, folds, months)


def fits_needed(variants: Iterable[Variant], asked: Asked) -> int:
    """How many months of variants ``evaluate`` goes through."""
    kinds = {document_kind(part) for variant in variants for part in variant.fitted if part.family != PUBLISHED}
    return len(kinds) * len(asked.months)


class _Months:
    """Recalls or fits months of variants, and keeps what was fitted."""

    def __init__(self, lake: Lake, folds: Folds, processes: int, done: Callable[[str], None]) -> None:
        self._lake = lake
        self._folds = folds
        self._processes = processes
        self._done = done
        self.fitted = 0
        self.recalled = 0
        self.notes: list[str] = []

    def rows(self, variants: Mapping[str, Variant]) -> dict[str, pd.DataFrame]:
        """All months of each of ``variants``, by the same keys."""
        found: dict[tuple[str, date], pd.DataFrame] = {}
        earlier: dict[tuple[str, date], int] = {}
        jobs: list[Job] = []
        for kind, variant in variants.items():
            for month in self._folds.asked.months:
                kept = self._recalled(variant, month)
                if kept is None:
                    job = self._folds.job(variant, month, 0)
                    jobs += [job] if job is not None else []
                else:
                    found[kind, month], earlier[kind, month] = kept
        while jobs:
            again: list[Job] = []
            for job, outcome in run_jobs(jobs, processes=self._processes):
                if isinstance(outcome, ModelFitError):
                    again.append(self._instead(job, outcome))
                    continue
                key = document_kind(job.variant), job.month
                found[key], earlier[key] = outcome, job.earlier
                self._keep(job, outcome)
            jobs = again
        for (kind, month), back in sorted(earlier.items()):
            if back:
                self.notes.append(
                    f"{variants[kind].name} found no fit on the window before {month:%Y-%m}: one that ended {back} "
                    f"month{'s' if back > 1 else ''} earlier stands in"
                )
        return {kind: pd.concat([found[kind, month] for month in self._folds.asked.months]) for kind in variants}

    def _recalled(self, variant: Variant, month: date) -> tuple[pd.DataFrame, int] | None:
        asked = self._folds.asked
        document = self._lake.get_document(document_kind(variant), asked.instrument, month, timeframe=asked.timeframe)
        if document is None or set(COLUMNS) - set(document):
            return None
        job = self._folds.job(variant, month, int(document["earlier"]))
        if job is None or job.digest() != document["digest"]:
            return None
        self.recalled += 1
        self._done(f"{month:%Y-%m}")
        return from_document(document), job.earlier

    def _keep(self, job: Job, rows: pd.DataFrame) -> None:
        asked = self._folds.asked
        self._lake.put_document(
            document_kind(job.variant), asked.instrument, job.month, timeframe=asked.timeframe,
            document=to_document(job, rows),
        )  # fmt: skip
        self.fitted += 1
        self._done(f"{job.month:%Y-%m}")

    def _instead(self, job: Job, error: ModelFitError) -> Job:
        """The same month by an earlier window."""
        next_one = self._folds.job(job.variant, job.month, job.earlier + 1) if job.earlier < MOST_EARLIER else None
        if next_one is None:
            raise ModelFitError(
                f"{job.variant.name} of {job.month:%Y-%m}: {error}: leave it out, or compare other months"
            ) from error
        return next_one


def _published(lake: Lake, asked: Asked) -> pd.DataFrame:
    """``COLUMNS`` of the published forecasts; what they say about 24 h was not published."""
    first, last = day_start(asked.months[0]), day_start(add_months(asked.months[-1], 1))
    step = asked.timeframe.duration
    rows = lake.read(REGIMES, asked.instrument, first - step, last, timeframe=asked.timeframe)
    if rows.loc[first:].empty:
        raise MissingInputError(
            f"nothing is published for {asked.instrument} at {asked.timeframe} from {first:%Y-%m} to before "
            f"{last:%Y-%m-%d}: run `tradecore predict` first, or leave {PUBLISHED} out"
        )
    rows.index = index = pd.DatetimeIndex(rows.index).as_unit("ms")
    stood = pd.Series(np.asarray(index[1:] - index[:-1] == step), index=index[1:]).reindex(index, fill_value=False)
    before = rows[["forecast_log_return", "forecast_volatility"]].astype(np.float64).shift(1).where(stood)
    found = {
        "log_score": rows["log_score"].astype(np.float64),
        "mean": 100 * before["forecast_log_return"],
        "variance": (100 * before["forecast_volatility"]) ** 2,
        "day_variance": np.nan,
    }
    return pd.DataFrame(found, index=index, columns=list(COLUMNS)).loc[first:]


def _pooled(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The equal-weight pool of ``parts``, from their rows alone: densities add up, and so do moments."""
    if len(parts) == 1:
        return parts[0]
    index = parts[0].index
    for part in parts[1:]:
        index = index.intersection(part.index)
    columns = {name: np.column_stack([part.loc[index, name] for part in parts]) for name in COLUMNS}
    mean = columns["mean"].mean(axis=1)
    found = {
        "log_score": np.logaddexp.reduce(columns["log_score"], axis=1) - np.log(len(parts)),
        "mean": mean,
        "variance": (columns["variance"] + columns["mean"] ** 2).mean(axis=1) - mean**2,
        "day_variance": columns["day_variance"].mean(axis=1),
    }
    return pd.DataFrame(found, index=index)


def _assembled(whole: Mapping[str, pd.DataFrame], folds: Folds, months: _Months) -> Evaluated:
    from tradecore_pipeline.models.variant_fits import realized_variances  # noqa: PLC0415 (scipy)

    def table(column: str) -> pd.DataFrame:
        return pd.concat({name: rows[column] for name, rows in whole.items()}, axis=1, sort=True)

    scores = table("log_score")
    index = scores.dropna().index
    if index.empty:
        raise NotEnoughHistoryError("no bar was scored by every variant: compare other months")
    notes = list(months.notes)
    if left := len(scores) - len(index):
        worst = str(scores.isna().sum().idxmax())
        notes.append(
            f"{left} of {len(scores)} bars are left out for all: not every variant scored them ({worst} least)"
        )
    timeframe = folds.asked.timeframe
    realized = pd.DataFrame(
        {
            "bar": realized_variances(folds.bars, timeframe, bars=1),
            "day": realized_variances(folds.bars, timeframe, bars=timeframe.bars_per_day),
        },
        index=folds.bars.index,
    )
    return Evaluated(
        scores.loc[index],
        table("variance").reindex(index),
        table("day_variance").reindex(index),
        realized.reindex(index),
        tuple(notes),
        fitted=months.fitted,
        recalled=months.recalled,
    )
