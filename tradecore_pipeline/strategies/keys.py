"""What may stand as a key where a configuration's keys are names: instruments, timeframes and regimes."""

from collections.abc import Mapping
from typing import Any

from pydantic import AfterValidator

from tradecore_pipeline.domain.errors import UsageError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.time import TIMEFRAME_MINUTES
from tradecore_pipeline.strategies.problems import nearest

MOST_STATES = 5
"""States that a regime model may have."""
REGIMES = tuple(f"regime_{state}" for state in range(MOST_STATES))
"""By scale: `regime_0` is the calmest."""
DIRECTIONS = ("Strong Bear", "Bear", "Chop", "Bull", "Strong Bull")
"""States by mean return."""
VOLATILITIES = ("Calm", "Normal", "Turbulent", *(f"Level {level}" for level in range(1, MOST_STATES + 1)))
"""States by scale, whose names depend on how many there are."""
STATES = (*DIRECTIONS, *VOLATILITIES)
TIMEFRAMES = tuple(TIMEFRAME_MINUTES)


def keys(*names: str, instruments: bool) -> AfterValidator:
    """Refuses mappings with other keys than ``names`` and, with ``instruments``, instruments."""

    def check(given: Mapping[str, Any]) -> Mapping[str, Any]:
        for key in given:
            if key not in names and not (instruments and is_instrument(key)):
                raise ValueError(f"there is no key {key!r}; {_choice(key, names, instruments=instruments)}")
        return given

    return AfterValidator(check)


def _choice(key: str, names: tuple[str, ...], *, instruments: bool) -> str:
    instrument = "an instrument, for example binance:BTC/USDT:USDT"
    if not names:
        return f"a key is {instrument}"
    hint = nearest(key, names).strip()
    if hint:
        return hint
    return f"choose one of {', '.join(names)}" + (f", or {instrument}" if instruments else "")


def is_instrument(text: str) -> bool:
    """Whether ``text`` names an instrument exactly as results and tables do."""
    try:
        return str(Instrument.parse(text)) == text
    except UsageError:
        return False


def instruments_only(given: tuple[str, ...]) -> tuple[str, ...]:
    """Refuses what names no instrument, and one that stands there twice."""
    for text in given:
        if not is_instrument(text):
            raise ValueError(f"{text!r} is no instrument: write exchange:SYMBOL, for example binance:BTC/USDT:USDT")
        if given.count(text) > 1:
            raise ValueError(f"{text!r} stands there twice")
    return given
