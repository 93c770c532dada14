"""Recorded Binance files beside the repository, and their numbers read without any of our code."""

import csv
import io
import zipfile
from pathlib import Path

import pandas as pd

ARCHIVE = Path(__file__).parents[2] / "shared" / "realdata" / "binance_vision"
"""Holds the archive's `data` folder; a clone elsewhere may lack it, and the tests over it then skip."""
NO_FILES = "no recorded Binance files beside the repository"

_COLUMNS = (
    *("ts", "open", "high", "low", "close", "volume", "close_time", "quote_volume", "trades"),
    *("taker_buy_volume", "taker_buy_quote_volume"),
)


def read_klines(folder: Path) -> pd.DataFrame:
    """The numbers of every zip in ``folder``, indexed by open time (UTC); a header row is passed over."""
    rows: list[list[str]] = []
    for path in sorted(folder.glob("*.zip")):
        with zipfile.ZipFile(path) as archive, archive.open(archive.namelist()[0]) as member:
            lines = csv.reader(io.TextIOWrapper(member))
            rows += [row[: len(_COLUMNS)] for row in lines if row[0] != "open_time"]
    frame = pd.DataFrame(rows, columns=list(_COLUMNS)).drop(columns="close_time").astype(float)
    frame.index = pd.to_datetime(frame.pop("ts"), unit="ms", utc=True)
    return frame
