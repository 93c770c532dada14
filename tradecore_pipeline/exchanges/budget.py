"""One request budget per host, shared by every process of this user on the machine: exchanges count by address."""

import fcntl
import json
import os
import re
import stat
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tradecore_pipeline.domain.errors import SourceUnavailableError, UsageError
from tradecore_pipeline.exchanges.retry import LONGEST_PAUSE_SECONDS

BURST = 0.25
"""The share of a limit that may be spent at once; the rest of what is allowed flows evenly, so that no window of the
limit's length ever holds more than the limit."""
FIRST_BACK_OFF_SECONDS = 1.0
"""How long a host is left alone that complains without saying for how long; doubled with each complaint."""
CALM_SECONDS = 300.0
"""A complaint after so long a peace is a first one."""
EDGE_SECONDS = 10.0
"""The host's windows may turn so much later than ours: its clock and the way of the reply."""
_BEYOND = 1e12
"""Nothing that is counted here, and no moment before the year 33658, comes near."""

Seconds = Callable[[], float]
"""A clock in seconds since 1970."""


@dataclass(frozen=True, slots=True)
class Limit:
    """So much weight in so many seconds, as the exchange documents it."""

    weight: float
    seconds: float


@dataclass(slots=True)
class _Bucket:
    """What was spent of one limit."""

    level: float = 0.0
    """Weight that has not flowed off yet."""
    since: float = 0.0
    """When that was reckoned."""
    window: int = 0
    """The number of the host's present window, counted from 1970."""
    own: float = 0.0
    """What we spent in it."""
    own_before: float = 0.0
    """What we spent in the window before."""
    foreign: float = 0.0
    """What others were seen to spend in it beyond their share."""


@dataclass(slots=True)
class _State:
    """What the file holds."""

    buckets: dict[str, _Bucket] = field(default_factory=dict)
    banned_until: float = 0.0
    banned_seconds: float = 0.0
    complaints: int = 0
    complained_at: float = 0.0


