"""A plain CSV of bars (timestamp, open, high, low, close, volume), read strictly: nothing is sorted or filled."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv

from tradecore_pipeline.domain.errors import InvalidDataError, UsageError
from tradecore_pipeline.domain.time import TIMEFRAME_MINUTES
from tradecore_pipeline.importing.moments import milliseconds
from tradecore_pipeline.importing.notes import Notes
from tradecore_pipeline.importing.values import Place

_PRICES = ("open", "high", "low", "close")
_COLUMNS = ("timestamp", *_PRICES, "volume")
_LEAST, _LARGEST = 1e-8, 1e10
"""Prices are stored as decimals with 10 digits before the point and 8 behind it."""
_LENGTHS = {1: "1m"} | {minutes: name for name, minutes in TIMEFRAME_MINUTES.items()}

pacsv: Any = pyarrow.csv  # its classes are made at import, where no type checker sees them


def read_ohlcv(path: Path, *, now: datetime) -> tuple[pd.DataFrame, str]:
    """The file's bars as float64, indexed by ``ts_open`` (UTC), and how long they are (``1m``, ``1h`` ...).

    Times are ISO (without a zone: UTC) or s, ms, us or ns since 1970, each the first moment of its bar. Bars may be
    missing.

    Raises:
        UsageError: there is no such file, or it holds fewer than two bars.
        InvalidDataError: a column is missing, a value is no number or impossible, or times are unsorted, repeated, off
            the grid of a known bar length, or not over yet; the message names the line.
    """
    rows = _table(path)
    moments, _ = milliseconds(rows.column("timestamp").combine_chunks(), Place(path.name, "line", 2, Notes()))
    _check_order(moments, path.name)
    values = {name: rows.column(name).to_numpy().astype(np.float64) for name in _COLUMNS[1:]}
    _check_values(values, path.name)
    length = _length(moments, path.name)
    index = pd.DatetimeIndex(moments.astype("datetime64[ms]"), name="ts_open").tz_localize("UTC")
    closes = index[-1].to_pydatetime() + timedelta(minutes=length)
    if closes > now:
        raise InvalidDataError(
            f"{path.name}, line {len(moments) + 1}: its bar closes at {closes:%Y-%m-%d %H:%M}, which has not come: "
            "leave it out"
        )
    return pd.DataFrame(values, index=index), _LENGTHS[length]


def _table(path: Path) -> pa.Table:
    if not path.is_file():
        raise UsageError(f"{path} is no file: give the path of a CSV")
    numbers = dict.fromkeys(_COLUMNS[1:], pa.float64())
    options = pacsv.ConvertOptions(column_types={"timestamp": pa.string(), **numbers}, strings_can_be_null=True)
    try:
        with path.open(encoding="utf-8-sig") as file:
            names = [name.strip().lower() for name in file.readline().strip().split(",")]
        reading = pacsv.ReadOptions(column_names=names, skip_rows=1)
        if missing := [name for name in _COLUMNS if name not in names]:
            raise InvalidDataError(
                f"{path.name} has no column {', '.join(missing)} (it has {', '.join(names[:20])}): its first line has "
                f"to name {', '.join(_COLUMNS)}"
            )
        if twice := [name for name in _COLUMNS if names.count(name) > 1]:
            raise InvalidDataError(f"{path.name} has two columns {twice[0]}: remove or rename one of them")
        rows = pacsv.read_csv(path, read_options=reading, convert_options=options)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InvalidDataError(f"{path.name} cannot be read as a CSV of bars: {reason}") from error
    if rows.num_rows < 2:
        raise UsageError(f"{path.name} holds {rows.num_rows} bars: models need hundreds, see `training_window_bars`")
    return rows


def _check_order(moments: "np.ndarray", file: str) -> None:
    wrong = np.flatnonzero(np.diff(moments) <= 0)
    if len(wrong):
        at = int(wrong[0])
        kind = "repeats the time of" if moments[at] == moments[at + 1] else "comes before"
        raise InvalidDataError(f"{file}, line {at + 3}: it {kind} the line above: sort the bars and keep one of each")


def _check_values(values: "dict[str, np.ndarray]", file: str) -> None:
    for name, column in values.items():
        least = 0.0 if name == "volume" else np.nextafter(0.0, 1.0)
        wrong = np.flatnonzero(~(np.isfinite(column) & (column >= least)))
        if len(wrong):
            at = int(wrong[0])
            shown = "is missing or NaN" if np.isnan(column[at]) else f"is {column[at]:g}"
            raise InvalidDataError(f"{file}, line {at + 2}: {name} {shown}: correct the line or leave the bar out")
        beyond = np.flatnonzero((column < _LEAST) | (column >= _LARGEST))
        if name != "volume" and len(beyond):
            at = int(beyond[0])
            raise InvalidDataError(
                f"{file}, line {at + 2}: {name} is {column[at]:g}, and prices from {_LEAST:g} to {_LARGEST:g} can be "
                "stored: quote them in another unit"
            )
    body = np.maximum(values["open"], values["close"]), np.minimum(values["open"], values["close"])
    wrong = np.flatnonzero((values["high"] < body[0]) | (values["low"] > body[1]))
    if len(wrong):
        raise InvalidDataError(f"{file}, line {int(wrong[0]) + 2}: open or close lies outside low to high")


def _length(moments: "np.ndarray", file: str) -> int:
    """The bars' length in minutes: the shortest distance, which all others are multiples of."""
    steps = np.diff(moments)
    minutes = int(steps.min()) / 60_000
    if minutes not in _LENGTHS:
        raise InvalidDataError(
            f"{file}: its bars are {minutes:g} minutes apart; bars of {', '.join(_LENGTHS.values())} can be used"
        )
    wrong = np.flatnonzero(moments % int(steps.min()) != 0)
    if len(wrong):
        raise InvalidDataError(
            f"{file}, line {int(wrong[0]) + 2}: no {_LENGTHS[int(minutes)]} bar opens then (in UTC): times are the "
            "first moment of each bar"
        )
    return int(minutes)
