"""What a source hands over for one instrument and day: rows, where they came from, and what is missing."""

from dataclasses import dataclass
from datetime import date, datetime

import pyarrow as pa

from tradecore_pipeline.domain.instruments import Instrument

MARKET_HEADER = "X-Tradecore-Market"
"""Simulators name their market in this HTTP header; a host that does not send it serves the real one."""
REAL_MARKET = "real"
"""The market of live hosts and of recorded files; simulated ones are called ``simulated:<id>``."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Rows that an exchange did not publish; both ends are keys of missing rows."""

    first_missing: datetime
    last_missing: datetime
    missing: int


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file or endpoint that rows were taken from; ``sha256`` is empty where the source publishes none."""

    url: str
    sha256: str


@dataclass(frozen=True, slots=True)
class FetchedDay:
    """One day of one dataset, validated: rows sorted by key, unique, closed, inside the day."""

    instrument: Instrument
    dataset: str
    day: date
    rows: pa.Table
    source: str
    """``archive-monthly``, ``archive-daily``, ``rest``, those joined by ``+``, or ``none``."""
    host: str
    market: str
    """``REAL_MARKET`` or ``simulated:<id>``: a home holds days of one market only."""
    files: tuple[SourceFile, ...]
    gaps: tuple[Gap, ...]
    complete: bool
    """The day has ended and all that will ever be published has been fetched."""
    reason: str
    """Why there are no rows, or why the day is not complete; else empty."""
