"""The nightly repair over a simulated exchange: what it asks for again, and what it leaves alone."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import requests

from tradecore_pipeline.cli.session import Session
from tradecore_pipeline.cli.work import ingest
from tradecore_pipeline.defs import repair as repair_module
from tradecore_pipeline.defs.automation import oldest_incomplete_day
from tradecore_pipeline.defs.ingestion import days_to_repair, verify_days
from tradecore_pipeline.defs.launch import run_job
from tradecore_pipeline.defs.repair import JOB, repaired, run_config
from tradecore_pipeline.defs.resources import Adapters
from tradecore_pipeline.domain.errors import InvalidDataError, SourceError, SourceUnavailableError, TradecoreError
from tradecore_pipeline.domain.tables import BARS_1M, FUNDING_RATES
from tradecore_pipeline.domain.time import day_range
from tradecore_pipeline.settings import Settings
from tradecore_pipeline.simulator.parameters import demo_parameters
from tradecore_pipeline.simulator.server import build_simulated, running
from tradecore_pipeline.storage.alerts import alerts
from tradecore_pipeline.storage.coverage import coverage
from tradecore_pipeline.storage.ledger import LedgerEntry
from tradecore_pipeline_tests.chain import BTC, END, NOW, ONE_DAY, SEED, START, small_settings, span, tradecore

FIRST = NOW.date() - 6 * ONE_DAY
WEEK = list(day_range(FIRST, NOW.date()))


def stored_week(home: Path, url: str, now: datetime = NOW) -> Settings:
    settings = small_settings(home, url)
    with Session(settings) as session:
        session.adapters.clock = lambda: now
        ingest(session, BTC, BARS_1M.name, WEEK)
    return settings


def repair(settings: Settings, now: datetime) -> list[str]:
    done: list[str] = []
    with Session(settings) as session, session.progress.watching(done.append):
        session.adapters.clock = lambda: now
        run_job(session.definitions, session.instance, JOB, run_config(BTC))
    return done


def reasons(settings: Settings, now: datetime) -> dict[Any, str]:
    with Session(settings) as session:
        return days_to_repair(session.adapters, BARS_1M, BTC, now.date())


@pytest.fixture
def later(tmp_path: Path) -> Any:
    """A week stored while its last days had no archive file, and the same exchange four days later."""
    with running(build_simulated(demo_parameters(), SEED, start=START, end=END, now=NOW)) as url:
        stored_week(tmp_path, url)
    now = NOW + timedelta(days=4)
    with running(build_simulated(demo_parameters(), SEED, start=START, end=END, now=now)) as url:
        yield small_settings(tmp_path, url), now, url


def test_days_that_came_over_rest_are_verified_once_the_archive_has_them(later: Any) -> None:
    settings, now, _ = later
    with Session(settings) as session:
        before = {e.day: e for e in session.adapters.ledger.entries(BARS_1M.name, BTC)}
    over_rest = [day for day, entry in before.items() if entry.complete and "rest" in entry.source]
    assert over_rest, "some day was fetched before its archive file existed"
    wanted = reasons(settings, now)
    assert set(wanted) == {*over_rest, WEEK[-1]}, "and today's, which had not ended"
    done = repair(settings, now)
    assert {key.partition("|")[0] for key in done} == {str(day) for day in wanted}
    with Session(settings) as session:
        after = {e.day: e for e in session.adapters.ledger.entries(BARS_1M.name, BTC)}
        told = session.instance.get_latest_materialization_event(dg.AssetKey(["market_data", "listings"]))
        listed = session.adapters.listings.get("binance")
    assert told is not None, "the list of instruments came with it"
    assert BTC in {one.instrument for one in listed}
    for day in over_rest:
        assert after[day].sha256 == before[day].sha256
        assert after[day].verified_source.startswith("archive")
        assert after[day].verified_at == now
    assert after[WEEK[-1]].complete
    assert reasons(settings, now) == {}, "nothing is left to ask again"


def test_a_restated_file_is_fetched_again_and_the_old_hash_is_kept(later: Any) -> None:
    settings, now, url = later
    repair(settings, now)
    key = f"data/futures/um/daily/klines/BTCUSDT/1m/BTCUSDT-1m-{WEEK[1]}.zip"
    assert requests.post(f"{url}/_restate", json={"key": key}, timeout=10).status_code == 200
    much_later = now + timedelta(days=1)
    assert list(reasons(settings, much_later)) == [WEEK[1]]
    with Session(settings) as session:
        before = session.adapters.ledger.get(BARS_1M.name, BTC, WEEK[1])
        found = list(verify_days(session.adapters, BARS_1M, BTC, WEEK[:3]))
        assert session.adapters.ledger.get(BARS_1M.name, BTC, WEEK[1]) == before, "verifying writes nothing"
    assert [bool(one.difference) for one in found] == [False, True, False]
    repair(settings, much_later)
    repair(settings, much_later + timedelta(days=1))
    with Session(settings) as session:
        entry = session.adapters.ledger.get(BARS_1M.name, BTC, WEEK[1])
        (alert,) = alerts(session.adapters.layout)
    assert alert.what == f"bars_1m {WEEK[1]}|{BTC}"
    assert alert.reason.startswith("restated: 1440 rows from archive-daily became")
    assert before is not None
    assert entry is not None
    assert entry.sha256 != before.sha256
    assert [version.sha256 for version in entry.previous] == [before.sha256]


def test_a_lost_file_and_a_failed_day_are_asked_for_again(later: Any) -> None:
    settings, now, _ = later
    repair(settings, now)
    with Session(settings) as session:
        adapters = session.adapters
        adapters.layout.day(BARS_1M.name, BTC, WEEK[2], timeframe=None).unlink()
        adapters.failures.record(FUNDING_RATES.name, BTC, WEEK[0], reason="the file lies", at=now)
        assert reasons(settings, now) == {WEEK[2]: "its file is lost or damaged"}
        assert days_to_repair(adapters, FUNDING_RATES, BTC, now.date()) == {WEEK[0]: "failed: the file lies"}
        repair(settings, now)
        assert adapters.lake.days(BARS_1M, BTC) == WEEK
        assert adapters.failures.list(FUNDING_RATES.name, BTC) == []


def torn_home(settings: Settings) -> Session:
    """Two ledger entries, a gap table, a failed day's document and the listings are not what was written."""
    session = Session(settings)
    layout = session.adapters.layout
    for day in (WEEK[1], WEEK[3]):
        path = layout.ledger_day(BARS_1M.name, BTC, day)
        path.write_bytes(path.read_bytes()[:90])
    session.adapters.failures.record(FUNDING_RATES.name, BTC, WEEK[0], reason="the file lies", at=NOW)
    layout.failure_day(FUNDING_RATES.name, BTC, WEEK[0]).write_bytes(b"")
    gaps = layout.gaps_day(BARS_1M.name, BTC, WEEK[2])
    gaps.parent.mkdir(parents=True, exist_ok=True)
    gaps.write_bytes(b"PAR1")
    layout.listings("binance").write_bytes(b"PAR1")
    return session


