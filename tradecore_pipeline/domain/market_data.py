"""What a source hands over for one instrument and day: rows, where they came from, and what is missing."""

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

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
    """``archive-monthly``, ``archive-daily``, ``rest``, ``import``, those joined by ``+``, ``none``; or ``unknown``,
    where a ledger entry was lost."""
    host: str
    market: str
    """``REAL_MARKET`` or ``simulated:<id>``: a home holds days of one market only."""
    files: tuple[SourceFile, ...]
    gaps: tuple[Gap, ...]
    complete: bool
    """The day has ended and all that will ever be published has been fetched."""
    reason: str
    """Why there are no rows, or why the day is not complete; else empty."""
    forgotten: bool = False
    """The source no longer serves (or never served) the whole day: rows of it that were stored before stay."""


@dataclass(frozen=True, slots=True)
class HeldDay:
    """A stored, complete day as its source is asked about it: has something better appeared since?"""

    day: date
    source: str
    """As ``FetchedDay.source``."""
    files: tuple[SourceFile, ...]
    ingested_at: datetime
    """When it was stored, or last found to be what its source says."""


class ListingStatus(StrEnum):
    """What an exchange says of an instrument today."""

    TRADING = "trading"
    DELISTED = "delisted"


@dataclass(frozen=True, slots=True)
class ListedInstrument:
    """One instrument an exchange lists, or once listed, and the days it had data, as far as the exchange tells."""

    instrument: Instrument
    raw_symbol: str
    """The exchange's own name."""
    status: ListingStatus
    first_day: date | None
    """None where the exchange does not tell."""
    last_day: date | None
    """The last day of a delisted one; None while it trades or where the exchange does not tell."""
