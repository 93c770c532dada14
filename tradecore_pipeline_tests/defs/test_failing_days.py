"""Days that fail: which others are tried, what is said, and what a person finds later."""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tradecore_pipeline.defs.automation import hourly_request
from tradecore_pipeline.defs.ingestion import ingest_days, last_listed_day, verify_days
from tradecore_pipeline.defs.instance import open_instance
from tradecore_pipeline.defs.resources import Adapters
from tradecore_pipeline.domain.errors import InvalidDataError, SourceError, SourceUnavailableError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.market_data import FetchedDay, ListedInstrument, ListingStatus
from tradecore_pipeline.domain.tables import OPEN_INTEREST
from tradecore_pipeline.domain.time import day_range, day_start
from tradecore_pipeline.settings import Settings
from tradecore_pipeline_tests.chain import BTC

FIRST = date(2025, 1, 1)
DAYS = list(day_range(FIRST, FIRST + timedelta(days=9)))
NOW = datetime(2025, 2, 1, tzinfo=UTC)


def snapshots(day: date, count: int) -> pa.Table:
    stamps = [day_start(day) + timedelta(minutes=5 * number) for number in range(count)]
    rows = [{"ts_event": stamp, "open_interest_base": 5.0, "open_interest_usd": None} for stamp in stamps]
    return pa.Table.from_pylist(rows, schema=OPEN_INTEREST.schema)


class Exchange:
    """Hands over days with ``rows`` snapshots each, and fails on some."""

    def __init__(self, fails: dict[date, SourceError]) -> None:
        self.fails = fails
        self.rows = 288
        self.forgotten = False
        self.asked: list[date] = []

    def fetch_days(self, dataset: str, instrument: Instrument, days: Sequence[date]) -> Iterator[FetchedDay]:
        for day in days:
            self.asked.append(day)
            if day in self.fails:
                raise self.fails[day]
            yield FetchedDay(
                instrument=instrument,
                dataset=dataset,
                day=day,
                rows=snapshots(day, self.rows),
                source="rest",
                host="there",
                market="real",
                files=(),
                gaps=(),
                complete=True,
                reason="",
                forgotten=self.forgotten,
            )


class Fake(Adapters):
    def __init__(self, home: Path, fails: dict[date, SourceError]) -> None:
        super().__init__(Settings.load(home=home), clock=lambda: NOW)
        self.fake = Exchange(fails)

    def exchange(self, name: str) -> Any:  # noqa: ARG002 (there is one)
        return self.fake


def ingest(adapters: Fake) -> tuple[set[date], SourceError | None]:
    stored: set[date] = set()
    try:
        for entry in ingest_days(adapters, OPEN_INTEREST, BTC, DAYS, launch="test", keep=lambda entry: entry.complete):
            stored.add(entry.day)
    except SourceError as error:
        return stored, error
    return stored, None


@pytest.mark.parametrize("bad", [DAYS[3:4], DAYS[1:4], DAYS[1:7], [DAYS[0], *DAYS[2:8]]])
def test_bad_days_do_not_keep_the_others_from_being_stored(tmp_path: Path, bad: list[date]) -> None:
    adapters = Fake(tmp_path, {day: InvalidDataError(f"{day} lies") for day in bad})
    stored, error = ingest(adapters)
    assert stored == set(DAYS) - set(bad)
    assert str(error).startswith(f"{bad[0]} lies")
    assert [failure.day for failure in adapters.failures.list(OPEN_INTEREST.name, BTC)] == bad
    adapters.fake.fails, adapters.fake.asked = {}, []
    assert ingest(adapters) == (set(DAYS), None)
    assert sorted(adapters.fake.asked) == bad, "the others are kept"
    assert adapters.failures.list(OPEN_INTEREST.name, BTC) == []


def test_a_source_that_lies_about_every_day_is_given_up_and_the_untried_days_are_counted(tmp_path: Path) -> None:
    adapters = Fake(tmp_path, {day: InvalidDataError("a web page instead of data") for day in DAYS})
    stored, error = ingest(adapters)
    assert stored == set()
    assert adapters.fake.asked == [*DAYS[:3], DAYS[-1]]
    assert type(error) is InvalidDataError
    assert str(error) == (
        "a web page instead of data (4 days of open_interest of binance:BTC/USDT:USDT failed, 6 were not tried: "
        "`tradecore coverage` lists them)"
    )


def test_a_host_that_is_down_is_asked_once(tmp_path: Path) -> None:
    adapters = Fake(tmp_path, {DAYS[2]: SourceUnavailableError("cannot reach there")})
    stored, error = ingest(adapters)
    assert stored == set(DAYS[:2])
    assert adapters.fake.asked == DAYS[:3]
    assert "1 day of open_interest" in str(error)
    assert "7 were not tried" in str(error)


def test_verifying_a_day_that_its_source_forgot_compares_what_it_still_shows(tmp_path: Path) -> None:
    adapters = Fake(tmp_path, {})
    ingest(adapters)
    adapters.fake.forgotten, adapters.fake.rows = True, 3
    assert [one.difference for one in verify_days(adapters, OPEN_INTEREST, BTC, DAYS[:2])] == ["", ""]
    adapters.fake.forgotten = False
    (found,) = verify_days(adapters, OPEN_INTEREST, BTC, DAYS[:1])
    assert found.difference.startswith("rows: 285 removed")
    adapters.layout.day(OPEN_INTEREST.name, BTC, DAYS[0], timeframe=None).write_bytes(b"PAR1 torn")
    adapters.layout.day(OPEN_INTEREST.name, BTC, DAYS[1], timeframe=None).unlink()
    damaged = list(verify_days(adapters, OPEN_INTEREST, BTC, DAYS[:2]))
    assert [one.entry.day for one in damaged] == DAYS[:2]
    assert all("lost, or not what its ledger says" in one.difference for one in damaged)


def test_updates_of_a_delisted_instrument_end_with_its_last_day(tmp_path: Path) -> None:
    adapters = Fake(tmp_path, {})
    ingest(adapters)
    today = NOW.date()
    assert last_listed_day(adapters, BTC, today) == today, "nobody has asked for listings yet"
    listed = ListedInstrument(BTC, "BTCUSDT", ListingStatus.DELISTED, FIRST, DAYS[-1])
    adapters.listings.put("binance", [listed], as_of=NOW)
    assert last_listed_day(adapters, BTC, today) == DAYS[-1]
    with open_instance(adapters.settings) as instance:
        answer = hourly_request(adapters, instance, BTC, today)
    assert getattr(answer, "skip_message", None) == f"{BTC} was delisted on {DAYS[-1]} and has all its days"
