"""One bar at a time: the filter's step, compiled."""

import math

import numba as nb
import numpy as np

from tradecore_pipeline.models.density import Floats

# Numba's cache on disk looks at the calling function's file only, so the step is written out here once more; the tests
# hold it to ``filter_step``.


@nb.njit(cache=True, nogil=True, error_model="numpy")
def step(probabilities: Floats, transmat: Floats, log_likelihood: Floats, moves: bool) -> float:  # noqa: FBT001 (compiled: by place)
    """Filtered ``probabilities`` (K,) of one bar become those of the next, in place; its log density, nats.

    A NaN anywhere in ``log_likelihood`` means that nothing was observed: only the transition happens (density 0).
    Without ``moves`` (the first bar) it does not. Infinity, which no density is, is returned and changes nothing.
    """
    states = probabilities.shape[0]
    predicted = probabilities.copy()
    if moves:
        for j in range(states):
            predicted[j] = 0.0
            for i in range(states):
                predicted[j] += probabilities[i] * transmat[i, j]
    shift, known = -np.inf, True
    for k in range(states):
        known = known and not math.isnan(log_likelihood[k])
        if predicted[k] > 0.0 and log_likelihood[k] > shift:
            shift = log_likelihood[k]
    if known and shift == np.inf:
        return shift
    if not known or shift == -np.inf:
        probabilities[:] = predicted / predicted.sum()
        return shift if known else 0.0
    total = mass = 0.0
    for k in range(states):
        mass += predicted[k]
        probabilities[k] = predicted[k] * math.exp(log_likelihood[k] - shift) if predicted[k] > 0.0 else 0.0
        total += probabilities[k]
    for k in range(states):
        probabilities[k] /= total
    return shift + math.log(total / mass)
