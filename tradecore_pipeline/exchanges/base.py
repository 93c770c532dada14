"""What every exchange offers to the rest of the house."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import Protocol

from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.market_data import FetchedDay

PERPETUAL = "perpetual"
SPOT = "spot"


class Exchange(Protocol):
    """A source of market data by day. Methods may be called from several threads."""

    @property
    def name(self) -> str:
        """The exchange as instruments spell it."""
        ...

    @property
    def capabilities(self) -> Mapping[str, tuple[str, ...]]:
        """The datasets it has, per market type (``perpetual``, ``spot``)."""
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

    def close(self) -> None:
        """Release connections."""
        ...
