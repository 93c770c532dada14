import contextlib
import random
from datetime import UTC, datetime, timedelta
from math import isfinite
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradecore_pipeline.domain.errors import InvalidDataError
from tradecore_pipeline.domain.market_data import ListedInstrument, ListingStatus
from tradecore_pipeline.domain.tables import BARS_1M, FUNDING_RATES, OPEN_INTEREST
from tradecore_pipeline.exchanges.hyperliquid.parse import (
    Snapshot,
    candles_json,
    funding_json,
    meta_json,
    snapshot_json,
    snapshot_rows,
    status_json,
)
from tradecore_pipeline_tests.exchanges.given_json import PAYLOADS, any_json, recorded

START_MS = 1_709_856_000_000
START = datetime(2024, 3, 8, tzinfo=UTC)
RECORDED = pytest.mark.skipif(not PAYLOADS.exists(), reason="the recorded payloads are not on this machine")


def candle(minute: int, **changes: Any) -> dict[str, Any]:
    """In the documented layout: no recorded reply is at hand."""
    moment = START_MS + minute * 60_000
    prices = {"o": "66000.0", "c": "66010.0", "h": "66020.0", "l": "65990.0"}
    return {"t": moment, "T": moment + 59_999, "s": "BTC", "i": "1m", **prices, "v": "12.5", "n": 42, **changes}


def test_candles_in_any_order_come_out_sorted_unique_and_whole() -> None:
    page = [candle(minute) for minute in (*range(10), 3, 4)]
    random.Random(1).shuffle(page)
    table = candles_json(page, name="candles", coin="BTC")
    assert table.schema == BARS_1M.schema
    assert table.column("ts_open").to_pylist() == [START + timedelta(minutes=n) for n in range(10)]
    row = table.to_pylist()[0]
    assert (str(row["high"]), row["volume"], row["trades"], row["quote_volume"]) == ("66020.00000000", 12.5, 42, None)


@pytest.mark.parametrize(
    "page",
    [
        [candle(1), candle(1, c="66011.0")],
        [candle(1, s="ETH")],
        [candle(1, i="1h")],
        [candle(1, n=-1)],
        [candle(1, n=2**63)],
        [candle(1, t=True)],
        [candle(1, t=START_MS * 1000)],
        [candle(1, o=66000.0)],
        [candle(1, v="many")],
        {"t": 1},
        None,
        "null",
    ],
    ids=str,
)
def test_what_is_no_page_of_candles_is_refused(page: Any) -> None:
    with pytest.raises(InvalidDataError):
        candles_json(page, name="candles", coin="BTC")


@RECORDED
def test_recorded_settlements_and_coins_are_read() -> None:
    table = funding_json(recorded("hyperliquid/http_funding_history.json"), name="funding", coin="BTC")
    assert table.schema == FUNDING_RATES.schema
    assert table.column("funding_rate").to_pylist() == [0.0000125, -0.0000081, 0.0000033]
    assert [stamp.hour for stamp in table.column("ts_settle").to_pylist()] == [1, 2, 3]
    listed = meta_json(recorded("hyperliquid/http_meta_perp_sample.json"), name="meta")
    assert [str(one.instrument) for one in listed] == [
        f"hyperliquid:{coin}/USDC:USDC" for coin in ("BTC", "ETH", "ATOM")
    ]
    # Markets that others run on the exchange are not its own: "km:US500".
    for dex in recorded("hyperliquid/http_all_perp_metas_non_usdc_collateral.json")[1:]:
        assert meta_json(dex, name="meta") == ()


@RECORDED
def test_recorded_contexts_give_the_coins_own_open_interest() -> None:
    (_, contexts), *_ = recorded("hyperliquid/ws_all_dexs_asset_ctxs.json")["data"]["ctxs"]
    coins = [{"name": "BTC"}, {"name": "ETH"}, *({"name": f"C{n}"} for n in range(len(contexts) - 2))]
    snapshot = snapshot_json([{"universe": coins}, contexts], name="contexts", coin="ETH")
    assert snapshot == Snapshot(605822.2557999999, pytest.approx(605822.2557999999 * 2123.7))
    with pytest.raises(InvalidDataError, match="contexts for"):
        snapshot_json([{"universe": coins[1:]}, contexts], name="contexts", coin="ETH")


def test_settlements_stamped_some_ms_late_lie_on_their_minute() -> None:
    rows = [
        {"coin": "BTC", "fundingRate": "0.0001", "premium": "0", "time": START_MS + hour * 3_600_000 + 37}
        for hour in (1, 0)
    ]
    table = funding_json(rows, name="funding", coin="BTC")
    assert table.column("ts_settle").to_pylist() == [START, START + timedelta(hours=1)]


def test_thousands_are_spelled_with_a_capital_k_and_delisted_coins_are_known() -> None:
    universe = [{"name": "kPEPE"}, {"name": "MATIC", "isDelisted": True}, {"name": "@107"}, {"name": "PURR/USDC"}]
    pepe, matic = meta_json({"universe": universe}, name="meta")
    assert (str(pepe.instrument), pepe.raw_symbol) == ("hyperliquid:KPEPE/USDC:USDC", "kPEPE")
    assert (matic.status, matic.first_day, matic.last_day) == (ListingStatus.DELISTED, None, None)
    with pytest.raises(InvalidDataError, match="both are hyperliquid:KPEPE/USDC:USDC"):
        meta_json({"universe": [{"name": "kPEPE"}, {"name": "KPEPE"}]}, name="meta")


@given(st.integers(0, 86_400_000 - 1))
def test_a_snapshot_is_stamped_after_it_was_measured_and_within_five_minutes(milliseconds: int) -> None:
    measured = START + timedelta(milliseconds=milliseconds)
    table = snapshot_rows(Snapshot(5.0, 10.0), measured=measured)
    assert table.schema == OPEN_INTEREST.schema
    stamp = table.column("ts_event")[0].as_py()
    assert timedelta(0) < stamp - measured <= timedelta(minutes=5)
    assert stamp.minute % 5 == stamp.second == stamp.microsecond == 0


@given(any_json)
def test_no_json_at_all_becomes_anything_but_rows_or_our_error(payload: Any) -> None:
    for wrapped in (payload, [payload], [{"universe": [{"name": "BTC"}]}, [payload]]):
        for parse, table in ((candles_json, BARS_1M), (funding_json, FUNDING_RATES)):
            try:
                rows: pa.Table = parse(wrapped, name="fuzz", coin="BTC")
            except InvalidDataError:
                continue
            assert rows.schema == table.schema
        with contextlib.suppress(InvalidDataError):
            assert all(isinstance(coin, ListedInstrument) for coin in meta_json(wrapped, name="fuzz"))
        with contextlib.suppress(InvalidDataError):
            assert status_json(wrapped, name="fuzz").tzinfo is not None
        with contextlib.suppress(InvalidDataError):
            snapshot = snapshot_json(wrapped, name="fuzz", coin="BTC")
            assert isfinite(snapshot.base)
            assert snapshot.base >= 0
