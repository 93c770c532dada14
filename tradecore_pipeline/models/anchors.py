"""The yearly anchor: one fit per year that gives its months' states their meaning, whichever months are trained."""

from datetime import date
from typing import TYPE_CHECKING

import pandas as pd

from tradecore_pipeline.domain.errors import NotEnoughHistoryError
from tradecore_pipeline.domain.time import Timeframe, month_of

if TYPE_CHECKING:
    from tradecore_pipeline.models.regimes import RegimeModel

_RESTARTS_FACTOR = 4
"""An anchor is fitted once a year: it can afford more starts than a month."""


def anchor_window_end(month: date, first_usable: date) -> date:
    """Where the window ends that the anchor of ``month`` is fitted on: January, or the year's first usable month.

    The window is that month's own training window, so an anchor never knows more than the months it serves.

    Args:
        month: any day of the month to train.
        first_usable: the first month whose window holds the minimum history.

    Raises:
        NotEnoughHistoryError: ``month`` itself comes before that.
    """
    wanted, usable = month_of(month), month_of(first_usable)
    if wanted < usable:
        raise NotEnoughHistoryError(f"{wanted:%Y-%m} has too little history before it: train {usable:%Y-%m} or later")
    return max(wanted.replace(month=1), usable)


def fit_anchor(
    bars: pd.DataFrame,
    columns: pd.DataFrame | None = None,
    *,
    timeframe: Timeframe,
    states: int,
    restarts: int,
    emission: str,
    features: tuple[str, ...],
    carry_bars: tuple[int, ...],
    seed: int,
) -> "RegimeModel":
    """The anchor's model from its training window: ``fit_regimes`` with more starts; the arguments are its.

    Raises:
        ModelFitError: no acceptable model came out; the message says why.
    """
    from tradecore_pipeline.models.regimes import fit_regimes  # noqa: PLC0415 (numba)

    return fit_regimes(
        bars, columns, timeframe=timeframe, states=states, restarts=_RESTARTS_FACTOR * restarts, emission=emission,
        features=features, carry_bars=carry_bars, seed=seed,
    )  # fmt: skip
