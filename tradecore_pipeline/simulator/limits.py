"""The rate limits of the real exchanges, kept in this machine's time whatever the simulated clock says."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass

from tradecore_pipeline.simulator.answers import Answer, banned, html_answer, too_many
from tradecore_pipeline.simulator.asked import Asked
from tradecore_pipeline.simulator.page_faults import rows_of
from tradecore_pipeline.simulator.queries import kline_weight

_KINDLY_REFUSED = 10
"""Requests over Binance's limit that get a 429 before it takes them for an attack: those that were under way."""
_BAN_SECONDS = 120.0
_BYBIT_ABUSE = 60
"""Requests over Bybit's limit that get retCode 10006 before its firewall answers 403."""
_BYBIT_BLOCK_SECONDS = 600.0
_CHEAP = {"l2Book", "allMids", "clearinghouseState", "spotClearinghouseState", "exchangeStatus"}


@dataclass(frozen=True, slots=True)
class Quota:
    """So much weight in each period of so many seconds."""

    name: str
    most: int
    seconds: float


_FUTURES = Quota("binance futures", 2400, 60.0)
_SPOT = Quota("binance spot", 6000, 60.0)
_FUNDING = Quota("binance funding", 500, 300.0)
_FUTURES_DATA = Quota("binance futures data", 1000, 300.0)
_BYBIT = Quota("bybit", 600, 5.0)
_HYPERLIQUID = Quota("hyperliquid", 1200, 60.0)
_OKX_SECONDS = 2.0
_OKX_MOST = {
    "/api/v5/market/candles": 40,
    "/api/v5/public/time": 10,
    "/api/v5/public/funding-rate-history": 10,
    "/api/v5/rubik/stat/contracts/open-interest-history": 10,
    "/api/v5/public/market-data-history": 5,
}
_OKX_MOST_ELSEWHERE = 20


class RateLimits:
    """What has been spent of every quota. Periods follow each other without overlap, as on Binance."""

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._spent: dict[str, tuple[int, int]] = {}
        self._blocked_until: dict[str, float] = {}
        self.refused = 0

    def refusal(self, asked: Asked) -> Answer | None:
        """What a request gets instead of an answer; None where it is within the limits. Refused ones count too."""
        answer = self._answer(asked)
        if answer is not None:
            self.refused += 1
        return answer

    def charge_rows(self, asked: Asked, answer: Answer) -> None:
        """Adds what HyperLiquid charges for the rows of an answer."""
        per_row = {"/info:candleSnapshot": 60, "/info:fundingHistory": 20}.get(asked.place)
        if per_row is not None and answer.status == 200:
            rows = rows_of(asked.exchange, json.loads(answer.body))
            self._spend(_HYPERLIQUID, len(rows or []) // per_row)

    def _answer(self, asked: Asked) -> Answer | None:
        if asked.kind in {"archive", "checksum", "own"}:
            return None
        if asked.exchange == "binance":
            if asked.kind == "listing":  # of the archive, which sets no limits
                return None
            return self._binance(asked)
        if asked.exchange == "bybit":
            return self._bybit()
        if asked.exchange == "okx":
            quota = Quota(asked.path, _OKX_MOST.get(asked.path, _OKX_MOST_ELSEWHERE), _OKX_SECONDS)
            over = self._spend(quota, 1) > quota.most
            return too_many("okx", status=429, retry_after=None) if over else None
        weight = 2 if asked.document().get("type") in _CHEAP else 20
        over = self._spend(_HYPERLIQUID, weight) > _HYPERLIQUID.most
        return too_many("hyperliquid", status=429, retry_after=None) if over else None

    def _binance(self, asked: Asked) -> Answer | None:
        quota, weight = _binance_quota(asked)
        ban_left = self._blocked_for(quota.name)
        if ban_left > 0:
            return banned(ban_left)
        if self._spend(quota, weight) <= quota.most:
            return None
        too_often = Quota(f"{quota.name}, refused", _KINDLY_REFUSED, quota.seconds)
        if self._spend(too_often, 1) > too_often.most:
            self._blocked_until[quota.name] = self._monotonic() + _BAN_SECONDS
            return banned(_BAN_SECONDS)
        left = quota.seconds - self._monotonic() % quota.seconds
        return too_many("binance", status=429, retry_after=left)

    def _bybit(self) -> Answer | None:
        if self._blocked_for(_BYBIT.name) > 0:
            return html_answer(403, "access too frequent")
        spent = self._spend(_BYBIT, 1)
        if spent <= _BYBIT.most:
            return None
        if spent > _BYBIT.most + _BYBIT_ABUSE:
            self._blocked_until[_BYBIT.name] = self._monotonic() + _BYBIT_BLOCK_SECONDS
        return too_many("bybit", status=200, retry_after=None)

    def _blocked_for(self, name: str) -> float:
        return self._blocked_until.get(name, 0.0) - self._monotonic()

    def _spend(self, quota: Quota, weight: int) -> int:
        """The period's total after ``weight`` more."""
        now = int(self._monotonic() // quota.seconds)
        period, spent = self._spent.get(quota.name, (now, 0))
        total = weight + (spent if period == now else 0)
        self._spent[quota.name] = now, total
        return total


def _binance_quota(asked: Asked) -> tuple[Quota, int]:
    if asked.path.startswith("/futures/data/"):
        return _FUTURES_DATA, 1
    if asked.path in {"/fapi/v1/fundingRate", "/fapi/v1/fundingInfo"}:
        return _FUNDING, 1
    quota = _SPOT if asked.path.startswith("/api/v3/") else _FUTURES
    given = asked.parameters()
    if asked.path.lower().endswith("klines"):
        limit = given.get("limit", "")
        return quota, kline_weight(int(limit) if limit.isdecimal() else 500)
    return quota, 10 if asked.path == "/fapi/v1/premiumIndex" and "symbol" not in given else 1
