"""Storing one fetched day: rows, then gaps, then the ledger entry that commits both."""

from dataclasses import replace
from datetime import datetime

from tradecore_pipeline.domain.market_data import FetchedDay
from tradecore_pipeline.domain.tables import MARKET_DATA
from tradecore_pipeline.storage.atomic import exclusive
from tradecore_pipeline.storage.encoding import EncodedDay, encode_day
from tradecore_pipeline.storage.lake import Lake
from tradecore_pipeline.storage.ledger import Ledger, LedgerEntry

REPLACING = "the day was being replaced when its writer stopped: materialize it again"


def store_day(
    lake: Lake, ledger: Ledger, fetched: FetchedDay, *, now: datetime, seconds: float, launch: str
) -> LedgerEntry:
    """Store ``fetched`` and return its ledger entry; storing the same day again changes no file of the lake.

    The entry is written last. A writer killed before that leaves the day as it was, without an entry, or, where it was
    replacing a day by different rows, with an entry whose ``complete`` is false: in each case the next launch stores
    the day whole.

    Args:
        lake: where the rows and gaps go.
        ledger: where the entry goes.
        fetched: the validated day.
        now: the moment of storing, kept in the entry.
        seconds: how long fetching took.
        launch: id of the launch that stores it.

    Raises:
        InvalidDataError: the rows break the table's contract; nothing was stored.
        MixedHomeError: the home holds days of another market; nothing was stored.
    """
    table = MARKET_DATA[fetched.dataset]
    encoded = encode_day(table, fetched.day, fetched.rows)
    entry = _entry(fetched, encoded, now=now, seconds=seconds, launch=launch)
    ledger.claim_market(fetched.market)
    # Two writers of one day would otherwise leave the rows of one under the entry of the other.
    with exclusive(lake.layout.ledger_series(fetched.dataset, fetched.instrument)):
        _reopen(ledger, entry)
        lake.publish_encoded(table, fetched.instrument, fetched.day, encoded, timeframe=None)
        lake.publish_gaps(fetched.dataset, fetched.instrument, day=fetched.day, gaps=fetched.gaps)
        ledger.record(entry)
    return entry


def _entry(fetched: FetchedDay, encoded: EncodedDay, *, now: datetime, seconds: float, launch: str) -> LedgerEntry:
    return LedgerEntry(
        instrument=fetched.instrument,
        dataset=fetched.dataset,
        day=fetched.day,
        rows=encoded.rows,
        missing=sum(gap.missing for gap in fetched.gaps),
        gaps=fetched.gaps,
        source=fetched.source,
        host=fetched.host,
        market=fetched.market,
        files=fetched.files,
        sha256=encoded.sha256,
        complete=fetched.complete,
        reason=fetched.reason,
        ingested_at=now,
        seconds=seconds,
        launch=launch,
    )


def _reopen(ledger: Ledger, entry: LedgerEntry) -> None:
    """Take back the old entry's ``complete`` before its rows change, so that no crash leaves it vouching for others."""
    old = ledger.get(entry.dataset, entry.instrument, entry.day)
    if old is not None and old.complete and (old.sha256, old.gaps) != (entry.sha256, entry.gaps):
        ledger.record(replace(old, complete=False, reason=REPLACING))
