"""A real year: BTC spot of 2022 through the simulator, the command line and every stage, against the files."""

import random
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from unittest import mock

import numpy as np
import pandas as pd
import pytest

from tradecore_pipeline.cli import run
from tradecore_pipeline.defs.regimes import compute_regimes
from tradecore_pipeline.defs.resources import Adapters
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.tables import BARS, BARS_1M, REGIMES, Table
from tradecore_pipeline.domain.time import Timeframe, day_start
from tradecore_pipeline.settings import Settings
from tradecore_pipeline.simulator.server import build_recorded, running
from tradecore_pipeline_tests.recorded import ARCHIVE, NO_FILES, read_klines

KLINES = ARCHIVE / "data" / "spot" / "daily" / "klines" / "BTCUSDT"
SPOT = Instrument.parse("binance:BTC/USDT")
HOUR = Timeframe("1h")
PUBLISHED, END = day_start(date(2022, 7, 1)), day_start(date(2023, 1, 1))
ONE_DAY = timedelta(days=1)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not KLINES.is_dir(), reason=NO_FILES),
]


@pytest.fixture(scope="module")
def year(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Adapters]:
    """The home after backfill, train and predict, as the README shows them."""
    with running(build_recorded(ARCHIVE, now=None)) as url, pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRADECORE_HOME", str(tmp_path_factory.mktemp("year")))
        patch.setenv("TRADECORE_INSTRUMENTS", str(SPOT))
        for name in ("ARCHIVE", "REST", "SPOT_REST"):
            patch.setenv(f"TRADECORE_BINANCE_{name}_URL", url)
        for words in (
            ("backfill", str(SPOT), "--from", "2022-01-01", "--to", "2022-12-31"),
            ("train", str(SPOT), "--timeframe", "1h", "--from", "2022-07", "--to", "2022-12"),
            ("predict", str(SPOT), "--timeframe", "1h", "--from", "2022-07-01", "--to", "2022-12-31"),
        ):
            patch.setattr("sys.argv", ["tradecore", *words])
            assert run() == 0
        yield Adapters(Settings.load())


def test_every_stored_minute_equals_the_files(year: Adapters) -> None:
    minutes = year.lake.read(BARS_1M, SPOT, day_start(date(2022, 1, 1)), END)
    files = read_klines(KLINES / "1m")
    assert len(minutes) == 525_600
    assert np.array_equal(minutes.index.as_unit("ms"), files.index.as_unit("ms"))
    assert np.array_equal(minutes[files.columns].to_numpy(dtype=np.float64), files.to_numpy())


def test_hours_aggregated_from_minutes_equal_the_exchanges_own_hours(year: Adapters) -> None:
    files = read_klines(KLINES / "1h")
    hours = year.lake.read(BARS, SPOT, files.index[0].to_pydatetime(), END, timeframe=HOUR).iloc[: len(files)]
    assert np.array_equal(hours.index.as_unit("ms"), files.index.as_unit("ms"))
    prices = ["open", "high", "low", "close", "trades"]
    assert np.array_equal(hours[prices].to_numpy(dtype=np.float64), files[prices].to_numpy())
    for name in ("volume", "quote_volume", "taker_buy_volume", "taker_buy_quote_volume"):
        np.testing.assert_allclose(hours[name], files[name], rtol=1e-9)


def test_the_published_forecast_is_as_good_as_the_baseline_reached_before(year: Adapters) -> None:
    rows = year.lake.read(REGIMES, SPOT, day_start(date(2022, 8, 1)), END, timeframe=HOUR)
    assert len(rows) == 3672
    assert rows["log_score"].notna().all()
    assert rows["log_score"].mean() >= -0.400
    assert rows["har_log_score"].mean() == pytest.approx(-0.394, abs=0.005)


def test_published_rows_are_the_same_to_the_last_bit_with_all_later_data_removed(year: Adapters) -> None:
    published = year.lake.read(REGIMES, SPOT, PUBLISHED, END, timeframe=HOUR)
    draw, read = random.Random(1), year.lake.read
    for _ in range(40):
        day = PUBLISHED.date() + draw.randrange(184) * ONE_DAY
        cut = day_start(day) + timedelta(hours=draw.randrange(1, 25))

        def read_before(
            table: Table, instrument: Instrument, start: datetime, end: datetime, until: datetime = cut, **more: object
        ) -> pd.DataFrame:
            return read(table, instrument, start, min(end, until), **more)

        with mock.patch.object(year.lake, "read", read_before):
            again = compute_regimes(year, SPOT, day, day, timeframe=HOUR)
        pd.testing.assert_frame_equal(again, published.loc[again.index], check_exact=True, check_dtype=False)
        assert len(again) == (cut - day_start(day)) // timedelta(hours=1)
