from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import pytest

from tradecore_pipeline.domain.errors import InvalidDataError, UsageError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.market_data import ListedInstrument, ListingStatus
from tradecore_pipeline.domain.time import day_range, day_start
from tradecore_pipeline.exchanges.binance.client import BinanceExchange
from tradecore_pipeline.exchanges.binance.universe import perpetuals_json
from tradecore_pipeline.exchanges.rest import NotListedError
from tradecore_pipeline_tests.exchanges.fake import FakeBinance, minutes, ms

Connect = Callable[..., BinanceExchange]
LISTED, GONE = datetime(2019, 9, 8, 17, tzinfo=UTC), datetime(2024, 2, 3, 9, tzinfo=UTC)
NEVER = 4_133_404_800_000


def info(base: str, quote: str = "USDT", **more: object) -> dict[str, object]:
    described: dict[str, object] = {
        "symbol": f"{base}{quote}",
        "contractType": "PERPETUAL",
        "status": "TRADING",
        "baseAsset": base,
        "quoteAsset": quote,
        "marginAsset": quote,
        "onboardDate": ms(LISTED),
        "deliveryDate": NEVER,
    }
    return described | more


def put(fake: FakeBinance, symbol: str, days: list[date], *, root: str = "data/futures/um") -> None:
    """Listed files; nothing reads them."""
    for day in days:
        fake.files[f"{root}/daily/klines/{symbol}/1m/{symbol}-1m-{day}.zip"] = b""


def months(fake: FakeBinance, symbol: str, *names: str) -> None:
    for name in names:
        fake.files[f"data/futures/um/monthly/klines/{symbol}/1m/{symbol}-1m-{name}.zip"] = b""


def perpetuals(exchange: BinanceExchange) -> dict[str, ListedInstrument]:
    return {item.raw_symbol: item for item in exchange.instruments() if item.instrument.is_perpetual}


def test_what_trades_what_settles_and_what_only_the_archive_remembers(fake: FakeBinance, connect: Connect) -> None:
    fake.symbol_info = [
        info("BTC"),
        info("LUNA", status="SETTLING", deliveryDate=ms(GONE)),
        info("BTC", symbol="BTCUSDT_240628", contractType="CURRENT_QUARTER"),
        info("BTC", "USD", marginAsset="BTC"),
        info("NEW", status="PENDING_TRADING"),
        info("币安人生"),
    ]
    lost = list(day_range(date(2021, 1, 5), date(2023, 8, 17)))
    put(fake, "SRMUSDT", lost)
    months(fake, "SRMUSDT", "2021-01", "2023-07")
    put(fake, "BTCUSDT", [date(2024, 6, 1)])
    put(fake, "BTCUSDT_210326", [date(2021, 3, 1)])
    put(fake, "BTTUSDTSETTLED", [date(2022, 1, 1)])
    fake.bars.update(minutes(LISTED.date(), 1020))
    fake.page_keys = 50
    found = perpetuals(connect())
    assert list(found) == ["BTCUSDT", "LUNAUSDT", "SRMUSDT"]
    assert found["BTCUSDT"] == ListedInstrument(
        Instrument("binance", "BTC/USDT:USDT"), "BTCUSDT", ListingStatus.TRADING, LISTED.date(), None
    )
    assert (found["LUNAUSDT"].status, found["LUNAUSDT"].last_day) == (ListingStatus.DELISTED, GONE.date())
    gone = found["SRMUSDT"]
    assert (gone.status, gone.first_day, gone.last_day) == (ListingStatus.DELISTED, lost[0], lost[-1])
    assert fake.asked("SRMUSDT") < 8  # pages of a listing of 38


def test_a_symbol_that_lived_less_than_a_month_is_told_from_its_daily_files(
    fake: FakeBinance, connect: Connect
) -> None:
    fake.symbol_info = [info("BTC")]
    put(fake, "DODOBUSD", [date(2022, 3, 30), date(2022, 3, 31), date(2022, 4, 1)])
    found = perpetuals(connect())["DODOBUSD"]
    assert (found.instrument.symbol, found.first_day, found.last_day) == (
        "DODO/BUSD:BUSD",
        date(2022, 3, 30),
        date(2022, 4, 1),
    )


def test_the_first_day_is_the_earliest_that_anybody_has_seen(fake: FakeBinance, connect: Connect) -> None:
    early, relisted = date(2019, 9, 25), date(2023, 5, 1)
    fake.symbol_info = [
        info("BTC", onboardDate=ms(day_start(early))),
        info("ETH", onboardDate=ms(day_start(early))),
        info("LUNA", onboardDate=ms(day_start(relisted))),
        info("SUI", onboardDate=ms(day_start(relisted))),
        info("NEW", onboardDate=ms(day_start(relisted))),
    ]
    fake.bars.update(minutes(LISTED.date(), 1020))
    put(fake, "BTCUSDT", [date(2020, 1, 1)])
    put(fake, "LUNAUSDT", [date(2020, 9, 9)])
    put(fake, "SUIUSDT", [date(2023, 5, 3)])
    first = {raw: item.first_day for raw, item in perpetuals(connect()).items()}
    assert first == {
        "BTCUSDT": LISTED.date(),  # REST: the archive begins in 2020
        "ETHUSDT": None,  # REST does not tell
        "LUNAUSDT": date(2020, 9, 9),
        "SUIUSDT": relisted,
        "NEWUSDT": relisted,
    }
    assert fake.asked("klines?symbol") == 2  # of those two alone
    put(fake, "ETHUSDT", [date(2020, 1, 1)])
    alone = {raw: item.first_day for raw, item in perpetuals(connect(archive_only=True)).items()}
    assert alone["BTCUSDT"] is None
    assert alone["LUNAUSDT"] == date(2020, 9, 9)


