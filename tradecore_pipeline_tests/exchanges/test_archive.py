import io
import re
import zipfile
from collections.abc import Callable
from datetime import date, timedelta

import pytest

from tradecore_pipeline.domain.errors import ChecksumError, InvalidDataError, SourceUnavailableError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.market_data import FetchedDay
from tradecore_pipeline.domain.time import day_start
from tradecore_pipeline.exchanges.archive import unzip
from tradecore_pipeline.exchanges.binance.client import BinanceExchange
from tradecore_pipeline.exchanges.http import Reply
from tradecore_pipeline_tests.exchanges.fake import Answer, FakeBinance, klines_csv, minutes, snapshots, zipped

Connect = Callable[..., BinanceExchange]
BTC = Instrument.parse("binance:BTC/USDT:USDT")
DAY = date(2024, 6, 10)
DAILY_KEY = "data/futures/um/daily/klines/BTCUSDT/1m/BTCUSDT-1m-2024-06-10.zip"


def fetch(exchange: BinanceExchange, *days: date) -> list[FetchedDay]:
    return list(exchange.fetch_days("bars_1m", BTC, days))


def damaged() -> bytes:
    """A zip whose directory is whole and whose compressed bytes are not."""
    content = bytearray(zipped(klines_csv(minutes(DAY), header=True), "BTCUSDT-1m-2024-06-10.csv"))
    start = 30 + int.from_bytes(content[26:28], "little") + int.from_bytes(content[28:30], "little")
    content[start : start + 64] = b"\xff" * 64
    return bytes(content)


def encrypted() -> bytes:
    """A zip that says its member is encrypted, in both places that say so."""
    content = bytearray(zipped(b"x", "BTCUSDT-1m-2024-06-10.csv"))
    for flags in (6, content.index(b"PK\x01\x02") + 8):
        content[flags] |= 1
    return bytes(content)


