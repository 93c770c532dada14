"""What the server asks of a market, whether it is simulated or recorded."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from tradecore_pipeline.simulator.parameters import Listing
from tradecore_pipeline.simulator.rows import Bars, FundingRates, OpenInterest


@dataclass(frozen=True, slots=True)
class StoredFile:
    """What a listing says of an archive file. All of it is known without building the file."""

    modified: datetime
    etag: str
    """Changes whenever the content does; no digest of it."""
    size: int
    """In bytes; of simulated files only roughly."""


class Backend(Protocol):
    """One market. Times are milliseconds since 1970; both ends of a window are included."""

    @property
    def market(self) -> str:
        """What the server calls itself in every response: ``real`` or ``simulated:<id>``."""
        ...

    @property
    def listings(self) -> Sequence[Listing]:
        """The symbols of all venues, also those that are listed later or no more."""
        ...

    def span_ms(self, listing: Listing) -> tuple[int, int]:
        """The first and the last moment that there may be minutes of; they may lie in the future."""
        ...

    def delisted_ms(self, listing: Listing) -> int | None:
        """When the symbol stops being traded, which may lie in the future; None for never."""
        ...

    def funding_minutes(self, listing: Listing, at_ms: int) -> int:
        """The time between settlements at a moment."""
        ...

    def minutes(self, listing: Listing, *, first_ms: int, last_ms: int) -> Bars:
        """Minutes that open inside the window, whatever the clock says."""
        ...

    def premium(self, listing: Listing, *, first_ms: int, last_ms: int) -> Bars:
        """Minutes of the premium index (a fraction) that open inside the window."""
        ...

    def funding_rates(self, listing: Listing, *, first_ms: int, last_ms: int) -> FundingRates:
        """Settlements stamped inside the window."""
        ...

    def open_interest(self, listing: Listing, *, first_ms: int, last_ms: int) -> OpenInterest:
        """Snapshots taken inside the window."""
        ...

    def archive_keys(self, now: datetime) -> Sequence[str]:
        """The zip files in the archive at ``now``, sorted; their checksums go without saying."""
        ...

    def archive_entry(self, key: str) -> StoredFile:
        """What a listing says of ``key``, one of ``archive_keys``."""
        ...

    def archive_object(self, key: str, now: datetime) -> bytes | None:
        """The zip file under ``key``; None if it is not in the archive at ``now``."""
        ...

    def archive_checksum(self, key: str) -> bytes | None:
        """The checksum file of ``key`` as it was recorded; None where it is to be computed from the file."""
        ...
