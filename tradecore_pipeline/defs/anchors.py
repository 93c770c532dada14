"""Yearly anchors of regime models: where each month's fit starts, so that states mean the same from month to month."""

import hashlib
import json
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np

from tradecore_pipeline.defs.fits import Month
from tradecore_pipeline.domain.errors import InvalidDataError, NotEnoughHistoryError
from tradecore_pipeline.domain.time import month_range
from tradecore_pipeline.features.month import frame_digest

if TYPE_CHECKING:
    import pandas as pd

    from tradecore_pipeline.models.regimes import RegimeModel

ANCHOR = "hmm_anchor"
MOST_MONTHS_BACK = 11
"""How far before a month its anchor may be: December's is January."""


def anchor_month(month: Month) -> Month:
    """The first month of the same year that has enough history: the window before it is the anchor's.

    That is January, where the instrument is old enough, and at the latest the month itself.

    Raises:
        MissingInputError: days inside a window are not stored, or not even ``month`` has enough history.
    """
    from tradecore_pipeline.models.anchors import anchor_window_end  # noqa: PLC0415 (pandas, and only fits)

    for first in month_range(date(month.month.year, 1, 1), month.month):
        try:
            replace(month, month=first).window()
        except NotEnoughHistoryError:
            if first == month.month:
                raise
        else:
            return replace(month, month=anchor_window_end(month.month, first))
    raise AssertionError("the last candidate is the month itself")


def load_anchor(month: Month, choices: dict[str, Any]) -> tuple["RegimeModel", date]:
    """The anchor of a month's year and the month it belongs to, fitted where nobody did yet.

    It is a function of its window's bars and ``choices`` alone, whichever month asks first; what is kept of it in the
    lake carries the digest of both, and is fitted again once that differs.

    Args:
        month: the month to be fitted.
        choices: what ``fit_anchor`` takes beside bars.

    Raises:
        MissingInputError: as in ``anchor_month``.
        ModelFitError: no acceptable model came out.
    """
    from tradecore_pipeline.models.regimes import RegimeModel  # noqa: PLC0415 (hmmlearn, and only fits need it)

    own = anchor_month(month)
    bars = own.window()
    columns = own.columns(bars, own.hmm_features)
    digest = _digest(bars, columns, choices)
    kept: dict[str, Any] | None = _kept(own)
    if kept is None or kept.get("digest") != digest:
        kept = _fitted(bars, columns, own, choices) | {"digest": digest}
        own.adapters.lake.put_document(ANCHOR, own.instrument, own.month, timeframe=own.timeframe, document=kept)
    return RegimeModel.from_parts(kept["config"], _from_json(kept["arrays"])), own.month


def _kept(own: Month) -> dict[str, Any] | None:
    """What the lake has of an anchor; damage costs another fit, no more."""
    try:
        return own.adapters.lake.get_document(ANCHOR, own.instrument, own.month, timeframe=own.timeframe)
    except InvalidDataError:
        return None


def _fitted(
    bars: "pd.DataFrame", columns: "pd.DataFrame | None", own: Month, choices: dict[str, Any]
) -> dict[str, Any]:
    from tradecore_pipeline.models.anchors import fit_anchor  # noqa: PLC0415 (as above)

    model = fit_anchor(bars, columns, timeframe=own.timeframe, **choices)
    return {"config": model.config(), "arrays": _to_json(model.to_arrays())}


def _digest(bars: "pd.DataFrame", columns: "pd.DataFrame | None", choices: dict[str, Any]) -> str:
    parts = [frame_digest(bars), "" if columns is None else frame_digest(columns), json.dumps(choices, sort_keys=True)]
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
