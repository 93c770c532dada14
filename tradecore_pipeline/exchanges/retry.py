"""Trying again: bounded, with growing pauses, and interrupted by close()."""

import threading
from collections.abc import Callable
from typing import TypeVar

from tradecore_pipeline.domain.errors import SourceError, SourceUnavailableError

Result = TypeVar("Result")

FIRST_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 60.0
"""A server that asks for a longer pause than this has banned the caller: waiting is then a person's decision."""


class Retriable(Exception):  # noqa: N818 (not an error yet: the wrapped one is, once attempts are used up)
    """Wraps an error that may go away, and the pause the server asked for, if it did.

    ``throttled``: the server says that this address asks too much; then nobody asks it anything during the pause.
    """

    def __init__(self, error: SourceError, *, pause_seconds: float | None, throttled: bool = False) -> None:
        super().__init__(str(error))
        self.error = error
        self.pause_seconds = pause_seconds
        self.throttled = throttled


class Retrier:
    """Runs attempts until one succeeds, at most ``retries`` times more than once. Safe to share between threads."""

    def __init__(self, *, retries: int) -> None:
        self._retries = retries
        self._closed = threading.Event()

    def close(self) -> None:
        """End all pauses: attempts that wait give up at once."""
        self._closed.set()

    def wait(self, seconds: float) -> bool:
        """Sleep; True at once where ``close`` was, or is meanwhile, called."""
        return self._closed.wait(seconds)

    def run(self, attempt: Callable[[], Result]) -> Result:
        """The first result of ``attempt``.

        Raises:
            SourceError: what the last ``Retriable`` wrapped, or anything else the attempt raised.
        """
        for used in range(self._retries + 1):
            try:
                return attempt()
            except Retriable as failure:
                pause = _pause(failure, used)
                if used == self._retries or pause > LONGEST_PAUSE_SECONDS:
                    raise failure.error from failure
            if self.wait(pause):
                break
        raise SourceUnavailableError("the connection was closed while waiting to try again")


def _pause(failure: Retriable, used: int) -> float:
    if failure.pause_seconds is not None:
        return failure.pause_seconds
    return min(FIRST_PAUSE_SECONDS * 2**used, LONGEST_PAUSE_SECONDS)


def retry_after_seconds(header: str | None) -> float | None:
    """The pause a ``Retry-After`` header asks for; none where it says 0: a host that refuses does not mean "at once".

    Its date form is not used by exchanges and reads as none, too.
    """
    text = "" if header is None else header.strip()
    return (float(text) or None) if text.isascii() and text.isdigit() else None
