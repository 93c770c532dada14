"""What a home holds: how each day stands, and the counts that people read."""

from dataclasses import replace
from datetime import date, timedelta

import pyarrow as pa
import pytest

from tradecore_pipeline.domain.market_data import FetchedDay, Gap
from tradecore_pipeline.domain.tables import BARS_1M, FUNDING_RATES, OPEN_INTEREST
from tradecore_pipeline.domain.time import day_start
from tradecore_pipeline.storage.coverage import CoverageRow, DayState, State, coverage, day_states, known_days
from tradecore_pipeline.storage.failures import Failures
from tradecore_pipeline.storage.ingest import store_day
from tradecore_pipeline.storage.lake import Lake
from tradecore_pipeline.storage.layout import Layout
from tradecore_pipeline.storage.ledger import Ledger
from tradecore_pipeline_tests.storage.days import BTC, DAY, NOW, SPOT, fetched, funding, minute_bars, open_interest

ONE_DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)
EMPTY = BARS_1M.schema.empty_table()
NO_DAYS = {f"{state}_days": 0 for state in ("done", "gap", "restated", "not_published", "before_listing",
                                             "incomplete", "failed", "missing", "damaged")}  # fmt: skip


@pytest.fixture
def failures(layout: Layout) -> Failures:
    return Failures(layout)


def _store(lake: Lake, ledger: Ledger, *days: FetchedDay) -> None:
    for day in days:
        store_day(lake, ledger, day, now=NOW, seconds=0.5, launch="a")


def _bars(offset: int, rows: pa.Table | None = None, *, reason: str = "", complete: bool = True) -> FetchedDay:
    day = DAY + offset * ONE_DAY
    made = minute_bars(day) if rows is None else rows
    source = "archive-daily" if made.num_rows else "none"
    return replace(fetched(made, day=day, complete=complete), reason=reason, source=source)


def _gap(day: date, first: int, last: int) -> Gap:
    return Gap(day_start(day) + first * MINUTE, day_start(day) + last * MINUTE, last - first + 1)


def _states(ledger: Ledger, failures: Failures, first: int, last: int) -> list[DayState]:
    return day_states(ledger, failures, BTC, BARS_1M, DAY + first * ONE_DAY, DAY + last * ONE_DAY)


def test_every_day_stands_in_one_state_and_says_why(lake: Lake, ledger: Ledger, failures: Failures) -> None:
    gap = _gap(DAY + 2 * ONE_DAY, 1430, 1439)
    holed = replace(_bars(2, minute_bars(DAY + 2 * ONE_DAY, count=1430)), gaps=(gap,))
    _store(lake, ledger, _bars(-1, EMPTY, reason="before listing (first bar 2022-05-01 00:00 UTC)"), _bars(0), holed)
    _store(lake, ledger, _bars(3, EMPTY, reason="not published: the archive has no file"), _bars(4))
    _store(lake, ledger, _bars(4, minute_bars(DAY + 4 * ONE_DAY, seed=2)))
    _store(lake, ledger, _bars(5, minute_bars(DAY + 5 * ONE_DAY, count=60), reason="day not over", complete=False))
    failures.record("bars_1m", BTC, DAY + ONE_DAY, reason="HTTP 503", at=NOW)
    found = _states(ledger, failures, -1, 6)
    assert [day.day for day in found] == [DAY + k * ONE_DAY for k in range(-1, 7)]
    archive = "archive-daily"
    assert [(day.state, day.rows, day.missing, day.reason, day.source) for day in found] == [
        (State.BEFORE_LISTING, 0, 0, "before listing (first bar 2022-05-01 00:00 UTC)", "none"),
        (State.DONE, 1440, 0, "", archive),
        (State.FAILED, 0, 0, "HTTP 503", ""),
        (State.GAP, 1430, 10, "", archive),
        (State.NOT_PUBLISHED, 0, 0, "not published: the archive has no file", "none"),
        (State.RESTATED, 1440, 0, f"restated: took the place of 1440 rows from {archive} of 2022-06-01", archive),
        (State.INCOMPLETE, 60, 0, "day not over", archive),
        (State.MISSING, 0, 0, "", ""),
    ]


