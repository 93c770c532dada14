"""The lattice of an E-step: both recursions at once from both ends, and what their meeting says of each row.

The forward recursion waits for the row before, the backward one for the row after: done in one loop, each fills the
other's waiting. Arrays are (K, B): states by the rows of a block.
"""

import numba as nb
import numpy as np
from numpy.typing import NDArray

from tradecore_pipeline.models.density import Floats
from tradecore_pipeline.models.kernels.intrinsics import fetch, put

RAISED_BITS = 100
"""What is carried from row to row is multiplied by two to this power where it has run down: nothing is rounded."""

_UP, _DOWN = 2.0**RAISED_BITS, 2.0**-RAISED_BITS
_LOST = 2.0**-600
"""Less than this may be what is left of a sum whose terms came to zero by underflow."""
_BETA_CAP = 1e150
_LEAST_FACTOR = 1e-30
_FUSED = {"contract"}  # a multiplication and the addition after it in one instruction; nothing is reordered
_SUMS = {"contract", "reassoc"}  # sums over rows, eight at a time

# As in recursions.py: the length of ``zeros`` is the number of states, that of ``squares`` its square, and compiled
# functions never call across files. A call in one of the two loops, to a logarithm for instance, would move what they
# carry from registers to memory.


@nb.njit(cache=True, nogil=True, error_model="numpy", fastmath=_FUSED)
def meet(  # noqa: C901, PLR0912, PLR0913, PLR0915, PLR0917 (one loop over both ends is the point; arguments by place)
    zeros: tuple[float, ...],
    squares: tuple[float, ...],
    startprob: Floats,
    transmat: Floats,
    front_begins: NDArray[np.bool_],
    front: Floats,
    mass: Floats,
    reached: Floats,
    back_begins: NDArray[np.bool_],
    back: Floats,
    following: Floats,
    ahead: Floats,
    front_soon: Floats,
    back_soon: Floats,
    front_lattice: Floats,
    back_lattice: Floats,
) -> bool:
    """The forward recursion over one block and, at the same time, the backward one over another.

    Args:
        zeros: K of them.
        squares: K * K of them.
        startprob: (K,).
        transmat: (K, K).
        front_begins: (rows + 1,), true where a sequence begins, from the forward block's first row on.
        front: likelihoods of the forward block.
        mass: (K + 1,), what is carried into the block and, afterwards, out of it: the likelihood of all rows so far and
            of being in each state at the last, and how often both were raised by ``RAISED_BITS``.
        reached: gets the same for each row of the block, up to a factor.
        back_begins: as ``front_begins``, of the backward block.
        back: likelihoods of the backward block.
        following: (K,), how likely the rows behind the block are by the state of the first of them, up to a factor;
            afterwards the same from the block's first row on.
        ahead: gets the same for each row's next one; zeros at the end of a sequence, where nothing follows.
        front_soon: flat; rows that will be read next, fetched from memory meanwhile.
        back_soon: the same.
        front_lattice: flat; what of the lattice will be read or filled next, fetched meanwhile.
        back_lattice: the same.

    Returns:
        Whether something came so near to zero that what is left may be wrong.
    """
    states = len(zeros)
    chain, now, then = squares, zeros, zeros
    for i in range(states):
        now, then = put(now, i, mass[i]), put(then, i, following[i])
        for j in range(states):
            chain = put(chain, i * states + j, transmat[i, j])
    total = now[0]
    for k in range(1, states):
        total += now[k]
    lost, raised = False, 0
    forward_rows, backward_rows = front_begins.shape[0] - 1, back_begins.shape[0] - 1
    steps = max(forward_rows, backward_rows)
    width = (front_soon.size + steps // 2) // steps  # blocks differ by a row at most
    for step in range(steps):
        # One line of memory each: enough for eight numbers a row, and most of what more there are.
        fetch(front_soon, step * width)
        fetch(back_soon, step * width)
        fetch(front_lattice, step * states)
        fetch(back_lattice, step * states)
        if step < forward_rows:
            t = np.uint64(step)
            if front_begins[t]:
                # Going on from the last sequence's likelihood, the total becomes the product of all of them.
                for k in range(states):
                    now = put(now, k, total * startprob[k] * front[k, t])
            else:
                onto = now
                for j in range(states):
                    flow = now[0] * chain[j]
                    for i in range(1, states):
                        flow += now[i] * chain[i * states + j]
                    onto = put(onto, j, flow * front[j, t])
                now = onto
            total = now[0]
            for k in range(1, states):
                total += now[k]
            if not total > _DOWN:
                lost = lost or not total > _LOST
                raised += 1
                total *= _UP
                for k in range(states):
                    now = put(now, k, now[k] * _UP)
            for k in range(states):
                reached[k, t] = now[k]
        if step < backward_rows:
            t = np.uint64(backward_rows - 1 - step)
            if back_begins[t + np.uint64(1)]:
                for k in range(states):
                    ahead[k, t] = 0.0
                    then = put(then, k, back[k, t])
            else:
                onto = then
                for i in range(states):
                    ahead[i, t] = then[i]
                    flow = then[0] * chain[i * states]
                    for j in range(1, states):
                        flow += then[j] * chain[i * states + j]
                    onto = put(onto, i, flow * back[i, t])
                then = onto
            rest = then[0]
            for k in range(1, states):
                rest += then[k]
            if not rest > _DOWN:
                lost = lost or not rest > _LOST
                for k in range(states):
                    then = put(then, k, then[k] * _UP)
    for k in range(states):
        mass[k], following[k] = now[k], then[k]
    mass[states] += raised
    return lost


@nb.njit(cache=True, nogil=True, error_model="numpy", fastmath=_FUSED)
def backward(  # noqa: C901, PLR0917 (one loop: a call or an object in it would cost more than its work)
    zeros: tuple[float, ...],
    rows: int,
    begins: NDArray[np.bool_],
    transmat: Floats,
    likelihood: Floats,
    filtered: Floats,
    onward: Floats,
    ahead: Floats,
) -> None:
    """How likely all that follows row t is by the state of row t + 1, up to a factor, into ``ahead`` (K, B).

    At the end of a sequence nothing follows: zeros. ``onward`` (K,) brings in what follows this block, and takes out
    the same for the block before. ``begins`` has one row more than the block. States that cannot be reached, as
    ``filtered`` tells, may outgrow all others and take nothing from them.
    """
    states = len(zeros)
    beta = following = zeros
    for k in range(states):
        following = put(following, k, onward[k])
    for t in range(rows - 1, -1, -1):
        if begins[t + 1]:
            for k in range(states):
                ahead[k, t] = 0.0
                beta = put(beta, k, 1.0)
        else:
            total = 0.0
            for i in range(states):
                ahead[i, t] = following[i]
                flow = 0.0
                for j in range(states):
                    flow += transmat[i, j] * following[j]
                beta = put(beta, i, flow)
                total += filtered[i, t] * flow
            if not _LEAST_FACTOR < total < 1 / _LEAST_FACTOR:
                for k in range(states):
                    # Only a state that cannot be reached meets the bound, and none grows between two of these.
                    beta = put(beta, k, min(beta[k] / total, _BETA_CAP))
        for k in range(states):
            following = put(following, k, likelihood[k, t] * beta[k])
    for k in range(states):
        onward[k] = following[k]


@nb.njit(cache=True, nogil=True, error_model="numpy", fastmath=_SUMS)
def smooth(  # noqa: C901, PLR0917 (loops over states that the compiler unrolls; arguments by place)
    zeros: tuple[float, ...],
    squares: tuple[float, ...],
    rows: int,
    transmat: Floats,
    reached: Floats,
    ahead: Floats,
    gamma: Floats,
    transitions: Floats,
    post: Floats,
) -> float:
    """A block's smoothed probabilities into ``gamma``; adds them up, and their transitions' over transmat.

    Returns:
        The number of rows that something follows, but nothing that can be told from zero: their ``gamma`` is wrong.
    """
    states = len(zeros)
    chain = crossed = squares
    here = following = flow = held = zeros
    for i in range(states):
        for j in range(states):
            chain = put(chain, i * states + j, transmat[i, j])
    lost = 0.0
    for row in range(rows):
        t = np.uint64(row)
        alone = rest = total = 0.0
        for k in range(states):
            here, following = put(here, k, reached[k, t]), put(following, k, ahead[k, t])
            alone += here[k]
            rest += following[k]
        for i in range(states):
            onto = 0.0
            for j in range(states):
                onto += chain[i * states + j] * following[j]
            flow = put(flow, i, onto)
            total += here[i] * onto
        lost += 1.0 if rest > 0.0 and not total > _LOST else 0.0
        # Where nothing follows, the filtered probability is the smoothed one already.
        followed = total > 0.0
        scale = 1.0 / (total if followed else alone)
        for i in range(states):
            share = here[i] * scale
            probability = share * flow[i] if followed else share
            gamma[i, t] = probability
            held = put(held, i, held[i] + probability)
            for j in range(states):
                crossed = put(crossed, i * states + j, crossed[i * states + j] + share * following[j])
    for i in range(states):
        post[i] += held[i]
        for j in range(states):
            transitions[i, j] += crossed[i * states + j]
    return lost
