"""Rows and files that an exchange publishes once more with other values: a way for tests to make it do so."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeVar

from tradecore_pipeline.simulator.parameters import Listing
from tradecore_pipeline.simulator.rows import Bars, FundingRates, OpenInterest, TimeRows

_RowsT = TypeVar("_RowsT", bound=TimeRows)


@dataclass(frozen=True, slots=True)
class _Window:
    listing: Listing
    first_ms: int
    last_ms: int
    at: datetime


class Restatements:
    """What was restated so far, and when."""

    def __init__(self) -> None:
        self._windows: list[_Window] = []
        self._files: dict[str, list[datetime]] = {}

    def add_window(self, listing: Listing, *, first_ms: int, last_ms: int, at: datetime) -> None:
        """From now on the minutes that open in the window have other values, over REST and in every file."""
        self._windows.append(_Window(listing, first_ms, last_ms, at))

    def add_file(self, key: str, *, at: datetime) -> None:
        """From now on one file holds other values than REST and every other file."""
        self._files.setdefault(key, []).append(at)

    def minutes(self, listing: Listing, bars: Bars) -> Bars:
        """The minutes as they stand now."""
        for window in self._windows:
            if window.listing == listing and len(bars):
                before = bars.between(0, window.first_ms - 1)
                inside = bars.between(window.first_ms, window.last_ms)
                after = bars.between(window.last_ms + 1, int(bars.time_ms[-1]))
                bars = Bars.joined([before, altered(inside, listing), after])
        return bars

    def file(self, key: str, listing: Listing, rows: _RowsT) -> _RowsT:
        """A file's rows as they stand now."""
        for _ in self._files.get(key, ()):
            rows = altered(rows, listing)
        return rows

    def moments(self, key: str, listing: Listing, *, first_ms: int, last_ms: int, minutes: bool) -> list[datetime]:
        """When the file of this span was restated, in order; ``minutes``: it holds traded minutes."""
        windows = [
            window.at
            for window in self._windows
            if minutes and window.listing == listing and window.first_ms <= last_ms and window.last_ms >= first_ms
        ]
        return sorted([*windows, *self._files.get(key, ())])


def altered(rows: _RowsT, listing: Listing) -> _RowsT:
    """The same moments with slightly other values, as plausible as before."""
    match rows:
        case Bars():
            tick, step = 10.0**-listing.price_decimals, 10.0**-listing.volume_decimals
            return replace(
                rows,
                high=(rows.high + tick).round(listing.price_decimals),
                volume=(rows.volume + step).round(listing.volume_decimals),
            )
        case FundingRates():
            return replace(rows, rate=(rows.rate + 0.00001).round(8))
        case OpenInterest():
            return replace(rows, base=rows.base + 1)
        case _:
            return rows
