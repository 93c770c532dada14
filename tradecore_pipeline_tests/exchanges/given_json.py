"""What parsers are thrown at: payloads that exchanges really sent, and any JSON at all."""

import json
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

PAYLOADS = Path(__file__).parents[3] / "shared" / "realdata" / "exchange_payloads"

_KEYS = (
    *("symbol", "openInterest", "singleOpenInterest", "timestamp", "fundingRate", "fundingRateTimestamp", "list"),
    *("result", "retCode", "time", "coin", "s", "i", "t", "o", "h", "l", "c", "v", "n", "universe", "name", "markPx"),
    *("contractType", "status", "baseCoin", "quoteCoin", "settleCoin", "launchTime", "deliveryTime", "nextPageCursor"),
)
_VALUES = ("BTCUSDT", "BTC", "1m", "1709856000000", "0.0001", "-1", "NaN", "inf", "", "LinearPerpetual", "Trading")
_SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.sampled_from(_VALUES)
)

any_json = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(st.sampled_from(_KEYS), inner, max_size=12),
    max_leaves=30,
)
"""Nested values that know the words the parsers look for."""


def recorded(name: str) -> Any:
    """A payload as an exchange sent it."""
    return json.loads((PAYLOADS / name).read_bytes())
