"""What the server asks of a market, whether it is simulated or recorded."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from tradecore_pipeline.simulator.parameters import Listing
from tradecore_pipeline.simulator.rows import Bars, FundingRates, OpenInterest


class Backend(Protocol):
    """One market. Times are milliseconds since 1970; both ends of a window are included."""

    @property
    def market(self) -> str:
        """What the server calls itself in every response: ``real`` or ``simulated:<id>``."""
        ...

    @property
    def listings(self) -> Sequence[Listing]:
        """The symbols of both venues."""
        ...

    def span_ms(self, listing: Listing) -> tuple[int, int]:
        """The first and the last moment that there may be minutes of; they may lie in the future."""
        ...

    def minutes(self, listing: Listing, *, first_ms: int, last_ms: int) -> Bars:
        """Minutes that open inside the window, whatever the clock says."""
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

    def archive_object(self, key: str, now: datetime) -> bytes | None:
        """The zip file under ``key``; None if it is not in the archive at ``now``."""
        ...

    def archive_checksum(self, key: str) -> bytes | None:
        """The checksum file of ``key`` as it was recorded; None where it is to be computed from the file."""
        ...
