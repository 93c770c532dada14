"""What was asked of the server lately, and what became of it, for ``GET /_log``."""

from collections import Counter, deque
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tradecore_pipeline.simulator.meddling import FAULT_KEY

_REMEMBERED_REQUESTS = 1000


class Journal:
    """The last requests; those for the simulator's own pages (``/_log`` and the like) are left out."""

    def __init__(self) -> None:
        self._entries: deque[dict[str, Any]] = deque(maxlen=_REMEMBERED_REQUESTS)
        self._total = 0

    def note(self, scope: Scope) -> dict[str, Any]:
        """A new entry; its status and fault are filled in once they are known."""
        path: str = scope["path"]
        query = scope["query_string"].decode("latin-1")
        entry: dict[str, Any] = {
            "method": scope["method"],
            "kind": kind_of(path),
            "url": f"{path}?{query}" if query else path,
            "status": None,
            "fault": None,
        }
        self._entries.append(entry)
        self._total += 1
        return entry

    async def report(self, request: Request) -> JSONResponse:  # noqa: ARG002 (an endpoint is given its request)
        """How many requests there were so far, and the last thousand: by kind, and one by one."""
        recent = Counter(entry["kind"] for entry in self._entries)
        return JSONResponse({"total": self._total, "recent": dict(recent), "requests": list(self._entries)})


class Journaled:
    """Notes every request but those for the simulator's own pages."""

    def __init__(self, app: ASGIApp, journal: Journal) -> None:
        self._app = app
        self._journal = journal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith("/_"):
            await self._app(scope, receive, send)
            return
        entry = self._journal.note(scope)

        async def send_noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                entry["status"] = message["status"]
                entry["fault"] = scope.get(FAULT_KEY)
            await send(message)

        await self._app(scope, receive, send_noted)
        entry["fault"] = scope.get(FAULT_KEY)  # also of those that hung up before an answer


def kind_of(path: str) -> str:
    """What the journal counts a path as."""
    if path.startswith(("/data/", "/cdn/")):
        return "checksum" if path.endswith(".CHECKSUM") else "archive"
    if path in {"/", "/data.binance.vision", "/data.binance.vision/"}:
        return "listing"
    faces = ("/fapi/v1/", "/api/v3/", "/futures/data/", "/v5/market/", "/api/v5/")
    known = path == "/info" or path.startswith(faces)
    return path if known and len(path) < 64 else "other"
