"""HyperLiquid's info endpoint: everything is a POST whose body says what is asked, and costs weight by its rows."""

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeVar

import pyarrow as pa

from tradecore_pipeline.domain.errors import InvalidDataError, TradecoreError
from tradecore_pipeline.domain.market_data import ListedInstrument
from tradecore_pipeline.domain.tables import BARS_1M, FUNDING_RATES
from tradecore_pipeline.exchanges.access import Access
from tradecore_pipeline.exchanges.answers import Answer, answer_of, first_key, last_key, minute_of
from tradecore_pipeline.exchanges.budget import Limit
from tradecore_pipeline.exchanges.hyperliquid.parse import (
    Snapshot,
    candles_json,
    funding_json,
    meta_json,
    snapshot_json,
    status_json,
)
from tradecore_pipeline.exchanges.payloads import within
from tradecore_pipeline.exchanges.rest import Page, RestConnection, Venue
from tradecore_pipeline.exchanges.retry import Retriable

MAX_CANDLES = 5000
MAX_SETTLEMENTS = 500
SETTLEMENT = timedelta(hours=1)
_BEFORE_ALL = datetime(2020, 1, 1, tzinfo=UTC)
"""Before the exchange's first trade."""
_MILLISECOND, _MINUTE = timedelta(milliseconds=1), timedelta(minutes=1)
_WEIGHT, _STATUS_WEIGHT = 20, 2
_CANDLES_PER_WEIGHT, _SETTLEMENTS_PER_WEIGHT = 60, 20
_BUCKET = "weight"
_LOOK_BACK = (timedelta(days=1), timedelta(days=30))
"""How far before a window its preceding settlement is looked for: the exchange settles hourly."""

Parsed = TypeVar("Parsed")


class HyperliquidRest:
    """One host. Windows are half-open; every page must lie inside the one that was asked for."""

    def __init__(self, access: Access) -> None:
        venue = Venue("hyperliquid", "https://api.hyperliquid.xyz", {_BUCKET: Limit(weight=1200, seconds=60)}, _explain)
        self._connection = RestConnection(venue, access.endpoint("hyperliquid_rest_url"), access)

    @property
    def host(self) -> str:
        return self._connection.endpoint.host

    def reset(self) -> None:
        """Forget that the host was given up on."""
        self._connection.reset()

    def close(self) -> None:
        """End all waiting and close connections."""
        self._connection.close()

    def server_time(self) -> Page[datetime]:
        """The exchange's clock, and which market the host serves."""
        parse = partial(status_json, name="REST exchangeStatus")
        return self._info({"type": "exchangeStatus"}, parse, weight=_STATUS_WEIGHT, subject="time")

    def meta(self) -> tuple[ListedInstrument, ...]:
        """The coins that trade or once did."""
        return self._info({"type": "meta"}, partial(meta_json, name="REST meta"), weight=_WEIGHT, subject="coins").rows

    def snapshot(self, coin: str) -> Page[Snapshot]:
        """The coin's open interest now."""
        parse = partial(snapshot_json, name="REST metaAndAssetCtxs", coin=coin)
        return self._info({"type": "metaAndAssetCtxs"}, parse, weight=_WEIGHT, subject=coin)

    def bars(self, coin: str, start: datetime, end: datetime) -> Answer:
        """1-minute bars of [start, end) as far as they are still served, and the one behind, in one page."""
        body = {"type": "candleSnapshot", "req": {"coin": coin, "interval": "1m"} | _window(start, end)}

        def parse(payload: Any) -> pa.Table:
            name = "REST candleSnapshot"
            return within(candles_json(payload, name=name, coin=coin), BARS_1M, first=start, last=end, name=name)

        rows = min(MAX_CANDLES, (end - start) / _MINUTE + 1)
        page = self._info(body, parse, weight=_WEIGHT + math.ceil(rows / _CANDLES_PER_WEIGHT), subject=coin)
        return answer_of([page], BARS_1M, host=self.host)

    def funding(self, coin: str, start: datetime, end: datetime) -> Answer:
        """Settlements of [start, end) and the last one before, if there is one in the month before."""
        answers: list[Answer] = []
        stop = end
        for reach in _LOOK_BACK:
            answers.append(self._settlements(coin, start - reach, stop))
            before = answers[-1].window(FUNDING_RATES, start=start - reach, end=start)
            if before.rows.num_rows:
                break
            stop = start - reach
        answer = answers[0]
        return answer if len(answers) == 1 else answer.and_then(answers[1])

    def first_settlement(self, coin: str) -> datetime | None:
        """The coin's first settlement; asked twice, as days before it are believed to be empty."""
        pages = [self._settlement_page(coin, _BEFORE_ALL, None).rows for _ in range(2)]
        return min((first_key(rows, FUNDING_RATES) for rows in pages if rows.num_rows), default=None)

    def bar_since(self, coin: str, until: datetime, moment: datetime) -> datetime | None:
        """The newest bar's key, if there is one from ``moment`` to ``until``."""
        return self.bars(coin, moment, max(until, moment)).seen_until

    def settlement_since(self, coin: str, moment: datetime) -> datetime | None:
        """A settlement's key, if there is one from ``moment`` on; one empty page is not believed."""
        for _ in range(2):
            rows = self._settlement_page(coin, moment, None).rows
            if rows.num_rows:
                return last_key(rows, FUNDING_RATES)
        return None

    def _settlements(self, coin: str, start: datetime, end: datetime) -> Answer:
        """Settlements of [start, end), read forward until an hour before the end or an empty page."""
        pages: list[Page[pa.Table]] = []
        since = start
        while True:
            page = self._settlement_page(coin, since, end - _MILLISECOND)
            pages.append(page)
            if not page.rows.num_rows or (newest := last_key(page.rows, FUNDING_RATES)) >= end - SETTLEMENT:
                return answer_of(pages, FUNDING_RATES, host=self.host)
            since = newest + _MINUTE

    def _settlement_page(self, coin: str, start: datetime, end: datetime | None) -> Page[pa.Table]:
        body = {"type": "fundingHistory", "coin": coin} | _window(start, end)
        first = minute_of(start)

        def parse(payload: Any) -> pa.Table:
            name = "REST fundingHistory"
            return within(funding_json(payload, name=name, coin=coin), FUNDING_RATES, first=first, last=end, name=name)

        hours = MAX_SETTLEMENTS if end is None else min(MAX_SETTLEMENTS, (end - start) / SETTLEMENT + 1)
        return self._info(body, parse, weight=_WEIGHT + math.ceil(hours / _SETTLEMENTS_PER_WEIGHT), subject=coin)

    def _info(
        self, body: Mapping[str, Any], parse: Callable[[Any], Parsed], *, weight: float, subject: str
    ) -> Page[Parsed]:
        return self._connection.call("publicPostInfo", body, parse, bucket=_BUCKET, weight=weight, subject=subject)


def _window(start: datetime, end: datetime | None) -> dict[str, int]:
    window = {"startTime": round(start.timestamp() * 1000)}
    return window if end is None else window | {"endTime": round(end.timestamp() * 1000)}


def _explain(text: str, subject: str) -> TradecoreError | Retriable | None:
    """A body it does not understand (HTTP 422) is our mistake; unknown coins are told apart by the listing."""
    if "deserialize" in text:
        return InvalidDataError(f"hyperliquid did not understand the request for {subject}: {text[:120]}")
    return None
