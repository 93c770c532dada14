"""HyperLiquid's face: ``POST /info``, where the body says what is asked.

Candles reach back 5,000 of their interval and no further, the open one included; its ``T`` lies in the future. Funding
settles hourly and is stamped some milliseconds late; an answer holds at most 500 rows, the oldest first. There is no
history of open interest, only what ``metaAndAssetCtxs`` says now.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from tradecore_pipeline.domain.time import Clock
from tradecore_pipeline.simulator.backend import Backend
from tradecore_pipeline.simulator.parameters import Listing
from tradecore_pipeline.simulator.reading import DAY_MS, Reader, Window
from tradecore_pipeline.simulator.rows import MINUTE_MS

CANDLES_KEPT = 5000
FUNDING_ROWS = 500

_MINUTES = {
    **{f"{minutes}m": minutes for minutes in (1, 3, 5, 15, 30)},
    **{f"{hours}h": hours * 60 for hours in (1, 2, 4, 8, 12)},
    "1d": 1440,
}
_SNAPSHOT_MS = 5 * MINUTE_MS
_USDC: dict[str, Any] = {
    "name": "USDC",
    "szDecimals": 8,
    "weiDecimals": 8,
    "index": 0,
    "tokenId": "0x6d1e7cde53ba9467b783cb7c530ce054",
    "isCanonical": True,
}

Body = Mapping[str, Any]


class _MalformedError(Exception):
    """A body that does not say what is asked."""


class _UnknownCoinError(Exception):
    """A coin that is not listed."""


class HyperliquidFace:
    """Answers as the exchange would at the clock's moment."""

    def __init__(self, backend: Backend, clock: Clock) -> None:
        self._reader = Reader(backend, clock)
        self._answers: dict[str, Callable[[Body], Any]] = {
            "meta": self._meta,
            "metaAndAssetCtxs": self._contexts,
            "candleSnapshot": self._candles,
            "fundingHistory": self._funding,
            "exchangeStatus": lambda _: {"specialStatuses": None, "time": self._reader.now_ms},
            "perpDexs": lambda _: [None],
            "spotMeta": lambda _: {"tokens": [_USDC], "universe": []},
            "spotMetaAndAssetCtxs": lambda _: [{"tokens": [_USDC], "universe": []}, []],
        }

    def routes(self) -> list[Route]:
        """The one public endpoint."""
        return [Route("/info", self._info, methods=["POST"])]

    async def _info(self, request: Request) -> Response:
        try:
            body = json.loads(await request.body())
            return JSONResponse(self._answer(body))
        except (ValueError, _MalformedError):
            return PlainTextResponse("Failed to deserialize the JSON body into the target type", status_code=422)
        except _UnknownCoinError:
            return JSONResponse(None, status_code=500)

    def _answer(self, body: Any) -> object:
        match body:
            case {"type": str(asked)} if asked in self._answers:
                return self._answers[asked](body)
            case _:
                raise _MalformedError

    def _meta(self, body: Body) -> dict[str, Any]:  # noqa: ARG002 (every answer is given the body)
        universe = [
            {
                "name": listing.symbol,
                "szDecimals": listing.volume_decimals,
                "maxLeverage": 40,
                "onlyIsolated": None,
                "isDelisted": None if self._reader.delisted_ms(listing) is None else True,
            }
            for listing in self._reader.listings("hyperliquid")
        ]
        return {"universe": universe, "marginTables": []}

    def _contexts(self, body: Body) -> list[Any]:
        return [self._meta(body), [self._context(listing) for listing in self._reader.listings("hyperliquid")]]

    def _context(self, listing: Listing) -> dict[str, Any]:
        reader, now_ms = self._reader, self._reader.now_ms
        day = reader.candles(listing, Window(MINUTE_MS, now_ms - DAY_MS, None, DAY_MS // MINUTE_MS, newest=True))
        interest = reader.open_interest(listing, start=now_ms - 2 * _SNAPSHOT_MS, end=None).base
        rates = reader.funding_rates(listing, start=now_ms - DAY_MS, end=None).rate
        premium = reader.premium_candles(listing, Window(MINUTE_MS, None, None, 1, newest=True)).close
        price = _number(reader.price(listing) or 0.0, listing.price_decimals)
        return {
            "funding": _number(rates[-1] if len(rates) else 0.0, 10),
            "openInterest": _number(interest[-1] if len(interest) else 0.0, listing.volume_decimals),
            "prevDayPx": _number(day.open[0] if len(day) else 0.0, listing.price_decimals),
            "dayNtlVlm": _number(float(day.quote_volume.sum()), 10),
            "premium": _number(premium[-1] if len(premium) else 0.0, 10),
            "oraclePx": price,
            "markPx": price,
            "midPx": price,
            "impactPxs": [price, price],
            "dayBaseVlm": _number(float(day.volume.sum()), listing.volume_decimals),
        }

    def _candles(self, body: Body) -> list[dict[str, Any]]:
        request = body.get("req")
        if not isinstance(request, dict):
            raise _MalformedError
        listing, name = self._listing(request), request.get("interval")
        if not isinstance(name, str) or name not in _MINUTES:
            raise _MalformedError
        interval_ms = _MINUTES[name] * MINUTE_MS
        start, end = _moment(request, "startTime"), _moment(request, "endTime")
        kept = self._reader.candles(listing, Window(interval_ms, None, None, CANDLES_KEPT, newest=True))
        first = 0 if start is None else start // interval_ms * interval_ms
        bars = kept.between(first, 2**62 if end is None else end)
        prices, sizes = listing.price_decimals, listing.volume_decimals
        columns = (bars.time_ms, bars.open, bars.high, bars.low, bars.close, bars.volume, bars.trades)
        return [
            {
                "t": time,
                "T": time + interval_ms - 1,
                "s": listing.symbol,
                "i": name,
                "o": _number(opened, prices),
                "c": _number(closed, prices),
                "h": _number(high, prices),
                "l": _number(low, prices),
                "v": _number(volume, sizes),
                "n": trades,
            }
            for time, opened, high, low, closed, volume, trades in zip(
                *(column.tolist() for column in columns), strict=True
            )
        ]

    def _funding(self, body: Body) -> list[dict[str, Any]]:
        listing = self._listing(body)
        start = _moment(body, "startTime")
        if start is None:
            raise _MalformedError
        rates = self._reader.funding_rates(listing, start=start, end=_moment(body, "endTime"))
        rates = rates.take(slice(FUNDING_ROWS))
        return [
            {
                "coin": listing.symbol,
                "fundingRate": _number(rate, 10),
                # The premium that leads to such a rate: interest makes up the rest.
                "premium": _number(rate * 8 - 0.0001, 10),
                "time": time,
            }
            for time, rate in zip(rates.time_ms.tolist(), rates.rate.tolist(), strict=True)
        ]

    def _listing(self, request: Mapping[str, Any]) -> Listing:
        coin = request.get("coin")
        if not isinstance(coin, str):
            raise _MalformedError
        listing = self._reader.find(coin, "hyperliquid")
        if listing is None:
            raise _UnknownCoinError
        return listing


def _moment(request: Mapping[str, Any], name: str) -> int | None:
    value = request.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise _MalformedError
    return value


def _number(value: float, decimals: int) -> str:
    """As the exchange writes numbers: no zeros at the end, but always one digit behind the point."""
    text = f"{value:.{max(decimals, 1)}f}".rstrip("0")
    return f"{text}0" if text.endswith(".") else text
