"""What every compiled family of hidden Markov models shares, as a mix-in in front of an hmmlearn model."""

from abc import ABC, abstractmethod
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tradecore_pipeline.models.density import Floats
from tradecore_pipeline.models.kernels.sweeps import (
    EmissionDistribution,
    Workspace,
    expectation,
    forward_filter,
    log_likelihood,
    sequence_begins,
    split_lengths,
    sweep,
)

TRANSITION_FLOOR = 1e-6
"""Least probability of a transition: a window that never saw one of 1e-4 is no surprise, and this costs it no nat."""
_START_FLOOR = 1e-12
"""Less: it is asked of a sequence's first bar only, which says how likely each state was there."""


class FlooredChain:
    """Keeps EM from forbidding for ever what the window did not show, as a mix-in in front of an hmmlearn model.

    A state that the window ends in is otherwise never left, and EM does not bring back what came to zero. The M-step
    takes the likeliest chain with floors, so that EM goes on gaining.
    """

    params: str
    startprob_: Floats
    transmat_: Floats

    def _do_mstep(self, stats: dict[str, Any]) -> None:
        before = np.asarray(self.transmat_)
        super()._do_mstep(stats)  # type: ignore[misc]  # hmmlearn's, behind the mix-in
        if "s" in self.params:
            self.startprob_ = floored(self.startprob_, _START_FLOOR)
        if "t" in self.params:
            seen = self.transmat_.sum(axis=1, keepdims=True) > 0
            self.transmat_ = floored(np.where(seen, self.transmat_, before), TRANSITION_FLOOR)


def floored(probabilities: Floats, least: float) -> Floats:
    """The likeliest distributions, one per row, none of whose probabilities is under ``least``.

    ``probabilities`` are the likeliest without that: where none is under it, they come back to the bit.
    """
    result = np.array(probabilities, dtype=np.float64)
    for row in np.atleast_2d(result):
        low = row < least
        while (row[low] != least).any():
            row[low] = least
            row[~low] *= (1 - least * np.count_nonzero(low)) / row[~low].sum()
            low |= row < least
    return result


class CompiledSteps(FlooredChain, ABC):
    """Replaces hmmlearn's E-step, scores and smoother by the kernels; its M-step, priors and checks stay.

    A family says what its states emit (``_emission``); its M-step reads the sums of that.
    """

    n_components: int
    _space: Workspace | None = None
    _begins: NDArray[np.bool_] | None = None

    @abstractmethod
    def _emission(self) -> EmissionDistribution:
        """What the states emit, as they are now."""

    def _check(self) -> None:
        super()._check()  # type: ignore[misc]  # hmmlearn's, behind the mix-in

    def fit(self, X: ArrayLike, lengths: ArrayLike | None = None) -> Self:
        """EM as hmmlearn runs it, with the E-step's memory kept from one iteration to the next."""
        self._begins = sequence_begins(len(np.asarray(X)), lengths)
        try:
            return super().fit(X, lengths)  # type: ignore[misc]  # hmmlearn's, behind the mix-in
        finally:
            self._space = self._begins = None

    def filter(self, X: Floats) -> tuple[Floats, Floats]:
        """Filtered probabilities (T, K) of one sequence, row t given rows up to t, and its log densities (T,), nats."""
        self._check()
        return forward_filter(self.startprob_, self.transmat_, self._compute_log_likelihood(X))

    def occupancy(self, X: Floats, lengths: ArrayLike | None) -> Floats:
        """Share of the rows that each state holds (hindsight: smoothed)."""
        stats, _ = self._do_estep(X, lengths)
        self._space = None
        return stats["post"] / len(X)

    def _compute_log_likelihood(self, X: Floats) -> Floats:
        return log_likelihood(self._emission(), X)

    def _score(
        self, X: ArrayLike, lengths: ArrayLike | None = None, *, compute_posteriors: bool
    ) -> tuple[float, Floats]:
        self._check()
        rows = np.ascontiguousarray(X, dtype=np.float64)
        total, posteriors = 0.0, [np.empty((0, self.n_components))]
        for part in split_lengths(len(rows), lengths):
            densities = self._compute_log_likelihood(rows[part])
            if compute_posteriors:
                log_density, gamma, _ = expectation(self.startprob_, self.transmat_, densities)
                posteriors.append(gamma)
                total += log_density
            else:
                total += float(forward_filter(self.startprob_, self.transmat_, densities)[1].sum())
        return total, np.concatenate(posteriors)

    def _do_estep(self, X: Floats, lengths: ArrayLike | None) -> tuple[dict[str, Any], float]:
        rows = np.ascontiguousarray(X, dtype=np.float64)
        emission = self._emission()
        begins = sequence_begins(len(rows), lengths) if self._begins is None else self._begins
        self._space = Workspace.suiting(self._space, emission, begins)
        total, stats = sweep(emission, self.startprob_, self.transmat_, rows, space=self._space)
        return {"nobs": int(np.count_nonzero(begins)) - 1, **stats}, total
