"""Bybit's face: the public v5 endpoints for linear perpetuals, with the real ones' envelope, order and traps.

Everything is answered newest first, always with HTTP 200. Open interest walks backwards from ``endTime``: a lone
``startTime`` is ignored, and ``openInterest`` counts both sides. Funding refuses a ``startTime`` without ``endTime``.
"""

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlencode

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from tradecore_pipeline.domain.time import Clock
from tradecore_pipeline.simulator.backend import Backend
from tradecore_pipeline.simulator.given import Given, RefusedError
from tradecore_pipeline.simulator.parameters import Listing
from tradecore_pipeline.simulator.reading import Reader, Window, trimmed
from tradecore_pipeline.simulator.rows import MINUTE_MS, PREMIUM_DECIMALS, Bars

RATE_LIMITED = (10006, "Too many visits. Exceeded the API Rate Limit.")
"""The code and the words that a client gets who asks too often; with HTTP 200, as everything here."""

_MALFORMED = 10001
_MINUTES = {str(minutes): minutes for minutes in (1, 3, 5, 15, 30, 60, 120, 240, 360, 720)} | {"D": 1440}
_PERIODS = {"5min": 5, "15min": 15, "30min": 30, "1h": 60, "4h": 240, "1d": 1440}
_CATEGORIES = {"linear": 1, "inverse": 0, "spot": 0, "option": 0}

Answer = Callable[[Given], dict[str, Any]]


def envelope(code: int, message: str, result: dict[str, Any], *, time_ms: int) -> dict[str, Any]:
    """What every answer looks like, refusals too."""
    return {"retCode": code, "retMsg": message, "result": result, "retExtInfo": {}, "time": time_ms}


