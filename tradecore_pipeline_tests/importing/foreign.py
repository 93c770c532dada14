"""Files as other programs write them, over rows that are known exactly."""

import gzip
import io
import json
import zipfile
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet

from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.tables import BARS_1M, Table
from tradecore_pipeline.domain.time import day_start
from tradecore_pipeline.importing.notes import Notes
from tradecore_pipeline.importing.read import ImportedFile, read_file
from tradecore_pipeline_tests.storage.days import BTC, DAY, NOW

HEADER = "time,open,high,low,close,volume"
PRICES = ("open", "high", "low", "close")
REAL = Path(__file__).parents[3] / "shared" / "realdata"
FREQTRADE = REAL / "freqtrade_binance_usdm_perp"
NO_FREQTRADE = "no recorded freqtrade files beside the repository"


def stamp(minute: int, day: date = DAY) -> int:
    """The moment a minute of ``day`` opens, in ms."""
    return round(day_start(day).timestamp() * 1000) + minute * 60_000


def line(minute: int, *, day: date = DAY, price: str = "100.5", volume: str = "2") -> str:
    return f"{stamp(minute, day)},{price},{price},{price},{price},{volume}"


def csv_file(folder: Path, lines: Sequence[str], *, header: str = HEADER, name: str = "bars.csv") -> Path:
    path = folder / name
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def read(
    path: Path, *, table: Table = BARS_1M, instrument: Instrument = BTC, notes: Notes | None = None
) -> ImportedFile:
    return read_file(path, table, instrument, now=NOW, notes=Notes() if notes is None else notes)


def as_doubles(rows: pa.Table) -> pa.Table:
    """The rows as a program without decimals keeps them: each price the double nearest to it."""
    columns = {
        name: pa.array([None if v is None else float(v) for v in column.to_pylist()])
        if pa.types.is_decimal(column.type)
        else column
        for name, column in zip(rows.column_names, rows.columns, strict=True)
    }
    return pa.table(columns)


def _text(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def as_csv(rows: pa.Table) -> bytes:
    """As our own values read in text: decimals in full, ISO times."""
    lines = [",".join(rows.column_names)]
    lines += [",".join(map(_text, row.values())) for row in rows.to_pylist()]
    return ("\n".join(lines) + "\n").encode()


def as_parquet(rows: pa.Table) -> bytes:
    sink = io.BytesIO()
    pyarrow.parquet.write_table(as_doubles(rows), sink)
    return sink.getvalue()


def as_feather(rows: pa.Table) -> bytes:
    """As freqtrade does: its six columns, nanoseconds, lz4."""
    frame = as_doubles(rows).select(["ts_open", *PRICES, "volume"]).to_pandas().rename(columns={"ts_open": "date"})
    frame["date"] = frame["date"].astype("datetime64[ns, UTC]")
    sink = io.BytesIO()
    frame.to_feather(sink)
    return sink.getvalue()


def as_json(rows: pa.Table) -> bytes:
    """As freqtrade does: lists of six."""
    shown = as_doubles(rows).select(["ts_open", *PRICES, "volume"]).to_pandas()
    shown["ts_open"] = shown["ts_open"].astype("datetime64[ms, UTC]").astype("int64")
    return json.dumps(shown.to_numpy(dtype=object).tolist()).encode()


def as_records(rows: pa.Table) -> bytes:
    """As pandas does: a list of objects."""
    frame = as_doubles(rows).to_pandas()
    text = frame.to_json(orient="records", date_format="iso", double_precision=15)
    assert text is not None
    return text.encode()


WRITERS: dict[str, Callable[[pa.Table], bytes]] = {
    ".csv": as_csv,
    ".csv.gz": lambda rows: gzip.compress(as_csv(rows)),
    ".parquet": as_parquet,
    ".feather": as_feather,
    ".json": as_json,
    ".json.gz": lambda rows: gzip.compress(as_json(rows)),
    ".zip": lambda rows: zipped(as_csv(rows)),
}
SIX_COLUMNS = {".feather", ".json", ".json.gz"}


def zipped(content: bytes, *, member: str = "bars.csv") -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(member, content)
    return sink.getvalue()


def minute_frame(count: int, *, day: date = DAY) -> pd.DataFrame:
    index = pd.date_range(day_start(day), periods=count, freq=timedelta(minutes=1))
    return pd.DataFrame({"date": index, **dict.fromkeys(PRICES, 100.5), "volume": 2.0})
