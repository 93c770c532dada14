"""``POST /_restate``: makes the exchange publish a file or some minutes once more, with other values. For tests.

``{"key": KEY}``: that one archive file gets other rows, a new checksum and a newer LastModified; REST and every other
file stay as they are. ``{"instrument": NAME, "first": MOMENT, "last": MOMENT}``: the minutes that open in that window
get other values, over REST and in every file that holds them. Moments are ISO 8601 with a time zone.
"""

import json
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from tradecore_pipeline.domain.errors import UsageError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.time import Clock
from tradecore_pipeline.simulator.backend import Backend
from tradecore_pipeline.simulator.simulated import SimulatedBackend


class RestatementFace:
    """The back door to a simulated back end; a recorded one has none."""

    def __init__(self, backend: Backend, clock: Clock) -> None:
        self._backend = backend
        self._clock = clock

    def routes(self) -> list[Route]:
        """The one endpoint, where there is something to restate."""
        return [Route("/_restate", self._restate, methods=["POST"])]

    async def _restate(self, request: Request) -> JSONResponse:
        try:
            self._apply(json.loads(await request.body()))
        except (ValueError, UsageError) as error:
            return JSONResponse({"error": str(error)}, status_code=400)
        return JSONResponse({"restated_at": self._clock().isoformat()})

    def _apply(self, body: Any) -> None:
        backend, now = self._backend, self._clock()
        if not isinstance(backend, SimulatedBackend):
            raise UsageError("recorded files are served as they are: nothing can be restated")
        match body:
            case {"key": str(key)} if len(body) == 1:
                if key not in backend.archive_keys(now):
                    raise UsageError(f"{key} is not in the archive: name a published file")
                backend.restatements.add_file(key, at=now)
            case {"instrument": str(name), "first": str(first), "last": str(last)} if len(body) == 3:
                instrument = Instrument.parse(name)
                listing = next((one for one in backend.listings if one.instrument == instrument), None)
                if listing is None:
                    raise UsageError(f"the simulated market does not list {name}")
                backend.restatements.add_window(listing, first_ms=_ms(first), last_ms=_ms(last), at=now)
            case _:
                raise UsageError('give {"key": ...}, or {"instrument": ..., "first": ..., "last": ...}')


def _ms(text: str) -> int:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise UsageError(f"{text} has no time zone: write it as 2024-06-01T12:00:00+00:00")
    return int(moment.timestamp() * 1000)
