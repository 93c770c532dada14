"""Stored backtests: of two that are stored at once, all files are those of one."""

from concurrent.futures import ThreadPoolExecutor

import pandas as pd
import pytest

from tradecore_pipeline.domain.errors import InvalidDataError
from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.storage.backtests import BACKTESTS, EQUITY, TRADES, BacktestStore, Place
from tradecore_pipeline.storage.layout import Layout
from tradecore_pipeline_tests.storage.days import BTC

PLACE = Place("own", Timeframe.parse("1h"), (BTC,))
MOMENT = pd.Timestamp("2025-01-01", tz="UTC")


def put(store: BacktestStore, capital: float) -> None:
    own = [column for column in BACKTESTS.columns if column.name not in PLACE.constants]
    empty = {"market": "real", "configuration": "", "first": MOMENT, "last": MOMENT, "bars": 1, "closed": 0}
    figures = {column.name: empty.get(column.name, capital) for column in own}
    trade = {"entry_time": MOMENT, "exit_time": MOMENT, "instrument": str(BTC), "reason": "stop", "open": False}
    whole = dict.fromkeys(("entry_bar", "exit_bar", "side"), 1)
    trades = pd.DataFrame([dict.fromkeys(TRADES.schema.names, capital) | trade | whole])
    equity = pd.DataFrame(
        {"ts_close": [MOMENT], "equity": [capital], "leverage": [0.0], "buy_and_hold": [capital]},
        index=pd.DatetimeIndex([MOMENT], name=EQUITY.key),
    )
    store.put(PLACE, figures=figures, trades=trades, equity=equity, document={"capital": capital})


def test_of_two_that_are_stored_at_once_all_files_are_of_one(layout: Layout) -> None:
    store = BacktestStore(layout)
    for _ in range(4):
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda capital: put(store, capital), (1.0, 2.0, 3.0, 4.0)))
        try:
            (capital,) = store.read(EQUITY, PLACE)["equity"]
            assert store.read(BACKTESTS, PLACE)["capital"].tolist() == [capital] == [store.result(PLACE)["capital"]]
        except InvalidDataError:
            pytest.fail("files of two runs were mixed")
