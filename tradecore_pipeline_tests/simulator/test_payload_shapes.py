"""The faces against payloads recorded from the real exchanges: every recorded key is there, with the recorded type."""

import json
from typing import Any

import pytest
import requests

from tradecore_pipeline_tests.recorded import ARCHIVE

PAYLOADS = ARCHIVE.parent / "exchange_payloads"
pytestmark = pytest.mark.skipif(not PAYLOADS.is_dir(), reason="no recorded payloads beside the repository")

BYBIT = {"category": "linear", "symbol": "BTCUSDT", "limit": "2"}
OKX = {"instId": "BTC-USDT-SWAP", "limit": "2"}
FREE_KEYS = {"nextPageCursor", "isDelisted", "onlyIsolated"}
"""Null in the recordings; elsewhere they hold something."""


def shapes(value: Any, path: str = "") -> dict[str, str]:
    """The type under every key; the first row stands for its list."""
    if isinstance(value, dict):
        inner = [shapes(item, f"{path}.{key}") for key, item in value.items() if key not in FREE_KEYS]
        return {path: "dict"} | {name: kind for part in inner for name, kind in part.items()}
    if isinstance(value, list):
        return {path: "list"} | (shapes(value[0], f"{path}[]") if value else {})
    return {path: type(value).__name__}


@pytest.mark.parametrize(
    ("path", "query", "recorded"),
    [
        ("v5/market/kline", BYBIT | {"interval": "1"}, "bybit/http_get_klines_linear.json"),
        ("v5/market/funding/history", BYBIT, "bybit/http_get_funding_history.json"),
        ("v5/market/instruments-info", BYBIT, "bybit/http_get_instruments_linear.json"),
        ("api/v5/market/candles", OKX | {"bar": "1m"}, "okx/http_get_candlesticks.json"),
        ("api/v5/public/funding-rate-history", OKX, "okx/http_get_funding_rate_history.json"),
        ("api/v5/public/instruments", {"instType": "SWAP"}, "okx/http_get_instruments_swap.json"),
    ],
)
def test_a_get_looks_like_the_recorded_one(base_url: str, path: str, query: dict[str, str], recorded: str) -> None:
    ours = requests.get(f"{base_url}/{path}", params=query, timeout=10).json()
    theirs = shapes(json.loads((PAYLOADS / recorded).read_text()))
    assert theirs.items() <= shapes(ours).items()


@pytest.mark.parametrize(
    ("body", "recorded"),
    [
        ({"type": "meta"}, "hyperliquid/http_meta_perp_sample.json"),
        ({"type": "fundingHistory", "coin": "BTC", "startTime": 0}, "hyperliquid/http_funding_history.json"),
    ],
)
def test_an_info_answer_looks_like_the_recorded_one(base_url: str, body: dict[str, Any], recorded: str) -> None:
    ours = requests.post(f"{base_url}/info", json=body, timeout=10).json()
    theirs = shapes(json.loads((PAYLOADS / recorded).read_text()))
    assert theirs.items() <= shapes(ours).items()


def test_asset_contexts_look_like_the_recorded_ones(base_url: str) -> None:
    _, contexts = requests.post(f"{base_url}/info", json={"type": "metaAndAssetCtxs"}, timeout=10).json()
    recorded = json.loads((PAYLOADS / "hyperliquid/ws_all_dexs_asset_ctxs.json").read_text())
    theirs = recorded["data"]["ctxs"][0][1][0]
    assert shapes(theirs) == shapes(contexts[0])


def test_okx_candle_rows_are_nine_strings_as_recorded(base_url: str) -> None:
    ours = requests.get(f"{base_url}/api/v5/market/candles", params=OKX | {"bar": "1m"}, timeout=10).json()["data"]
    theirs = json.loads((PAYLOADS / "okx/http_get_candlesticks.json").read_text())["data"]
    assert [[type(value) for value in row] for row in ours] == [[type(value) for value in row] for row in theirs]
