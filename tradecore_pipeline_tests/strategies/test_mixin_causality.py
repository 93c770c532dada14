"""Every mixin of the registry: no row knows the future, none needs more history than its warm-up says."""

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

from tradecore_pipeline.strategies.market import Market
from tradecore_pipeline.strategies.registry import ENTRIES, EXITS
from tradecore_pipeline_tests.strategies.mixin_cases import CONFIG, random_market

CUTS = 40
BEYOND = 5
OTHER_PARAMETERS: list[tuple[str, dict[str, Any]]] = [
    ("ATRExitMixin", {"tp_multiplier": 3.0}),
    ("MACrossoverExitMixin", {"ma_type": "EMA"}),
    ("RSIBBExitMixin", {"combine": "or"}),
    ("RSIBBEntryMixin", {"combine": "or", "rsi_period": 7}),
    ("RegimeChangeExitMixin", {"when": "riskier", "confidence": 0.3}),
    ("RegimeChangeExitMixin", {"when": "against"}),
    ("TrailingStopExitMixin", {"use_atr": True}),
    ("MultiLevelATRExitMixin", {"htf_compression": 16, "htf_period": 30}),
    ("VolatilityTargetEntryMixin", {"direction": "trend"}),
]
CASES = [(name, dict[str, Any]()) for name in (*ENTRIES, *EXITS)] + OTHER_PARAMETERS


def said(name: str, parameters: dict[str, Any], market: Market) -> dict[str, np.ndarray]:
    if name in ENTRIES:
        signals = ENTRIES[name](**parameters).signals(market, CONFIG)
        size = np.full(len(market), np.nan) if signals.size is None else signals.size
        return {"side": signals.side, "strength": signals.strength, "size": size}
    exits = EXITS[name](**parameters).exits(market, CONFIG, np.sign(market.trend).astype(np.int8))
    found = {field.name: getattr(exits, field.name) for field in fields(exits)}
    assert {len(column) for column in found.values()} == {len(market)}
    return found


@pytest.mark.parametrize(("name", "parameters"), CASES)
def test_the_future_changes_no_row(name: str, parameters: dict[str, Any]) -> None:
    market = random_market(7, 400)
    whole = said(name, parameters, market)
    other = random_market(8, 400)
    for cut in np.random.default_rng(9).integers(0, 400, CUTS):
        removed, scrambled = market.rows(0, cut), _followed(market, other, cut)
        for changed in (said(name, parameters, removed), said(name, parameters, scrambled)):
            for column, values in whole.items():
                np.testing.assert_array_equal(changed[column][:cut], values[:cut], err_msg=f"{column} at {cut}")


@pytest.mark.parametrize(("name", "parameters"), CASES)
def test_the_warm_up_is_all_the_history_a_row_needs(name: str, parameters: dict[str, Any]) -> None:
    mixin = (ENTRIES[name] if name in ENTRIES else EXITS[name])(**parameters)
    reach = mixin.warm_up_bars
    market = random_market(10, reach + 120)
    whole = said(name, parameters, market)
    for last in np.random.default_rng(11).integers(reach, reach + 120, BEYOND):
        window = said(name, parameters, market.rows(last - reach, last + 1))
        for column, values in whole.items():
            np.testing.assert_allclose(window[column][-1], values[last], rtol=1e-9, err_msg=f"{column} at {last}")


def _followed(first: Market, second: Market, cut: int) -> Market:
    """``first`` up to ``cut``, then what ``second`` says at the same times."""
    arrays = ("probabilities", "held", "regime", "direction_significant", "trend", "forecast", "volatility")
    bars = first.bars.copy()
    bars.iloc[cut:] = second.bars.iloc[cut:]
    mixed = {name: np.concatenate((getattr(first, name)[:cut], getattr(second, name)[cut:])) for name in arrays}
    return replace(first, bars=bars, **mixed)