def test_a_wrong_checksum_is_downloaded_again_and_then_refused(fake: FakeBinance, connect: Connect) -> None:
    fake.put_day(DAY, minutes(DAY))
    wrong = Answer(200, b"0" * 64 + b"  x.zip\n")
    fake.faults.append((f"{DAILY_KEY}.CHECKSUM", 1, wrong))
    assert fetch(connect(), DAY)[0].complete
    fake.faults.append((f"{DAILY_KEY}.CHECKSUM", 9, wrong))
    with pytest.raises(ChecksumError, match=r"BTCUSDT-1m-2024-06-10\.zip does not match its checksum"):
        fetch(connect(), DAY)


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        (Answer(200, b"<!DOCTYPE html><html>login</html>"), InvalidDataError, "web page instead of data"),
        (Answer(451, b"{}"), SourceUnavailableError, "geo-block"),
        (Answer(403, b"<html>"), SourceUnavailableError, "HTTP 403"),
        (Answer(500, b"<html>"), SourceUnavailableError, "HTTP 500"),
        (Answer(404, b""), SourceUnavailableError, "lists .* but does not serve"),
        (Answer(429, b"", {"Retry-After": "3600"}), SourceUnavailableError, "too many requests"),
        (Answer(200, b"x" * 500, cut=100), InvalidDataError, "cut short: 400 of 500 bytes"),
        (Answer(200, b"hello"), ChecksumError, "not a SHA-256 checksum"),
    ],
)
def test_an_archive_file_that_is_not_one_fails_the_day(
    fake: FakeBinance, connect: Connect, *, answer: Answer, error: type[Exception], message: str
) -> None:
    fake.put_day(DAY, minutes(DAY))
    fake.faults.append((DAILY_KEY, 99, answer))
    with pytest.raises(error, match=message):
        fetch(connect(retries=0), DAY)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"not a zip", "not a readable zip"),
        (zipped(b"x", "readme.txt"), "does not hold exactly one CSV"),
        (damaged(), "not a readable zip"),
        (encrypted(), "not a readable zip"),
    ],
)
def test_a_file_that_holds_something_else_fails_the_day(
    fake: FakeBinance, connect: Connect, *, body: bytes, message: str
) -> None:
    fake.files[DAILY_KEY] = body
    with pytest.raises(InvalidDataError, match=message):
        fetch(connect(), DAY)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_zip_with_any_one_bit_turned_holds_what_it_held_or_is_refused(method: int) -> None:
    csv, body = klines_csv(minutes(DAY, 0, 3), header=False), io.BytesIO()
    with zipfile.ZipFile(body, "w", method) as archive:
        archive.writestr("x.csv", csv)
    turned, refused = bytearray(body.getvalue()), 0
    for at in range(8 * len(turned)):
        turned[at // 8] ^= 1 << at % 8
        try:
            assert unzip(Reply("u", bytes(turned), "real", None), named=None) == csv
        except InvalidDataError:
            refused += 1
        turned[at // 8] ^= 1 << at % 8
    assert refused > 8 * len(turned) // 2


def test_a_short_body_is_fetched_again(fake: FakeBinance, connect: Connect) -> None:
    fake.put_day(DAY, minutes(DAY))
    fake.faults.append((DAILY_KEY, 1, Answer(200, b"x" * 500, cut=100)))
    assert fetch(connect(), DAY)[0].complete


MALFORMED = pytest.mark.parametrize(
    ("csv", "message"),
    [
        (b"", "is empty"),
        (klines_csv(minutes(DAY, 0, 3), header=False)[:-20] + b"\n", r"2024-06-10\.zip, line 3"),
        (klines_csv(minutes(DAY), header=True).replace(b",1.5,", b",many,", 1), r"2024-06-10\.zip, line 2"),
        (klines_csv(minutes(DAY), header=True) * 2, r"\.zip, line 1442: "),
        (klines_csv(minutes(DAY - timedelta(days=1)), header=True), "outside its daily window"),
        (klines_csv(minutes(DAY), header=True) + b",".join([b"1718000040000", *[b"5"] * 11]) + b"\n", "two different"),
        (klines_csv(minutes(DAY), header=True).replace(b".00000001,", b".000000012,", 1), r"\.zip, line 2: "),
    ],
)


def put_csv(fake: FakeBinance, csv: bytes) -> None:
    fake.files[DAILY_KEY] = zipped(csv, DAILY_KEY.rpartition("/")[2].replace(".zip", ".csv"))


@MALFORMED
def test_a_malformed_file_fails_the_day_and_says_where(
    fake: FakeBinance, connect: Connect, *, csv: bytes, message: str
) -> None:
    put_csv(fake, csv)
    with pytest.raises(InvalidDataError, match=message):
        fetch(connect(), DAY)


@MALFORMED
def test_rest_fills_in_for_a_malformed_file_and_the_day_says_what_is_wrong_with_it(
    fake: FakeBinance, connect: Connect, *, csv: bytes, message: str
) -> None:
    put_csv(fake, csv)
    fake.bars.update(minutes(DAY) + minutes(DAY + timedelta(days=1)))
    (day,) = fetch(connect(), DAY)
    assert (day.source, day.rows.num_rows, day.complete) == ("rest", 1440, True)
    assert re.search(message, day.reason)


@pytest.mark.parametrize(
    ("csv", "message"),
    [
        (klines_csv([*minutes(DAY, 0, 9), minutes(DAY)[20] + 1], header=True), "not on the grid"),
        (klines_csv(minutes(DAY), header=True).replace(b".00000001", b"", 1).replace(b",1.5,", b",-1.5,"), "negative"),
    ],
)
def test_impossible_values_fail_the_day_whoever_else_has_it(
    fake: FakeBinance, connect: Connect, *, csv: bytes, message: str
) -> None:
    put_csv(fake, csv)
    fake.bars.update(minutes(DAY))
    with pytest.raises(InvalidDataError, match=message):
        fetch(connect(), DAY)


def test_a_long_listing_is_read_page_by_page_and_once(fake: FakeBinance, connect: Connect) -> None:
    days = [DAY + timedelta(days=number) for number in range(5)]
    for day in days:
        fake.put_day(day, minutes(day))
    fake.page_keys = 3
    exchange = connect()
    assert all(day.source == "archive-daily" for day in fetch(exchange, *days))
    # four pages of the daily folder; the empty monthly folder and the one above it, each twice
    assert fake.asked("prefix=") == 8
    fetch(exchange, *days)
    assert fake.asked("prefix=") == 8


EMPTY = Answer(200, b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>")
METRICS = "daily%2Fmetrics%2FBTCUSDT%2F"


def metrics(exchange: BinanceExchange, day: date) -> FetchedDay:
    (fetched,) = exchange.fetch_days("open_interest", BTC, [day])
    return fetched


def test_one_empty_listing_does_not_make_years_empty(fake: FakeBinance, connect: Connect) -> None:
    old = date(2024, 3, 5)
    fake.put_metrics(old, snapshots(day_start(old), 288))
    fake.faults.append((METRICS, 1, EMPTY))
    assert metrics(connect(), old).rows.num_rows == 288


def test_an_empty_listing_of_a_folder_that_exists_is_refused(fake: FakeBinance, connect: Connect) -> None:
    old = date(2024, 3, 5)
    fake.put_metrics(old, snapshots(day_start(old), 288))
    fake.faults.append((METRICS, 99, EMPTY))
    with pytest.raises(InvalidDataError, match="has a folder BTCUSDT, which has nothing"):
        metrics(connect(), old)
    fake.files.clear()
    assert metrics(connect(), old).reason.startswith("not published")


def test_a_listing_that_does_not_answer_names_its_setting(fake: FakeBinance, connect: Connect) -> None:
    fake.faults.append(("prefix=", 9, Answer(404, b"")))
    with pytest.raises(SourceUnavailableError, match="TRADECORE_BINANCE_ARCHIVE_LISTING_URL"):
        fetch(connect(), DAY)


def test_a_listing_that_declares_entities_is_refused(fake: FakeBinance, connect: Connect) -> None:
    body = b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "b">]><ListBucketResult/>'
    fake.faults.append(("prefix=", 9, Answer(200, body)))
    with pytest.raises(InvalidDataError, match="not an S3 listing"):
        fetch(connect(), DAY)
