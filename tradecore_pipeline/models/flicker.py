"""Labels that do not flicker: what is shown or traded; probabilities stay as they are."""

import numpy as np
from numpy.typing import NDArray

from tradecore_pipeline.models.density import Floats


def held_states(probabilities: Floats, threshold: float) -> NDArray[np.intp]:
    """The state held per bar: it changes only once another state's filtered probability exceeds ``threshold``.

    Row t uses rows up to t only. The first bar holds its most probable state.

    Args:
        probabilities: (T, K), rows sum to 1.
        threshold: at least one half, so that no two states exceed it at once.
    """
    if len(probabilities) == 0:
        return np.zeros(0, dtype=np.intp)
    best = probabilities.argmax(axis=1)
    decided = probabilities.max(axis=1) > threshold
    decided[0] = True
    since = np.maximum.accumulate(np.where(decided, np.arange(len(best)), 0))
    return best[since]
