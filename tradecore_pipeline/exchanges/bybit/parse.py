"""Bybit's v5 payloads as tables. Pure: decoded JSON in, rows of a domain table out, whatever order they came in."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute

from tradecore_pipeline.domain.errors import InvalidDataError
from tradecore_pipeline.domain.market_data import ListedInstrument, ListingStatus
from tradecore_pipeline.domain.tables import BARS_1M, OPEN_INTEREST, PRICE
from tradecore_pipeline.exchanges import payloads
from tradecore_pipeline.exchanges.bybit.symbols import instrument_of

pc: Any = pyarrow.compute  # its functions are made at import, where no type checker sees them

_PRICES = ("open", "high", "low", "close")
_BAR = ("ts_open", *_PRICES, "volume", "quote_volume")
_INSTRUMENT: tuple[str, ...] = ("symbol", "contractType", "status", "baseCoin", "quoteCoin", "settleCoin")
_PERPETUAL = "LinearPerpetual"
_CLOSED = {"Closed", "Delivering"}


@dataclass(frozen=True, slots=True)
class InstrumentsPage:
    """The linear perpetuals of one page, and where the next one begins (empty: nowhere)."""

    listed: tuple[ListedInstrument, ...]
    cursor: str


def time_json(payload: Any, *, name: str) -> datetime:
    """The server's moment.

    Raises:
        InvalidDataError: not the documented envelope.
    """
    moment = payload.get("time") if isinstance(payload, dict) else None
    stamp = payloads.stamps([moment], name=name)[0].as_py()
    return stamp.astimezone(UTC)


def kline_json(payload: Any, *, name: str, symbol: str) -> pa.Table:
    """1-minute bars from a ``kline`` reply: turnover is the traded value; trades and takers are not told.

    Raises:
        InvalidDataError: not the documented envelope, another symbol's, or a row that is no bar.
    """
    result = _result(payload, name=name)
    if result.get("symbol") != symbol:
        raise InvalidDataError(f"{name} is about {str(result.get('symbol'))[:40]!r} instead of {symbol}")
    rows = payloads.listed(result.get("list"), name=name)
    for number, row in enumerate(rows):
        if type(row) is not list or len(row) != len(_BAR) or any(type(value) is not str for value in row):
            raise InvalidDataError(f"{name}: row {number} is not a bar: {str(row)[:120]}")
    values = dict(zip(_BAR, zip(*rows, strict=True), strict=True)) if rows else dict.fromkeys(_BAR, ())
    columns = {
        column: payloads.numbers(values[column], PRICE if column in _PRICES else pa.float64(), name=name)
        for column in _BAR[1:]
    }
    return payloads.rows_of(BARS_1M, {"ts_open": payloads.stamps(values["ts_open"], name=name)} | columns, name=name)


def funding_json(payload: Any, *, name: str, symbol: str) -> pa.Table:
    """Settlements from a ``funding/history`` reply, intervals unknown.

    Raises:
        InvalidDataError: not the documented envelope and fields, or another symbol's.
    """
    rows = payloads.listed(_result(payload, name=name).get("list"), name=name)
    kinds = {"symbol": str, "fundingRate": str, "fundingRateTimestamp": str}
    symbols, rates, moments = payloads.fields(rows, kinds, name=name)
    if others := set(symbols) - {symbol}:
        raise InvalidDataError(f"{name} holds rows of {min(others)[:40]!r} instead of {symbol}")
    stamps = payloads.stamps(moments, name=name)
    return payloads.settlements(stamps, payloads.numbers(rates, pa.float64(), name=name), name=name)


def open_interest_json(payload: Any, *, name: str, symbol: str) -> pa.Table:
    """One side of open interest in coins, from an ``open-interest`` reply; its value is not told.

    ``openInterest`` counts both sides, ``singleOpenInterest`` (which older replies lack) one.

    Raises:
        InvalidDataError: not the documented envelope and fields, or another symbol's.
    """
    result = _result(payload, name=name)
    if result.get("symbol") != symbol:
        raise InvalidDataError(f"{name} is about {str(result.get('symbol'))[:40]!r} instead of {symbol}")
    rows = payloads.listed(result.get("list"), name=name)
    both, moments = payloads.fields(rows, {"openInterest": str, "timestamp": str}, name=name)
    singles = [row.get("singleOpenInterest") or None for row in rows]
    if any(single is not None and type(single) is not str for single in singles):
        raise InvalidDataError(f"{name}: singleOpenInterest is no text: {str(singles)[:120]}")
    halves = pc.divide(payloads.numbers(both, pa.float64(), name=name), 2.0)
    single_sides = payloads.numbers(singles, pa.float64(), name=name)
    columns = {
        "ts_event": payloads.stamps(moments, name=name),
        "open_interest_base": pc.coalesce(single_sides, halves),
    }
    return payloads.rows_of(OPEN_INTEREST, columns, name=name)


def instruments_json(payload: Any, *, name: str) -> InstrumentsPage:
    """The linear perpetuals of an ``instruments-info`` reply. A launch or delivery time of 0 is not known.

    Raises:
        InvalidDataError: not the documented envelope and fields.
    """
    result = _result(payload, name=name)
    rows = payloads.listed(result.get("list"), name=name)
    payloads.fields(rows, dict.fromkeys(_INSTRUMENT, str), name=name)
    listed = (_listed(row, name=name) for row in rows if row["contractType"] == _PERPETUAL)
    cursor = result.get("nextPageCursor")
    return InstrumentsPage(tuple(one for one in listed if one is not None), cursor if isinstance(cursor, str) else "")


def _listed(row: dict[str, Any], *, name: str) -> ListedInstrument | None:
    instrument = instrument_of(row["symbol"], base=row["baseCoin"], quote=row["quoteCoin"], settle=row["settleCoin"])
    if instrument is None:
        return None
    status = ListingStatus.DELISTED if row["status"] in _CLOSED else ListingStatus.TRADING
    launched, delivered = (_moment(row.get(field), name=name) for field in ("launchTime", "deliveryTime"))
    return ListedInstrument(
        instrument=instrument,
        raw_symbol=row["symbol"],
        status=status,
        first_day=None if launched is None else launched.date(),
        last_day=None if delivered is None or status is ListingStatus.TRADING else delivered.date(),
    )


def _moment(value: Any, *, name: str) -> datetime | None:
    return None if value is None or value in ("", "0") else payloads.stamps([value], name=name)[0].as_py()


def _result(payload: Any, *, name: str) -> dict[str, Any]:
    """The envelope's content. A web page or a cut body reaches here as text."""
    result = payload.get("result") if isinstance(payload, dict) else None
    if type(result) is not dict or payload.get("retCode") != 0:
        raise InvalidDataError(f"{name} did not answer with data: {str(payload)[:120]!r}")
    return result
