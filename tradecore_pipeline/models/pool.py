"""The published forecast as a pool: densities weighted by how well each did on the bars before (model averaging).

Weights are proportional to exp(discounted sum of past log scores), after Raftery, Karny and Ettler (2010). They start
from scores on held-out bars of the training window and go on with the month's own; nothing ahead is read.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.signal import lfilter

from tradecore_pipeline.domain.statistics import variance_of_mean
from tradecore_pipeline.models.density import Floats, StudentMixture

BASELINE, NETWORK = "t_har", "lstm"
"""The member that the others are held against (alone it is the pool), and the one that must prove itself."""
FORGETTING = 0.998
"""What a bar's score counts for one bar later: half after 346 bars."""
FLOOR = 0.01
"""Least weight of a member that takes part, so that one that was wrong for long is heard again."""
_LEAST_LAGS_OF_ROWS = 20
"""Lags are shortened where the series would be fewer of them."""


@dataclass(frozen=True, slots=True)
class PoolStart:
    """How a pool begins a month: a pure function of the training window."""

    log_weights: Mapping[str, float]
    """By member that takes part, the baseline's being 0: discounted held-out log score less the baseline's."""
    evidence: Mapping[str, float]
    """By member beside the baseline: HAC t of the equal pool of both over the baseline alone on held-out bars."""

    @property
    def weights(self) -> dict[str, float]:
        """What the first bar's forecast gives each member."""
        row = _weights(np.array([list(self.log_weights.values())]))[0]
        return dict(zip(self.log_weights, row.tolist(), strict=True))


BASELINE_ALONE = PoolStart({BASELINE: 0.0}, {})
"""The pool where nothing else is known."""


def pool_start(held_out: Mapping[str, Floats], *, least_t: Mapping[str, float], lags: int) -> PoolStart:
    """The pool that held-out log scores (T,) by member make, in time order.

    A member without the evidence that is asked of it stays out for the month. Rows count that every member who has
    any score was scored on; too few, or none of the baseline, leave the baseline alone.

    Args:
        held_out: scores in nats; NaN where there is none.
        least_t: by member beside the baseline, the least HAC t of what its half of a pool with the baseline gained.
        lags: bars over which scores are taken to depend on each other.
    """
    scored = {name: scores for name, scores in held_out.items() if np.isfinite(scores).any()}
    if BASELINE not in scored:
        return BASELINE_ALONE
    whole = np.isfinite(np.column_stack(list(scored.values()))).all(axis=1)
    baseline = scored[BASELINE][whole]
    if len(baseline) <= lags:
        return BASELINE_ALONE
    gains = {name: scores[whole] - baseline for name, scores in scored.items() if name != BASELINE}
    evidence = {name: gain_t(np.logaddexp(gain, 0.0) - np.log(2), lags=lags) for name, gain in gains.items()}
    age = np.arange(len(baseline))[::-1]
    log_weights = {
        name: float(FORGETTING**age @ gain) for name, gain in gains.items() if evidence[name] >= least_t[name]
    }
    return PoolStart({BASELINE: 0.0} | log_weights, evidence)


def gain_t(gain: Floats, *, lags: int) -> float:
    """HAC t of a mean gain over the baseline; 0 where nothing differs."""
    error = np.sqrt(variance_of_mean(gain, lags=min(lags, len(gain) // _LEAST_LAGS_OF_ROWS)))
    return float(gain.mean() / error) if error > 0 else 0.0


def pool_weights(scores: Floats, log_weights: Sequence[float]) -> Floats:
    """Weights (T, M) of the forecast made at each bar, from the scores (T, M) of those made before it.

    Row t of ``scores`` is what the forecast made at bar t gave the bar after it: known one bar later, and first used
    there. Rows in which a member has none change nothing. More rows behind change no bit of those before.
    """
    gains = scores - scores[:, :1]
    known = np.asarray(np.isfinite(gains).all(axis=1), dtype=np.bool_)
    start = np.asarray(log_weights, dtype=np.float64)
    sums, _ = lfilter([1.0], [1.0, -FORGETTING], gains[known], axis=0, zi=FORGETTING * start[None])
    after = np.vstack((start, np.asarray(sums, dtype=np.float64)))
    so_far = np.cumsum(known) - known
    return _weights(after[so_far])


def mixed(parts: Sequence[StudentMixture], weights: Floats) -> StudentMixture:
    """The linear pool of ``parts`` with weights (T, M) by row; the first is the baseline.

    A row that a part lacks gives its weight to the others; one that the baseline lacks is the pool's NaN, too.
    """
    known = np.column_stack([np.isfinite(part.scales).all(axis=1) for part in parts])
    shares = np.where(known, weights, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):  # a row that nobody has
        shares = shares / shares.sum(axis=1, keepdims=True)
    gone = np.where(known[:, :1], 1.0, np.nan)
    filled = [_filled(part, known[:, [m]]) for m, part in enumerate(parts)]
    return StudentMixture(
        gone * np.hstack([shares[:, [m]] * part.weights for m, part in enumerate(filled)]),
        gone * np.hstack([part.locations for part in filled]),
        gone * np.hstack([part.scales for part in filled]),
        gone * np.hstack([part.dfs for part in filled]),
    )


def pooled(
    parts: Mapping[str, StudentMixture], scores: Mapping[str, Floats], *, start: PoolStart, since: int
) -> tuple[StudentMixture, pd.DataFrame]:
    """The pool of ``parts`` and its weights (T, M), each row known at its ts_close.

    Args:
        parts: densities by member; all that ``start`` names.
        scores: their log scores (T,), row t of the forecast made at bar t.
        start: the weights to begin with.
        since: the first row whose score was not fitted on: before it the weights stand still.
    """
    names = list(start.log_weights)
    table = np.column_stack([scores[name] for name in names])
    table[:since] = np.nan
    weights = pool_weights(table, list(start.log_weights.values()))
    return mixed([parts[name] for name in names], weights), pd.DataFrame(weights, columns=names)


def _weights(log_weights: Floats) -> Floats:
    shifted = np.exp(log_weights - log_weights.max(axis=1, keepdims=True))
    members = log_weights.shape[1]
    return (1 - members * FLOOR) * shifted / shifted.sum(axis=1, keepdims=True) + FLOOR


def _filled(part: StudentMixture, known: np.ndarray[tuple[int, int], np.dtype[np.bool_]]) -> StudentMixture:
    """Ones where there is nothing: the weight of zero beside them then counts, instead of NaN."""
    return StudentMixture(
        *(np.where(known, column, 1.0) for column in (part.weights, part.locations, part.scales, part.dfs))
    )
