"""Whether two fits mean the same by their states."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from tradecore_pipeline.models.density import Floats

if TYPE_CHECKING:
    from tradecore_pipeline.models.regimes import RegimeModel


def matched_states(before: Floats, after: Floats) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """For each state of ``before`` the one of ``after`` that holds the same bars (Hungarian method).

    Args:
        before: filtered probabilities (T, K) of one model.
        after: those of another one on the same bars.
    """
    from scipy.optimize import linear_sum_assignment  # noqa: PLC0415 (half a second, and only fits need it)

    shared = before.T @ after
    held = before.sum(axis=0)[:, None] + after.sum(axis=0) - shared
    overlap = shared / np.maximum(held, 1e-12)
    return np.asarray(linear_sum_assignment(overlap, maximize=True)[1], dtype=np.intp)


def agreeing_order(before: Floats, after: Floats) -> bool:
    """Whether the states match in the order in which they stand."""
    return bool((matched_states(before, after) == np.arange(before.shape[1])).all())


def relabelled_share(
    model_a: "RegimeModel", model_b: "RegimeModel", bars: pd.DataFrame, columns: pd.DataFrame | None = None
) -> float:
    """Share of ``bars`` whose most probable state by its filter is another one under the other model.

    Both filters start at the first of ``bars``; give those that both training windows hold.
    """
    first, second = (model.filter(bars, columns).index for model in (model_a, model_b))
    return float(np.mean(first != second))
