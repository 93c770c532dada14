"""States whose bars are equal but for their mean return, taken where the bars do not say otherwise."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import chdtri

from tradecore_pipeline.domain.errors import ModelFitError
from tradecore_pipeline.models.density import Floats
from tradecore_pipeline.models.return_variance_hmm import ReturnVarianceHMM
from tradecore_pipeline.models.return_variance_kernels import JointParameters
from tradecore_pipeline.models.return_variance_step import AnchorPrior, equal_directions

_LEVEL = 1e-6
"""Chance of too large a gain were states equal, at chi-squared's tail; a hidden state's is heavier, hence the level. In
worlds of means the gain was 1 to 12 nats of the 21 that decide on three states, on real windows 35 to 360."""
_EVIDENT = 10.0
"""Scales that would differ by so many times the deciding nats if states were seen are believed without a fit of equal
states: that states are hidden costs half to six sevenths of those nats wherever it was measured."""


class EqualStatesHMM(ReturnVarianceHMM):
    """One scale, level and pair of tails for all states: their bars differ by ``means_`` alone.

    Where that is so, numbers of each state's own are noise that hides the means. Transitions stay each state's own: a
    window can hardly tell whether durations are equal, and to take them for it costs much where they are not.
    """

    _directions = staticmethod(equal_directions)

    def _get_n_fit_scalars_per_param(self) -> dict[str, int]:
        return super()._get_n_fit_scalars_per_param() | {"e": self.n_components + 2 + self.n_features}

    def _init(self, X: Floats, lengths: ArrayLike | None = None) -> None:
        super()._init(X, lengths)
        if "e" in self.init_params:
            self.set_emission(equalled(self.parameters), self.carry_)

    def sort_by_mean(self) -> None:
        """Renames the states, which no scale puts in order."""
        order = np.argsort(self.means_)
        self.startprob_, self.means_ = self.startprob_[order], self.means_[order]
        self.transmat_ = np.ascontiguousarray(self.transmat_[np.ix_(order, order)])


def equalled(parameters: JointParameters) -> JointParameters:
    """The parameters with the geometric mean over states of everything but the means."""
    _, *others = parameters
    return JointParameters(parameters.means, *(np.full_like(part, np.exp(np.log(part).mean())) for part in others))


def are_equal(parameters: JointParameters) -> bool:
    """Whether states differ by their means alone."""
    return all((part == part[0]).all() for part in parameters[1:])


def deciding_nats(states: int) -> float:
    """What states of their own must gain over equal ones to be believed: a likelihood ratio test at ``_LEVEL``."""
    return 0.5 * float(chdtri(4 * (states - 1), _LEVEL))


def equal_if_as_likely(
    model: ReturnVarianceHMM, equal: Callable[[], EqualStatesHMM], X: Floats, lengths: NDArray[np.int64]
) -> ReturnVarianceHMM:
    """``model``, or the fit of ``equal`` states in order of their means, unless the bars say that they are not equal.

    Both are of these rows. An equal fit that is refused changes nothing.
    """
    needed = deciding_nats(model.n_components)
    common = AnchorPrior.of(equalled(model.parameters), len(X) * model.occupancy(X, lengths))
    if -common.log_density(model.parameters) > _EVIDENT * needed:
        return model
    try:
        other = equal()
    except ModelFitError:
        return model
    if model.score(X, lengths) - other.score(X, lengths) > needed:
        return model
    other.sort_by_mean()
    return other