class Budget:
    """What may still be asked of one host. Safe to share between threads and processes.

    ``share`` is the part of each limit that is used (0 to 1): other programs on this address need some, too.
    """

    def __init__(
        self, directory: Path, host: str, *, limits: Mapping[str, Limit], share: float, clock: Seconds = time.time
    ) -> None:
        self._path = directory / f"{re.sub('[^A-Za-z0-9.-]', '_', host)}.json"
        self._host = host
        self._limits = limits
        self._share = share
        self._clock = clock

    def spend(self, bucket: str, weight: float, wait: Callable[[float], bool]) -> None:
        """Take ``weight`` from ``bucket``, waiting for it (``wait`` sleeps, and says True where it was interrupted).

        Raises:
            SourceUnavailableError: the host has banned this address for longer than is worth waiting, or the wait was
                interrupted.
            UsageError: the folder of the budgets cannot be used.
        """
        self._sit_out(wait)
        pause = self._take(bucket, weight)
        if pause > 0:
            self._pause(pause, wait)
            # Meanwhile another process may have been told off.
            self._sit_out(wait)

    def ban(self, seconds: float) -> None:
        """Nobody asks this host anything for ``seconds``: it said so."""
        with self._state() as state:
            self._extend_ban(state, seconds)

    def back_off(self) -> float:
        """The host complains without saying for how long: nobody asks it for the returned, growing, seconds."""
        with self._state() as state:
            now = self._clock()
            if not 0 <= now - state.complained_at <= CALM_SECONDS:
                state.complaints = 0
            seconds = min(FIRST_BACK_OFF_SECONDS * 2 ** min(state.complaints, 10), LONGEST_PAUSE_SECONDS)
            state.complaints, state.complained_at = state.complaints + 1, now
            self._extend_ban(state, seconds)
        return seconds

    def report(self, bucket: str, used: float) -> None:
        """The host says that ``used`` was spent in its present window: what we did not spend, others did.

        Others may take what ``share`` leaves them; only what they take beyond that is taken from us.
        """
        limit = self._limits[bucket]
        with self._state() as state:
            now = self._clock()
            spent = self._reckoned(state, bucket, now)
            own = spent.own + (spent.own_before if now % limit.seconds < EDGE_SECONDS else 0.0)
            theirs = max(0.0, limit.weight * (1 - self._share))
            excess = used - own - theirs - spent.foreign
            if excess > 0:
                spent.level += excess
                spent.foreign += excess

    def _take(self, bucket: str, weight: float) -> float:
        """Note ``weight`` as spent; the seconds until it may be."""
        allowed = self._limits[bucket].weight * self._share
        with self._state() as state:
            spent = self._reckoned(state, bucket, self._clock())
            spent.level += weight
            spent.own += weight
            return (spent.level - max(allowed * BURST, weight)) / self._rate(bucket)

    def _rate(self, bucket: str) -> float:
        """Weight per second that flows off."""
        limit = self._limits[bucket]
        return limit.weight * self._share * (1 - BURST) / limit.seconds

    def _reckoned(self, state: _State, bucket: str, now: float) -> _Bucket:
        """The bucket as it stands ``now``."""
        spent = state.buckets.setdefault(bucket, _Bucket(since=now))
        # A clock that was set back must not make anyone wait for it.
        spent.level = max(0.0, spent.level - self._rate(bucket) * max(0.0, now - spent.since))
        spent.since = now
        window = int(now // self._limits[bucket].seconds)
        if window != spent.window:
            spent.own_before = spent.own if window == spent.window + 1 else 0.0
            spent.window, spent.own, spent.foreign = window, 0.0, 0.0
        return spent

    def _extend_ban(self, state: _State, seconds: float) -> None:
        until = self._clock() + seconds
        if until > state.banned_until or self._ban_left(state) == 0:
            state.banned_until, state.banned_seconds = until, seconds

    def _ban_left(self, state: _State) -> float:
        """Seconds; a ban that would now last longer than it was meant to begins anew: the clock was set back."""
        now = self._clock()
        if state.banned_until - now > state.banned_seconds:
            state.banned_until = now + state.banned_seconds
        return max(0.0, state.banned_until - now)

    def _sit_out(self, wait: Callable[[float], bool]) -> None:
        """Wait for the end of a short ban."""
        while True:
            with self._state() as state:
                seconds = self._ban_left(state)
            if seconds == 0:
                return
            if seconds > LONGEST_PAUSE_SECONDS:
                until = time.strftime("%H:%M:%S", time.gmtime(self._clock() + seconds))
                raise SourceUnavailableError(
                    f"{self._host} has banned this address until {until} UTC ({seconds:.0f} s): wait, then launch again"
                )
            self._pause(seconds, wait)

    def _pause(self, seconds: float, wait: Callable[[float], bool]) -> None:
        if wait(seconds):
            raise SourceUnavailableError(f"the connection to {self._host} was closed while it waited for its turn")

    @contextmanager
    def _state(self) -> Generator[_State]:
        """The shared state, read and written back under a lock."""
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._check_folder()
            handle = self._open(".lock", os.O_RDWR | os.O_CREAT)
        except OSError as error:
            raise self._unusable(error.strerror or "unknown error") from error
        with os.fdopen(handle, "r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            text = self._text()
            state = self._read(text)
            yield state
            self._write(json.dumps(asdict(state)), before=text)

    def _check_folder(self) -> None:
        """Under a shared temporary folder anybody may have made it before us, and would then say what we may ask."""
        folder = self._path.parent.lstat()
        if not stat.S_ISDIR(folder.st_mode):
            raise self._unusable("its folder is a link or no folder")
        if folder.st_uid != os.getuid():
            raise self._unusable("its folder belongs to someone else")
        if folder.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise self._unusable("others may write to its folder")

    def _unusable(self, why: str) -> UsageError:
        return UsageError(
            f"{self._path} cannot be used to count requests ({why}): "
            "set TRADECORE_BUDGET_DIR to a folder that only you can write to"
        )

    def _open(self, suffix: str, flags: int) -> int:
        return os.open(f"{self._path}{suffix}", flags | os.O_NOFOLLOW, 0o600)

    def _text(self) -> str | None:
        """What the file says; None where there is none yet."""
        try:
            handle = self._open("", os.O_RDONLY)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._unusable(error.strerror or "unknown error") from error
        with os.fdopen(handle, "r", errors="replace") as file:
            return file.read()

    def _write(self, text: str, *, before: str | None) -> None:
        """Beside the file and then into its place: a writer that is killed leaves the state, and a ban, as it was."""
        if text == before:
            return
        try:
            with os.fdopen(self._open(".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "w") as file:
                file.write(text)
            Path(f"{self._path}.new").replace(self._path)
        except OSError as error:
            raise self._unusable(error.strerror or "unknown error") from error

    def _read(self, text: str | None) -> _State:
        try:
            return _State() if text is None else _parsed(text)
        except (ValueError, TypeError, AttributeError, KeyError):
            # A machine that lost power. Nobody knows what was spent: take it that the bursts are.
            now = self._clock()
            bursts = {name: limit.weight * self._share * BURST for name, limit in self._limits.items()}
            return _State(buckets={name: _Bucket(level=level, since=now) for name, level in bursts.items()})


def _parsed(text: str) -> _State:
    raw: dict[str, Any] = json.loads(text)
    buckets = {name: _Bucket(**_numbers(values)) for name, values in raw.pop("buckets").items()}
    return _State(buckets=buckets, **_numbers(raw))


def _numbers(values: dict[str, Any]) -> dict[str, Any]:
    if not all(type(value) in {int, float} and 0 <= value < _BEYOND for value in values.values()):
        raise ValueError("not a budget")
    return values