class BybitFace:
    """Answers as the exchange would at the clock's moment."""

    def __init__(self, backend: Backend, clock: Clock) -> None:
        self._reader = Reader(backend, clock)

    def routes(self) -> list[Route]:
        """The public market endpoints."""
        answers: dict[str, Answer] = {
            "time": self._time,
            "instruments-info": self._instruments,
            "kline": self._klines,
            "premium-index-price-kline": self._premium_klines,
            "funding/history": self._funding,
            "open-interest": self._open_interest,
        }
        return [Route(f"/v5/market/{name}", self._endpoint(answer)) for name, answer in answers.items()]

    def _endpoint(self, answer: Answer) -> Callable[[Request], Any]:
        async def endpoint(request: Request) -> JSONResponse:
            now_ms = self._reader.now_ms
            try:
                result = answer(Given(request.query_params, _malformed))
            except RefusedError as refusal:
                return JSONResponse(envelope(int(refusal.code), refusal.message, {}, time_ms=now_ms))
            return JSONResponse(envelope(0, "OK", result, time_ms=now_ms))

        return endpoint

    def _time(self, given: Given) -> dict[str, Any]:  # noqa: ARG002 (every answer is given the parameters)
        now_ms = self._reader.now_ms
        return {"timeSecond": str(now_ms // 1000), "timeNano": str(now_ms * 1_000_000)}

    def _instruments(self, given: Given) -> dict[str, Any]:
        is_linear = given.choice("category", _CATEGORIES)
        limit = given.limit(default=500, most=1000)
        listings = self._reader.listings("bybit") if is_linear and given.text("status") in {None, "Trading"} else []
        symbol = given.text("symbol")
        if symbol is not None:
            listings = [self._listing(given)]
        after = _cursor(given.text("cursor"), "lastsymbol") or ""
        left = sorted((listing for listing in listings if listing.symbol > after), key=lambda listing: listing.symbol)
        page = left[:limit]
        more = urlencode({"lastsymbol": page[-1].symbol}) if len(left) > limit else ""
        rows = [self._instrument(listing) for listing in page]
        return {"category": given.required("category"), "list": rows, "nextPageCursor": more}

    def _instrument(self, listing: Listing) -> dict[str, Any]:
        tick, step = (
            f"{10.0**-listing.price_decimals:.{listing.price_decimals}f}",
            f"{10.0**-listing.volume_decimals:g}",
        )
        delisted = self._reader.delisted_ms(listing)
        return {
            "symbol": listing.symbol,
            "contractType": "LinearPerpetual",
            "status": "Trading" if delisted is None else "Closed",
            "baseCoin": listing.base,
            "quoteCoin": listing.quote,
            "launchTime": str(self._reader.listed_ms(listing)),
            "deliveryTime": str(delisted or 0),
            "deliveryFeeRate": "",
            "priceScale": str(listing.price_decimals),
            "leverageFilter": {"minLeverage": "1", "maxLeverage": "100.00", "leverageStep": "0.01"},
            "priceFilter": {"minPrice": tick, "maxPrice": "1999999.80", "tickSize": tick},
            "lotSizeFilter": {
                "maxOrderQty": "1190.000",
                "minOrderQty": step,
                "qtyStep": step,
                "postOnlyMaxOrderQty": "1190.000",
                "maxMktOrderQty": "500.000",
                "minNotionalValue": "5",
            },
            "unifiedMarginTrade": True,
            "fundingInterval": self._reader.funding_minutes(listing),
            "settleCoin": listing.quote,
        }

    def _klines(self, given: Given) -> dict[str, Any]:
        listing, interval_ms = self._listing(given), given.choice("interval", _MINUTES) * MINUTE_MS
        bars = self._reader.candles(listing, _window(given, interval_ms))
        prices, volumes, quotes = listing.written_decimals
        rows = [
            [*row, trimmed(volume, volumes), trimmed(turnover, quotes)]
            for row, volume, turnover in zip(
                _price_rows(bars, prices), bars.volume.tolist(), bars.quote_volume.tolist(), strict=True
            )
        ]
        return {"category": "linear", "symbol": listing.symbol, "list": rows[::-1]}

    def _premium_klines(self, given: Given) -> dict[str, Any]:
        listing, interval_ms = self._listing(given), given.choice("interval", _MINUTES) * MINUTE_MS
        bars = self._reader.premium_candles(listing, _window(given, interval_ms))
        return {"category": "linear", "symbol": listing.symbol, "list": _price_rows(bars, PREMIUM_DECIMALS)[::-1]}

    def _funding(self, given: Given) -> dict[str, Any]:
        listing = self._listing(given)
        limit = given.limit(default=200, most=200)
        start, end = given.integer("startTime"), given.integer("endTime")
        if start is not None and end is None:
            raise RefusedError(str(_MALFORMED), "params error: endTime is required with startTime", status=200)
        rates = self._reader.funding_rates(listing, start=start or 0, end=end)
        rates = rates.take(slice(-limit, None))
        rows = [
            {"symbol": listing.symbol, "fundingRate": trimmed(rate, 8), "fundingRateTimestamp": str(time)}
            for time, rate in zip(rates.time_ms.tolist(), rates.rate.tolist(), strict=True)
        ]
        return {"category": "linear", "list": rows[::-1]}

    def _open_interest(self, given: Given) -> dict[str, Any]:
        listing = self._listing(given)
        period_ms = given.choice("intervalTime", _PERIODS) * MINUTE_MS
        limit = given.limit(default=50, most=200)
        start, end = given.integer("startTime"), given.integer("endTime")
        oldest = start if start is not None and end is not None else 0
        cursor = _cursor(given.text("cursor"), "lasttime")
        rows = self._reader.open_interest(listing, start=oldest, end=end if cursor is None else int(cursor) - 1)
        rows = rows.take(rows.time_ms % period_ms == 0)
        page = rows.take(slice(-limit, None))
        more = urlencode({"lasttime": int(page.time_ms[0])}) if len(rows) > limit else ""
        listed = [
            # Both sides of every contract: what other venues call open interest is the single one.
            {"openInterest": f"{2 * base:.8f}", "singleOpenInterest": f"{base:.8f}", "timestamp": str(time)}
            for time, base in zip(page.time_ms.tolist(), page.base.tolist(), strict=True)
        ]
        return {"symbol": listing.symbol, "category": "linear", "list": listed[::-1], "nextPageCursor": more}

    def _listing(self, given: Given) -> Listing:
        is_linear = given.choice("category", _CATEGORIES)
        listing = self._reader.find(given.required("symbol"), "bybit")
        if listing is None or not is_linear:
            raise RefusedError(str(_MALFORMED), "params error: Symbol Invalid", status=200)
        return listing


def _window(given: Given, interval_ms: int) -> Window:
    """``start`` names the candle that holds it; with ``start`` alone its followers are meant, else the newest."""
    start, end = given.integer("start"), given.integer("end")
    limit = given.limit(default=200, most=1000)
    first = None if start is None else start // interval_ms * interval_ms
    return Window(interval_ms, first, end, limit, newest=start is None or end is not None)


def _price_rows(bars: Bars, decimals: int) -> list[list[str]]:
    columns = (bars.time_ms, bars.open, bars.high, bars.low, bars.close)
    return [
        [str(time), *(trimmed(price, decimals) for price in prices)]
        for time, *prices in zip(*(column.tolist() for column in columns), strict=True)
    ]


def _cursor(text: str | None, name: str) -> str | None:
    """What a page's cursor says."""
    if text is None:
        return None
    values = parse_qs(text).get(name, [])
    if len(values) != 1 or (name == "lasttime" and not values[0].isdigit()):
        raise _malformed("cursor")
    return values[0]


def _malformed(name: str) -> RefusedError:
    return RefusedError(str(_MALFORMED), f"params error: {name[0].upper()}{name[1:]} Invalid", status=200)
