"""What every REST endpoint shares: reading parameters, Binance's error answers, and the weight counter."""

import time
from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import JSONResponse


class ApiError(Exception):
    """A request that Binance refuses, with its code and its words."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


async def refuse(request: Request, error: Exception) -> JSONResponse:  # noqa: ARG001 (the signature is Starlette's)
    """The answer that an ``ApiError`` gets: 400, as JSON."""
    if not isinstance(error, ApiError):
        raise error
    return JSONResponse({"code": error.code, "msg": error.message}, status_code=400)


class Query:
    """A request's parameters, checked as Binance checks them."""

    def __init__(self, request: Request) -> None:
        self._given = request.query_params

    def text(self, name: str) -> str:
        """A mandatory text."""
        value = self._given.get(name, "")
        if not value:
            raise ApiError(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")
        return value

    def integer(self, name: str) -> int | None:
        """An optional whole number."""
        value = self._given.get(name, "")
        if not value:
            return None
        if not (value.isascii() and value.removeprefix("-").isdigit()):
            raise ApiError(-1100, f"Illegal characters found in parameter '{name}'.")
        return int(value)

    def choice(self, name: str, choices: Mapping[str, int], *, code: int) -> int:
        """What a mandatory name out of ``choices`` stands for; ``code`` is the error of all others."""
        value = self.text(name)
        if value not in choices:
            raise ApiError(code, f"Invalid {name}." if name == "interval" else f"parameter '{name}' is invalid.")
        return choices[value]

    def limit(self, *, default: int, most: int) -> int:
        """How many rows may be answered."""
        value = self.integer("limit")
        if value is not None and value < 1:
            raise ApiError(-1130, "Data sent for parameter 'limit' is not valid.")
        return min(default if value is None else value, most)

    def window(self) -> tuple[int | None, int | None]:
        """``startTime`` and ``endTime``, both inclusive, in milliseconds."""
        start, end = self.integer("startTime"), self.integer("endTime")
        if start is not None and end is not None and start > end:
            raise ApiError(-1023, "Start time is greater than end time.")
        return None if start is None else max(start, 0), end


class WeightMeter:
    """The request weight spent in the running minute of this machine's clock."""

    def __init__(self) -> None:
        self._minute = 0
        self._spent = 0

    def spend(self, weight: int) -> int:
        """The minute's total after ``weight`` more."""
        minute = int(time.monotonic() // 60)
        if minute != self._minute:
            self._minute, self._spent = minute, 0
        self._spent += weight
        return self._spent


def kline_weight(limit: int) -> int:
    """What a request for ``limit`` klines weighs."""
    if limit < 100:
        return 1
    if limit < 500:
        return 2
    return 5 if limit <= 1000 else 10
