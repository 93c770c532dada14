"""What all REST faces share: the clock, the symbols that are listed now, and candles cut to a request's window."""

from dataclasses import dataclass

from tradecore_pipeline.domain.time import MINUTES_PER_DAY, Clock
from tradecore_pipeline.simulator.backend import Backend
from tradecore_pipeline.simulator.parameters import Listing, Venue
from tradecore_pipeline.simulator.rows import MINUTE_MS, PREMIUM_DECIMALS, Bars, FundingRates, OpenInterest

DAY_MS = MINUTES_PER_DAY * MINUTE_MS

_SETTLING_MS = 7 * DAY_MS
"""How long an exchange still names a symbol that it has delisted."""


@dataclass(frozen=True, slots=True)
class Window:
    """Which candles are asked for: those that open in ``start``..``end`` (both included; None: no bound), and how many.

    Where there are more than ``limit``, the newest are meant, or else the oldest.
    """

    interval_ms: int
    start: int | None
    end: int | None
    limit: int
    newest: bool


class Reader:
    """Reads a back end as it is at the clock's moment; times are milliseconds since 1970."""

    def __init__(self, backend: Backend, clock: Clock) -> None:
        self._backend = backend
        self._clock = clock

    @property
    def now_ms(self) -> int:
        """The clock's moment."""
        return int(self._clock().timestamp() * 1000)

    def listings(self, venue: Venue) -> list[Listing]:
        """The symbols a venue names now: not yet those of the future, and no longer those delisted a week ago."""
        now_ms = self.now_ms
        return [
            listing for listing in self._backend.listings if listing.venue == venue and self._named(listing, now_ms)
        ]

    def find(self, symbol: str, venue: Venue) -> Listing | None:
        """The listing that a venue calls ``symbol`` now."""
        return next((listing for listing in self.listings(venue) if listing.symbol == symbol), None)

    def listed_ms(self, listing: Listing) -> int:
        """When it was listed."""
        return self._backend.span_ms(listing)[0]

    def delisted_ms(self, listing: Listing) -> int | None:
        """When it was delisted; None while it trades."""
        delisted = self._backend.delisted_ms(listing)
        return delisted if delisted is not None and delisted <= self.now_ms else None

    def funding_minutes(self, listing: Listing) -> int:
        """The time between settlements now."""
        return self._backend.funding_minutes(listing, self.now_ms)

    def candles(self, listing: Listing, window: Window) -> Bars:
        """Candles in time order, the open one too."""
        return self._cut(listing, window, premium=False)

    def premium_candles(self, listing: Listing, window: Window) -> Bars:
        """Candles of the premium index in time order, the open one too."""
        return self._cut(listing, window, premium=True)

    def funding_rates(self, listing: Listing, *, start: int, end: int | None) -> FundingRates:
        """Settlements stamped from ``start`` to ``end`` (now, if that is earlier or None)."""
        now_ms = self.now_ms
        last = now_ms if end is None else min(end, now_ms)
        return self._backend.funding_rates(listing, first_ms=start, last_ms=last)

    def open_interest(self, listing: Listing, *, start: int, end: int | None) -> OpenInterest:
        """Snapshots taken from ``start`` to ``end`` (now, if that is earlier or None)."""
        now_ms = self.now_ms
        last = now_ms if end is None else min(end, now_ms)
        return self._backend.open_interest(listing, first_ms=start, last_ms=last)

    def price(self, listing: Listing) -> float | None:
        """The last traded price; None before the first trade."""
        newest = self.candles(listing, Window(MINUTE_MS, None, None, 1, newest=True))
        return float(newest.close[-1]) if len(newest) else None

    def _named(self, listing: Listing, now_ms: int) -> bool:
        delisted = self._backend.delisted_ms(listing)
        return self.listed_ms(listing) <= now_ms and (delisted is None or now_ms < delisted + _SETTLING_MS)

    def _cut(self, listing: Listing, window: Window, *, premium: bool) -> Bars:
        now_ms, step = self.now_ms, window.interval_ms
        first, last = self._backend.span_ms(listing)
        low = first // step * step
        if window.start is not None:
            low = max(low, -(-window.start // step) * step)
        high = min(last, now_ms - 1)
        if window.end is not None:
            # A bar belongs to the window if it opens in it; its minutes may lie behind the window's end.
            high = min(high, window.end // step * step + step - 1)
        parts: list[Bars] = []
        # Gaps make some windows yield fewer bars than they are long: go on until there are enough. A day at least, so
        # that a hole of years in a recording is crossed in reasonable time.
        length = -(-max(window.limit * step, DAY_MS) // step) * step
        while sum(map(len, parts)) < window.limit and low <= high:
            if window.newest:
                cut = max(low, high // step * step + step - length)
                parts.insert(0, self._seen(listing, now_ms, cut, high, premium=premium).aggregated(step))
                high = cut - 1
            else:
                cut = min(high, low + length - 1)
                parts.append(self._seen(listing, now_ms, low, cut, premium=premium).aggregated(step))
                low = cut + 1
        bars = Bars.joined(parts or [Bars.empty()])
        return bars.take(slice(-window.limit, None) if window.newest else slice(window.limit))

    def _seen(self, listing: Listing, now_ms: int, first_ms: int, last_ms: int, *, premium: bool) -> Bars:
        source = self._backend.premium if premium else self._backend.minutes
        decimals = PREMIUM_DECIMALS if premium else listing.price_decimals
        return source(listing, first_ms=first_ms, last_ms=last_ms).seen_at(now_ms, decimals)


def trimmed(value: float, decimals: int) -> str:
    """A number as most venues write it: no zeros at the end, no point without digits behind it."""
    text = f"{value:.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
