"""Days that failed: noted once each, counted, bounded, and forgotten when they are stored."""

from datetime import timedelta

import pytest

from tradecore_pipeline.domain.tables import BARS_1M, OPEN_INTEREST
from tradecore_pipeline.storage.failures import LONGEST_REASON, Failure, Failures
from tradecore_pipeline.storage.layout import Layout
from tradecore_pipeline_tests.storage.days import BTC, DAY, ETH, NOW

HOUR = timedelta(hours=1)
BARS = BARS_1M.name


@pytest.fixture
def failures(layout: Layout) -> Failures:
    return Failures(layout)


def test_a_day_that_fails_again_is_one_failure_with_two_attempts(failures: Failures) -> None:
    failures.record(BARS, BTC, DAY, reason="no answer", at=NOW)
    second = failures.record(BARS, BTC, DAY, reason="HTTP 503\n  from  the archive", at=NOW + HOUR)
    assert second == Failure(BTC, BARS, DAY, "HTTP 503 from the archive", NOW, NOW + HOUR, attempts=2)
    assert failures.get(BARS, BTC, DAY) == second
    assert failures.list(BARS, BTC) == [second]


def test_failures_are_listed_in_order_by_dataset_and_instrument(failures: Failures) -> None:
    for offset in (2, 0, 1):
        failures.record(BARS, BTC, DAY + timedelta(days=offset), reason="x", at=NOW)
    failures.record(BARS, ETH, DAY, reason="x", at=NOW)
    assert [failure.day for failure in failures.list(BARS, BTC)] == [DAY + timedelta(days=k) for k in range(3)]
    assert failures.list(OPEN_INTEREST.name, BTC) == []
    assert failures.get(OPEN_INTEREST.name, BTC, DAY) is None


def test_a_cleared_day_is_counted_anew(failures: Failures) -> None:
    failures.record(BARS, BTC, DAY, reason="x", at=NOW)
    failures.clear(BARS, BTC, DAY)
    failures.clear(BARS, BTC, DAY)
    assert failures.list(BARS, BTC) == []
    assert failures.record(BARS, BTC, DAY, reason="x", at=NOW + HOUR).attempts == 1


def test_a_long_reason_is_cut(failures: Failures) -> None:
    kept = failures.record(BARS, BTC, DAY, reason="x" * 100_000, at=NOW).reason
    assert (len(kept), kept[-5:]) == (LONGEST_REASON, "xx...")


@pytest.mark.parametrize("content", [b"", b"[]", b'{"day": "2022-', b"\xff\x00", b'{"day": "2022-05-01"}'])
def test_a_damaged_document_still_tells_that_its_day_failed_names_itself_and_is_replaced_by_the_next(
    failures: Failures, layout: Layout, content: bytes
) -> None:
    for _ in range(3):
        failures.record(BARS, BTC, DAY, reason="x", at=NOW)
    failures.record(BARS, BTC, DAY + timedelta(days=1), reason="y", at=NOW)
    path = layout.failure_day(BARS, BTC, DAY)
    path.write_bytes(content)
    damaged, whole = failures.list(BARS, BTC)
    assert (damaged.day, damaged.damaged, damaged.attempts) == (DAY, True, 1)
    assert damaged.reason == f"{path} is damaged: `tradecore repair` fetches that day again"
    assert (whole.reason, whole.damaged) == ("y", False)
    again = failures.record(BARS, BTC, DAY, reason="z", at=NOW + HOUR)
    assert (again.first_at, again.attempts) == (NOW + HOUR, 1)
    assert failures.get(BARS, BTC, DAY) == again
