"""Small versions of the reliability benchmarks: kills, faults, readers beside writers, a full disk."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
import requests

from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.tables import BARS_1M
from tradecore_pipeline.exchanges import make_exchange
from tradecore_pipeline_tests.access import local_access
from tradecore_pipeline_tests.benchmarks import concurrency, disk_full, kills
from tradecore_pipeline_tests.benchmarks.backfills import Exchanges
from tradecore_pipeline_tests.benchmarks.fault_scenarios import NOW, Scenario, faulty_exchanges
from tradecore_pipeline_tests.benchmarks.truth import INSTRUMENTS, Truth

BINANCE = INSTRUMENTS[0]


@pytest.fixture(scope="module")
def faulty() -> Iterator[tuple[str, Truth]]:
    with faulty_exchanges() as served:
        yield served


@pytest.mark.parametrize("seed", [*range(8), 264])  # 264 once hid rows
def test_whatever_exchanges_do_no_wrong_row_is_ever_final(
    faulty: tuple[str, Truth], tmp_path: Path, *, seed: int
) -> None:
    url, truth = faulty
    scenario = Scenario(seed, url, truth, tmp_path)
    assert scenario.run().faults == []


def test_a_cursor_that_is_ignored_once_on_two_pages_makes_no_gap(faulty: tuple[str, Truth], tmp_path: Path) -> None:
    url, truth = faulty
    day = date(2025, 2, 13)
    # The second page of the first pass, and the second page of the second pass: each answers with the newest rows.
    pages = [f"/fapi/v1/klines.*startTime={since}" for since in (1739434740000, 1739464680000)]
    rules = [{"fault": "cursor_ignored", "path": page, "times": 1} for page in pages]
    requests.post(f"{url}/_ctl", json={"seed": 1, "rules": rules}, timeout=5).raise_for_status()
    exchange = make_exchange("binance", local_access(url, budgets=tmp_path, clock=lambda: NOW, retries=3))
    try:
        (fetched,) = exchange.fetch_days(BARS_1M.name, BINANCE, [day])
    finally:
        exchange.close()
        requests.delete(f"{url}/_ctl", timeout=5).raise_for_status()
    assert fetched.gaps == ()
    assert truth.compare(BARS_1M, BINANCE, day, fetched.rows).equal


def test_the_truth_tells_a_wrong_a_missing_and_a_foreign_row(faulty: tuple[str, Truth], tmp_path: Path) -> None:
    url, truth = faulty
    exchange = make_exchange("binance", local_access(url, budgets=tmp_path, clock=lambda: NOW))
    (fetched,) = exchange.fetch_days(BARS_1M.name, BINANCE, [date(2025, 2, 1)])
    exchange.close()
    rows, day = fetched.rows, fetched.day
    assert truth.compare(BARS_1M, BINANCE, day, rows).equal
    assert truth.compare(BARS_1M, BINANCE, day, rows.slice(3)).missing == 3
    assert truth.compare(BARS_1M, BINANCE, date(2025, 2, 2), rows).foreign == 1440
    swapped = rows.set_column(1, rows.schema.field("open"), rows.column("high"))
    assert truth.compare(BARS_1M, BINANCE, day, swapped).wrong > 1000


@pytest.mark.slow
def test_killed_backfills_of_two_exchanges_end_as_unbroken_ones(tmp_path: Path) -> None:
    instruments: tuple[Instrument, ...] = INSTRUMENTS[:2]
    with Exchanges(seed=kills.SEED, start=kills.START, end=kills.END, now=kills.NOW) as exchanges:
        field = kills.Battlefield(tmp_path, exchanges, instruments=instruments, kills=4)
        field.run_unbroken()
        field.run_killed()
    assert field.faults == []
    assert field.kills >= 1
    assert len(field.unbroken) >= 2 * 3 * 6


@pytest.mark.slow
def test_readers_beside_writers_see_whole_days_only(tmp_path: Path) -> None:
    counts, faults = concurrency.run(tmp_path / "home", 3, ways=("days", "one_day", "query"))
    assert faults == []
    assert min(counts.values()) > 0


@pytest.mark.slow
@pytest.mark.parametrize(("free_kilobytes", "what"), [(256, "all"), (48, "data")])
def test_a_full_disk_costs_nothing_that_was_stored(free_kilobytes: int, what: str) -> None:
    if not disk_full.possible():
        pytest.skip("needs `unshare -rm` and tmpfs (Linux with user namespaces)")
    with Exchanges(seed=disk_full.SEED, start=disk_full.START, end=disk_full.END, now=disk_full.NOW) as exchanges:
        faults = disk_full.on_small_disk(exchanges.url, free_kilobytes, what)
    # Dagster's SQLite, which is the first to notice, still ends in a page of SQLAlchemy's instead of one line.
    assert [fault for fault in faults if not fault.startswith("exit 1")] == []
