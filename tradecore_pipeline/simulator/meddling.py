"""The middleware that keeps the rate limits and carries out the fault plan, and the port that switches both."""

import asyncio
import json
import logging
from collections.abc import MutableMapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tradecore_pipeline.domain.errors import UsageError
from tradecore_pipeline.simulator.answers import Answer
from tradecore_pipeline.simulator.asked import Asked
from tradecore_pipeline.simulator.faults import FaultPlan

FAULT_KEY = "tradecore.fault"
"""Where in a request's scope the name of what befell it is left for the journal."""


class FaultControl:
    """Holds the plan in force; ``/_ctl`` shows (GET), replaces (POST) and clears (DELETE) it."""

    def __init__(self, plan: FaultPlan) -> None:
        self.plan = plan
        self.closing = asyncio.Event()
        """Set when the server is to stop: nobody is kept waiting any longer."""

    async def endpoint(self, request: Request) -> JSONResponse:
        """The plan now in force; 400 and one line for what is none."""
        if request.method == "DELETE":
            self.plan = FaultPlan.none()
        elif request.method == "POST":
            try:
                self.plan = FaultPlan.parse(json.loads(await request.body()))
            except ValueError as error:
                return JSONResponse({"error": f"the fault plan is not JSON: {error}"}, status_code=400)
            except UsageError as error:
                return JSONResponse({"error": str(error)}, status_code=400)
        return JSONResponse(self.plan.report())


class Meddling:
    """Passes requests through untouched, but for those that a limit refuses or a rule hits."""

    def __init__(self, app: ASGIApp, control: FaultControl) -> None:
        self._app = app
        self._control = control

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        plan = self._control.plan
        if scope["type"] != "http" or plan.idle or scope["path"].startswith("/_"):
            await self._app(scope, receive, send)
            return
        asked = Asked(scope["method"], scope["path"], scope["query_string"].decode("latin-1"), await _body(receive))
        refusal = None if plan.limits is None else plan.limits.refusal(asked)
        if refusal is not None:
            scope[FAULT_KEY] = "limits"
            await self._send(refusal, receive, send)
            return
        truth = await self._ask(scope, asked)
        if plan.limits is not None:
            plan.limits.charge_rows(asked, truth)
        await self._send(await self._meddled(plan, scope, asked, truth), receive, send)

    async def _meddled(self, plan: FaultPlan, scope: Scope, asked: Asked, truth: Answer) -> Answer:
        for hit in plan.hits(asked):
            redirect = hit.rule.fault.redirect
            instead = asked if redirect is None else redirect(asked)
            found = truth if instead == asked else await self._ask(scope, instead)
            changed = hit.answer(asked, found)
            if changed is not None:
                plan.note_fired(hit)
                scope[FAULT_KEY] = hit.rule.name
                return changed
        return truth

    async def _ask(self, scope: Scope, asked: Asked) -> Answer:
        inner: MutableMapping[str, Any] = dict(scope) | {
            "path": asked.path,
            "raw_path": asked.path.encode(),
            "query_string": asked.query.encode("latin-1"),
        }
        messages: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": asked.body, "more_body": False}

        async def collect(message: Message) -> None:
            messages.append(message)

        await self._app(inner, receive, collect)
        headers = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in messages[0]["headers"]]
        return Answer(
            messages[0]["status"],
            tuple(header for header in headers if header[0] != "content-length"),
            b"".join(message.get("body", b"") for message in messages[1:]),
        )

    async def _send(self, answer: Answer, receive: Receive, send: Send) -> None:
        if answer.delay_seconds and await self._gone_within(answer.delay_seconds, receive):
            return
        headers = [*answer.headers, ("content-length", str(len(answer.body)))]
        encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        await send({"type": "http.response.start", "status": answer.status, "headers": encoded})
        cut = answer.sent_bytes is not None
        # A response that is never completed makes the server close the connection: that is the cut.
        await send({"type": "http.response.body", "body": answer.body[: answer.sent_bytes], "more_body": cut})

    async def _gone_within(self, seconds: float, receive: Receive) -> bool:
        """Whether the client hangs up while it is kept waiting; nothing is worth waiting for after that."""
        gone = asyncio.create_task(_disconnected(receive))
        closing = asyncio.create_task(self._control.closing.wait())
        await asyncio.wait({gone, closing}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        hung_up = gone.done()
        gone.cancel()
        closing.cancel()
        return hung_up


class CutOnPurpose(logging.Filter):
    """Keeps uvicorn from reporting the responses that a fault cuts short."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is about something else."""
        return "without completing response" not in record.getMessage()


async def _body(receive: Receive) -> bytes:
    parts: list[bytes] = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue
