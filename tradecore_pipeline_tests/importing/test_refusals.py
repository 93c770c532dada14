"""What must not be stored is refused in one line: file, row and reason."""

import json
import zipfile
from datetime import date, timedelta
from pathlib import Path

import pandas as pd
import pytest

from tradecore_pipeline.domain.errors import ChecksumError, InvalidDataError, UsageError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.tables import BARS_1M, FUNDING_RATES, OPEN_INTEREST, Table
from tradecore_pipeline.importing.files import select_files
from tradecore_pipeline.importing.notes import Notes
from tradecore_pipeline_tests.exchanges.fake import klines_csv, metrics_csv, minutes, snapshots
from tradecore_pipeline_tests.importing.foreign import HEADER, csv_file, line, minute_frame, read, stamp, zipped
from tradecore_pipeline_tests.storage.days import BTC, DAY, ETH, NOW, SPOT

HYPE = Instrument.parse("hyperliquid:HYPE/USDC:USDC")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["soon,1,1,1,1,1"], r"line 2: 'soon' is no time"),
        (["2022-05-01T00:00,1,1,1,1,1", "2022-02-30T00:00,1,1,1,1,1"], r"line 3: '2022-02-30T00:00' is no time"),
        (["17,1,1,1,1,1"], r"line 2: 17 is no time after 2009"),
        ([",1,1,1,1,1"], r"line 2: time is empty"),
        ([line(0), f"{stamp(1) * 1000},1,1,1,1,1"], r"line 3: times are in ms before and us from here on"),
        ([line(0), line(1, price="1_0")], r"line 3: open '1_0' is no price"),
        ([line(0, price="0.123456789")], r"line 2: open 0.123456789 has more than 8 decimals"),
        ([line(0, price="12345678901")], r"line 2: open '12345678901' is no price of at most 10 digits"),
        ([line(0), line(1, volume="")], r"line 3: volume is empty"),
        ([line(0, volume="inf")], r"line 2: volume is not a finite number"),
        ([line(0, volume="-1")], r"bars_1m: row 2022-05-01T00:00:00Z: volume is negative"),
        ([line(0, price="0")], r"bars_1m: row 2022-05-01T00:00:00Z: open is not above zero"),
        ([f"{stamp(3)},1,1,2,1,1"], r"row 2022-05-01T00:03:00Z: low is above high"),
        ([f"{stamp(3) + 59_999},1,1,1,1,1"], r"line 2: 2022-05-01T00:03:59.999000Z is no whole minute"),
        ([line(0), line(60), line(180)], r"these are 1h bars; only 1-minute bars are imported"),
        ([line(0), line(5)], r"these are 5m bars; only 1-minute bars are imported"),
        ([line(0), line(1440)], r"these are 1d bars; only 1-minute bars are imported"),
        ([line(0), line(1), line(0, price="7")], r"line 2 and 4: two different rows for 2022-05-01T00:00:00Z"),
        ([line(0), "1,2,3"], r"line 3.*Expected 6 columns, got 3"),
        ([line(0, day=NOW.date())], r"line 2: the row of 2022-06-01T00:00:00Z is not closed yet"),
        ([line(0, day=date(2033, 1, 1))], r"line 2: the row of 2033-01-01T00:00:00Z is not closed yet"),
        ([], r" holds no rows"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, lines: list[str], message: str) -> None:
    with pytest.raises(InvalidDataError, match=rf"^bars\.csv.*{message}") as refused:
        read(csv_file(tmp_path, lines))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("time,open,high,low,close", "no column for volume"),
        ("close_time,open,high,low,close,volume", "no column for time"),
        ("time,open,high,low,close,volume,Open", "2 columns called open"),
        ("1651363200000,1,1,1,1,1", "line 1: there is no header"),
        ("", "is empty|no column"),
    ],
)
def test_a_header_that_leaves_a_doubt_is_refused(tmp_path: Path, header: str, message: str) -> None:
    with pytest.raises(InvalidDataError, match=message):
        read(csv_file(tmp_path, [], header=header))


@pytest.mark.parametrize(
    ("column", "value"), [("symbol", "ETHUSDT"), ("coin", "ETH"), ("exchange", "okx"), ("instrument", str(ETH))]
)
def test_rows_of_somebody_else_are_refused(tmp_path: Path, column: str, value: str) -> None:
    lines = [f"{line(0)},{value}"]
    with pytest.raises(InvalidDataError, match=rf"line 2: the row is of '{value}', not of binance:BTC/USDT:USDT"):
        read(csv_file(tmp_path, lines, header=f"{HEADER},{column}"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{}", "no JSON list of rows"),
        (b"[]", "is empty"),
        (b"[[1,2,3]]", "row 1: neither an object nor a list of 6 or 12"),
        (b"[[1,2,3,4,5,6],[1]]", "row 2: it does not look like the first row"),
        (b"[[1,2,3,4,5,6]", "row 1: a comma or the list's end should follow"),
        (b"[[1,2,3,4,5,6],]", "row 2: Expecting value"),
        (b"[[1,2,3,4,5,6]] []", "there is more after the list's end"),
        (b"[[1,2,3,4,5,NaN]]", "row 1: NaN is no JSON"),
        (b"[[1651363200000,1,1,1,1,true]]", "row 1: volume is True, neither a number nor a text"),
        (b"[" * 100_000, "row 1"),
        (b"\xff\xfe", "is no text"),
    ],
)
def test_json_that_is_no_list_of_rows_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "bars.json"
    path.write_bytes(content)
    with pytest.raises(InvalidDataError, match=rf"^bars\.json.*{message}"):
        read(path)


