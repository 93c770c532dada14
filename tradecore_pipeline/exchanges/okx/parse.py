"""OKX's REST payloads as rows of domain tables. Pure: decoded JSON in, validated rows out, sorted by unique keys."""

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa

from tradecore_pipeline.domain.errors import InvalidDataError, UsageError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.tables import BARS_1M, OPEN_INTEREST, PRICE
from tradecore_pipeline.exchanges.okx.volumes import amounts
from tradecore_pipeline.exchanges.payloads import numbers, rows_of, settlements, stamps

_CANDLE_FIELDS = 9
_CONTRACT = pa.decimal128(38, 12)
_STATES_BEFORE_TRADING = frozenset({"preopen", "test"})


@dataclass(frozen=True, slots=True)
class Swap:
    """One linear perpetual as OKX lists it."""

    instrument: Instrument
    inst_id: str
    """OKX's name, e.g. ``BTC-USDT-SWAP``."""
    family: str
    """What bulk files are asked for by, e.g. ``BTC-USDT``."""
    contract_base: Decimal
    """Coins per contract."""
    listed_at: datetime | None
    ends_at: datetime | None
    """When it is (or was) delisted, once OKX tells."""


@dataclass(frozen=True, slots=True)
class BulkFile:
    """One file that ``market-data-history`` names."""

    filename: str
    url: str


def time_json(payload: Any, *, name: str) -> datetime:
    """The server's clock.

    Raises:
        InvalidDataError: the payload is not OKX's.
    """
    rows = _records(payload, ("ts",), name=name)
    if len(rows) != 1:
        raise InvalidDataError(f"{name} did not answer with one time")
    return stamps([rows[0]["ts"]], name=name)[0].as_py().astimezone(UTC)


def candles_json(payload: Any, *, contract_base: Decimal, name: str) -> pa.Table:
    """1-minute bars; candles that OKX does not confirm as closed are left out.

    Raises:
        InvalidDataError: the payload is not OKX's, or rows must not be stored.
    """
    rows = [row for row in _arrays(payload, _CANDLE_FIELDS, name=name) if row[8] == "1"]
    keys, first, high, low, last, contracts, coins, quotes = ([row[index] for row in rows] for index in range(8))
    prices = {"open": first, "high": high, "low": low, "close": last}
    columns = {column: numbers(values, PRICE, name=name) for column, values in prices.items()}
    volumes = (numbers(values, pa.float64(), name=name) for values in (contracts, coins, quotes))
    columns["volume"], columns["quote_volume"] = amounts(*volumes, contract_base=contract_base)
    return rows_of(BARS_1M, columns | {"ts_open": stamps(keys, name=name)}, name=name)


def funding_json(payload: Any, *, inst_id: str, name: str) -> pa.Table:
    """Settlements on their minute, with the rate that was really paid; intervals are not known from here.

    Raises:
        InvalidDataError: the payload is not OKX's, or rows must not be stored.
    """
    rows = _records(payload, ("instId", "fundingRate", "fundingTime"), name=name)
    for row in rows:
        if row["instId"] != inst_id:
            raise InvalidDataError(f"{name} answered for {row['instId']} instead of {inst_id}")
    # `fundingRate` is the prediction made before the settlement, `realizedRate` what was paid.
    rates = [row.get("realizedRate") or row["fundingRate"] for row in rows]
    if any(type(rate) is not str for rate in rates):
        raise InvalidDataError(f"{name}: realizedRate is not text")
    moments = stamps([row["fundingTime"] for row in rows], name=name)
    return settlements(moments, numbers(rates, pa.float64(), name=name), name=name)


def open_interest_json(payload: Any, *, name: str) -> pa.Table:
    """Open interest: OKX tells contracts, coins and US dollars.

    Raises:
        InvalidDataError: the payload is not OKX's, or rows must not be stored.
    """
    rows = _arrays(payload, 4, name=name)
    keys, _, coins, dollars = ([row[index] for row in rows] for index in range(4))
    columns = {
        "ts_event": stamps(keys, name=name),
        "open_interest_base": numbers(coins, pa.float64(), name=name),
        "open_interest_usd": numbers([text or None for text in dollars], pa.float64(), name=name),
    }
    return rows_of(OPEN_INTEREST, columns, name=name)