def test_with_archives_only_a_spot_pair_without_fresh_files_does_not_trade(fake: FakeBinance, connect: Connect) -> None:
    put(fake, "BTCUSDT", [fake.now.date() - timedelta(days=2)], root="data/spot")
    put(fake, "XMRUSDT", [date(2022, 1, 1), date(2024, 2, 20)], root="data/spot")
    spot = {item.raw_symbol: item for item in connect(archive_only=True).instruments()}
    assert {raw: item.status.value for raw, item in spot.items()} == {"BTCUSDT": "trading", "XMRUSDT": "delisted"}


def test_spot_in_dollar_coins_is_listed_without_days(fake: FakeBinance, connect: Connect) -> None:
    fake.symbol_info = [info("BTC"), info("SXP", status="BREAK"), info("BTC", "TRY")]
    put(fake, "XMRUSDT", [date(2022, 1, 1)], root="data/spot")
    put(fake, "XMRBTC", [date(2022, 1, 1)], root="data/spot")
    spot = [item for item in connect().instruments() if not item.instrument.is_perpetual]
    assert [(item.raw_symbol, item.status.value) for item in spot] == [
        ("BTCUSDT", "trading"),
        ("SXPUSDT", "delisted"),
        ("XMRUSDT", "delisted"),
    ]
    assert all(item.first_day is None and item.last_day is None for item in spot)


def test_with_archives_only_fresh_files_mean_that_it_trades(fake: FakeBinance, connect: Connect) -> None:
    today = fake.now.date()
    put(fake, "BTCUSDT", list(day_range(today - timedelta(days=60), today - timedelta(days=2))))
    put(fake, "SRMUSDT", list(day_range(date(2021, 1, 5), date(2021, 2, 17))))
    found = perpetuals(connect(archive_only=True))
    assert (found["BTCUSDT"].status, found["BTCUSDT"].first_day) == (
        ListingStatus.TRADING,
        today - timedelta(days=60),
    )
    assert found["BTCUSDT"].last_day is None
    assert (found["SRMUSDT"].status, found["SRMUSDT"].last_day) == (ListingStatus.DELISTED, date(2021, 2, 17))
    assert not any("/fapi/" in path or "/api/" in path for path in fake.log)


@pytest.mark.parametrize("archive_only", [False, True])
def test_an_unknown_symbol_is_refused_with_the_nearest_ones(
    fake: FakeBinance, connect: Connect, *, archive_only: bool
) -> None:
    fake.symbol_info = [info("BTC"), info("ETH"), info("BTC", "USDC")]
    put(fake, "BTCUSDT", [date(2024, 6, 1)])
    asked = Instrument.parse("binance:BTC/USTD:USTD")
    exchange = connect(archive_only=archive_only)
    for ask in (
        lambda: list(exchange.fetch_days("bars_1m", asked, [date(2024, 6, 10)])),
        lambda: exchange.first_day("bars_1m", asked),
        lambda: list(exchange.fetch_days("funding_rates", asked, [date(2024, 6, 10)])),
    ):
        with pytest.raises(NotListedError, match="binance does not list BTCUSTD: did you mean BTC/USDT:USDT"):
            ask()
    assert issubclass(NotListedError, UsageError)
    assert fake.asked("exchangeInfo") == (0 if archive_only else 1)


def test_a_delisted_symbol_is_served_by_the_archive_and_its_end_is_final(fake: FakeBinance, connect: Connect) -> None:
    fake.symbols.clear()
    first, last = date(2024, 3, 5), date(2024, 3, 6)
    fake.put_day(first, minutes(first, 600))
    fake.put_day(last, minutes(last, 0, 540))
    days = list(day_range(first - timedelta(days=1), last + timedelta(days=1)))
    before, one, two, after = connect().fetch_days("bars_1m", Instrument.parse("binance:BTC/USDT:USDT"), days)
    assert before.reason == "before listing (first bar 2024-03-05 10:00 UTC)"
    assert (one.complete, one.gaps, one.rows.num_rows) == (True, (), 840)
    assert (two.complete, [gap.missing for gap in two.gaps]) == (True, [900])
    assert (after.complete, after.rows.num_rows, after.forgotten) == (True, 0, True)
    assert after.reason == (
        "not published: the archive has no file for this day, and BTCUSDT is no longer listed (last file 2024-03-06)"
    )


@pytest.mark.parametrize(
    "payload", ["<html>", {}, {"symbols": []}, {"symbols": [1]}, {"symbols": [info("BTC", onboardDate="x")]}]
)
def test_a_document_that_is_not_about_symbols_is_refused(payload: object) -> None:
    with pytest.raises(InvalidDataError, match="exchangeInfo"):
        perpetuals_json(payload)
