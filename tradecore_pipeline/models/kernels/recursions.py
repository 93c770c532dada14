"""The filter of a hidden Markov chain and the likelihoods it reads, compiled and cached on disk.

Arrays are (K, B): states by the rows of a block. Log-likelihood rows are shifted by their maximum (over the states that
can be reached, where that matters), so that no bar, however extreme, underflows to a zero row.
"""

import math

import numba as nb
import numpy as np
from numpy.typing import NDArray

from tradecore_pipeline.models.density import Floats
from tradecore_pipeline.models.kernels.intrinsics import bits_of, float_of, put

BLOCK_ROWS = 16_384
"""Rows done at a time: what passes between the steps then stays in the processor's cache."""

_LEAST_FACTOR = 1e-30
"""What is carried from row to row is normalised once it sums to less."""
_TILE = 512
_LEAST_EXPONENT = -700.0
_ROUNDER = 1.5 * 2.0**52
_LOG2_E = 1.4426950408889634
_LN2_HIGH, _LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
_SERIES = tuple(1 / math.factorial(degree) for degree in range(13, -1, -1))
_FUSED = {"contract"}  # a multiplication and the addition after it in one instruction; nothing is reordered

# Numba's cache on disk looks at the calling function's file only, so compiled functions never call across files.
# The length of the tuple ``zeros`` is the number of states: the compiler then knows it, unrolls the loops over states
# and keeps tuples in registers, where arrays would go through memory on the way from one row to the next.
# Rows are sliced before the loops over them that are no recursions: an index that is a sum may be negative for all the
# compiler knows, and then it takes rows one at a time.


@nb.njit(cache=True, nogil=True, error_model="numpy")
def filter_step(predicted: Floats, log_likelihood: Floats, out: Floats) -> float:
    """Bayes' rule for one bar: ``predicted`` (K,) times exp(``log_likelihood``), normalised, into ``out``.

    Returns:
        Log density of the bar in nats given the bars before it; -inf (and ``out`` = ``predicted``) if no reachable
        state allows it.
    """
    states = predicted.shape[0]
    shift = -np.inf
    for k in range(states):
        if predicted[k] > 0.0 and log_likelihood[k] > shift:
            shift = log_likelihood[k]
    if shift == -np.inf:
        out[:] = predicted
        return -np.inf
    total = 0.0
    for k in range(states):
        out[k] = predicted[k] * math.exp(log_likelihood[k] - shift) if predicted[k] > 0.0 else 0.0
        total += out[k]
    for k in range(states):
        out[k] /= total
    return shift + math.log(total)


@nb.njit(cache=True, nogil=True, error_model="numpy", fastmath=_FUSED)
def likelihoods(
    zeros: tuple[float, ...], rows: int, logs: Floats, shifted: Floats, shift: Floats, likelihood: Floats
) -> float:
    """Log-likelihoods less their row's maximum into ``shifted``, their exponentials into ``likelihood``.

    ``shift`` gets the maxima, whose sum is returned; ``shifted`` may be ``logs``. The exponential is exact to two units
    in the last place, and zero below ``_LEAST_EXPONENT``.
    """
    states = len(zeros)
    x, top, kept = np.empty((states, _TILE)), np.empty(_TILE), np.zeros(_TILE)
    for first in range(0, rows, _TILE):
        tile = min(_TILE, rows - first)
        for k in range(states):
            row = logs[k, first : first + tile]
            for t in range(tile):
                x[k, t] = row[t]
        for t in range(tile):
            most = x[0, t]
            for k in range(1, states):
                most = max(most, x[k, t])
            top[t] = most if most > -np.inf else 0.0
            kept[t] += top[t]
        shift[first : first + tile] = top[:tile]
        for k in range(states):
            row, raised = shifted[k, first : first + tile], likelihood[k, first : first + tile]
            for t in range(tile):
                row[t] = x[k, t] - top[t]
                # e^x = 2^n e^r with a whole n: adding the rounder leaves n in the last bits.
                bounded = max(row[t], _LEAST_EXPONENT)
                power = bounded * _LOG2_E + _ROUNDER
                n = power - _ROUNDER
                r = (bounded - n * _LN2_HIGH) - n * _LN2_LOW
                series = _SERIES[0]
                for term in range(1, len(_SERIES)):
                    series = series * r + _SERIES[term]
                value = float_of(bits_of(series) + (bits_of(power) << 52))
                raised[t] = value if row[t] > _LEAST_EXPONENT else 0.0
    return kept.sum()


@nb.njit(cache=True, nogil=True, error_model="numpy", fastmath=_FUSED)
def forward(  # noqa: C901, PLR0912, PLR0913, PLR0917 (one loop: a call or an object in it would cost more than its work)
    zeros: tuple[float, ...],
    rows: int,
    begins: NDArray[np.bool_],
    startprob: Floats,
    transmat: Floats,
    shifted: Floats,
    likelihood: Floats,
    filtered: Floats,
    shift: Floats,
    totals: Floats,
    carried: Floats,
) -> None:
    """Filtered probabilities of one block into ``filtered``.

    Row t's log density is ``shift[t] + log(totals[t + 1] / totals[t])``, without the divisor where a sequence
    ``begins`` (at ``startprob``). ``carried`` (K,) and ``totals[0]``, its sum, bring the row before the block in, and
    ``carried`` takes the last one out. What is carried is normalised only when it has run down: a
    division each time would double the way from one row to the next. A row that the shift made unlikely for every
    reachable state is done with care, and ``likelihood`` and ``shift`` are corrected for it.
    """
    states = len(zeros)
    prior, logs, row = np.empty(states), np.empty(states), np.empty(states)
    mass = here = zeros
    for k in range(states):
        mass = put(mass, k, carried[k])
    for t in range(rows):
        if begins[t]:
            for k in range(states):
                here = put(here, k, startprob[k] * likelihood[k, t])
        else:
            for j in range(states):
                flow = 0.0
                for i in range(states):
                    # In this order only one multiplication waits for the row before.
                    flow += mass[i] * (transmat[i, j] * likelihood[j, t])
                here = put(here, j, flow)
        mass_before, mass, total = mass, here, 0.0
        for k in range(states):
            total += mass[k]
        scale = 1.0 / total
        for k in range(states):
            filtered[k, t] = mass[k] * scale
        if not total > _LEAST_FACTOR:
            for j in range(states):
                prior[j], logs[j] = startprob[j], shifted[j, t]
                if not begins[t]:
                    prior[j] = 0.0
                    for i in range(states):
                        prior[j] += mass_before[i] * transmat[i, j]
            log_density = filter_step(prior / prior.sum(), logs, row)
            best = -np.inf
            for k in range(states):
                best = max(best, logs[k]) if prior[k] > 0.0 else best
                filtered[k, t] = row[k]
                mass = put(mass, k, row[k])
            for k in range(states):
                # Where nothing is allowed (-inf) the bar says nothing; an unreachable state counts as the best at most.
                likelihood[k, t] = math.exp(min(logs[k] - best, 0.0)) if best > -np.inf else 1.0
            shift[t] += log_density
            if not begins[t]:
                shift[t] += math.log(totals[t])
            total = 1.0
        totals[t + 1] = total
    for k in range(states):
        carried[k] = mass[k]