def test_hourly_and_text_columns_of_parquet_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "bars.parquet"
    frame = minute_frame(3)
    frame.assign(date=pd.date_range("2022-05-01", periods=3, freq="h", tz="UTC")).to_parquet(path)
    with pytest.raises(InvalidDataError, match="these are 1h bars"):
        read(path)
    frame.assign(open=True).to_parquet(path)
    with pytest.raises(InvalidDataError, match="column open is bool, which is no number"):
        read(path)
    frame.assign(date=[timedelta(1)] * 3).to_parquet(path)
    with pytest.raises(InvalidDataError, match=r"the time column is duration.*, which is no time"):
        read(path)


def test_a_zip_of_two_files_and_one_that_does_not_match_its_checksum_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "BTCUSDT-1m-2022-05-01.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.csv", "")
        archive.writestr("b.csv", "")
    with pytest.raises(InvalidDataError, match="does not hold exactly one CSV file"):
        read(path)
    path.write_bytes(zipped(klines_csv(minutes(DAY), header=True)))
    (tmp_path / f"{path.name}.CHECKSUM").write_text(f"{'0' * 64}  {path.name}\n")
    with pytest.raises(ChecksumError, match=r"does not match BTCUSDT-1m-2022-05-01\.zip\.CHECKSUM"):
        read(path)


def test_metrics_of_another_symbol_and_funding_in_percent_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "BTCUSDT-metrics-2022-05-01.zip"
    path.write_bytes(zipped(metrics_csv(snapshots(NOW - timedelta(days=3), 5), "ETHUSDT")))
    with pytest.raises(InvalidDataError, match="'ETHUSDT' instead of BTCUSDT"):
        read(path, table=OPEN_INTEREST)
    funding = csv_file(tmp_path, [f"{stamp(0)},1.5"], header="time,funding_rate")
    with pytest.raises(InvalidDataError, match="funding_rate is beyond"):
        read(funding, table=FUNDING_RATES)


@pytest.mark.parametrize(
    ("name", "table", "instrument", "message"),
    [
        ("ETHUSDT-1m-2022-05.zip", BARS_1M, BTC, "is of ETHUSDT"),
        ("BTCUSDT-1h-2022-05.zip", BARS_1M, BTC, "holds 1h bars, and only 1-minute bars are imported"),
        ("BTCUSDT-metrics-2022-05-01.zip", BARS_1M, BTC, "import it with --dataset open_interest"),
        ("BTCUSDT-aggTrades-2022-05-01.zip", BARS_1M, BTC, "holds aggTrades, which is not imported"),
        ("BTCUSDT-1m-2022-05.zip", FUNDING_RATES, BTC, "holds bars_1m"),
        ("HYPEUSDC-1m-2022-05.zip", BARS_1M, HYPE, "is named as a file of Binance's archive"),
        ("ETH_USDT_USDT-1m-futures.feather", BARS_1M, BTC, "is of ETH_USDT_USDT"),
        ("BTC_USDT_USDT-1m-futures.feather", BARS_1M, SPOT, "is of BTC_USDT_USDT"),
        ("BTC_USDT_USDT-8h-mark.feather", BARS_1M, BTC, "holds mark prices, which are no trades"),
        ("BTC_USDT_USDT-4h-futures.json.gz", BARS_1M, BTC, "holds 4h bars"),
        ("BTC_USDT_USDT-8h-funding_rate.feather", BARS_1M, BTC, "import it with --dataset funding_rates"),
        ("bars.h5", BARS_1M, BTC, r"is none of \.zip, \.csv"),
    ],
)
def test_a_name_that_says_something_else_is_an_error_alone_and_a_note_in_a_folder(
    tmp_path: Path, name: str, table: Table, instrument: Instrument, message: str
) -> None:
    (tmp_path / name).touch()
    with pytest.raises(UsageError, match=message):
        select_files([tmp_path / name], table, instrument, notes=Notes())
    with pytest.raises(UsageError, match=rf"nothing to import as {table.name}.*{message}"):
        select_files([tmp_path], table, instrument, notes=Notes())
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "mine.csv").touch()
    notes = Notes()
    selected = select_files([tmp_path, tmp_path / "more" / "mine.csv"], table, instrument, notes=notes)
    assert (selected.paths, selected.skipped) == ((tmp_path / "more" / "mine.csv",), 1)
    assert len(list(notes.lines())) == 1


@pytest.mark.parametrize(
    ("folder", "instrument", "fits"),
    [
        ("data/spot/monthly/klines", SPOT, True),
        ("data/spot/monthly/klines", BTC, False),
        ("data/futures/um/monthly/klines", BTC, True),
        ("data/futures/um/monthly/klines", SPOT, False),
        ("data/futures/cm/monthly/klines", BTC, False),
        ("data/futures/um/monthly/markPriceKlines", BTC, False),
    ],
)
def test_the_archives_folders_tell_its_markets_apart(
    tmp_path: Path, folder: str, instrument: Instrument, fits: bool
) -> None:
    path = tmp_path / folder / "BTCUSDT" / "1m" / "BTCUSDT-1m-2022-05.zip"
    path.parent.mkdir(parents=True)
    path.touch()
    if fits:
        assert select_files([path], BARS_1M, instrument, notes=Notes()).paths == (path,)
    else:
        with pytest.raises(UsageError, match=r"another market|mark prices"):
            select_files([path], BARS_1M, instrument, notes=Notes())


def test_a_path_that_does_not_exist_is_a_wrong_request(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        select_files([tmp_path / "nowhere"], BARS_1M, BTC, notes=Notes())


def test_a_number_too_long_for_python_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bars.json"
    path.write_text(json.dumps([[stamp(0), 1, 1, 1, 1, "9" * 5000]]).replace('"', ""))
    with pytest.raises(InvalidDataError, match="volume is not a finite number"):
        read(path)
