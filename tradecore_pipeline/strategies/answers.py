"""What a user's own mixin answers: looked at before anything is traded on it."""

from dataclasses import fields
from typing import Any

import numpy as np

from tradecore_pipeline.domain.errors import UsageError
from tradecore_pipeline.strategies.contracts import Exits, Signals
from tradecore_pipeline.strategies.reasons import FIRST_STRATEGY_REASON, Reason

_POSITIVE = ("stop", "profit", "trail", "max_holding_bars", "partial_distance", "partial_fraction")
_NOT_NEGATIVE = ("trail_activation", "breakeven")
_REASONS = ("exit_long", "exit_short")


def checked_signals(where: str, answer: Any, bars: int) -> Signals:
    """``answer``, if it is one side and one strength for each of ``bars``.

    Raises:
        UsageError: it is not; the message begins with ``where`` and says what to return.
    """
    if not isinstance(answer, Signals):
        raise UsageError(f"{where} returned {_named(answer)}: return Signals(side, strength)")
    side = _numbers(where, "side", answer.side, (bars,))
    _require(where, "side", np.isin(side, (-1, 0, 1)), "is 1, 0 or -1")
    strength = _numbers(where, "strength", answer.strength, (bars,))
    _require(where, "strength", (side == 0) | ((strength >= 0) & (strength <= 1)), "lies from 0 to 1")
    if answer.size is not None:
        size = _numbers(where, "size", answer.size, (bars,))
        _require(where, "size", (side == 0) | (np.isfinite(size) & (size >= 0)), "is 0 or more, in multiples of equity")
    return answer


def checked_exits(where: str, answer: Any, bars: int) -> Exits:
    """``answer``, if each of its columns has one row for each of ``bars`` that can be carried out; raises likewise."""
    if not isinstance(answer, Exits):
        raise UsageError(f"{where} returned {_named(answer)}: return Exits, begun with Exits.none(len(side))")
    levels = np.shape(answer.partial_distance)[1:]
    for field in fields(Exits):
        shape = (bars, *levels) if field.name.startswith("partial_") else (bars,)
        values = _numbers(where, field.name, getattr(answer, field.name), shape)
        absent = np.isnan(values)
        if field.name in _POSITIVE:
            _require(where, field.name, absent | (np.isfinite(values) & (values > 0)), "is more than 0, NaN for none")
        elif field.name in _NOT_NEGATIVE:
            _require(where, field.name, absent | (np.isfinite(values) & (values >= 0)), "is 0 or more, NaN for none")
        elif field.name in _REASONS:
            known = (values == 0) | ((values >= FIRST_STRATEGY_REASON) & (values <= max(Reason)))
            _require(where, field.name, known, "is 0 or a Reason from REGIME_CHANGE on")
        else:
            _require(where, field.name, np.isfinite(values), "is a number")
    return answer


def _numbers(where: str, name: str, values: Any, shape: tuple[int, ...]) -> np.ndarray:
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "iufb":
        raise UsageError(f"{where} returned {_named(values)} as {name}: return a numpy array of numbers")
    if values.shape != shape:
        has, needs = (" x ".join(map(str, one)) or "one value" for one in (values.shape, shape))
        raise UsageError(f"{where} returned {has} as {name}: return {needs}, one row per bar")
    return values.astype(np.float64)


def _require(where: str, name: str, fine: np.ndarray, rule: str) -> None:
    wrong = np.flatnonzero(~fine.reshape(len(fine), -1).all(axis=1))
    if len(wrong):
        raise UsageError(f"{where} returned a {name} in row {wrong[0]} of {len(fine)} that cannot be: it {rule}")


def _named(value: Any) -> str:
    return "None" if value is None else f"a {type(value).__name__}"
