"""The user's own features that the settings name; the files are run here, and only where a run needs them."""

from collections.abc import Sequence
from pathlib import Path

from tradecore_pipeline.features.own import OwnFeatures, load_features
from tradecore_pipeline.models.inputs import FEATURES
from tradecore_pipeline.settings import Settings

_STATES = tuple(f"state_{index}" for index in range(10))
_TERMS = ("seasonal_next", *(f"relative_variance_{index}" for index in range(10)))
TAKEN = (*FEATURES, *_STATES, *_TERMS)
"""Names of what models compute themselves: an own feature of that name could not be told from it."""


def configured_features(settings: Settings) -> OwnFeatures:
    """What the files of ``feature_files`` hold; nothing, and nothing is run, where there are none.

    Raises:
        UsageError: a file is wrong, or a model is to read a feature that none of them holds; the message says which.
    """
    return examined_features(settings, ())


def examined_features(settings: Settings, more: Sequence[Path]) -> OwnFeatures:
    """The same and what the files ``more`` hold; raises as ``configured_features``."""
    named = set(settings.feature_files)
    own = load_features([*settings.feature_files, *(p for p in more if p.resolve() not in named)], taken=TAKEN)
    own.require([name for name in settings.hmm_features if name in settings.own_model_features], "hmm_features")
    own.require(settings.lstm_features, "lstm_features")
    return own
