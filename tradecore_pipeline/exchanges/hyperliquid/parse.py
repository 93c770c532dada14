"""HyperLiquid's info payloads as tables. Pure: decoded JSON in, rows of a domain table out, whatever their order."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from tradecore_pipeline.domain.errors import InvalidDataError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.market_data import ListedInstrument, ListingStatus
from tradecore_pipeline.domain.tables import BARS_1M, OPEN_INTEREST, PRICE, TIMESTAMP
from tradecore_pipeline.exchanges import payloads

NAME = "hyperliquid"
SNAPSHOT_STEP = timedelta(minutes=5)
_COLLATERAL = "USDC"
_COIN = re.compile(r"k?[A-Z0-9]{1,19}")
"""A small k stands for a thousand coins: ``kPEPE``. Names of any other form have no place in our spelling."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Open interest now: base coins of one side, and their value at the mark price."""

    base: float
    usd: float


def status_json(payload: Any, *, name: str) -> datetime:
    """The exchange's moment, from an ``exchangeStatus`` reply.

    Raises:
        InvalidDataError: not the documented object.
    """
    (moments,) = payloads.fields([payload], {"time": int}, name=name)
    stamp: datetime = payloads.stamps(moments, name=name)[0].as_py()
    return stamp.astimezone(UTC)


def meta_json(payload: Any, *, name: str) -> tuple[ListedInstrument, ...]:
    """The coins of a ``meta`` reply; when they were listed is not told.

    Raises:
        InvalidDataError: not the documented object, or two coins that we would spell alike.
    """
    listed: dict[Instrument, ListedInstrument] = {}
    for row in _universe(payload, name=name):
        coin: str = row["name"]
        if _COIN.fullmatch(coin) is None:
            continue
        instrument = Instrument(NAME, f"{coin.upper()}/{_COLLATERAL}:{_COLLATERAL}")
        if instrument in listed:
            raise InvalidDataError(f"{name} lists {coin} and {listed[instrument].raw_symbol}: both are {instrument}")
        status = ListingStatus.DELISTED if row.get("isDelisted") is True else ListingStatus.TRADING
        listed[instrument] = ListedInstrument(instrument, coin, status, first_day=None, last_day=None)
    return tuple(listed.values())


def candles_json(payload: Any, *, name: str, coin: str) -> pa.Table:
    """1-minute bars from a ``candleSnapshot`` reply; traded value and takers are not told.

    Raises:
        InvalidDataError: not a list of objects with the documented fields, or another coin's or interval's.
    """
    rows = payloads.listed(payload, name=name)
    kinds = {"s": str, "i": str, "t": int, "o": str, "h": str, "l": str, "c": str, "v": str, "n": int}
    coins, intervals, moments, opened, high, low, closed, volume, trades = payloads.fields(rows, kinds, name=name)
    if strays := {*coins, *intervals} - {coin, "1m"}:
        raise InvalidDataError(f"{name} holds rows of {min(strays)[:40]!r} instead of {coin} and 1m")
    if any(not 0 <= count < 2**62 for count in trades):
        raise InvalidDataError(f"{name}: an impossible number of trades")
    prices = {"open": opened, "high": high, "low": low, "close": closed}
    columns = {column: payloads.numbers(values, PRICE, name=name) for column, values in prices.items()}
    columns["ts_open"] = payloads.stamps(moments, name=name)
    columns["volume"] = payloads.numbers(volume, pa.float64(), name=name)
    columns["trades"] = pa.array(trades, type=pa.int64())
    return payloads.rows_of(BARS_1M, columns, name=name)


def funding_json(payload: Any, *, name: str, coin: str) -> pa.Table:
    """Settlements from a ``fundingHistory`` reply, intervals unknown.

    Raises:
        InvalidDataError: not a list of objects with the documented fields, or another coin's.
    """
    rows = payloads.listed(payload, name=name)
    coins, rates, moments = payloads.fields(rows, {"coin": str, "fundingRate": str, "time": int}, name=name)
    if strays := set(coins) - {coin}:
        raise InvalidDataError(f"{name} holds rows of {min(strays)[:40]!r} instead of {coin}")
    stamps = payloads.stamps(moments, name=name)
    return payloads.settlements(stamps, payloads.numbers(rates, pa.float64(), name=name), name=name)


def snapshot_json(payload: Any, *, name: str, coin: str) -> Snapshot:
    """The coin's open interest, from a ``metaAndAssetCtxs`` reply.

    Raises:
        InvalidDataError: not the documented pair of lists, or without the coin.
    """
    pair = payloads.listed(payload, name=name)
    if len(pair) != 2:
        raise InvalidDataError(f"{name} did not answer with coins and their contexts: {str(payload)[:120]!r}")
    coins = [row["name"] for row in _universe(pair[0], name=name)]
    contexts = payloads.listed(pair[1], name=name)
    if len(contexts) != len(coins) or coin not in coins:
        raise InvalidDataError(f"{name}: {len(contexts)} contexts for {len(coins)} coins, {coin} among them?")
    context = contexts[coins.index(coin)]
    texts = [values[0] for values in payloads.fields([context], {"openInterest": str, "markPx": str}, name=name)]
    base, price = payloads.numbers(texts, pa.float64(), name=name).to_pylist()
    return Snapshot(base, base * price)


def snapshot_rows(snapshot: Snapshot, *, measured: datetime) -> pa.Table:
    """The snapshot as a row at the first five-minute mark after ``measured``: no earlier one may know of it."""
    step = round(SNAPSHOT_STEP.total_seconds() * 1000)
    mark = (round(measured.timestamp() * 1000) // step + 1) * step
    columns = [pa.array([mark]).cast(TIMESTAMP), pa.array([snapshot.base]), pa.array([snapshot.usd])]
    return pa.Table.from_arrays(columns, schema=OPEN_INTEREST.schema)


def _universe(payload: Any, *, name: str) -> list[dict[str, Any]]:
    universe = payloads.listed(payload.get("universe") if isinstance(payload, dict) else None, name=name)
    payloads.fields(universe, {"name": str}, name=name)
    return universe
