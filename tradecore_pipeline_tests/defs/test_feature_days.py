"""Which feature days are stale, and which can be computed."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from tradecore_pipeline.defs.feature_days import FEATURES, ready_days, stale_days, warm_up_days
from tradecore_pipeline.defs.resources import Adapters
from tradecore_pipeline.domain.tables import BARS, BARS_1M, OPEN_INTEREST
from tradecore_pipeline.domain.time import day_range
from tradecore_pipeline_tests.chain import BTC, FEBRUARY, HOUR, NOW, ONE_DAY, Chain, copy_home, tradecore

DAYS = list(day_range(FEBRUARY, FEBRUARY + timedelta(days=20)))
LATE = FEBRUARY + timedelta(days=10)


@pytest.fixture
def adapters(chain: Chain, tmp_path: Path) -> Adapters:
    return Adapters(copy_home(chain, tmp_path / "home"), clock=lambda: NOW)


def ingested_again(adapters: Adapters, dataset: str, day: date) -> None:
    entry = adapters.ledger.get(dataset, BTC, day)
    assert entry is not None
    adapters.ledger.record(replace(entry, ingested_at=datetime.now(UTC) + ONE_DAY))


def test_nothing_is_stale_right_after_the_chain_ran(adapters: Adapters) -> None:
    for table in (BARS, FEATURES):
        assert stale_days(adapters, table, BTC, DAYS, timeframe=HOUR) == []


def test_open_interest_that_arrives_late_makes_the_features_stale_that_read_it_and_no_bars(adapters: Adapters) -> None:
    ingested_again(adapters, OPEN_INTEREST.name, LATE)
    assert stale_days(adapters, FEATURES, BTC, DAYS, timeframe=HOUR) == [day for day in DAYS if day >= LATE]
    assert stale_days(adapters, BARS, BTC, DAYS, timeframe=HOUR) == []


def test_repaired_minutes_make_their_bars_stale_and_every_feature_whose_warm_up_reads_them(adapters: Adapters) -> None:
    ingested_again(adapters, BARS_1M.name, LATE)
    assert stale_days(adapters, BARS, BTC, DAYS, timeframe=HOUR) == [LATE, LATE + ONE_DAY]
    assert stale_days(adapters, FEATURES, BTC, DAYS, timeframe=HOUR) == [day for day in DAYS if day >= LATE]


def test_predicting_after_late_open_interest_fills_the_features_in(chain: Chain, tmp_path: Path) -> None:
    settings = copy_home(chain, tmp_path / "home")
    adapters = Adapters(settings, clock=lambda: NOW)
    held = adapters.lake.rows(FEATURES, BTC, LATE, timeframe=HOUR)
    place = held.schema.get_field_index("open_interest_zscore_168")
    blank = held.set_column(place, held.schema.field(place), pa.nulls(held.num_rows, pa.float64()))
    adapters.lake.publish(FEATURES, BTC, LATE, blank, timeframe=HOUR)
    path = adapters.layout.day(FEATURES.name, BTC, LATE, timeframe=HOUR)
    entry = adapters.ledger.get(OPEN_INTEREST.name, BTC, LATE)
    assert entry is not None
    stored = adapters.lake.stored_at(FEATURES, BTC, LATE, timeframe=HOUR)
    assert stored is not None
    adapters.ledger.record(replace(entry, ingested_at=stored + timedelta(milliseconds=1)))
    before = path.read_bytes()
    outcome = tradecore(settings, "predict", str(BTC), "--timeframe", "1h", "--from", str(LATE), "--to", str(LATE))
    assert outcome.code == 0, outcome.err
    assert path.read_bytes() != before
    assert adapters.lake.rows(FEATURES, BTC, LATE, timeframe=HOUR).equals(held)


def test_days_behind_a_hole_in_the_bars_wait_until_their_warm_up_is_whole_again(adapters: Adapters) -> None:
    adapters.layout.day(BARS.name, BTC, LATE, timeframe=HOUR).unlink()
    days = list(day_range(FEBRUARY, FEBRUARY + timedelta(days=warm_up_days(HOUR) + 1)))
    assert ready_days(adapters, FEATURES, BTC, days, timeframe=HOUR) == [day for day in days if day < LATE]
