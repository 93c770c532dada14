"""Days that could not be stored, and why: one small document each, until the day is stored after all."""

import json
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.storage.atomic import exclusive, listed_names, write_bytes
from tradecore_pipeline.storage.layout import JSON, Layout, named_day

LONGEST_REASON = 1_000
"""Characters kept of a reason: a server's error page would otherwise be kept whole, day by day."""


@dataclass(frozen=True, slots=True)
class Failure:
    """One day that could not be stored."""

    instrument: Instrument
    dataset: str
    day: date
    reason: str
    """Of the last attempt, on one line."""
    first_at: datetime
    at: datetime
    """When the last attempt failed."""
    attempts: int
    """How many failed since the day was last stored, or ever."""
    damaged: bool = False
    """Its document cannot be read: when and how often it failed is lost, and the reason says what to do."""


class Failures:
    """The failed days of one home. Safe to use from many threads and processes at once."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout

    def record(self, dataset: str, instrument: Instrument, day: date, *, reason: str, at: datetime) -> Failure:
        """Note that storing a day failed ``at`` that moment (UTC), once more if it did before."""
        path = self.layout.failure_day(dataset, instrument, day)
        line = " ".join(reason.split())
        kept = line if len(line) <= LONGEST_REASON else f"{line[: LONGEST_REASON - 3]}..."
        with exclusive(path.parent / ".lock"):
            before = self.get(dataset, instrument, day)
            if before is None or before.damaged:
                first_at, attempts = at, 0
            else:
                first_at, attempts = before.first_at, before.attempts
            failure = Failure(instrument, dataset, day, kept, first_at, at, attempts + 1)
            write_bytes(path, _encode(failure))
        return failure

    def clear(self, dataset: str, instrument: Instrument, day: date) -> None:
        """Forget that a day failed: it is stored now."""
        self.layout.failure_day(dataset, instrument, day).unlink(missing_ok=True)

    def get(self, dataset: str, instrument: Instrument, day: date) -> Failure | None:
        """What is known about a failed day, or None if it did not fail since it was last stored."""
        return _read(self.layout.failure_day(dataset, instrument, day), dataset, instrument, day)

    def list(self, dataset: str, instrument: Instrument) -> list[Failure]:
        """Every failed day of a dataset, in order."""
        directory = self.layout.failure_series(dataset, instrument)
        names = listed_names(directory, JSON)
        found = (_read(directory / name, dataset, instrument, named_day(name)) for name in names)
        return [failure for failure in found if failure is not None]


def _encode(failure: Failure) -> bytes:
    document = {
        "instrument": str(failure.instrument),
        "dataset": failure.dataset,
        "day": failure.day.isoformat(),
        "reason": failure.reason,
        "first_at": failure.first_at.isoformat(),
        "at": failure.at.isoformat(),
        "attempts": failure.attempts,
    }
    return f"{json.dumps(document, sort_keys=True)}\n".encode()


def _read(path: Path, dataset: str, instrument: Instrument, day: date) -> Failure | None:
    try:
        fields: dict[str, Any] = json.loads(path.read_bytes())
        fields["instrument"] = instrument
        fields["day"] = date.fromisoformat(fields["day"])
        fields["first_at"], fields["at"] = (datetime.fromisoformat(fields[name]) for name in ("first_at", "at"))
        return Failure(**fields)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        # That the day failed is all that is known: enough to ask for it again, and too little to stop anybody.
        reason = f"{path} is damaged: `tradecore repair` fetches that day again"
        at = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        return Failure(instrument, dataset, day, reason, at, at, attempts=1, damaged=True)
