"""Yearly anchors of regime models: where each month's fit starts, so that states mean the same from month to month."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np

from tradecore_pipeline.defs.fits import Month
from tradecore_pipeline.domain.errors import InvalidDataError, ModelFitError, NotEnoughHistoryError
from tradecore_pipeline.domain.time import month_range
from tradecore_pipeline.features.month import frame_digest

if TYPE_CHECKING:
    import pandas as pd

    from tradecore_pipeline.models.regimes import RegimeModel

ANCHOR = "hmm_anchor"
YEAR = "hmm_anchor_of_year"
"""The kind of document that says, under January, which of a year's anchors its months start from."""
MOST_MONTHS_BACK = 11
"""How far before a month its anchor may be: December's is January."""


@dataclass(frozen=True)
class Anchor:
    """The fit that a month's own starts from."""

    model: "RegimeModel"
    month: date
    """Whose training window it was fitted on."""
    digest: str
    """Sha256 of that window's bars and features, the choices and the recipe: of all it depends on."""
    passed_over: tuple[str, ...]
    """Why months before that one could not be fitted, though they have enough history; a line each."""


def load_anchor(month: Month, choices: dict[str, Any]) -> Anchor:
    """The anchor of a month's year, fitted where nobody did yet.

    It is the first month of the year, ``month`` itself at the latest, that has enough history and whose window gives an
    acceptable model. That is a function of the year's bars and ``choices`` alone, whichever month asks first; what is
    kept of it in the lake carries the digest of both, and is fitted again once that differs.

    Args:
        month: the month to be fitted.
        choices: what ``fit_anchor`` takes beside bars.

    Raises:
        MissingInputError: days inside a window are not stored, or not even ``month`` has enough history.
        ModelFitError: not even the window of ``month`` gives an acceptable model.
    """
    passed_over: list[str] = []
    for first in month_range(date(month.month.year, 1, 1), month.month):
        try:
            model, digest = _fitted(replace(month, month=first), choices)
        except (NotEnoughHistoryError, ModelFitError) as error:
            if first == month.month:
                raise
            if isinstance(error, ModelFitError):
                passed_over.append(str(error))
        else:
            _keep_of_year(month, {"month": f"{first:%Y-%m}", "digest": digest})
            return Anchor(model, first, digest, tuple(passed_over))
    raise AssertionError("the last candidate is the month itself")


def other_anchor(month: Month, config: Mapping[str, Any]) -> str:
    """What a person should know where a month's model was not fitted from the anchor its year has now; else empty.

    The year's anchor is the one that the month trained last in that year started from. Models and homes from before
    that was kept say nothing.
    """
    now, own = _of_year(month), config.get("anchor_sha256")
    if now is None or own is None or now.get("digest") == own:
        return ""
    return (
        f"the month's model starts from the anchor of {config['anchor']}, and months of its year trained since from "
        f"another, of {now.get('month')}: train the month again, or a state may not mean the same in both"
    )


def _fitted(own: Month, choices: dict[str, Any]) -> tuple["RegimeModel", str]:
    """The model of one month's window as an anchor, and its digest; raises as ``load_anchor``."""
    from tradecore_pipeline.models.anchors import fit_anchor  # noqa: PLC0415 (hmmlearn, and only fits need it)

    bars = own.window()
    with own.named("the anchor of its year"):
        columns = own.training_columns(bars)
        digest = _digest(bars, columns, choices)
        model = _kept(own, digest)
        if model is None:
            model = fit_anchor(bars, columns, timeframe=own.timeframe, **choices)
            _keep(own, digest, model)
    return model, digest


def _of_year(month: Month) -> dict[str, Any] | None:
    """Which anchor the month trained last in this year started from; what is damaged is written with the next."""
    january = month.month.replace(month=1)
    try:
        kept: Any = month.adapters.lake.get_document(YEAR, month.instrument, january, timeframe=month.timeframe)
    except InvalidDataError:
        return None
    return kept if isinstance(kept, dict) else None


def _keep_of_year(month: Month, document: dict[str, Any]) -> None:
    if _of_year(month) != document:
        january = month.month.replace(month=1)
        month.adapters.lake.put_document(YEAR, month.instrument, january, timeframe=month.timeframe, document=document)


def _kept(own: Month, digest: str) -> "RegimeModel | None":
    """The anchor that the lake has of these bars and choices; damage costs another fit, no more."""
    from tradecore_pipeline.models.regimes import RegimeModel  # noqa: PLC0415 (as above)

    try:
        kept: Any = own.adapters.lake.get_document(ANCHOR, own.instrument, own.month, timeframe=own.timeframe)
    except InvalidDataError:
        return None
    if not isinstance(kept, dict) or kept.get("digest") != digest or kept.get("content") != _content(kept):
        return None
    return RegimeModel.from_parts(kept["config"], _from_json(kept["arrays"]))


def _keep(own: Month, digest: str, model: "RegimeModel") -> None:
    document: dict[str, Any] = {"config": model.config(), "arrays": _to_json(model.to_arrays()), "digest": digest}
    document["content"] = _content(document)
    own.adapters.lake.put_document(ANCHOR, own.instrument, own.month, timeframe=own.timeframe, document=document)


def _content(document: dict[str, Any]) -> str:
    """Sha256 of the model itself: a document that was damaged and is still JSON does not have it."""
    parts = [document.get("config"), document.get("arrays")]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _digest(bars: "pd.DataFrame", columns: "pd.DataFrame | None", choices: dict[str, Any]) -> str:
    from tradecore_pipeline.models.anchors import RECIPE  # noqa: PLC0415 (as above)

    parts = [frame_digest(bars), "" if columns is None else frame_digest(columns), json.dumps(choices, sort_keys=True)]
    parts.append(f"recipe {RECIPE}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _to_json(arrays: dict[str, Any]) -> dict[str, Any]:
    """Arrays as nested lists that give the same doubles back; JSON has no NaN and no infinity."""
    return {
        name: {"shape": list(array.shape), "values": [value.hex() for value in array.ravel().tolist()]}
        for name, array in ((name, np.asarray(array, dtype=np.float64)) for name, array in arrays.items())
    }


def _from_json(arrays: dict[str, Any]) -> dict[str, Any]:
    return {
        name: np.array([float.fromhex(text) for text in stored["values"]]).reshape(stored["shape"])
        for name, stored in arrays.items()
    }
