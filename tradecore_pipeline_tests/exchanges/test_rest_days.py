"""Days over REST without a server: what is missing, late, contradicted or lost on the way."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradecore_pipeline.domain.errors import InvalidDataError, SourceUnavailableError, UsageError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.market_data import FetchedDay, Gap
from tradecore_pipeline.domain.tables import FUNDING_RATES, OPEN_INTEREST, TIMESTAMP
from tradecore_pipeline.domain.time import day_range, day_start
from tradecore_pipeline.exchanges.answers import Answer, answer_of, oldest_key
from tradecore_pipeline.exchanges.days import by_month, fetch_ahead, refuse_future, runs, trusted_now
from tradecore_pipeline.exchanges.grid import GridSeries, grid_days
from tradecore_pipeline.exchanges.payloads import rows_of
from tradecore_pipeline.exchanges.pieces import ONE_DAY
from tradecore_pipeline.exchanges.rest import Page
from tradecore_pipeline.exchanges.settlements import FundingSeries, funding_days
from tradecore_pipeline.exchanges.suggestions import not_listed

BTC = Instrument.parse("bybit:BTC/USDT:USDT")
DAY = date(2024, 5, 10)
START = day_start(DAY)
STEP, HOUR = timedelta(minutes=5), timedelta(hours=1)
LATER = START + timedelta(days=30)


def snapshots(stamps: list[datetime]) -> pa.Table:
    columns = {"ts_event": pa.array(stamps, TIMESTAMP), "open_interest_base": pa.array([1.0] * len(stamps))}
    return rows_of(OPEN_INTEREST, columns, name="test")


def settled(stamps: list[datetime]) -> pa.Table:
    columns = {"ts_settle": pa.array(stamps, TIMESTAMP), "funding_rate": pa.array([0.0001] * len(stamps))}
    return rows_of(FUNDING_RATES, columns, name="test")


class Host:
    """A series that may forget to mention some rows, the first times it is asked."""

    def __init__(self, stamps: list[datetime], *, forgets: dict[datetime, int] | None = None) -> None:
        self.stamps = stamps
        self.forgets = dict(forgets or {})
        self.asked = 0

    def shown(self) -> list[datetime]:
        self.asked += 1
        hidden = {stamp for stamp, times in self.forgets.items() if times > 0}
        self.forgets = {stamp: times - 1 for stamp, times in self.forgets.items()}
        return [stamp for stamp in self.stamps if stamp not in hidden]

    def read(self, start: datetime, end: datetime) -> Answer:
        rows = snapshots([stamp for stamp in self.shown() if start <= stamp <= end])
        return answer_of([Page(rows, "http://test/page", "real")], OPEN_INTEREST, host="test")

    def settlements(self, start: datetime, end: datetime) -> Answer:
        shown = self.shown()
        rows = settled([*[stamp for stamp in shown if stamp < start][-1:], *(s for s in shown if start <= s < end)])
        return answer_of([Page(rows, "http://test/page", "real")], FUNDING_RATES, host="test")

    def newest_before(self, moment: datetime) -> datetime | None:
        return max((stamp for stamp in self.stamps if stamp < moment), default=None)

    def seen_since(self, moment: datetime) -> datetime | None:
        return max((stamp for stamp in self.stamps if stamp >= moment), default=None)


def grid(host: Host, days: list[date], *, now: datetime = LATER, opened: datetime = START) -> list[FetchedDay]:
    series = GridSeries(BTC, OPEN_INTEREST, STEP, host.read, host.seen_since)
    return list(grid_days(series, days, now=now, opened=opened, until=now + timedelta(milliseconds=1), archived=None))


def funding(host: Host, days: list[date], *, now: datetime = LATER, opened: datetime = START) -> list[FetchedDay]:
    series = FundingSeries(BTC, host.settlements, host.seen_since, 8 * HOUR)
    return list(funding_days(series, days, now=now, opened=opened))


def marks(count: int, *, start: datetime = START) -> list[datetime]:
    return [start + STEP * n for n in range(count)]


def test_rows_that_a_page_left_out_are_fetched_by_asking_again() -> None:
    stamps = marks(600)
    host = Host(stamps, forgets={stamps[3]: 1, stamps[100]: 2})
    first, second = grid(host, [DAY, DAY + ONE_DAY])
    assert host.asked == 3
    assert (first.rows.num_rows, second.rows.num_rows, first.gaps, second.gaps) == (288, 288, (), ())
    assert first.complete
    assert second.complete


def test_what_stays_missing_is_a_gap_and_two_answers_without_news_end_the_asking() -> None:
    stamps = marks(600)
    host = Host([*stamps[:10], *stamps[12:]])
    (day,) = grid(host, [DAY])
    assert (host.asked, day.gaps, day.complete) == (3, (Gap(stamps[10], stamps[11], 2),), True)


def test_a_day_that_goes_silent_may_still_be_late_until_two_days_have_passed() -> None:
    host = Host(marks(100))
    (late,) = grid(host, [DAY], now=START + timedelta(days=2))
    assert (late.complete, late.reason) == (False, "no rows yet from 08:20 UTC on (halted or delayed)")
    (final,) = grid(host, [DAY], now=START + timedelta(days=4))
    assert (final.complete, final.gaps) == (True, (Gap(START + 100 * STEP, START + 287 * STEP, 188),))


def test_a_silence_that_the_newest_row_contradicts_is_refused() -> None:
    stamps = marks(600)
    host = Host(stamps, forgets=dict.fromkeys(stamps[200:], 99))
    with pytest.raises(
        InvalidDataError, match="contradicts itself about open_interest: nothing since 2024-05-10 16:40"
    ):
        grid(host, [DAY])


@pytest.mark.parametrize("silent_days", [0.1, 1.5, 9])
def test_a_halt_beyond_midnight_is_a_gap_as_soon_as_rows_behind_it_are_seen(silent_days: float) -> None:
    resumed = START + ONE_DAY + silent_days * ONE_DAY
    host = Host(marks(200) + marks(50, start=resumed))
    (day,) = grid(host, [DAY])
    assert (day.gaps, day.complete) == ((Gap(START + 200 * STEP, START + 287 * STEP, 88),), True)
    eights = every(8, START - ONE_DAY, START + 9 * HOUR) + every(8, resumed, LATER)
    (settled_day,) = funding(Host(eights), [DAY])
    assert settled_day.complete
    assert settled_day.gaps == (Gap(START + 8 * HOUR, START + 16 * HOUR, 2),)


def test_the_day_a_series_opened_on_has_no_gap_before_its_first_row() -> None:
    host = Host(marks(288)[50:] + marks(5, start=START + ONE_DAY))
    (day,) = grid(host, [DAY], opened=START + 50 * STEP)
    assert (day.gaps, day.rows.num_rows, day.complete) == ((), 238, True)


@given(st.integers(0, 3000))
def test_the_first_row_is_found_wherever_it_lies(minutes: int) -> None:
    first = START + timedelta(hours=minutes)
    host = Host([first + STEP * n for n in range(10)] + [LATER + timedelta(days=200)])
    now = LATER + timedelta(days=201)
    assert oldest_key(host.newest_before, host.read, OPEN_INTEREST, since=START, now=now) == first


def every(hours: int, first: datetime, after: datetime) -> list[datetime]:
    return [first + n * hours * HOUR for n in range(int((after - first) / (hours * HOUR)))]


CHANGES = START + timedelta(days=3)
CHANGING = every(8, START - 4 * ONE_DAY, CHANGES) + every(4, CHANGES, START + timedelta(days=8))


@given(st.lists(st.integers(0, 6), min_size=1, unique=True))
def test_settlements_are_the_same_however_the_days_are_sliced(numbers: list[int]) -> None:
    days = sorted(DAY + timedelta(days=number) for number in numbers)
    host = Host(CHANGING)
    together = funding(host, days)
    alone = [day for wanted in days for day in funding(host, [wanted])]
    assert [day.rows for day in together] == [day.rows for day in alone]
    assert all(day.gaps == () and day.complete for day in together + alone)


def test_an_interval_that_changes_for_good_is_measured_and_no_gap() -> None:
    days = funding(Host(CHANGING), list(day_range(DAY, DAY + timedelta(days=5))))
    minutes = [day.rows.column("funding_interval_minutes").to_pylist() for day in days]
    assert minutes == [[480] * 3] * 3 + [[480, *[240] * 5]] + [[240] * 6] * 2
    slower = every(4, START - ONE_DAY, CHANGES) + every(8, CHANGES, START + timedelta(days=8))
    assert all(day.gaps == () for day in funding(Host(slower), list(day_range(DAY, DAY + timedelta(days=5)))))


@pytest.mark.parametrize("hours", [1, 4, 8])
def test_a_settlement_missing_for_good_is_a_gap_even_if_its_silence_is_no_longer_than_others(hours: int) -> None:
    stamps = every(hours, START - 4 * ONE_DAY, START + 5 * ONE_DAY)
    lost = START + ONE_DAY + 8 * HOUR
    host = Host([stamp for stamp in stamps if stamp != lost])
    first, second = funding(host, [DAY, DAY + ONE_DAY])
    assert (first.gaps, second.gaps) == ((), (Gap(lost, lost, 1),))
    assert second.complete


def test_a_settlement_that_one_page_left_out_is_found_again() -> None:
    stamps = every(4, START - 4 * ONE_DAY, START + 5 * ONE_DAY)
    host = Host(stamps, forgets={START + 8 * HOUR: 1})
    (day,) = funding(host, [DAY])
    assert (host.asked, day.rows.num_rows, day.gaps) == (2, 6, ())


def test_settlements_that_end_early_are_late_or_contradicted_or_final() -> None:
    stamps = every(8, START - 4 * ONE_DAY, START + 9 * HOUR)
    (late,) = funding(Host(stamps), [DAY], now=START + timedelta(days=2))
    assert (late.complete, late.reason) == (False, "no later settlement yet (halted or delayed)")
    (final,) = funding(Host(stamps), [DAY], now=START + timedelta(days=9))
    assert (final.complete, final.rows.num_rows) == (True, len([s for s in stamps if s >= START]))
    host = Host(
        every(8, START - 4 * ONE_DAY, START + 9 * ONE_DAY), forgets=dict.fromkeys(every(8, START + 8 * HOUR, LATER), 99)
    )
    with pytest.raises(InvalidDataError, match="contradicts itself about funding_rates"):
        funding(host, [DAY])


def test_days_before_a_bad_one_are_handed_over_even_from_one_unit() -> None:
    days = list(day_range(DAY, DAY + timedelta(days=5)))
    bad = days[3]

    def work(wanted: Sequence[date]) -> list[FetchedDay]:
        if bad in wanted:
            raise InvalidDataError("broken")
        return grid(Host(marks(288 * 9)), list(wanted))

    fetched: list[date] = []
    with pytest.raises(InvalidDataError, match="broken"):
        fetched.extend(day.day for day in fetch_ahead(work, runs(days, longest=2), workers=2))
    assert fetched == days[:3]


def test_a_host_that_is_down_is_not_asked_day_by_day() -> None:
    asked: list[int] = []

    def work(wanted: Sequence[date]) -> list[FetchedDay]:
        asked.append(len(wanted))
        raise SourceUnavailableError("down")

    with pytest.raises(SourceUnavailableError):
        list(fetch_ahead(work, [(DAY, DAY + ONE_DAY)], workers=1))
    assert asked == [2]


def test_days_are_grouped_into_runs_and_months() -> None:
    days = [date(2024, 1, 30), date(2024, 1, 31), date(2024, 2, 1), date(2024, 2, 3)]
    assert list(runs(days, longest=2)) == [(days[0], days[1]), (days[2],), (days[3],)]
    assert list(by_month(days)) == [(days[0], days[1]), (days[2], days[3])]


def test_a_clock_ahead_of_ours_is_not_trusted_and_one_behind_is() -> None:
    ours = datetime(2024, 5, 10, 12, tzinfo=UTC)
    assert trusted_now(ours + HOUR, ours) == ours
    assert trusted_now(ours - 365 * ONE_DAY, ours) == ours - 365 * ONE_DAY
    with pytest.raises(UsageError, match="is in the future"):
        refuse_future([DAY, DAY + ONE_DAY], ours)


def test_suggestions_name_the_nearest_listed_symbols() -> None:
    listed = [Instrument.parse(f"bybit:{base}/USDT:USDT") for base in ("BTC", "BTCDOM", "ETH", "XRP")]
    error = not_listed(Instrument.parse("bybit:BTC/USTD:USTD"), "BTC/USTD:USTD", listed)
    assert str(error).startswith("bybit does not list BTC/USTD:USTD: did you mean BTC/USDT:USDT")
    assert str(not_listed(BTC, "BTCUSDT", listed)) == "bybit no longer serves BTCUSDT: it lists it as delisted"
    assert str(not_listed(BTC, "BTCUSDT", [])) == "bybit does not list BTCUSDT: check its spelling"
