"""What OKX's API needs said about it: its limits, its refusals, and the requests that are made of it."""

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pyarrow as pa

from tradecore_pipeline.domain.errors import InvalidDataError, SourceUnavailableError, TradecoreError
from tradecore_pipeline.domain.tables import BARS_1M, FUNDING_RATES, OPEN_INTEREST
from tradecore_pipeline.exchanges.budget import Limit
from tradecore_pipeline.exchanges.okx.paging import MOMENT, Series, Server, TooOldError
from tradecore_pipeline.exchanges.okx.parse import (
    BulkFile,
    Swap,
    bulk_json,
    candles_json,
    funding_json,
    open_interest_json,
    swaps_json,
    time_json,
)
from tradecore_pipeline.exchanges.rest import NotListedError, Page, RestConnection, Venue
from tradecore_pipeline.exchanges.retry import Retriable
from tradecore_pipeline.quality.gaps import epoch_ms

NAME = "okx"
BARS_PER_PAGE = 300
FUNDING_PER_PAGE = 100
OPEN_INTEREST_PER_PAGE = 100
_MINUTE = timedelta(minutes=1)
_RECENT = timedelta(hours=19)
"""`candles` keeps the newest 1,440 minutes: a page of 300 that ends this recently lies inside."""
_CODE = re.compile(r"""['"]code['"]\s*:\s*['"](\d+)['"]""")
_TOO_MANY = "50011"
_PASSING = frozenset({_TOO_MANY, "50001", "50004", "50005", "50013", "50026"})
"""Too many requests, maintenance, timeout, offline, busy, system error."""


def _explain(text: str, subject: str) -> TradecoreError | Retriable | None:
    found = _CODE.search(text)
    code = found[1] if found is not None else ""
    if code in _PASSING:
        failure = SourceUnavailableError(f"OKX cannot answer now (code {code}): try again")
        return Retriable(failure, pause_seconds=None, throttled=code == _TOO_MANY)
    if code == "51001":
        return NotListedError(f"okx does not list {subject}")
    if code == "50030" or "Illegal time range" in text:
        return TooOldError(f"OKX keeps no data that old for {subject}")
    return None


VENUE = Venue(
    ccxt_id="okx",
    live_url="https://www.okx.com",
    limits={
        "time": Limit(10, 2),
        "instruments": Limit(20, 2),
        "candles": Limit(40, 2),
        "history-candles": Limit(20, 2),
        "funding-rate-history": Limit(10, 2),
        "open-interest-history": Limit(5, 2),
        # Documented are 5 in 2 s, but more than one every two seconds has been answered with 429.
        "market-data-history": Limit(2, 2),
    },
    explain=_explain,
)


class OkxApi:
    """The requests, each parsed and its window checked."""

    def __init__(self, connection: RestConnection) -> None:
        self._connection = connection

    @property
    def url(self) -> str:
        """The base address that is asked."""
        return self._connection.endpoint.url

    def server(self) -> Server:
        """The server's clock and market."""
        parse = partial(time_json, name="OKX time")
        page = self._connection.call("publicGetPublicTime", {}, parse, bucket="time", weight=1, subject="its time")
        return Server(page.rows, self._connection.endpoint.host, page.market)

    def swaps(self) -> tuple[Swap, ...]:
        """The linear perpetuals it lists."""
        parse = partial(swaps_json, name="OKX instruments")
        params = {"instType": "SWAP"}
        return self._connection.call(
            "publicGetPublicInstruments", params, parse, bucket="instruments", weight=1, subject="its instruments"
        ).rows

    def bulk_files(self, swap: Swap, *, module: int, rhythm: str, first: datetime, last: datetime) -> list[BulkFile]:
        """The bulk files of ``module`` whose period begins at ``first``, at ``last`` or between."""
        params = {
            "module": str(module),
            "instType": "SWAP",
            "instFamilyList": swap.family,
            "dateAggrType": rhythm,
            "begin": _ms(first),
            "end": _ms(last),
        }
        parse = partial(bulk_json, name="OKX market-data-history")
        page = self._connection.call(
            "publicGetPublicMarketDataHistory",
            params,
            parse,
            bucket="market-data-history",
            weight=1,
            subject=swap.inst_id,
        )
        return list(page.rows)

    def bars(self, swap: Swap, server: Server) -> Series:
        """1-minute bars, closed ones only."""
        parse = partial(candles_json, contract_base=swap.contract_base, name="OKX candles")

        def ask_by(method: str, bucket: str, end: datetime, limit: int) -> Page[pa.Table]:
            params = {"instId": swap.inst_id, "bar": "1m", "limit": limit, "after": _ms(end)}
            checked = _before(parse, BARS_1M.key, end=end, known=server.now - _MINUTE)
            return self._connection.call(method, params, checked, bucket=bucket, weight=1, subject=swap.inst_id)

        def ask(end: datetime, limit: int) -> Page[pa.Table]:
            if end >= server.now - _RECENT:
                page = ask_by("publicGetMarketCandles", "candles", end, limit)
                if page.rows.num_rows:
                    return page
            return ask_by("publicGetMarketHistoryCandles", "history-candles", end, limit)

        return Series(BARS_1M, server, BARS_PER_PAGE, _MINUTE, ask)

    def funding(self, swap: Swap, server: Server) -> Series:
        """Settlements up to the server's present, as far back as REST keeps them, without intervals."""
        parse = partial(funding_json, inst_id=swap.inst_id, name="OKX funding-rate-history")

        def ask(end: datetime, limit: int) -> Page[pa.Table]:
            params = {"instId": swap.inst_id, "limit": limit, "after": _ms(end)}
            checked = _before(parse, FUNDING_RATES.key, end=end, known=server.now)
            return self._connection.call(
                "publicGetPublicFundingRateHistory",
                params,
                checked,
                bucket="funding-rate-history",
                weight=1,
                subject=swap.inst_id,
            )

        return Series(FUNDING_RATES, server, FUNDING_PER_PAGE, timedelta(hours=1), ask)

    def open_interest(self, swap: Swap, server: Server) -> Series:
        """Five-minute snapshots up to the server's present, as far back as the server keeps them."""
        parse = partial(open_interest_json, name="OKX open-interest-history")

        def ask(end: datetime, limit: int) -> Page[pa.Table]:
            # A millisecond less: whether the bound itself belongs to the answer is not documented.
            params = {"instId": swap.inst_id, "period": "5m", "limit": limit, "end": _ms(end - MOMENT)}
            checked = _before(parse, OPEN_INTEREST.key, end=end, known=server.now)
            return self._connection.call(
                "publicGetRubikStatContractsOpenInterestHistory",
                params,
                checked,
                bucket="open-interest-history",
                weight=1,
                subject=swap.inst_id,
            )

        return Series(OPEN_INTEREST, server, OPEN_INTEREST_PER_PAGE, timedelta(minutes=5), ask)


def _before(parse: Callable[[Any], pa.Table], key: str, *, end: datetime, known: datetime) -> Callable[[Any], pa.Table]:
    """``parse``, its rows known by then, and all of them older than ``end``, or paging would not advance."""

    def checked(payload: Any) -> pa.Table:
        rows = parse(payload)
        keys = epoch_ms(rows.column(key))
        if len(keys) and keys[-1] >= _ms(end):
            raise InvalidDataError(f"OKX answered with rows of {end:%Y-%m-%d %H:%M} UTC or later: its cursor is broken")
        return rows.slice(0, int((keys <= _ms(known)).sum()))

    return checked


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
