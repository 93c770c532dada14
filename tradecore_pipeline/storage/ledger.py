"""The ledger: when and from where each stored day of market data came; its entry is what commits the day."""

import json
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from tradecore_pipeline.domain.errors import InvalidDataError, MixedHomeError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.market_data import REAL_MARKET, Gap, SourceFile
from tradecore_pipeline.storage.atomic import create_bytes, listed_names, write_bytes
from tradecore_pipeline.storage.layout import JSON, Layout, named_day


@dataclass(frozen=True, slots=True)
class Version:
    """Rows that a complete day had before its source restated them."""

    sha256: str
    """Of the Parquet file that held them."""
    rows: int
    source: str
    ingested_at: datetime


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One stored day of one dataset."""

    instrument: Instrument
    dataset: str
    day: date
    rows: int
    missing: int
    """Rows that the exchange did not publish inside the day."""
    gaps: tuple[Gap, ...]
    source: str
    host: str
    market: str
    files: tuple[SourceFile, ...]
    sha256: str
    """Of the stored Parquet file."""
    complete: bool
    reason: str
    ingested_at: datetime
    """When these rows were first stored."""
    seconds: float
    launch: str
    """Id of the launch that stored it."""
    previous: tuple[Version, ...] = ()
    """What the day held before it was restated, newest last; empty for a day that never was."""
    verified_at: datetime | None = None
    """When a later fetch from an archive found these very rows; None if none did."""
    verified_source: str = ""
    """Where that fetch found them."""


class Ledger:
    """The ledger of one home. Safe to use from many threads and processes at once."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self._claimed: str | None = None
        """The market that was found, or made, to be this home's: it never changes."""

    def record(self, entry: LedgerEntry) -> None:
        """Replace the entry of one day."""
        path = self.layout.ledger_day(entry.dataset, entry.instrument, entry.day)
        write_bytes(path, _encode(entry))

    def get(self, dataset: str, instrument: Instrument, day: date) -> LedgerEntry | None:
        """The entry of one day, or None if the day was never stored."""
        path = self.layout.ledger_day(dataset, instrument, day)
        return _read(path, instrument) if path.exists() else None

    def entries(self, dataset: str, instrument: Instrument) -> list[LedgerEntry]:
        """The entries of every stored day, in order."""
        directory = self.layout.ledger_series(dataset, instrument)
        return [_read(directory / name, instrument) for name in listed_names(directory, JSON)]

    def days(self, dataset: str, instrument: Instrument) -> list[date]:
        """Every stored day, complete or not, in order; told from the entries' names alone."""
        return [named_day(name) for name in listed_names(self.layout.ledger_series(dataset, instrument), JSON)]

    def first_day(self, dataset: str, instrument: Instrument) -> date | None:
        """The day the exchange's history begins, if ingestion has met it: the day before is complete and empty."""
        directory = self.layout.ledger_series(dataset, instrument)
        before: LedgerEntry | None = None
        for name in listed_names(directory, JSON):
            entry = _read(directory / name, instrument)
            if entry.rows:
                met = before is not None and before.complete and entry.day - before.day == timedelta(days=1)
                return entry.day if met else None
            before = entry
        return None

    def market(self) -> str | None:
        """The market whose days this home holds, or None while it holds none."""
        marker = self.layout.market_marker
        if not marker.exists():
            return self._market_of_days()
        try:
            return _text(json.loads(marker.read_bytes())["market"])
        except (ValueError, KeyError, TypeError) as error:
            raise InvalidDataError(
                f"{marker} does not say a market: restore it or use another TRADECORE_HOME"
            ) from error

    def claim_market(self, market: str) -> None:
        """Make this a home of ``market`` (``real`` or ``simulated:<id>``), for good.

        Raises:
            MixedHomeError: it is a home of another market already.
        """
        if self._claimed == market:
            return
        marker = self.layout.market_marker
        if not marker.exists():
            create_bytes(marker, _json({"market": self._market_of_days() or market}))
        held = self.market()
        if held is not None and held != market:
            raise MixedHomeError(
                f"this home ({self.layout.root}) holds days of {_market_name(held)}; "
                f"for days of {_market_name(market)} use another TRADECORE_HOME"
            )
        self._claimed = market

    def _market_of_days(self) -> str | None:
        """What the first ledger entry that can be read says: for a home that lost its marker."""
        for path in self.layout.ledger.rglob(f"*{JSON}"):
            try:
                return _text(json.loads(path.read_bytes())["market"])
            except (ValueError, KeyError, TypeError):
                continue  # a torn entry: `tradecore repair` mends it, and its neighbours say the same
        return None


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"{value!r} is no name")
    return value


def _market_name(market: str) -> str:
    return "the real market" if market == REAL_MARKET else market


def _json(value: dict[str, Any]) -> bytes:
    return f"{json.dumps(value, sort_keys=True, separators=(',', ':'), allow_nan=False)}\n".encode()


def _encode(entry: LedgerEntry) -> bytes:
    return _json(
        {
            "instrument": str(entry.instrument),
            "dataset": entry.dataset,
            "day": entry.day.isoformat(),
            "rows": entry.rows,
            "missing": entry.missing,
            "gaps": [[g.first_missing.isoformat(), g.last_missing.isoformat(), g.missing] for g in entry.gaps],
            "source": entry.source,
            "host": entry.host,
            "market": entry.market,
            "files": [[file.url, file.sha256] for file in entry.files],
            "sha256": entry.sha256,
            "complete": entry.complete,
            "reason": entry.reason,
            "ingested_at": entry.ingested_at.isoformat(),
            "seconds": entry.seconds,
            "launch": entry.launch,
            "previous": [[v.sha256, v.rows, v.source, v.ingested_at.isoformat()] for v in entry.previous],
            "verified_at": None if entry.verified_at is None else entry.verified_at.isoformat(),
            "verified_source": entry.verified_source,
        }
    )


def _read(path: Path, instrument: Instrument) -> LedgerEntry:
    try:
        fields: dict[str, Any] = json.loads(path.read_bytes())
        fields["instrument"] = instrument
        fields["day"] = date.fromisoformat(fields["day"])
        fields["gaps"] = tuple(
            Gap(datetime.fromisoformat(first), datetime.fromisoformat(last), missing)
            for first, last, missing in fields["gaps"]
        )
        fields["files"] = tuple(SourceFile(url, sha256) for url, sha256 in fields["files"])
        fields["ingested_at"] = datetime.fromisoformat(fields["ingested_at"])
        # Entries written before restatements and verifications were kept have none of these.
        fields["previous"] = tuple(
            Version(sha256, rows, source, datetime.fromisoformat(at))
            for sha256, rows, source, at in fields.get("previous", ())
        )
        verified = fields.get("verified_at")
        fields["verified_at"] = None if verified is None else datetime.fromisoformat(verified)
        return LedgerEntry(**fields)
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidDataError(f"{path} is not a ledger entry: `tradecore repair` mends it") from error