def told(entry: LedgerEntry) -> tuple[object, ...]:
    return entry.day, entry.rows, entry.sha256, entry.complete, entry.gaps, entry.reason, entry.source


def test_torn_notes_are_a_state_of_their_own_until_the_repair_heals_them(later: Any) -> None:
    settings, now, _ = later
    repair(settings, now)
    bars = settings.home / "lake" / "bars_1m"
    before = {path: path.read_bytes() for path in bars.rglob("*.parquet")}
    with Session(settings) as session:
        entries = [told(entry) for entry in session.adapters.ledger.entries(BARS_1M.name, BTC)]
    with torn_home(settings) as session:
        rows = coverage(session.adapters.ledger, [BTC])
        assert [row.damaged_days for row in rows[:2]] == [2, 1]
        done = repair(settings, now)
        assert {f"{WEEK[1]}|{BTC}", f"{WEEK[3]}|{BTC}"} <= set(done)
        assert [told(entry) for entry in session.adapters.ledger.entries(BARS_1M.name, BTC)] == entries
        assert not any(row.damaged_days or row.failed_days for row in coverage(session.adapters.ledger, [BTC]))
        assert session.adapters.catalog.query("FROM gaps").columns
        assert BTC in {one.instrument for one in session.adapters.listings.get("binance")}
    assert {path: path.read_bytes() for path in bars.rglob("*.parquet")} == before


@pytest.mark.parametrize("command", ["update", "backfill"])
def test_a_torn_entry_stops_neither_updates_nor_backfills(later: Any, command: str) -> None:
    settings, now, _ = later
    repair(settings, now)
    with torn_home(settings) as session:
        days = span(WEEK[0], WEEK[-1]) if command == "backfill" else ()
        outcome = tradecore(settings, command, str(BTC), *days, "--json")
        assert outcome.code == 0, outcome.err
        entries = {entry.day: entry for entry in session.adapters.ledger.entries(BARS_1M.name, BTC)}
    assert all(entries[day].complete and entries[day].rows == 1440 for day in (WEEK[1], WEEK[3]))


def test_the_hourly_schedule_begins_with_a_torn_day(later: Any) -> None:
    settings, now, _ = later
    repair(settings, now)
    with torn_home(settings) as session:
        assert oldest_incomplete_day(session.adapters, BTC, now.date()) == WEEK[1]


def test_an_exchange_that_is_down_stops_the_repair_with_its_name(tmp_path: Path) -> None:
    with running(build_simulated(demo_parameters(), SEED, start=START, end=END, now=NOW)) as url:
        settings = stored_week(tmp_path, url)
    with pytest.raises(TradecoreError, match=r"cannot reach 127\.0\.0\.1"):
        repair(settings, NOW + ONE_DAY)


@pytest.mark.parametrize(
    ("errors", "kind"),
    [
        (
            (SourceUnavailableError("no listings"), InvalidDataError("bad bars"), InvalidDataError("bad bars")),
            SourceError,
        ),
        ((InvalidDataError("bad bars"), InvalidDataError("bad rates")), InvalidDataError),
    ],
)
def test_everything_that_failed_is_named_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, errors: tuple[SourceError, ...], kind: type[SourceError]
) -> None:
    failures = iter(errors)

    def fails(*_: object, **__: object) -> Iterator[dg.AssetMaterialization]:
        yield dg.AssetMaterialization("stored")
        if error := next(failures, None):
            raise error

    for step in ("_refreshed", "_repaired_days"):
        monkeypatch.setattr(repair_module, step, fails)
    adapters = Adapters(small_settings(tmp_path, "http://127.0.0.1:9"))
    done: list[dg.AssetMaterialization] = []
    with pytest.raises(SourceError) as caught:
        done.extend(repaired(adapters, BTC, launch="test"))
    assert type(caught.value) is kind
    assert str(caught.value) == "; ".join(dict.fromkeys(str(error) for error in errors))
    assert len(done) > len(errors)
