"""What every exchange offers to the rest of the house."""

from collections.abc import Iterator, Sequence
from datetime import date, datetime
from typing import Protocol

from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.market_data import FetchedDay, HeldDay, ListedInstrument


class Exchange(Protocol):
    """A source of market data by day. Methods may be called from several threads."""

    @property
    def name(self) -> str:
        """The exchange as instruments spell it."""
        ...

    def server_time(self) -> datetime:
        """The exchange's present moment (UTC).

        Raises:
            SourceUnavailableError: it does not answer.
        """
        ...

    def first_day(self, dataset: str, instrument: Instrument) -> date:
        """The first UTC day with published rows; days before it are "before listing".

        Raises:
            UsageError: the exchange has no such dataset or instrument.
            SourceError: it cannot be found out now.
        """
        ...

    def fetch_days(self, dataset: str, instrument: Instrument, days: Sequence[date]) -> Iterator[FetchedDay]:
        """The days in ascending order, validated, fetched ahead by a few threads; a reader may stop early.

        Raises:
            UsageError: the exchange has no such dataset or instrument, or a day is in the future.
            SourceError: a day could not be fetched or must not be stored; the days before it were handed over.
        """
        ...

    def revised_days(self, dataset: str, instrument: Instrument, held: Sequence[HeldDay]) -> dict[date, str]:
        """Those of the stored days that should be fetched again, and why: ``held`` comes in ascending order.

        A day that came over REST and is in an archive by now, or whose archive file was rewritten since. Found out
        from listings alone; an exchange without an archive has none.

        Raises:
            SourceError: the source cannot be asked.
        """
        ...

    def instruments(self) -> list[ListedInstrument]:
        """Every instrument that is or ever was listed, as far as the exchange tells, sorted by instrument.

        Raises:
            SourceError: the exchange cannot be asked.
        """
        ...

    def close(self) -> None:
        """Release connections."""
        ...
