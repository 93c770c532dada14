"""OKX's bulk files as rows of domain tables. Pure: bytes in, validated rows out, sorted by unique keys.

Columns are found by name: their order and number have changed over the years.
"""

import re
from decimal import Decimal

import pyarrow as pa
import pyarrow.csv as pa_csv

from tradecore_pipeline.domain.errors import InvalidDataError
from tradecore_pipeline.domain.tables import BARS_1M, PRICE
from tradecore_pipeline.exchanges.okx.volumes import amounts, pc
from tradecore_pipeline.exchanges.payloads import numbers, rows_of, settlements, stamps

CANDLE_COLUMNS = (
    "instrument_name",
    "open",
    "high",
    "low",
    "close",
    "vol",
    "vol_ccy",
    "vol_quote",
    "open_time",
    "confirm",
)
FUNDING_COLUMNS = ("instrument_name", "funding_rate", "funding_time")
_PRICES = ("open", "high", "low", "close")
_NOTHING = ["", "None", "null", "NULL"]


def candles_csv(csv: bytes, *, inst_id: str, contract_base: Decimal, name: str) -> pa.Table:
    """1-minute bars of one instrument; rows that are not confirmed as closed are left out.

    ``vol_ccy`` (coins) is empty in older files: contracts times ``contract_base`` then. ``name`` is for messages.

    Raises:
        InvalidDataError: malformed, of another instrument, or rows must not be stored.
    """
    raw = _read(csv, CANDLE_COLUMNS, inst_id=inst_id, name=name)
    raw = raw.filter(pc.equal(raw.column("confirm"), "1"))
    columns = {column: numbers(raw.column(column), PRICE, name=name) for column in _PRICES}
    volumes = (numbers(raw.column(column), pa.float64(), name=name) for column in ("vol", "vol_ccy", "vol_quote"))
    columns["volume"], columns["quote_volume"] = amounts(*volumes, contract_base=contract_base)
    return rows_of(BARS_1M, columns | {"ts_open": stamps(raw.column("open_time"), name=name)}, name=name)


def funding_csv(csv: bytes, *, inst_id: str, name: str) -> pa.Table:
    """Settlements of one instrument, without intervals.

    Raises:
        InvalidDataError: malformed, of another instrument, or rows must not be stored.
    """
    raw = _read(csv, FUNDING_COLUMNS, inst_id=inst_id, name=name)
    moments = stamps(raw.column("funding_time"), name=name)
    return settlements(moments, numbers(raw.column("funding_rate"), pa.float64(), name=name), name=name)


def _read(csv: bytes, columns: tuple[str, ...], *, inst_id: str, name: str) -> pa.Table:
    header, newline, body = csv.removeprefix(b"\xef\xbb\xbf").partition(b"\n")
    # Some files add a second language to their headers: instrument_name/...
    names = [title.split("/")[0].strip(' "\r').lower() for title in header.decode("latin-1").split(",")]
    absent = [column for column in columns if column not in names]
    if absent or not newline:
        raise InvalidDataError(f"{name} lacks the columns {', '.join(absent or columns)}: {header[:120]!r}")
    try:
        raw = pa_csv.read_csv(
            pa.BufferReader(body),
            read_options=pa_csv.ReadOptions(column_names=names, use_threads=False),
            convert_options=pa_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                include_columns=list(columns),
                null_values=_NOTHING,
                strings_can_be_null=True,
            ),
        )
    except (pa.ArrowInvalid, pa.ArrowKeyError) as error:
        if "Empty CSV file" in str(error):
            return pa.schema([(column, pa.string()) for column in columns]).empty_table()
        row = re.search(r"Row #(\d+)", str(error))
        raise InvalidDataError(f"{name}{f', line {row[1]}' if row else ''}: {error}") from error
    others = [text for text in pc.unique(raw.column("instrument_name")).to_pylist() if text != inst_id]
    if others:
        raise InvalidDataError(f"{name} holds rows of {others[0]!r} instead of {inst_id}")
    return raw
