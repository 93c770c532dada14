"""What exchanges list and once listed: nothing that was ever seen is lost."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tradecore_pipeline.domain.errors import InvalidDataError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.market_data import ListedInstrument, ListingStatus
from tradecore_pipeline.storage.layout import Layout
from tradecore_pipeline.storage.listings import Listings, listed_on

JUNE = datetime(2026, 6, 1, 12, 30, 15, 123000, tzinfo=UTC)
LISTED, GONE = date(2020, 1, 1), date(2022, 5, 5)
TRADING, DELISTED = ListingStatus.TRADING, ListingStatus.DELISTED


def _row(
    base: str, *, status: ListingStatus = TRADING, first: date | None = LISTED, last: date | None = None
) -> ListedInstrument:
    return ListedInstrument(Instrument.parse(f"binance:{base}/USDT:USDT"), f"{base}USDT", status, first, last)


@pytest.fixture
def listings(layout: Layout) -> Listings:
    return Listings(layout)


def test_an_exchange_that_was_never_asked_lists_nothing(listings: Listings) -> None:
    assert (listings.get("okx"), listings.as_of("okx")) == ([], None)


def test_an_answer_is_read_as_it_was_put_sorted(listings: Listings) -> None:
    rows = [_row("ETH"), _row("LUNA", status=DELISTED, last=GONE), _row("BTC", first=None)]
    known = listings.put("binance", rows, as_of=JUNE)
    assert known == [rows[2], rows[0], rows[1]]
    assert (listings.get("binance"), listings.as_of("binance")) == (known, JUNE)
    assert listings.get("bybit") == []


def test_an_instrument_that_vanishes_is_delisted_on_the_day_it_was_last_seen(listings: Listings) -> None:
    listings.put("binance", [_row("BTC"), _row("FTT"), _row("LUNA", status=DELISTED, last=GONE)], as_of=JUNE)
    known = listings.put("binance", [_row("BTC")], as_of=JUNE + timedelta(days=40))
    gone = _row("FTT", status=DELISTED, last=JUNE.date())
    assert known == [_row("BTC"), gone, _row("LUNA", status=DELISTED, last=GONE)]
    assert listings.put("binance", [_row("BTC")], as_of=JUNE + timedelta(days=80)) == known


def test_days_that_a_later_answer_does_not_tell_stay_known(listings: Listings) -> None:
    listings.put("binance", [_row("BTC"), _row("FTT"), _row("LUNA", status=DELISTED, last=GONE)], as_of=JUNE)
    silent = [_row("BTC", first=None), _row("FTT", status=DELISTED), _row("LUNA", status=DELISTED, first=None)]
    assert listings.put("binance", silent, as_of=JUNE + timedelta(days=1)) == [
        _row("BTC"),
        _row("FTT", status=DELISTED, last=JUNE.date()),
        _row("LUNA", status=DELISTED, last=GONE),
    ]


def test_an_instrument_that_is_listed_again_trades_again_and_keeps_its_first_life(listings: Listings) -> None:
    listings.put("binance", [_row("BTC"), _row("LUNA", status=DELISTED, last=GONE)], as_of=JUNE)
    again = [_row("BTC"), _row("LUNA", first=date(2026, 6, 2))]
    known = listings.put("binance", again, as_of=JUNE + timedelta(days=1))
    assert known == [_row("BTC"), _row("LUNA", first=LISTED)]
    assert known[1] in listed_on(known, GONE)
    earlier = [_row("BTC"), _row("LUNA", first=LISTED - timedelta(days=9))]
    assert listings.put("binance", earlier, as_of=JUNE + timedelta(days=2)) == earlier


def test_an_older_answer_changes_nothing(listings: Listings) -> None:
    known = listings.put("binance", [_row("BTC"), _row("ETH")], as_of=JUNE)
    assert listings.put("binance", [_row("BTC")], as_of=JUNE - timedelta(seconds=1)) == known
    assert (listings.get("binance"), listings.as_of("binance")) == (known, JUNE)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "binance lists no instruments at all: nothing was stored"),
        ([_row("BTC"), _row("BTC")], r"binance lists binance:BTC/USDT:USDT twice"),
        ([ListedInstrument(Instrument.parse("okx:BTC/USDT:USDT"), "x", TRADING, None, None)], "does not list okx"),
    ],
)
def test_an_impossible_answer_changes_nothing(listings: Listings, rows: list[ListedInstrument], message: str) -> None:
    known = listings.put("binance", [_row("BTC"), _row("ETH")], as_of=JUNE)
    with pytest.raises(InvalidDataError, match=message):
        listings.put("binance", rows, as_of=JUNE + timedelta(days=1))
    assert listings.get("binance") == known


def test_a_damaged_file_is_named(listings: Listings, layout: Layout) -> None:
    listings.put("binance", [_row("BTC")], as_of=JUNE)
    layout.listings("binance").write_bytes(b"PAR1")
    with pytest.raises(InvalidDataError, match=r"exchange=binance\.parquet cannot be read: `tradecore instruments"):
        listings.get("binance")


def test_a_damaged_file_is_replaced_by_the_next_answer(listings: Listings, layout: Layout) -> None:
    listings.put("binance", [_row("BTC"), _row("ETH")], as_of=JUNE)
    path = layout.listings("binance")
    path.write_bytes(path.read_bytes()[:-9])
    later = JUNE + timedelta(days=1)
    assert listings.put("binance", [_row("BTC")], as_of=later) == [_row("BTC")] == listings.get("binance")
    assert listings.as_of("binance") == later


def test_damaged_files_are_kept_beside_the_new_one(listings: Listings, layout: Layout) -> None:
    path, torn = layout.listings("binance"), (b"PAR1", b"torn")
    for number, text in enumerate(torn):
        listings.put("binance", [_row("BTC")], as_of=JUNE + timedelta(days=number))
        assert len(listings.damaged("binance")) == number
        path.write_bytes(text)
    with pytest.raises(InvalidDataError, match="lists no instruments at all"):
        listings.put("binance", [], as_of=JUNE)
    assert path.read_bytes() == b"torn"
    listings.put("binance", [_row("ETH")], as_of=JUNE + timedelta(days=9))
    kept = listings.damaged("binance")
    assert [one.name for one in kept] == [f"{path.name}.damaged-{number}" for number in (1, 2)]
    assert tuple(one.read_bytes() for one in kept) == torn
    assert listings.get("binance") == [_row("ETH")]
    assert listings.damaged("okx") == []


def test_a_day_shows_what_existed_then_and_unknown_ends_are_open() -> None:
    rows = [_row("BTC"), _row("LUNA", status=DELISTED, last=GONE), _row("OLD", first=None), _row("NEW", first=GONE)]
    shown = {day: [row.instrument.base for row in listed_on(rows, day)] for day in (LISTED, GONE, date(2023, 1, 1))}
    assert shown == {LISTED: ["BTC", "LUNA", "OLD"], GONE: ["BTC", "LUNA", "OLD", "NEW"],
                     date(2023, 1, 1): ["BTC", "OLD", "NEW"]}  # fmt: skip
    assert listed_on(rows, LISTED - timedelta(days=1)) == [rows[2]]


def test_the_file_is_plain_to_duckdb(listings: Listings, layout: Layout) -> None:
    listings.put("binance", [_row("BTC"), _row("LUNA", status=DELISTED, last=GONE)], as_of=JUNE)
    with duckdb.connect(":memory:") as connection:
        connection.execute("SET TimeZone = 'UTC'")
        relation = connection.sql("SELECT * FROM read_parquet($1)", params=[str(layout.listings("binance"))])
        kinds = dict(zip(relation.columns, map(str, relation.types), strict=True))
        assert relation.fetchall()[1][:5] == ("binance:LUNA/USDT:USDT", "LUNAUSDT", "delisted", LISTED, GONE)
    assert kinds == {"instrument": "VARCHAR", "raw_symbol": "VARCHAR", "status": "VARCHAR", "first_day": "DATE",
                     "last_day": "DATE", "as_of": "TIMESTAMP WITH TIME ZONE"}  # fmt: skip


@settings(max_examples=20, deadline=None)
@given(st.lists(st.sets(st.sampled_from("ABCDE"), min_size=1), min_size=1, max_size=5))
def test_whatever_an_exchange_answers_no_instrument_is_lost(answers: list[set[str]]) -> None:
    with TemporaryDirectory() as home:
        listings = Listings(Layout(Path(home)))
        for number, bases in enumerate(answers):
            known = listings.put("binance", [_row(base) for base in bases], as_of=JUNE + timedelta(days=number))
            assert {row.instrument.base for row in known} == set().union(*answers[: number + 1])
            assert {row.instrument.base for row in known if row.status is TRADING} == bases
            for row in known:
                last = max(place for place in range(number + 1) if row.instrument.base in answers[place])
                assert row.last_day == (None if last == number else (JUNE + timedelta(days=last)).date())
