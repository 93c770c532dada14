"""The yearly anchor: one fit per year that gives its months' states their meaning, whichever months are trained."""

from typing import TYPE_CHECKING, Unpack

import pandas as pd

if TYPE_CHECKING:
    from tradecore_pipeline.models.regimes import RegimeChoices, RegimeModel

RECIPE = 2
"""Raised with every change of how regime models are fitted, so that anchors kept by another version are fitted anew."""
_RESTARTS_FACTOR = 4
"""An anchor is fitted once a year: it can afford more starts than a month."""


def fit_anchor(
    bars: pd.DataFrame, columns: pd.DataFrame | None = None, **choices: Unpack["RegimeChoices"]
) -> "RegimeModel":
    """The anchor's model from its training window: ``fit_regimes`` with more starts; the arguments are its.

    Raises:
        ModelFitError: no acceptable model came out; the message says why.
    """
    from tradecore_pipeline.models.regimes import fit_regimes  # noqa: PLC0415 (numba)

    choices["restarts"] *= _RESTARTS_FACTOR
    return fit_regimes(bars, columns, **choices)