def swaps_json(payload: Any, *, name: str) -> tuple[Swap, ...]:
    """The linear perpetuals of an instruments reply, those not open for trading yet left out, by instrument.

    Raises:
        InvalidDataError: the payload is not OKX's.
    """
    fields = ("instId", "instFamily", "ctType", "ctVal", "ctMult", "settleCcy", "listTime", "expTime", "state")
    rows = _records(payload, fields, name=name)
    wanted = [row for row in rows if row["ctType"] == "linear" and row["state"] not in _STATES_BEFORE_TRADING]
    swaps = (_swap(row, name=name) for row in wanted)
    return tuple(sorted((swap for swap in swaps if swap is not None), key=lambda swap: swap.instrument))


def _swap(row: dict[str, str], *, name: str) -> Swap | None:
    """None for contracts whose name is no plain pair (index products)."""
    base, _, quote = row["instFamily"].partition("-")
    if row["settleCcy"] != quote or row["instId"] != f"{base}-{quote}-SWAP":
        return None
    try:
        instrument = Instrument.parse(f"okx:{base}/{quote}:{quote}")
    except UsageError:
        return None
    size, multiplier = numbers([row["ctVal"], row["ctMult"] or "1"], _CONTRACT, name=name).to_pylist()
    contract_base = Decimal(size) * Decimal(multiplier)
    if contract_base <= 0:
        raise InvalidDataError(f"{name}: a contract of {row['instId']} holds {row['ctVal']} x {row['ctMult']} coins")
    times = [_moment(row[field], name=name) for field in ("listTime", "expTime")]
    return Swap(instrument, row["instId"], row["instFamily"], contract_base, *times)


def _moment(text: str, *, name: str) -> datetime | None:
    return stamps([text], name=name)[0].as_py().astimezone(UTC) if text not in {"", "0"} else None


def bulk_json(payload: Any, *, name: str) -> tuple[BulkFile, ...]:
    """The files that a ``market-data-history`` reply names.

    Raises:
        InvalidDataError: the payload is not OKX's.
    """
    data: Any = payload.get("data") if type(payload) is dict else None
    groups: Any = data if type(data) is list else [data]
    files: list[BulkFile] = []
    for group in groups:
        for detail in _inner(group, "details", name=name):
            for entry in _inner(detail, "groupDetails", name=name):
                if type(entry) is not dict or any(type(entry.get(field)) is not str for field in ("filename", "url")):
                    raise InvalidDataError(f"{name}: not a file: {str(entry)[:120]}")
                files.append(BulkFile(entry["filename"], entry["url"]))
    return tuple(files)


def _inner(holder: Any, field: str, *, name: str) -> list[Any]:
    inner: Any = holder.get(field) if type(holder) is dict else None
    if type(inner) is not list:
        raise InvalidDataError(f"{name} did not answer with {field}: {str(holder)[:120]!r}")
    return inner


def _data(payload: Any, *, name: str) -> list[Any]:
    """Strictly OKX's envelope: a web page or a cut body reaches here as text."""
    data: Any = payload.get("data") if type(payload) is dict and payload.get("code") == "0" else None
    if type(data) is not list:
        raise InvalidDataError(f"{name} did not answer with data: {str(payload)[:120]!r}")
    return data


def _arrays(payload: Any, least: int, *, name: str) -> list[list[str]]:
    rows = _data(payload, name=name)
    for number, row in enumerate(rows):
        if type(row) is not list or len(row) < least or any(type(value) is not str for value in row):
            raise InvalidDataError(f"{name}: row {number} is not {least} texts: {str(row)[:120]}")
    return rows


def _records(payload: Any, fields: tuple[str, ...], *, name: str) -> list[dict[str, str]]:
    rows = _data(payload, name=name)
    for number, row in enumerate(rows):
        if type(row) is not dict or any(type(row.get(field)) is not str for field in fields):
            raise InvalidDataError(f"{name}: row {number} lacks {', '.join(fields)}: {str(row)[:120]}")
    return rows
