"""What a request asks for: which exchange's face it meets, what kind of answer it gets, and what names it."""

import json
import re
from dataclasses import dataclass, replace
from typing import Any, Literal
from urllib.parse import parse_qsl, urlencode

Exchange = Literal["binance", "bybit", "okx", "hyperliquid"]
Kind = Literal["archive", "checksum", "listing", "series", "time", "rest", "own"]
"""Zip files, their checksums, what lists them, pages of rows, server time, all other documents, the simulator's own."""

CHECKSUM = ".CHECKSUM"

_LISTINGS = {"/", "/data.binance.vision", "/data.binance.vision/", "/api/v5/public/market-data-history"}
_TIMES = {"/fapi/v1/time", "/api/v3/time", "/v5/market/time", "/api/v5/public/time", "/info:exchangeStatus"}
_SERIES = re.compile(
    r"/(?:fapi/v1|api/v3)/(?:\w*[kK]lines|fundingRate)|/futures/data/\w+"
    r"|/v5/market/(?:[a-z-]*kline|funding/history|open-interest)"
    r"|/api/v5/(?:market/[a-z-]*candles|public/funding-rate-history|rubik/stat/contracts/open-interest-history)"
    r"|/info:(?:candleSnapshot|fundingHistory)"
)
_WINDOW = {"startTime", "endTime", "start", "end", "begin", "after", "before", "cursor"}
_FOR_EVER_MS = 1 << 53


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, as far as faults and rate limits care."""

    method: str
    path: str
    query: str
    body: bytes

    @property
    def place(self) -> str:
        """The path; HyperLiquid's one path is followed by the request's type, as in ``/info:candleSnapshot``."""
        return f"{self.path}:{self.document().get('type', '')}" if self.path == "/info" else self.path

    @property
    def target(self) -> str:
        """What makes two requests the same: the place, the query as it was written, and the body."""
        text = self.query + self.body.decode("utf-8", "replace")
        return f"{self.place}?{text}" if text else self.place

    @property
    def exchange(self) -> Exchange:
        """Whose face answers."""
        if self.path.startswith("/v5/"):
            return "bybit"
        if self.path.startswith(("/api/v5/", "/cdn/")):
            return "okx"
        return "hyperliquid" if self.path == "/info" else "binance"

    @property
    def kind(self) -> Kind:
        """What sort of answer it gets."""
        if self.path.startswith("/_"):
            return "own"
        if self.path.startswith(("/data/", "/cdn/")):
            return "checksum" if self.path.endswith(CHECKSUM) else "archive"
        if self.path in _LISTINGS:
            return "listing"
        if self.place in _TIMES:
            return "time"
        return "series" if _SERIES.fullmatch(self.place) else "rest"

    def parameters(self) -> dict[str, str]:
        """The query, by name."""
        return dict(parse_qsl(self.query))

    def document(self) -> dict[str, Any]:
        """The body, where it is a JSON object; else nothing."""
        try:
            document: Any = json.loads(self.body)
        except ValueError:
            return {}
        return document if isinstance(document, dict) else {}

    def of_its_file(self) -> "Asked":
        """The same for the zip that a checksum describes."""
        return replace(self, path=self.path.removesuffix(CHECKSUM))

    def without_window(self) -> "Asked":
        """The same for no particular window: what an exchange that overlooks the cursor takes it for."""
        query = urlencode([pair for pair in parse_qsl(self.query) if pair[0] not in _WINDOW])
        document = self.document()
        whole = {"startTime": 0, "endTime": _FOR_EVER_MS}
        inner = document.get("req")
        if isinstance(inner, dict):
            document["req"] = inner | whole
        elif document:
            document |= whole
        return replace(self, query=query, body=json.dumps(document).encode() if document else self.body)
