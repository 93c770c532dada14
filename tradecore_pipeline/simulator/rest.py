"""The REST face: Binance's public endpoints for USDT-M futures and spot, over any back end."""

import math
from datetime import datetime
from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from tradecore_pipeline.domain.time import Clock
from tradecore_pipeline.simulator.backend import Backend
from tradecore_pipeline.simulator.exchange_info import exchange_info
from tradecore_pipeline.simulator.parameters import Listing, Venue
from tradecore_pipeline.simulator.queries import ApiError, Query, WeightMeter, kline_weight
from tradecore_pipeline.simulator.rows import MINUTE_MS, Bars

_MINUTES = {"1m": 1, "5m": 5, "15m": 15, "30m": 30, "1h": 60, "2h": 120, "4h": 240, "6h": 360, "12h": 720, "1d": 1440}
_PERIODS = {name: minutes for name, minutes in _MINUTES.items() if minutes >= 5}
_KLINE_LIMITS: dict[Venue, int] = {"um": 1500, "spot": 1000}
_DAY_MS = 24 * 60 * MINUTE_MS
_OPEN_INTEREST_DEPTH_MS = 30 * _DAY_MS
_SETTLEMENT_MS = 8 * 60 * MINUTE_MS


class RestFace:
    """Answers REST requests as they would be answered at the clock's moment."""

    def __init__(self, backend: Backend, clock: Clock) -> None:
        self._backend = backend
        self._clock = clock
        self._weight = WeightMeter()

    def routes(self) -> list[Route]:
        """The endpoints of both venues."""
        futures = "/fapi/v1"
        return [
            *self._venue_routes("um", futures),
            *self._venue_routes("spot", "/api/v3"),
            Route(f"{futures}/fundingRate", self._funding_rate),
            Route(f"{futures}/fundingInfo", self._funding_info),
            Route(f"{futures}/openInterest", self._open_interest),
            Route(f"{futures}/premiumIndex", self._premium_index),
            Route("/futures/data/openInterestHist", self._open_interest_history),
        ]

    def _venue_routes(self, venue: Venue, base: str) -> list[Route]:
        async def ping(request: Request) -> JSONResponse:  # noqa: ARG001 (an endpoint is given its request)
            return self._reply({})

        async def time(request: Request) -> JSONResponse:  # noqa: ARG001 (likewise)
            return self._reply({"serverTime": self._now_ms()})

        async def info(request: Request) -> JSONResponse:  # noqa: ARG001 (likewise)
            listed = [(listing, self._backend.span_ms(listing)[0]) for listing in self._listings(venue)]
            return self._reply(exchange_info(venue, listed, self._now_ms()))

        async def klines(request: Request) -> JSONResponse:
            return self._klines(Query(request), venue)

        return [
            Route(f"{base}/ping", ping),
            Route(f"{base}/time", time),
            Route(f"{base}/exchangeInfo", info),
            Route(f"{base}/klines", klines),
        ]

    def _klines(self, query: Query, venue: Venue) -> JSONResponse:
        listing = self._listing(query.text("symbol"), venue)
        interval_ms = query.choice("interval", _MINUTES, code=-1120) * MINUTE_MS
        limit = query.limit(default=500, most=_KLINE_LIMITS[venue])
        start, end = query.window()
        bars = self._bars(listing, interval_ms, start=start, end=end, limit=limit)
        return self._reply(_kline_rows(bars, interval_ms, listing), weight=kline_weight(limit))

    def _bars(self, listing: Listing, interval_ms: int, *, start: int | None, end: int | None, limit: int) -> Bars:
        """At most ``limit`` bars: the first from ``start`` on, or else the newest up to ``end``; the open one too."""
        now_ms = self._now_ms()
        first, last = self._backend.span_ms(listing)
        low = first // interval_ms * interval_ms if start is None else -(-start // interval_ms) * interval_ms
        low = max(low, first // interval_ms * interval_ms)
        high = min(last, now_ms - 1)
        if end is not None:
            # A bar belongs to the window if it opens in it; its minutes may lie behind the window's end.
            high = min(high, end // interval_ms * interval_ms + interval_ms - 1)
        parts: list[Bars] = []
        # Gaps make some windows yield fewer bars than they are long: go on until there are enough. A day at least, so
        # that a hole of years in a recording is crossed in reasonable time.
        length = -(-max(limit * interval_ms, _DAY_MS) // interval_ms) * interval_ms
        while sum(map(len, parts)) < limit and low <= high:
            if start is None:
                cut = max(low, high // interval_ms * interval_ms + interval_ms - length)
                parts.insert(0, self._seen(listing, now_ms, first_ms=cut, last_ms=high).aggregated(interval_ms))
                high = cut - 1
            else:
                cut = min(high, low + length - 1)
                parts.append(self._seen(listing, now_ms, first_ms=low, last_ms=cut).aggregated(interval_ms))
                low = cut + 1
        bars = Bars.joined(parts or [Bars.empty()])
        return bars.take(slice(-limit, None) if start is None else slice(limit))

    def _seen(self, listing: Listing, now_ms: int, *, first_ms: int, last_ms: int) -> Bars:
        minutes = self._backend.minutes(listing, first_ms=first_ms, last_ms=last_ms)
        return minutes.seen_at(now_ms, listing.price_decimals)

    async def _funding_rate(self, request: Request) -> JSONResponse:
        query = Query(request)
        listing = self._listing(query.text("symbol"), "um")
        limit = query.limit(default=100, most=1000)
        start, end = query.window()
        now_ms = self._now_ms()
        last = now_ms if end is None else min(now_ms, end)
        rates = self._backend.funding_rates(listing, first_ms=start or 0, last_ms=last)
        rates = rates.take(slice(-limit, None) if start is None else slice(limit))
        rows = zip(rates.time_ms.tolist(), rates.rate.tolist(), rates.mark_price.tolist(), strict=True)
        return self._reply(
            [
                {
                    "symbol": listing.symbol,
                    "fundingTime": time,
                    "fundingRate": f"{rate:.8f}",
                    "markPrice": "" if math.isnan(mark) else f"{mark:.8f}",
                }
                for time, rate, mark in rows
            ]
        )

    async def _funding_info(self, request: Request) -> JSONResponse:  # noqa: ARG002 (an endpoint is given its request)
        return self._reply([])  # Binance lists only symbols whose interval or caps were changed: here none were

    async def _open_interest_history(self, request: Request) -> JSONResponse:
        query = Query(request)
        listing = self._listing(query.text("symbol"), "um")
        period_ms = query.choice("period", _PERIODS, code=-1130) * MINUTE_MS
        limit = query.limit(default=30, most=500)
        start, end = query.window()
        now_ms = self._now_ms()
        oldest = now_ms - _OPEN_INTEREST_DEPTH_MS
        if start is not None and start < oldest:
            raise ApiError(-1130, "parameter 'startTime' is invalid.")
        first, last = oldest if start is None else start, now_ms if end is None else min(now_ms, end)
        rows = self._backend.open_interest(listing, first_ms=first, last_ms=last)
        rows = rows.take(rows.time_ms % period_ms == 0)
        rows = rows.take(slice(-limit, None) if start is None else slice(limit))
        return self._reply(
            [
                {
                    "symbol": listing.symbol,
                    "sumOpenInterest": f"{base:.8f}",
                    "sumOpenInterestValue": f"{usd:.8f}",
                    "timestamp": time,
                }
                for time, base, usd in zip(rows.time_ms.tolist(), rows.base.tolist(), rows.usd.tolist(), strict=True)
            ],
            weight=0,
        )

    async def _open_interest(self, request: Request) -> JSONResponse:
        listing = self._listing(Query(request).text("symbol"), "um")
        now_ms = self._now_ms()
        rows = self._backend.open_interest(listing, first_ms=now_ms - _OPEN_INTEREST_DEPTH_MS, last_ms=now_ms)
        newest = f"{rows.base[-1]:.3f}" if len(rows) else "0.000"
        return self._reply({"symbol": listing.symbol, "openInterest": newest, "time": now_ms})

    async def _premium_index(self, request: Request) -> JSONResponse:
        symbol = request.query_params.get("symbol")
        if symbol is not None:
            return self._reply(self._premium(self._listing(symbol, "um")))
        return self._reply([self._premium(listing) for listing in self._listings("um")], weight=10)

    def _premium(self, listing: Listing) -> dict[str, Any]:
        now_ms = self._now_ms()
        newest = self._bars(listing, MINUTE_MS, start=None, end=None, limit=1)
        price = f"{newest.close[-1]:.8f}" if len(newest) else "0.00000000"
        rates = self._backend.funding_rates(listing, first_ms=0, last_ms=now_ms).rate
        return {
            "symbol": listing.symbol,
            "markPrice": price,
            "indexPrice": price,
            "estimatedSettlePrice": price,
            "lastFundingRate": f"{rates[-1]:.8f}" if len(rates) else "",
            "interestRate": "0.00010000",
            "nextFundingTime": (now_ms // _SETTLEMENT_MS + 1) * _SETTLEMENT_MS,
            "time": now_ms,
        }

    def _listings(self, venue: Venue) -> list[Listing]:
        return [listing for listing in self._backend.listings if listing.venue == venue]

    def _listing(self, symbol: str, venue: Venue) -> Listing:
        for listing in self._listings(venue):
            if listing.symbol == symbol:
                return listing
        raise ApiError(-1121, "Invalid symbol.")

    def _now_ms(self) -> int:
        return _milliseconds(self._clock())

    def _reply(self, content: object, *, weight: int = 1) -> JSONResponse:
        return JSONResponse(content, headers={"X-MBX-USED-WEIGHT-1M": str(self._weight.spend(weight))})


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def _kline_rows(bars: Bars, interval_ms: int, listing: Listing) -> list[list[Any]]:
    prices, volumes, quotes = listing.written_decimals
    texts = [
        np.char.mod(f"%.{decimals}f", column).tolist()
        for column, decimals in (
            *((column, prices) for column in (bars.open, bars.high, bars.low, bars.close)),
            *((column, volumes) for column in (bars.volume, bars.taker_buy_volume)),
            *((column, quotes) for column in (bars.quote_volume, bars.taker_buy_quote_volume)),
        )
    ]
    opened, high, low, closed, volume, bought, quote_volume, bought_quote = texts
    times = bars.time_ms.tolist()
    ends = (bars.time_ms + interval_ms - 1).tolist()
    columns = (times, opened, high, low, closed, volume, ends, quote_volume, bars.trades.tolist(), bought, bought_quote)
    return [[*row, "0"] for row in zip(*columns, strict=True)]
