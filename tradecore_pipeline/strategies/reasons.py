"""Why a fill happened: small numbers for arrays, names for people."""

from enum import IntEnum


class Reason(IntEnum):
    """The reason of a fill; a trade carries that of its last one.

    Exits say one of ``REGIME_CHANGE`` to ``OTHER_RULE``; the rest is the engine's.
    """

    STILL_OPEN = 0
    ENTRY = 1
    RESIZE = 2
    PROFIT_TARGET = 3
    STOP = 4
    TRAILING_STOP = 5
    BREAKEVEN_STOP = 6
    PARTIAL_EXIT = 7
    LIQUIDATION = 8
    TARGET_POSITION = 9
    MAX_HOLDING = 10
    REGIME_CHANGE = 11
    PREDICTION_REVERSAL = 12
    LOW_CONFIDENCE = 13
    INDICATOR = 14
    RISK_LIMIT = 15
    OTHER_RULE = 16


FIRST_STRATEGY_REASON = Reason.REGIME_CHANGE

REASON_NAMES = tuple(reason.name.lower() for reason in Reason)
"""By number."""
