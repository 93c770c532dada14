"""The REST face: Binance's public endpoints for USDT-M futures and spot, over any back end."""

import math
from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from tradecore_pipeline.domain.time import Clock
from tradecore_pipeline.simulator.backend import Backend
from tradecore_pipeline.simulator.exchange_info import exchange_info
from tradecore_pipeline.simulator.parameters import FUNDING_MINUTES, Listing, Venue
from tradecore_pipeline.simulator.queries import ApiError, Query, WeightMeter, kline_weight
from tradecore_pipeline.simulator.reading import DAY_MS, Reader, Window
from tradecore_pipeline.simulator.rows import MINUTE_MS, PREMIUM_DECIMALS, Bars

_MINUTES = {"1m": 1, "5m": 5, "15m": 15, "30m": 30, "1h": 60, "2h": 120, "4h": 240, "6h": 360, "12h": 720, "1d": 1440}
_PERIODS = {name: minutes for name, minutes in _MINUTES.items() if minutes >= 5}
_KLINE_LIMITS: dict[Venue, int] = {"um": 1500, "spot": 1000}
_OPEN_INTEREST_DEPTH_MS = 30 * DAY_MS


class RestFace:
    """Answers REST requests as they would be answered at the clock's moment."""

    def __init__(self, backend: Backend, clock: Clock) -> None:
        self._reader = Reader(backend, clock)
        self._weight = WeightMeter()

    def routes(self) -> list[Route]:
        """The endpoints of both venues."""
        futures = "/fapi/v1"
        return [
            *self._venue_routes("um", futures),
            *self._venue_routes("spot", "/api/v3"),
            Route(f"{futures}/premiumIndexKlines", self._premium_klines),
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
            return self._reply({"serverTime": self._reader.now_ms})

        async def info(request: Request) -> JSONResponse:  # noqa: ARG001 (likewise)
            reader = self._reader
            listed = [
                (listing, reader.listed_ms(listing), reader.delisted_ms(listing)) for listing in reader.listings(venue)
            ]
            return self._reply(exchange_info(venue, listed, self._reader.now_ms))

        async def klines(request: Request) -> JSONResponse:
            return self._klines(Query(request), venue, premium=False)

        return [
            Route(f"{base}/ping", ping),
            Route(f"{base}/time", time),
            Route(f"{base}/exchangeInfo", info),
            Route(f"{base}/klines", klines),
        ]

    def _klines(self, query: Query, venue: Venue, *, premium: bool) -> JSONResponse:
        listing = self._listing(query.text("symbol"), venue)
        interval_ms = query.choice("interval", _MINUTES, code=-1120) * MINUTE_MS
        limit = query.limit(default=500, most=_KLINE_LIMITS[venue])
        start, end = query.window()
        window = Window(interval_ms, start, end, limit, newest=start is None)
        if premium:
            bars = self._reader.premium_candles(listing, window)
            rows = _kline_rows(bars, interval_ms, prices=PREMIUM_DECIMALS, volumes=0, quotes=0)
        else:
            bars = self._reader.candles(listing, window)
            prices, volumes, quotes = listing.written_decimals
            rows = _kline_rows(bars, interval_ms, prices=prices, volumes=volumes, quotes=quotes)
        return self._reply(rows, weight=kline_weight(limit))

    async def _premium_klines(self, request: Request) -> JSONResponse:
        return self._klines(Query(request), "um", premium=True)

    async def _funding_rate(self, request: Request) -> JSONResponse:
        query = Query(request)
        listing = self._listing(query.text("symbol"), "um")
        limit = query.limit(default=100, most=1000)
        start, end = query.window()
        rates = self._reader.funding_rates(listing, start=start or 0, end=end)
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
        # Binance lists only symbols whose interval or caps were changed.
        minutes = {listing.symbol: self._reader.funding_minutes(listing) for listing in self._reader.listings("um")}
        return self._reply(
            [
                {
                    "symbol": symbol,
                    "adjustedFundingRateCap": "0.02000000",
                    "adjustedFundingRateFloor": "-0.02000000",
                    "fundingIntervalHours": interval // 60,
                    "disclaimer": False,
                }
                for symbol, interval in minutes.items()
                if interval != FUNDING_MINUTES
            ]
        )

    async def _open_interest_history(self, request: Request) -> JSONResponse:
        query = Query(request)
        listing = self._listing(query.text("symbol"), "um")
        period_ms = query.choice("period", _PERIODS, code=-1130) * MINUTE_MS
        limit = query.limit(default=30, most=500)
        start, end = query.window()
        oldest = self._reader.now_ms - _OPEN_INTEREST_DEPTH_MS
        if start is not None and start < oldest:
            raise ApiError(-1130, "parameter 'startTime' is invalid.")
        rows = self._reader.open_interest(listing, start=oldest if start is None else start, end=end)
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
        now_ms = self._reader.now_ms
        rows = self._reader.open_interest(listing, start=now_ms - _OPEN_INTEREST_DEPTH_MS, end=None)
        newest = f"{rows.base[-1]:.3f}" if len(rows) else "0.000"
        return self._reply({"symbol": listing.symbol, "openInterest": newest, "time": now_ms})

    async def _premium_index(self, request: Request) -> JSONResponse:
        symbol = request.query_params.get("symbol")
        if symbol is not None:
            return self._reply(self._premium(self._listing(symbol, "um")))
        return self._reply([self._premium(listing) for listing in self._reader.listings("um")], weight=10)

    def _premium(self, listing: Listing) -> dict[str, Any]:
        now_ms = self._reader.now_ms
        price = f"{self._reader.price(listing) or 0:.8f}"
        rates = self._reader.funding_rates(listing, start=0, end=None).rate
        settlement_ms = self._reader.funding_minutes(listing) * MINUTE_MS
        return {
            "symbol": listing.symbol,
            "markPrice": price,
            "indexPrice": price,
            "estimatedSettlePrice": price,
            "lastFundingRate": f"{rates[-1]:.8f}" if len(rates) else "",
            "interestRate": "0.00010000",
            "nextFundingTime": (now_ms // settlement_ms + 1) * settlement_ms,
            "time": now_ms,
        }

    def _listing(self, symbol: str, venue: Venue) -> Listing:
        listing = self._reader.find(symbol, venue)
        if listing is None:
            raise ApiError(-1121, "Invalid symbol.")
        return listing

    def _reply(self, content: object, *, weight: int = 1) -> JSONResponse:
        return JSONResponse(content, headers={"X-MBX-USED-WEIGHT-1M": str(self._weight.spend(weight))})


def _kline_rows(bars: Bars, interval_ms: int, *, prices: int, volumes: int, quotes: int) -> list[list[Any]]:
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
