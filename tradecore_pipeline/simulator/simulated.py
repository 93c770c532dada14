"""The simulated back end: a market's rows behind REST, and its archive built file by file on demand."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from functools import lru_cache

from tradecore_pipeline.domain.time import MINUTES_PER_DAY, add_months, day_range, day_start, month_range
from tradecore_pipeline.simulator.archive import ArchiveFile, Dataset, etag_of, zip_bytes
from tradecore_pipeline.simulator.archive_text import funding_lines, kline_lines, metrics_lines, premium_lines
from tradecore_pipeline.simulator.backend import StoredFile
from tradecore_pipeline.simulator.market import SimulatedMarket
from tradecore_pipeline.simulator.parameters import Listing
from tradecore_pipeline.simulator.restatements import Restatements
from tradecore_pipeline.simulator.rows import MINUTE_MS, Bars, FundingRates, OpenInterest

_DAY_MS = MINUTES_PER_DAY * MINUTE_MS
_MICROSECONDS_FROM = date(2025, 1, 1)
"""Spot files count in microseconds from this day on."""
_KEPT_FILES = 64
_BYTES_PER_DAY: dict[Dataset, int] = {
    "klines": 72_000,
    "premiumIndexKlines": 34_000,
    "metrics": 9_000,
    "fundingRate": 60,
}


class SimulatedBackend:
    """A simulated market as an exchange would publish it."""

    def __init__(self, market: SimulatedMarket) -> None:
        self._market = market
        self.restatements = Restatements()
        self._keys_on = lru_cache(maxsize=2)(self._build_keys)
        self._built = lru_cache(maxsize=_KEPT_FILES)(self._build_file)

    @property
    def market(self) -> str:
        return f"simulated:{self._market.market_id}"

    @property
    def listings(self) -> Sequence[Listing]:
        return self._market.parameters.listings

    def span_ms(self, listing: Listing) -> tuple[int, int]:
        """The first and the last millisecond that the symbol is listed for."""
        end, delisted = _ms(self._market.end), self.delisted_ms(listing)
        return self._market.listed_ms(listing), (end if delisted is None else min(end, delisted)) - 1

    def delisted_ms(self, listing: Listing) -> int | None:
        """When the symbol is delisted; None for never."""
        return self._market.delisted_ms(listing)

    def funding_minutes(self, listing: Listing, at_ms: int) -> int:
        """The interval in force at a moment."""
        days = (at_ms - self._market.start_ms) // _DAY_MS
        return [minutes for since, minutes in listing.funding_minutes if since == 0 or since <= days][-1]

    def minutes(self, listing: Listing, *, first_ms: int, last_ms: int) -> Bars:
        """The published minutes that open inside the window, as they stand after all restatements."""
        return self.restatements.minutes(listing, self._market.minute_bars(listing).between(first_ms, last_ms))

    def premium(self, listing: Listing, *, first_ms: int, last_ms: int) -> Bars:
        """The published minutes of the premium index that open inside the window."""
        return self._market.premium_bars(listing).between(first_ms, last_ms)

    def funding_rates(self, listing: Listing, *, first_ms: int, last_ms: int) -> FundingRates:
        """Settlements stamped inside the window."""
        return self._market.funding_rates(listing).between(first_ms, last_ms)

    def open_interest(self, listing: Listing, *, first_ms: int, last_ms: int) -> OpenInterest:
        """Snapshots taken inside the window."""
        return self._market.open_interest(listing).between(first_ms, last_ms)

    def archive_keys(self, now: datetime) -> Sequence[str]:
        """Everything published by ``now``; a month that the market does not finish has no monthly file."""
        return sorted(self._keys_on(now.astimezone(UTC).date()))

    def archive_entry(self, key: str) -> StoredFile:
        """When it appeared or was last restated; the size is a rule of thumb, since only a built file has one."""
        file = ArchiveFile.parse(key)
        if file is None:
            raise KeyError(key)
        first_ms, last_ms = _span(file)
        moments = self.restatements.moments(
            key, self._listing_of(file), first_ms=first_ms, last_ms=last_ms, minutes=file.dataset == "klines"
        )
        modified = max([file.published_at, *moments])
        size = _BYTES_PER_DAY[file.dataset] * len(file.days)
        return StoredFile(modified, etag_of(f"{self.market}/{key}/{len(moments)}"), size)

    def archive_checksum(self, key: str) -> bytes | None:  # noqa: ARG002 (nothing is recorded: all are computed)
        """None: every checksum is computed from its file."""
        return None

    def archive_object(self, key: str, now: datetime) -> bytes | None:
        """The file, built when first asked for; None if it is not published at ``now``."""
        if key not in self._keys_on(now.astimezone(UTC).date()):
            return None
        return self._built(key, self.archive_entry(key).etag)

    def _build_keys(self, today: date) -> frozenset[str]:
        now = day_start(today)
        return frozenset(
            file.key for listing in self.listings for file in self._files(listing) if file.published_at <= now
        )

    def _files(self, listing: Listing) -> list[ArchiveFile]:
        if listing.venue not in {"um", "spot"}:
            return []
        first_ms, last_ms = self.span_ms(listing)
        if first_ms > last_ms:
            return []
        first, last = _day(first_ms), _day(last_ms)
        months = [month for month in month_range(first, last) if add_months(month, 1) <= self._market.end]
        days = list(day_range(first, last))
        rhythms: dict[Dataset, tuple[list[date], list[date]]] = {"klines": (months, days)}
        if listing.venue == "um":
            rhythms |= {"premiumIndexKlines": (months, days), "fundingRate": (months, []), "metrics": ([], days)}
        return [
            ArchiveFile(listing.venue, dataset, listing.symbol, begin, monthly=monthly)
            for dataset, begins in rhythms.items()
            for monthly, periods in zip((True, False), begins, strict=True)
            for begin in periods
        ]

    def _listing_of(self, file: ArchiveFile) -> Listing:
        return next(listing for listing in self.listings if file.belongs_to(listing))

    def _build_file(self, key: str, etag: str) -> bytes | None:  # noqa: ARG002 (what a kept file is known by)
        file = ArchiveFile.parse(key)
        if file is None:
            return None
        name = key.rpartition("/")[2].removesuffix(".zip") + ".csv"
        return zip_bytes(name, ("\n".join(self._lines(file, self._listing_of(file))) + "\n").encode())

    def _lines(self, file: ArchiveFile, listing: Listing) -> list[str]:
        first_ms, last_ms = _span(file)
        window = {"first_ms": first_ms, "last_ms": last_ms}
        if file.dataset == "klines":
            bars = self.restatements.file(file.key, listing, self.minutes(listing, **window))
            return kline_lines(
                bars, listing, microseconds=file.venue == "spot" and file.first_day >= _MICROSECONDS_FROM
            )
        if file.dataset == "premiumIndexKlines":
            return premium_lines(self.restatements.file(file.key, listing, self.premium(listing, **window)))
        if file.dataset == "fundingRate":
            rates = self.restatements.file(file.key, listing, self.funding_rates(listing, **window))
            return funding_lines(rates, [self.funding_minutes(listing, time) for time in rates.time_ms.tolist()])
        snapshots = self.restatements.file(file.key, listing, self.open_interest(listing, **window))
        return metrics_lines(snapshots, self.minutes(listing, **window), symbol=listing.symbol)


def _span(file: ArchiveFile) -> tuple[int, int]:
    return _ms(file.days[0]), _ms(file.days[-1]) + _DAY_MS - 1


def _day(moment_ms: int) -> date:
    return datetime.fromtimestamp(moment_ms / 1000, UTC).date()


def _ms(day: date) -> int:
    return int(day_start(day).timestamp()) * 1000
