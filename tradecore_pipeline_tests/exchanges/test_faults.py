"""Whatever the servers do: stored data is the truth, or the day fails with a clear error, or is not complete."""

import random
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta

import pytest

from tradecore_pipeline.domain.errors import SourceError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.market_data import FetchedDay
from tradecore_pipeline.domain.time import day_start
from tradecore_pipeline.exchanges.binance.client import BinanceExchange
from tradecore_pipeline.quality.gaps import epoch_ms
from tradecore_pipeline_tests.exchanges.fake import Answer, FakeBinance, minutes, ms, snapshots

Connect = Callable[..., BinanceExchange]
BTC = Instrument.parse("binance:BTC/USDT:USDT")
DAYS = [date(2024, 6, 9), date(2024, 6, 10), date(2024, 6, 11)]
ANSWERS = (
    Answer(200, b"[]"),
    Answer(200, b"<!doctype html><html></html>"),
    Answer(200, b'[[1718000040000,"1","2"'),
    Answer(200, b'{"code": 0}'),
    Answer(200, b""),
    Answer(404, b"<Error/>"),
    Answer(403, b"<html>"),
    Answer(418, b"{}", {"Retry-After": "120"}),
    Answer(429, b"{}", {"Retry-After": "0"}),
    Answer(451, b"{}"),
    Answer(500, b"<html>"),
    Answer(503, b'{"code":-1001,"msg":"Internal error"}'),
    Answer(200, b"x" * 400, cut=200),
    Answer(200, b"0" * 64 + b"  file.zip"),
)
PATHS = (
    "prefix=",
    ".CHECKSUM",
    ".zip",
    "/fapi/v1/klines",
    "/fapi/v1/time",
    "openInterestHist",
    "fundingRate?",
    "premium",
    "/",
)


def until_it_fails(exchange: BinanceExchange, dataset: str) -> list[FetchedDay]:
    days: list[FetchedDay] = []
    with suppress(SourceError):
        days.extend(exchange.fetch_days(dataset, BTC, DAYS))
    return days


@pytest.mark.parametrize("seed", range(24))
def test_a_faulty_server_never_makes_wrong_rows_final(fake: FakeBinance, connect: Connect, *, seed: int) -> None:
    rng = random.Random(seed)
    everything = [t for day in [*DAYS, DAYS[-1] + timedelta(days=1)] for t in minutes(day)]
    fake.bars.update(everything)
    fake.put_day(DAYS[0], minutes(DAYS[0]))
    fake.put_day(DAYS[1], minutes(DAYS[1], 0, 1400))
    fake.open_interest = snapshots(day_start(DAYS[0]), 288 * 4)
    fake.premium.update(everything)
    fake.put_premium(DAYS[0], minutes(DAYS[0]))
    fake.put_premium(DAYS[1], minutes(DAYS[1], 30, 1440))
    fake.put_metrics(DAYS[1], snapshots(day_start(DAYS[1]), 250))
    first = datetime(2024, 6, 9, tzinfo=UTC)
    fake.funding = [(ms(first + timedelta(hours=8) * n) + 5, "0.0001") for n in range(40)]
    exchange = connect(retries=1)
    exchange.first_day("bars_1m", BTC)
    fake.faults.extend((rng.choice(PATHS), rng.randint(1, 3), rng.choice(ANSWERS)) for _ in range(rng.randint(1, 4)))
    truth = {
        ("bars_1m", "ts_open"): everything,
        ("premium_index", "ts_open"): everything,
        ("funding_rates", "ts_settle"): [t - t % 60_000 for t, _ in fake.funding],
        ("open_interest", "ts_event"): [ms(moment) for moment in fake.open_interest],
    }
    for (dataset, key), stamps in truth.items():
        for day in until_it_fails(exchange, dataset):
            start = ms(day_start(day.day))
            expected = [t for t in stamps if start <= t < start + 86_400_000]
            found = epoch_ms(day.rows.column(key)).tolist()
            assert set(found) <= set(expected)
            assert found == expected or (not day.complete and day.reason)
