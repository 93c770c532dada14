"""OKX's face: the public v5 endpoints for USDT-margined swaps, and the bulk files they point to.

Rows come newest first; ``after`` asks for older and ``before`` for newer ones, both exclusive. Volumes and open
interest count contracts; ``ctVal`` of the instrument says how many coins one is. The open candle has ``confirm`` 0.
"""

from collections.abc import Callable
from datetime import date
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tradecore_pipeline.domain.time import Clock, month_of, month_range
from tradecore_pipeline.simulator.backend import Backend
from tradecore_pipeline.simulator.given import Given, RefusedError
from tradecore_pipeline.simulator.okx_files import (
    ALL_SWAPS,
    EXCHANGE_OFFSET,
    MOST_PERIODS,
    BulkFile,
    BulkFiles,
    Kind,
    candle_rows,
    catalogue_entry,
    exchange_day,
)
from tradecore_pipeline.simulator.parameters import Listing
from tradecore_pipeline.simulator.reading import DAY_MS, Reader, Window, trimmed
from tradecore_pipeline.simulator.rows import MINUTE_MS

RECENT_CANDLES = 1440
"""``market/candles`` knows no older ones; ``market/history-candles`` knows all but the open one."""
FUNDING_DEPTH_MS = 94 * DAY_MS
"""How far back settlements are told over REST: about three months."""
INTEREST_SNAPSHOTS = 1440
"""How many rows of its period the history of open interest reaches back: five days of five minutes."""

_MINUTES = {
    **{f"{minutes}m": minutes for minutes in (1, 3, 5, 15, 30)},
    **{f"{hours}H": hours * 60 for hours in (1, 2, 4)},
    # Longer bars without the suffix begin at the exchange's midnight, which nobody here asks for.
    **{f"{hours}Hutc": hours * 60 for hours in (6, 12)},
    "1Dutc": 1440,
}
_PERIODS = {"5m": 5, "1H": 60, "1D": 1440}
_EXCHANGE_OFFSET_MS = int(EXCHANGE_OFFSET.total_seconds()) * 1000
_MODULES: dict[str, Kind] = {"2": "candlesticks", "3": "fundingrates"}

Answer = Callable[[Given, str], list[Any]]


