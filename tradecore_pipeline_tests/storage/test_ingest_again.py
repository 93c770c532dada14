"""A day that is stored once more: rows its source forgot stay, restated ones leave a trace, confirmed ones stay put."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tradecore_pipeline.domain.errors import InvalidDataError
from tradecore_pipeline.domain.market_data import FetchedDay, Gap, SourceFile
from tradecore_pipeline.domain.tables import BARS_1M, FUNDING_RATES, OPEN_INTEREST
from tradecore_pipeline.domain.time import day_start
from tradecore_pipeline.storage import ingest
from tradecore_pipeline.storage.coverage import State, coverage, day_states
from tradecore_pipeline.storage.encoding import EncodedDay, encode_day
from tradecore_pipeline.storage.failures import Failures
from tradecore_pipeline.storage.ingest import MOST_FILES, MOST_VERSIONS, REPLACING, store_day
from tradecore_pipeline.storage.lake import Lake
from tradecore_pipeline.storage.layout import Layout
from tradecore_pipeline.storage.ledger import Ledger, LedgerEntry, Version
from tradecore_pipeline_tests.storage.days import BTC, DAY, NOW, fetched, funding, minute_bars, open_interest

HOUR = timedelta(hours=1)
FIVE = timedelta(minutes=5)
OTHER = minute_bars(seed=2)


def _store(lake: Lake, ledger: Ledger, day: FetchedDay, *, now: datetime = NOW, launch: str = "a") -> LedgerEntry:
    entry = store_day(lake, ledger, day, now=now, seconds=0.5, launch=launch)
    assert ledger.get(day.dataset, day.instrument, day.day) == entry
    return entry


def _snapshots(places: Sequence[int], *, scale: float = 1.0, complete: bool = False, url: str = "info") -> FetchedDay:
    """Open interest that was recorded at these five-minute places of the day."""
    rows = open_interest().take(pa.array(places, pa.int64()))
    column = rows.column_names.index("open_interest_base")
    rows = rows.set_column(
        column,
        rows.schema.field(column),
        pa.array([scale * value for value in rows.column(column).to_pylist()], pa.float64()),
    )
    day = fetched(rows, table=OPEN_INTEREST, complete=complete)
    reason = "" if complete else "day not over (recorded)"
    return replace(day, source="rest" if places else "none", host="api", files=(SourceFile(url, ""),), reason=reason,
                   forgotten=True)  # fmt: skip


def _nothing(reason: str = "not published: no history is kept") -> FetchedDay:
    return replace(_snapshots([], complete=True), reason=reason, files=())


def _path(layout: Layout, dataset: str = BARS_1M.name) -> Path:
    return layout.day(dataset, BTC, DAY, timeframe=None)


def test_a_forgotten_day_grows_with_each_visit_and_a_stored_row_wins(lake: Lake, ledger: Ledger) -> None:
    _store(lake, ledger, _snapshots([100, 101, 103]))
    entry = _store(lake, ledger, _snapshots([101, 102, 110], scale=2.0))
    rows = lake.rows(OPEN_INTEREST, BTC, DAY)
    base = open_interest().column("open_interest_base").to_pylist()
    assert rows.column("ts_event").to_pylist() == [day_start(DAY) + k * FIVE for k in (100, 101, 102, 103, 110)]
    assert rows.column("open_interest_base").to_pylist() == [
        base[100],
        base[101],
        2 * base[102],
        base[103],
        2 * base[110],
    ]
    start = day_start(DAY)
    assert entry.gaps == (
        Gap(start, start + 99 * FIVE, 100),
        Gap(start + 104 * FIVE, start + 109 * FIVE, 6),
    )
    assert (entry.rows, entry.missing, entry.complete, entry.reason) == (5, 106, False, "day not over (recorded)")
    assert entry.previous == ()


def test_a_day_whose_history_is_gone_keeps_what_was_recorded_and_becomes_final(lake: Lake, ledger: Ledger) -> None:
    _store(lake, ledger, _snapshots(range(280)))
    entry = _store(lake, ledger, _nothing())
    assert (entry.rows, entry.missing, entry.complete) == (280, 8, True)
    assert (entry.source, entry.host, entry.reason) == ("rest", "api", "not published: no history is kept")
    assert lake.rows(OPEN_INTEREST, BTC, DAY).equals(open_interest().slice(0, 280))


def test_a_complete_richer_day_is_not_changed_by_a_poorer_answer(lake: Lake, ledger: Ledger, layout: Layout) -> None:
    _store(lake, ledger, _snapshots(range(280)))
    held = _store(lake, ledger, _nothing())
    written = _path(layout, OPEN_INTEREST.name).stat().st_mtime_ns
    for poorer in (_nothing("other words"), _snapshots([3, 4], scale=2.0, complete=True), _snapshots([5])):
        assert _store(lake, ledger, poorer, now=NOW + HOUR, launch="b") == held
    assert _path(layout, OPEN_INTEREST.name).stat().st_mtime_ns == written


def test_an_answer_without_rows_takes_none_away(lake: Lake, ledger: Ledger) -> None:
    held = _store(lake, ledger, fetched(minute_bars()))
    empty = replace(fetched(BARS_1M.schema.empty_table()), source="none", reason="the exchange published no rows")
    assert _store(lake, ledger, empty, now=NOW + HOUR) == held
    assert lake.rows(BARS_1M, BTC, DAY).num_rows == 1440


def test_a_forgotten_day_without_a_grid_is_joined_without_gaps(lake: Lake, ledger: Ledger) -> None:
    first, later = funding().slice(0, 1), funding().slice(1)
    _store(lake, ledger, replace(fetched(first, table=FUNDING_RATES), forgotten=True))
    entry = _store(lake, ledger, replace(fetched(later, table=FUNDING_RATES), source="rest", forgotten=True))
    assert (entry.rows, entry.gaps, entry.source) == (3, (), "archive-daily+rest")
    assert lake.rows(FUNDING_RATES, BTC, DAY).equals(funding())


def test_the_files_of_a_day_recorded_often_are_bounded_and_the_newest_stay(lake: Lake, ledger: Ledger) -> None:
    for place in range(MOST_FILES + 5):
        entry = _store(lake, ledger, _snapshots([place], url=f"info-{place}"))
    assert [file.url for file in entry.files] == [f"info-{place}" for place in range(5, MOST_FILES + 5)]


def test_rows_that_cannot_be_read_are_not_replaced_by_the_little_that_is_left(
    lake: Lake, ledger: Ledger, layout: Layout
) -> None:
    held = _store(lake, ledger, _snapshots(range(280)))
    path = _path(layout, OPEN_INTEREST.name)
    path.write_bytes(b"torn")
    with pytest.raises(InvalidDataError, match=r"binance no longer serves that day: bring the file back from a copy"):
        _store(lake, ledger, _nothing())
    assert path.read_bytes() == b"torn"
    assert ledger.get(OPEN_INTEREST.name, BTC, DAY) == held


def test_a_lost_file_is_not_replaced_by_the_little_that_is_left(lake: Lake, ledger: Ledger, layout: Layout) -> None:
    _store(lake, ledger, _snapshots(range(280)))
    held = _store(lake, ledger, _nothing())
    path, entry = _path(layout, OPEN_INTEREST.name), layout.ledger_day(OPEN_INTEREST.name, BTC, DAY)
    kept = path.read_bytes()
    path.unlink()
    # Nothing, a part of it, and as many rows of which some were never there.
    for left in (_nothing(), _snapshots(range(279)), _snapshots(range(5, 285))):
        with pytest.raises(InvalidDataError, match=rf"is lost: it held 280 rows, .* from a copy, or remove {entry} to"):
            _store(lake, ledger, left, now=NOW + HOUR)
        assert not path.exists()
        assert ledger.get(OPEN_INTEREST.name, BTC, DAY) == held
    path.write_bytes(kept)
    assert _store(lake, ledger, _nothing(), now=NOW + HOUR) == held
    path.unlink()
    entry.unlink()
    assert _store(lake, ledger, _nothing(), now=NOW + HOUR).rows == 0


def test_a_lost_file_is_stored_again_by_whoever_has_all_of_its_rows(lake: Lake, ledger: Ledger, layout: Layout) -> None:
    held = _store(lake, ledger, _snapshots(range(280)))
    for whole in (_snapshots(range(280)), _snapshots(range(288), complete=True)):
        _path(layout, OPEN_INTEREST.name).unlink()
        entry = _store(lake, ledger, whole, now=NOW + HOUR)
        assert lake.rows(OPEN_INTEREST, BTC, DAY).num_rows == entry.rows == whole.rows.num_rows >= held.rows


def test_a_lost_day_that_cannot_be_brought_back_counts_as_failed(lake: Lake, ledger: Ledger, layout: Layout) -> None:
    _store(lake, ledger, _snapshots(range(280)))
    _store(lake, ledger, _nothing())
    failures = Failures(layout)
    failures.record(OPEN_INTEREST.name, BTC, DAY, reason="is lost", at=NOW + HOUR)
    [still_there] = day_states(ledger, failures, BTC, OPEN_INTEREST, DAY, DAY)
    _path(layout, OPEN_INTEREST.name).unlink()
    [lost] = day_states(ledger, failures, BTC, OPEN_INTEREST, DAY, DAY)
    assert (still_there.state, lost.state, lost.reason) == (State.GAP, State.FAILED, "is lost")
    [row] = [row for row in coverage(ledger, [BTC]) if row.dataset == OPEN_INTEREST.name]
    assert (row.failed_days, row.gap_days) == (1, 0)


def test_a_part_of_a_day_that_is_not_published_leaves_it_final_and_says_both(lake: Lake, ledger: Ledger) -> None:
    _store(lake, ledger, _nothing())
    held = "not published: no history is kept; its rows are from"
    first = _store(lake, ledger, _snapshots(range(100)))
    assert (first.rows, first.missing, first.complete, first.reason) == (100, 188, True, f"{held} rest")
    part = replace(_snapshots(range(90, 200)), source="import", reason="imported with 110 of 288 snapshots")
    second = _store(lake, ledger, part, now=NOW + HOUR)
    assert (second.rows, second.complete, second.reason) == (200, True, f"{held} rest+import")


def test_a_killed_writer_leaves_behind_why_the_day_it_was_replacing_was_final(
    lake: Lake, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    _store(lake, ledger, _nothing())

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(lake, "publish_encoded", killed)
        with pytest.raises(KeyboardInterrupt):
            _store(lake, ledger, _snapshots(range(100)))
    torn = ledger.get(OPEN_INTEREST.name, BTC, DAY)
    assert torn is not None
    assert (torn.complete, torn.reason) == (False, f"{REPLACING}, before: not published: no history is kept")
    entry = _store(lake, ledger, _snapshots(range(100)))
    assert (entry.complete, entry.reason) == (True, "not published: no history is kept; its rows are from rest")


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.sets(st.integers(0, 40), max_size=8), st.booleans()), min_size=1, max_size=5))
def test_however_a_forgotten_day_is_visited_no_row_is_lost_or_changed(visits: list[tuple[set[int], bool]]) -> None:
    with TemporaryDirectory() as home:
        layout = Layout(Path(home))
        lake, ledger, seen = Lake(layout), Ledger(layout), dict[int, float]()
        base = open_interest().column("open_interest_base").to_pylist()
        for number, (places, complete) in enumerate(visits):
            day = _snapshots(sorted(places), scale=1.0 + number, complete=complete)
            entry = _store(lake, ledger, day, launch=str(number))
            seen = {place: base[place] * (1.0 + number) for place in places} | seen
            rows = lake.rows(OPEN_INTEREST, BTC, DAY)
            expected = [seen[place] for place in sorted(seen)]
            assert rows.column("open_interest_base").to_pylist() == pytest.approx(expected, rel=1e-15)
            assert lake.holds(OPEN_INTEREST, BTC, DAY, sha256=entry.sha256)
            assert entry.rows == len(seen)
            last = 288 if entry.complete else max(seen, default=-1) + 1
            assert not seen or entry.missing == last - len(seen)


def test_a_restated_day_keeps_the_hash_of_what_it_held(lake: Lake, ledger: Ledger) -> None:
    first = _store(lake, ledger, replace(fetched(minute_bars()), source="rest"))
    second = _store(lake, ledger, fetched(OTHER), now=NOW + HOUR)
    assert second.previous == (Version(first.sha256, 1440, "rest", NOW),)
    third = _store(lake, ledger, fetched(minute_bars()), now=NOW + 2 * HOUR)
    assert third.previous == (*second.previous, Version(second.sha256, 1440, "archive-daily", NOW + HOUR))
    again = _store(lake, ledger, fetched(minute_bars()), now=NOW + 3 * HOUR)
    assert again.previous == third.previous


def test_a_day_that_is_restated_for_ever_remembers_the_newest_versions(lake: Lake, ledger: Ledger) -> None:
    days = [replace(fetched(minute_bars(count=1 + n)), source=f"archive-{n}") for n in range(MOST_VERSIONS + 4)]
    entry = [_store(lake, ledger, day) for day in days][-1]
    assert [version.source for version in entry.previous] == [f"archive-{n}" for n in range(3, MOST_VERSIONS + 3)]


def test_days_that_were_not_final_or_had_no_rows_are_not_restated(lake: Lake, ledger: Ledger) -> None:
    _store(lake, ledger, fetched(BARS_1M.schema.empty_table()))
    _store(lake, ledger, fetched(minute_bars(count=600), complete=False))
    assert _store(lake, ledger, fetched(minute_bars())).previous == ()


def test_a_lost_file_is_stored_again_without_a_restatement(lake: Lake, ledger: Ledger, layout: Layout) -> None:
    held = _store(lake, ledger, fetched(minute_bars()))
    _path(layout).unlink()
    again = _store(lake, ledger, fetched(minute_bars()), now=NOW + HOUR)
    assert (again.sha256, again.previous) == (held.sha256, ())
    assert lake.holds(BARS_1M, BTC, DAY, sha256=again.sha256)


def test_the_archive_that_agrees_is_named_and_the_file_is_not_written_again(
    lake: Lake, ledger: Ledger, layout: Layout
) -> None:
    over_rest = replace(fetched(minute_bars()), source="rest", host="fapi", files=(SourceFile("klines", ""),))
    held = _store(lake, ledger, over_rest)
    assert (held.verified_at, held.verified_source) == (None, "")
    written = _path(layout).stat().st_mtime_ns
    archive = fetched(minute_bars())
    entry = _store(lake, ledger, archive, now=NOW + HOUR, launch="b")
    assert (entry.source, entry.host, entry.files) == (archive.source, archive.host, archive.files)
    assert (entry.verified_at, entry.verified_source) == (NOW + HOUR, "archive-daily")
    assert (entry.sha256, entry.ingested_at, entry.launch, entry.previous) == (held.sha256, NOW, "b", ())
    worse = _store(lake, ledger, over_rest, now=NOW + 2 * HOUR, launch="c")
    assert worse == replace(entry, launch="c")
    assert _path(layout).stat().st_mtime_ns == written


def test_an_answer_that_cannot_confirm_the_same_rows_does_not_reopen_the_day(lake: Lake, ledger: Ledger) -> None:
    gap = Gap(day_start(DAY) + 1430 * timedelta(minutes=1), day_start(DAY) + 1439 * timedelta(minutes=1), 10)
    held = _store(lake, ledger, fetched(minute_bars(count=1430), gaps=(gap,)))
    unsure = replace(fetched(minute_bars(count=1430), complete=False), source="rest", reason="not yet confirmed")
    entry = _store(lake, ledger, unsure, now=NOW + HOUR)
    assert (entry.complete, entry.gaps, entry.missing, entry.reason) == (True, held.gaps, 10, "")


def test_the_same_rows_in_another_encoding_are_no_restatement(
    lake: Lake, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = _store(lake, ledger, fetched(minute_bars()))

    def newer(*arguments: object) -> EncodedDay:
        made = encode_day(*arguments)  # type: ignore[arg-type]
        return EncodedDay(made.data + b"x", made.rows)

    monkeypatch.setattr(ingest, "encode_day", newer)
    entry = _store(lake, ledger, fetched(minute_bars()), now=NOW + HOUR)
    assert (entry.sha256, entry.previous) == (held.sha256, ())
    assert lake.holds(BARS_1M, BTC, DAY, sha256=held.sha256)
    assert _store(lake, ledger, fetched(OTHER), now=NOW + HOUR).previous == (
        Version(held.sha256, 1440, "archive-daily", NOW),
    )


def test_storing_a_day_clears_its_failure_and_no_other(lake: Lake, ledger: Ledger, layout: Layout) -> None:
    failures = Failures(layout)
    for day in (DAY, DAY + timedelta(days=1)):
        failures.record(BARS_1M.name, BTC, day, reason="no answer", at=NOW)
    _store(lake, ledger, fetched(minute_bars()))
    assert [failure.day for failure in failures.list(BARS_1M.name, BTC)] == [DAY + timedelta(days=1)]


def test_a_refused_day_keeps_its_failure(lake: Lake, ledger: Ledger, layout: Layout) -> None:
    Failures(layout).record(BARS_1M.name, BTC, DAY, reason="no answer", at=NOW)
    twice = pa.concat_tables([minute_bars(count=1), minute_bars(count=1)])
    with pytest.raises(InvalidDataError):
        _store(lake, ledger, fetched(twice))
    assert Failures(layout).get(BARS_1M.name, BTC, DAY) is not None


def test_a_day_without_rows_remembers_the_files_that_were_looked_into(lake: Lake, ledger: Ledger) -> None:
    empty = replace(_nothing(), complete=True, files=())
    _store(lake, ledger, empty)
    looked = (SourceFile("archive/day.zip", "abc"),)
    entry = _store(lake, ledger, replace(empty, files=looked), now=NOW + HOUR, launch="b")
    assert (entry.files, entry.ingested_at, entry.launch) == (looked, NOW, "a")
