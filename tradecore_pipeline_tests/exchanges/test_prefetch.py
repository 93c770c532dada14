from collections.abc import Iterator

import pytest

from tradecore_pipeline.exchanges.prefetch import prefetch


def numbers(fails_at: int) -> Iterator[int]:
    for number in range(100):
        if number == fails_at:
            raise ValueError(f"no {number}")
        yield number


def test_what_came_before_units_that_fail_is_handed_over_first() -> None:
    seen: list[int] = []
    with pytest.raises(ValueError, match="no 7"):
        seen.extend(prefetch(lambda number: number, numbers(7), workers=3))
    assert seen == list(range(7))


def test_no_more_is_begun_than_a_reader_may_want() -> None:
    begun: list[int] = []

    def job(number: int) -> int:
        begun.append(number)
        return number

    results = prefetch(job, range(1000), workers=2)
    assert next(results) == 0
    results.close()
    assert len(begun) <= 6