def test_a_failure_counts_until_the_day_is_stored_and_never_against_a_complete_day(
    lake: Lake, ledger: Ledger, failures: Failures
) -> None:
    def state() -> tuple[State, int, str]:
        [day] = _states(ledger, failures, 0, 0)
        return day.state, day.rows, day.reason

    begun = _bars(0, minute_bars(count=60), reason="day not over", complete=False)
    failures.record("bars_1m", BTC, DAY, reason="HTTP 503", at=NOW - MINUTE)
    failures.record("bars_1m", BTC, DAY, reason="HTTP 451", at=NOW - MINUTE)
    assert state() == (State.FAILED, 0, "HTTP 451 (2 attempts since 2022-05-31)")
    ledger.record(store_day(lake, ledger, begun, now=NOW, seconds=0.5, launch="a"))
    failures.record("bars_1m", BTC, DAY, reason="as a killed writer left it", at=NOW - MINUTE)
    assert state() == (State.INCOMPLETE, 60, "day not over")
    failures.record("bars_1m", BTC, DAY, reason="HTTP 503", at=NOW + MINUTE)
    assert state() == (State.FAILED, 60, "HTTP 503 (2 attempts since 2022-05-31)")
    _store(lake, ledger, _bars(0))
    failures.record("bars_1m", BTC, DAY, reason="HTTP 503", at=NOW + MINUTE)
    assert state() == (State.DONE, 1440, "")


def test_coverage_counts_days_rows_and_minutes_and_a_gap_over_midnight_once(lake: Lake, ledger: Ledger) -> None:
    after = DAY + ONE_DAY
    with_gap = replace(_bars(0, minute_bars(count=1430)), gaps=(_gap(DAY, 1430, 1439),))
    second = replace(_bars(1, minute_bars(after).slice(5), complete=False), gaps=(_gap(after, 0, 4),))
    _store(lake, ledger, _bars(-1, EMPTY, reason="before listing (first bar ...)"), with_gap, second)
    oi_gap = Gap(day_start(DAY) + timedelta(minutes=1430), day_start(DAY) + timedelta(minutes=1435), 2)
    _store(lake, ledger, fetched(open_interest(count=286), table=OPEN_INTEREST, gaps=(oi_gap,)))
    _store(lake, ledger, fetched(funding(), table=FUNDING_RATES))
    bars = {"days": 3, "rows": 1430 + 1435, "missing_minutes": 15, "gaps": 1}
    nothing = NO_DAYS | {"days": 0, "rows": 0, "missing_minutes": 0, "gaps": 0}
    states = {"before_listing_days": 1, "gap_days": 1, "incomplete_days": 1}
    assert coverage(ledger, [BTC, SPOT]) == [
        CoverageRow(BTC, "bars_1m", DAY, after, **(NO_DAYS | bars | states)),
        CoverageRow(BTC, "funding_rates", DAY, DAY, **(nothing | {"days": 1, "rows": 3, "done_days": 1})),
        CoverageRow(BTC, "open_interest", DAY, DAY,
                    **(nothing | {"days": 1, "rows": 286, "missing_minutes": 10, "gaps": 1, "gap_days": 1})),
        CoverageRow(BTC, "premium_index", None, None, **nothing),
        CoverageRow(BTC, "long_short_ratios", None, None, **nothing),
        CoverageRow(SPOT, "bars_1m", None, None, **nothing),
    ]  # fmt: skip


def test_days_between_stored_ones_are_missing_and_failed_ones_extend_what_is_known(
    lake: Lake, ledger: Ledger, failures: Failures
) -> None:
    assert known_days(ledger, failures, BTC, BARS_1M) is None
    _store(lake, ledger, _bars(0), _bars(3))
    failures.record("bars_1m", BTC, DAY + 5 * ONE_DAY, reason="x", at=NOW)
    assert known_days(ledger, failures, BTC, BARS_1M) == (DAY, DAY + 5 * ONE_DAY)
    row = coverage(ledger, [BTC])[0]
    assert (row.done_days, row.missing_days, row.failed_days, row.days) == (2, 3, 1, 2)
    assert (row.first, row.last) == (DAY, DAY + 3 * ONE_DAY)


def test_days_whose_notes_are_damaged_are_a_state_of_their_own_and_stop_nobody(
    lake: Lake, ledger: Ledger, failures: Failures, layout: Layout
) -> None:
    _store(lake, ledger, *(_bars(k) for k in range(4)))
    for offset in (0, 2):
        layout.ledger_day("bars_1m", BTC, DAY + offset * ONE_DAY).write_bytes(b'{"day": "2022-')
    for offset in (3, 4):
        failures.record("bars_1m", BTC, DAY + offset * ONE_DAY, reason="x", at=NOW)
        layout.failure_day("bars_1m", BTC, DAY + offset * ONE_DAY).write_bytes(b"")
    found = _states(ledger, failures, 0, 4)
    assert [day.state for day in found] == ["damaged", "done", "damaged", "done", "damaged"], "a whole day stays done"
    assert "date=2022-05-01.json is damaged: `tradecore repair` fetches that day again" in found[0].reason
    assert "date=2022-05-05.json is damaged: `tradecore repair` fetches that day again" in found[4].reason
    assert known_days(ledger, failures, BTC, BARS_1M) == (DAY, DAY + 4 * ONE_DAY)
    row = coverage(ledger, [BTC])[0]
    assert (row.damaged_days, row.done_days, row.days, row.rows) == (3, 2, 2, 2880)
