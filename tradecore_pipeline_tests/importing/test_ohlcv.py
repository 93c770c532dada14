"""A CSV of bars is read as it stands, or refused in one line that names the line of the file."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tradecore_pipeline.domain.errors import TradecoreError
from tradecore_pipeline.importing.ohlcv import read_ohlcv

NOW = datetime(2025, 6, 1, tzinfo=UTC)
HEADER = "timestamp,open,high,low,close,volume"
ROWS = [f"2025-01-01T{hour:02d}:00:00Z,100,101,99,100.5,3" for hour in range(5)]


def written(folder: Path, header: str, rows: list[str]) -> Path:
    path = folder / "bars.csv"
    path.write_text("\n".join((header, *rows)) + "\n")
    return path


def test_bars_are_read_with_their_length(tmp_path: Path) -> None:
    bars, length = read_ohlcv(written(tmp_path, HEADER, ROWS), now=NOW)
    assert length == "1h"
    assert bars.index[0] == datetime(2025, 1, 1, tzinfo=UTC)
    assert bars.iloc[0].tolist() == [100.0, 101.0, 99.0, 100.5, 3.0]


@pytest.mark.parametrize(
    "times",
    [["2025-01-01 00:00", "2025-01-01 00:01"], ["1735689600", "1735689660"], ["1735689600000", "1735689660000"]],
)
def test_times_may_be_text_without_a_zone_seconds_or_milliseconds(tmp_path: Path, times: list[str]) -> None:
    rows = [f"1,2,{moment},1.5,1,2" for moment in times]
    bars, length = read_ohlcv(written(tmp_path, "Low,High,Timestamp,Open,Volume,Close", rows), now=NOW)
    assert (length, bars.index[0]) == ("1m", datetime(2025, 1, 1, tzinfo=UTC))


def test_missing_bars_stay_missing(tmp_path: Path) -> None:
    bars, length = read_ohlcv(written(tmp_path, HEADER, [*ROWS[:2], ROWS[4]]), now=NOW)
    assert (len(bars), length) == (3, "1h")


def changed(at: int, text: str) -> Callable[[list[str]], list[str]]:
    return lambda rows: [*rows[:at], text, *rows[at + 1 :]]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda rows: [rows[1], rows[0], *rows[2:]], "line 3: it comes before the line above"),
        (lambda rows: [rows[0], *rows], "line 3: it repeats the time of the line above"),
        (changed(1, "2025-01-01T01:00:00Z,100,101,99,,3"), "line 3: close is missing or NaN"),
        (changed(1, "2025-01-01T01:00:00Z,100,101,99,nan,3"), "line 3: close is missing or NaN"),
        (changed(2, "2025-01-01T02:00:00Z,0,101,99,100,3"), "line 4: open is 0"),
        (changed(2, "2025-01-01T02:00:00Z,100,101,99,100,-1"), "line 4: volume is -1"),
        (changed(2, "2025-01-01T02:00:00Z,100,101,99,120,3"), "line 4: open or close lies outside low to high"),
        (changed(2, "2025-01-01T02:00:00Z,100,1e308,99,100,3"), "line 4: high is 1e+308, and prices from 1e-08 to"),
        (changed(2, "2025-01-01T02:00:00Z,100,101,1e-9,100,3"), "line 4: low is 1e-09, and prices from 1e-08 to"),
        (changed(2, "2025-01-01T02:00:00Z,100,101,99,abc,3"), "cannot be read as a CSV"),
        (changed(2, "soon,100,101,99,100,3"), "line 4"),
        (changed(4, "2025-01-01T04:30:00Z,100,101,99,100,3"), "line 6: no 1h bar opens then"),
        (changed(4, "2025-06-01T00:00:00Z,100,101,99,100,3"), "which has not come"),
        (lambda rows: rows[:1], "holds 1 bars"),
        (lambda _: [], "holds 0 bars"),
        (lambda rows: [rows[0], rows[2], rows[4]], "are 120 minutes apart"),
    ],
)
def test_what_is_wrong_is_one_line_that_names_the_line(
    tmp_path: Path, change: Callable[[list[str]], list[str]], told: str
) -> None:
    with pytest.raises(TradecoreError) as refused:
        read_ohlcv(written(tmp_path, HEADER, change(ROWS)), now=NOW)
    assert told in str(refused.value)
    assert "bars.csv" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_missing_columns_and_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(
        TradecoreError, match=r"bars.csv has no column close, volume \(it has timestamp, open, high, low"
    ):
        read_ohlcv(written(tmp_path, "timestamp,open,high,low", ["2025-01-01,1,2,1"]), now=NOW)
    with pytest.raises(TradecoreError, match=r"bars\.csv has two columns volume: remove or rename"):
        read_ohlcv(written(tmp_path, f"{HEADER},Volume", [f"{row},3" for row in ROWS]), now=NOW)
    with pytest.raises(TradecoreError, match="is no file"):
        read_ohlcv(tmp_path / "nothing.csv", now=NOW)
    (tmp_path / "picture.csv").write_bytes(b"\x89PNG\r\n\xff\xfe")
    with pytest.raises(TradecoreError, match=r"picture\.csv"):
        read_ohlcv(tmp_path / "picture.csv", now=NOW)