class OkxFace:
    """Answers as the exchange would at the clock's moment."""

    def __init__(self, backend: Backend, clock: Clock) -> None:
        self._reader = Reader(backend, clock)
        self._files = BulkFiles(backend)

    def routes(self) -> list[Route]:
        """The public endpoints, and the files under ``/cdn``."""
        answers: dict[str, Answer] = {
            "public/time": lambda _given, _url: [{"ts": str(self._reader.now_ms)}],
            "public/instruments": self._instruments,
            "public/funding-rate-history": self._funding,
            "public/open-interest": self._open_interest,
            "public/market-data-history": self._catalogue,
            "market/candles": self._candles,
            "market/history-candles": self._history_candles,
            "rubik/stat/contracts/open-interest-history": self._interest_history,
        }
        endpoints = [Route(f"/api/v5/{name}", self._endpoint(answer)) for name, answer in answers.items()]
        return [*endpoints, Route("/cdn/okex/traderecords/{path:path}", self._file)]

    def _endpoint(self, answer: Answer) -> Callable[[Request], Any]:
        async def endpoint(request: Request) -> JSONResponse:
            try:
                rows = answer(Given(request.query_params, _malformed), str(request.base_url).rstrip("/"))
            except RefusedError as refusal:
                body = {"code": refusal.code, "msg": refusal.message, "data": []}
                return JSONResponse(body, status_code=refusal.status)
            return JSONResponse({"code": "0", "msg": "", "data": rows})

        return endpoint

    async def _file(self, request: Request) -> Response:
        file = BulkFile.parse(request.path_params["path"])
        content = None if file is None else self._files.content(file, self._reader.now_ms)
        if content is None:
            return Response(status_code=404)
        return Response(content, media_type="application/zip")

    def _instruments(self, given: Given, _url: str) -> list[Any]:
        if given.required("instType") != "SWAP":
            return []
        name = given.text("instId")
        listings = self._reader.listings("okx") if name is None else [self._listing(given)]
        return [self._instrument(number, listing) for number, listing in enumerate(listings, start=10460)]

    def _instrument(self, number: int, listing: Listing) -> dict[str, Any]:
        lot = listing.volume_decimals - 2
        names = (
            "alias",
            "auctionEndTime",
            "baseCcy",
            "contTdSwTime",
            "expTime",
            "maxMktAmt",
            "maxPlatOILmt",
            "openType",
        )
        names = (*names, "optType", "posLmtAmt", "posLmtPct", "preMktSwTime", "quoteCcy", "stk")
        return {
            **dict.fromkeys(names, ""),
            "category": "1",
            "ctMult": "1",
            "ctType": "linear",
            "ctVal": f"{listing.contract_size:g}",
            "ctValCcy": listing.base,
            "futureSettlement": False,
            "instFamily": f"{listing.base}-{listing.quote}",
            "instId": listing.symbol,
            "instIdCode": number,
            "instType": "SWAP",
            "lever": "100",
            "listTime": str(self._reader.listed_ms(listing)),
            "lotSz": f"{10.0**-lot:.{lot}f}",
            "maxIcebergSz": "100000000.0000000000000000",
            "maxLmtAmt": "20000000",
            "maxLmtSz": "100000000",
            "maxMktSz": "30000",
            "maxStopSz": "30000",
            "maxTriggerSz": "100000000.0000000000000000",
            "maxTwapSz": "100000000.0000000000000000",
            "minSz": f"{10.0**-lot:.{lot}f}",
            "ruleType": "normal",
            "settleCcy": listing.quote,
            "state": "live" if self._reader.delisted_ms(listing) is None else "suspend",
            "tickSz": f"{10.0**-listing.price_decimals:.{listing.price_decimals}f}",
            "tradeQuoteCcyList": [],
            "uly": f"{listing.base}-{listing.quote}",
        }

    def _candles(self, given: Given, _url: str) -> list[Any]:
        interval_ms = given.choice("bar", _MINUTES) * MINUTE_MS
        oldest = self._reader.now_ms // interval_ms * interval_ms - (RECENT_CANDLES - 1) * interval_ms
        return self._candle_rows(given, interval_ms, oldest=oldest, newest=None)

    def _history_candles(self, given: Given, _url: str) -> list[Any]:
        interval_ms = given.choice("bar", _MINUTES) * MINUTE_MS
        newest = self._reader.now_ms // interval_ms * interval_ms - interval_ms
        return self._candle_rows(given, interval_ms, oldest=0, newest=newest)

    def _candle_rows(self, given: Given, interval_ms: int, *, oldest: int, newest: int | None) -> list[Any]:
        listing = self._listing(given)
        start, end = _bounds(given)
        start, end = max(start, oldest), min(end, newest if newest is not None else end)
        window = Window(interval_ms, start, end, given.limit(default=100, most=300), newest=True)
        rows = candle_rows(self._reader.candles(listing, window), listing)
        now_ms = self._reader.now_ms
        return [[*row, "1" if int(row[0]) + interval_ms <= now_ms else "0"] for row in rows][::-1]

    def _funding(self, given: Given, _url: str) -> list[Any]:
        listing = self._listing(given)
        start, end = _bounds(given)
        rates = self._reader.funding_rates(listing, start=max(start, self._reader.now_ms - FUNDING_DEPTH_MS), end=end)
        rates = rates.take(slice(-given.limit(default=100, most=100), None))
        return [
            {
                "instType": "SWAP",
                "instId": listing.symbol,
                # What was foretold; what was paid is the realized one.
                "fundingRate": trimmed(rate * 1.01 + 0.0000013, 10),
                "realizedRate": trimmed(rate, 10),
                "fundingTime": str(time),
            }
            for time, rate in zip(rates.time_ms.tolist(), rates.rate.tolist(), strict=True)
        ][::-1]

    def _open_interest(self, given: Given, _url: str) -> list[Any]:
        if given.required("instType") != "SWAP":
            return []
        listings = self._reader.listings("okx") if given.text("instId") is None else [self._listing(given)]
        now_ms = self._reader.now_ms
        entries: list[Any] = []
        for listing in listings:
            newest = self._reader.open_interest(listing, start=now_ms - DAY_MS, end=None).take(slice(-1, None))
            for base, usd in zip(newest.base.tolist(), newest.usd.tolist(), strict=True):
                contracts = trimmed(base / listing.contract_size, 2)
                amounts = {"oi": contracts, "oiCcy": trimmed(base, 4), "oiUsd": trimmed(usd, 8)}
                entries.append({"instType": "SWAP", "instId": listing.symbol, **amounts, "ts": str(now_ms)})
        return entries

    def _interest_history(self, given: Given, _url: str) -> list[Any]:
        listing = self._listing(given)
        period_ms = given.choice("period", _PERIODS) * MINUTE_MS if given.text("period") else 5 * MINUTE_MS
        begin, end = given.integer("begin"), given.integer("end")
        oldest = self._reader.now_ms // period_ms * period_ms - (INTEREST_SNAPSHOTS - 1) * period_ms
        if end is not None and end <= oldest:
            raise RefusedError("51000", "Illegal time range", status=400)
        # Both bounds are exclusive.
        start = max(oldest, 0 if begin is None else begin + 1)
        rows = self._reader.open_interest(listing, start=start, end=None if end is None else end - 1)
        # A day begins at the exchange's midnight.
        rows = rows.take((rows.time_ms + _EXCHANGE_OFFSET_MS) % period_ms == 0).take(
            slice(-given.limit(default=100, most=100), None)
        )
        return [
            [str(time), trimmed(base / listing.contract_size, 2), trimmed(base, 4), trimmed(usd, 8)]
            for time, base, usd in zip(rows.time_ms.tolist(), rows.base.tolist(), rows.usd.tolist(), strict=True)
        ][::-1]

    def _catalogue(self, given: Given, url: str) -> list[Any]:
        module, rhythm = given.required("module"), given.required("dateAggrType")
        if module not in _MODULES or given.required("instType") != "SWAP":
            raise _malformed("module")
        if rhythm not in {"daily", "monthly"}:
            raise _malformed("dateAggrType")
        begin, end = given.integer("begin"), given.integer("end")
        if begin is None or end is None or begin > end:
            raise _malformed("begin")
        monthly = rhythm == "monthly"
        first, last = exchange_day(begin), exchange_day(end)
        if monthly:
            first, last = month_of(first), month_of(last)
        periods = len(list(month_range(first, last))) if monthly else (last - first).days + 1
        if periods > MOST_PERIODS:
            raise RefusedError("50076", f"The date range cannot exceed {MOST_PERIODS} {rhythm} files.", status=400)
        families = given.required("instFamilyList").split(",")
        details = [
            detail
            for family in families
            if (detail := self._group(_MODULES[module], family, url, first=first, last=last, monthly=monthly))
        ]
        return [{"dateAggrType": rhythm, "details": details, "totalSizeMB": "1", "ts": str(self._reader.now_ms)}]

    def _group(self, kind: Kind, family: str, url: str, *, first: date, last: date, monthly: bool) -> dict[str, Any]:
        name = ALL_SWAPS if family == "ANY" else f"{family}-SWAP"
        now_ms = self._reader.now_ms
        files = self._files.catalogue(kind, name, first=first, last=last, monthly=monthly, now_ms=now_ms)
        if not files:
            return {}
        return {
            "dateRangeStart": str(files[-1].start_ms),
            "dateRangeEnd": str(files[0].end_ms),
            "groupDetails": [catalogue_entry(file, base_url=url) for file in files],
            "groupSizeMB": "1",
            "instFamily": family,
            "instId": "",
            "instType": "SWAP",
        }

    def _listing(self, given: Given) -> Listing:
        listing = self._reader.find(given.required("instId"), "okx")
        if listing is None:
            raise RefusedError("51001", "Instrument ID, Instrument ID code, or Spread ID doesn't exist.", status=200)
        return listing


def _bounds(given: Given) -> tuple[int, int]:
    """The oldest and the newest moment between ``before`` and ``after``, which are exclusive."""
    after, before = given.integer("after"), given.integer("before")
    return 0 if before is None else before + 1, 2**62 if after is None else after - 1


def _malformed(name: str) -> RefusedError:
    return RefusedError("51000", f"Parameter {name} error", status=400)
