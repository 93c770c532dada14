"""OKX misbehaving: what is fetched is what was published, or the day fails with a clear error."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import pytest

from tradecore_pipeline.domain.errors import SourceError, SourceUnavailableError
from tradecore_pipeline.domain.market_data import FetchedDay
from tradecore_pipeline_tests.exchanges.okx_market import BITCOIN, OkxMarket, okx_market

START, END = date(2024, 2, 1), date(2024, 3, 20)
NOW = datetime(2024, 3, 12, 3, 10, 40, tzinfo=UTC)
FIRST, LAST = date(2024, 3, 8), NOW.date()
BARS, *_ = DATASETS = ("bars_1m", "funding_rates", "open_interest")
SERIES = "/api/v5/(market|public/funding|rubik)"
PASSING: tuple[dict[str, object], ...] = (
    {"fault": "rate_limited", "path": "/api/v5/public/(time|funding)"},
    {"fault": "http_429", "path": "/", "argument": 0},
    {"fault": "http_500", "path": "/"},
    {"fault": "http_503", "path": "/api/v5/"},
    {"fault": "html_200", "path": "/api/v5/"},
    {"fault": "truncated_body", "path": "/api/v5/"},
    {"fault": "cut_body", "path": "/"},
    {"fault": "empty_page", "path": SERIES},
    {"fault": "duplicated_rows", "path": SERIES},
    {"fault": "repeated_page", "path": SERIES},
    {"fault": "cursor_ignored", "path": SERIES},
    {"fault": "unsorted_page", "path": SERIES},
    {"fault": "missing_rows", "path": SERIES},
    {"fault": "open_as_closed", "path": SERIES},
)
"""Faults that go away when asked again, and where they strike."""


@pytest.fixture(scope="module")
def okx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OkxMarket]:
    with okx_market(START, END, NOW, tmp_path_factory.mktemp("budgets")) as market:
        yield market


@pytest.fixture(autouse=True)
def _calm_afterwards(okx: OkxMarket, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("tradecore_pipeline.exchanges.budget.FIRST_BACK_OFF_SECONDS", 0.001)
    yield
    okx.calm()


def fetch_afresh(okx: OkxMarket, dataset: str, first: date = FIRST) -> list[FetchedDay]:
    """With a client that remembers nothing."""
    client = okx.client()
    try:
        days = [first + timedelta(days=number) for number in range((LAST - first).days + 1)]
        return list(client.fetch_days(dataset, BITCOIN, days))
    finally:
        client.close()


@pytest.mark.parametrize("fault", PASSING, ids=[str(fault["fault"]) for fault in PASSING])
@pytest.mark.parametrize("dataset", DATASETS)
def test_a_passing_fault_changes_nothing(okx: OkxMarket, dataset: str, fault: dict[str, object]) -> None:
    calm = fetch_afresh(okx, dataset)
    okx.disturb(fault | {"probability": 0.4, "times": 1})
    disturbed = fetch_afresh(okx, dataset)
    okx.check(disturbed, dataset)
    assert [(day.gaps, day.complete, day.reason) for day in disturbed] == [
        (day.gaps, day.complete, day.reason) for day in calm
    ]


def test_a_silence_in_the_middle_of_pages_is_no_gap_unless_said_twice(okx: OkxMarket) -> None:
    okx.disturb({"fault": "missing_rows", "path": SERIES, "times": 0, "argument": 5})
    days = fetch_afresh(okx, BARS, date(2024, 3, 11))
    truth = okx.truth(BARS, days[0].day, days[-1].day)["ts_open"]
    stored = sum(day.rows.num_rows for day in days)
    assert stored + sum(gap.missing for day in days for gap in day.gaps) == len(truth)
    assert stored < len(truth)


def test_a_host_that_refuses_this_network_says_so_once(okx: OkxMarket) -> None:
    okx.disturb({"fault": "http_451", "path": "/api/v5/", "times": 0})
    with pytest.raises(SourceUnavailableError, match="geo-block"):
        fetch_afresh(okx, BARS)


@pytest.mark.parametrize("fault", ["http_500", "truncated_zip", "http_403", "short_csv"])
def test_bars_do_without_files_that_cannot_be_had(okx: OkxMarket, fault: str) -> None:
    okx.disturb({"fault": fault, "path": "/cdn/", "times": 0})
    days = fetch_afresh(okx, BARS, date(2024, 3, 5))
    okx.check(days, BARS)
    assert okx.fired()


def test_a_listing_that_does_not_answer_leaves_bars_to_rest(okx: OkxMarket) -> None:
    okx.disturb({"fault": "html_200", "path": "/api/v5/public/market-data-history", "times": 0})
    days = fetch_afresh(okx, BARS)
    okx.check(days, BARS)
    assert {day.source for day in days} == {"rest"}


def test_a_bulk_file_that_cannot_be_read_is_named_and_rest_has_the_day(okx: OkxMarket) -> None:
    okx.disturb({"fault": "truncated_zip", "path": "/cdn/", "times": 0})
    days = fetch_afresh(okx, BARS)
    okx.check(days, BARS)
    assert {day.source for day in days} == {"rest"}
    assert any("a file was not used: " in day.reason for day in days)


@pytest.mark.parametrize("dataset", DATASETS)
def test_lasting_nonsense_fails_the_day_instead_of_passing_as_data(okx: OkxMarket, dataset: str) -> None:
    okx.disturb({"fault": "truncated_body", "path": SERIES, "times": 0})
    with pytest.raises(SourceError, match="did not answer with JSON"):
        fetch_afresh(okx, dataset, LAST)


def test_pages_that_stay_empty_fail_the_day_instead_of_emptying_it(okx: OkxMarket) -> None:
    okx.disturb({"fault": "empty_page", "path": "/api/v5/market/", "times": 0})
    with pytest.raises(SourceError, match="without any bar"):
        fetch_afresh(okx, BARS, LAST)
