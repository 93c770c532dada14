"""Ledger entries on disk: what is written is read, also by and from other versions of this program."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from tradecore_pipeline.domain.errors import InvalidDataError
from tradecore_pipeline.domain.tables import BARS_1M
from tradecore_pipeline.storage.ingest import store_day
from tradecore_pipeline.storage.lake import Lake
from tradecore_pipeline.storage.layout import Layout
from tradecore_pipeline.storage.ledger import Ledger, LedgerEntry, Version
from tradecore_pipeline_tests.storage.days import BTC, DAY, NOW, fetched, minute_bars


@pytest.fixture
def entry(lake: Lake, ledger: Ledger) -> LedgerEntry:
    return store_day(lake, ledger, fetched(minute_bars()), now=NOW, seconds=0.5, launch="a")


def test_versions_and_verifications_are_read_as_they_were_written(ledger: Ledger, entry: LedgerEntry) -> None:
    versions = (Version("ab" * 32, 7, "rest", NOW), Version("cd" * 32, 9, "archive-daily", NOW + timedelta(seconds=1)))
    told = replace(entry, previous=versions, verified_at=NOW + timedelta(days=1), verified_source="archive-monthly")
    ledger.record(told)
    assert ledger.get(BARS_1M.name, BTC, DAY) == told


def test_an_entry_from_before_restatements_were_kept_is_read(
    ledger: Ledger, entry: LedgerEntry, layout: Layout
) -> None:
    path = layout.ledger_day(BARS_1M.name, BTC, DAY)
    fields = json.loads(path.read_bytes())
    for name in ("previous", "verified_at", "verified_source"):
        del fields[name]
    path.write_text(json.dumps(fields))
    assert ledger.get(BARS_1M.name, BTC, DAY) == entry


@pytest.mark.parametrize("damage", [{"previous": [["ab"]]}, {"verified_at": "noon"}, {"previous": 3}, {"extra": 1}])
def test_a_damaged_entry_names_its_file(
    ledger: Ledger, entry: LedgerEntry, layout: Layout, damage: dict[str, object]
) -> None:
    path = layout.ledger_day(entry.dataset, BTC, DAY)
    path.write_text(json.dumps(json.loads(path.read_bytes()) | damage))
    with pytest.raises(InvalidDataError, match=r"date=2022-05-01\.json is not a ledger entry"):
        ledger.get(BARS_1M.name, BTC, DAY)


def test_the_stored_days_are_told_from_their_names_alone(ledger: Ledger, entry: LedgerEntry) -> None:
    ledger.record(replace(entry, day=DAY - timedelta(days=3)))
    assert ledger.days(BARS_1M.name, BTC) == [DAY - timedelta(days=3), DAY]
    assert ledger.days("funding_rates", BTC) == []


def test_a_home_without_its_marker_is_known_by_an_entry_that_can_be_read(
    ledger: Ledger, entry: LedgerEntry, layout: Layout
) -> None:
    for day in range(1, 4):
        ledger.record(replace(entry, day=DAY - timedelta(days=day)))
    for path in sorted(layout.ledger.rglob("date=*.json"))[:-1]:
        path.write_text("{torn")
    layout.market_marker.unlink(missing_ok=True)
    assert Ledger(layout).market() == entry.market
