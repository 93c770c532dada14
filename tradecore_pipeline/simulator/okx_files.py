"""OKX's bulk files: zips of one-minute candles and funding rates, and the catalogue that names them.

As third parties measured them on the real host in 2026: a file's day or month is the exchange's, UTC+8, so that a UTC
day lies in two files; names and columns as below; at most ten days or months to a request (else HTTP 400, code 50076);
a file appears when the exchange's day after its last one has ended (T+2); candles go back to 2021-09-01, funding rates
to 2022-03-01; before 2024 ``vol_ccy`` is often empty (``None``); single minutes are missing that REST has. One swap's
funding rates are filed by the month only: a day's file holds all swaps. No file has a published checksum.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal, get_args

from tradecore_pipeline.domain.errors import UsageError
from tradecore_pipeline.domain.time import add_months, day_range, day_start, month_range, parse_day, parse_month
from tradecore_pipeline.simulator.archive import zip_bytes
from tradecore_pipeline.simulator.backend import Backend
from tradecore_pipeline.simulator.parameters import Listing
from tradecore_pipeline.simulator.reading import trimmed
from tradecore_pipeline.simulator.rows import MINUTE_MS, Bars

Kind = Literal["candlesticks", "fundingrates"]

EXCHANGE_OFFSET = timedelta(hours=8)
"""How far the exchange's day runs ahead of UTC."""
MOST_PERIODS = 10
ALL_SWAPS = "allswap"
CANDLES_HEADER = "instrument_name,open,high,low,close,vol,vol_ccy,vol_quote,open_time,confirm"
FUNDING_HEADER = "instrument_name,funding_rate,funding_time"

_FIRST_DAY: dict[Kind, date] = {"candlesticks": date(2021, 9, 1), "fundingrates": date(2022, 3, 1)}
_FOLDERS: dict[Kind, str] = {"candlesticks": "candlesticks", "fundingrates": "swaprates"}
_COIN_VOLUMES_FROM = date(2024, 1, 1)
_PUBLISHED_AFTER = timedelta(days=2)
_PATH = re.compile(
    r"(?P<folder>candlesticks|swaprates)/(?P<rhythm>daily|monthly)/(?P<stamp>\d{6}|\d{8})"
    r"/(?P<name>[A-Za-z0-9-]+?)-(?P<kind>candlesticks|fundingrates)-(?P<period>[0-9-]+)\.zip"
)


@dataclass(frozen=True, slots=True)
class BulkFile:
    """What one zip holds: candles or funding rates of one swap (or of all) over an exchange's day or month."""

    kind: Kind
    name: str
    """The swap's own name, or ``ALL_SWAPS``."""
    first_day: date
    monthly: bool

    @classmethod
    def parse(cls, path: str) -> "BulkFile | None":
        """The file at a path below the catalogue's folder."""
        match = _PATH.fullmatch(path)
        if match is None:
            return None
        monthly = match["rhythm"] == "monthly"
        try:
            first = parse_month(match["period"]) if monthly else parse_day(match["period"])
        except UsageError:
            return None
        kind = next(kind for kind in get_args(Kind) if kind == match["kind"])
        file = cls(kind, match["name"], first, monthly)
        return file if file.path == path else None

    @property
    def period(self) -> str:
        """``YYYY-MM`` or ``YYYY-MM-DD``."""
        return self.first_day.isoformat()[: 7 if self.monthly else 10]

    @property
    def filename(self) -> str:
        """Its name."""
        return f"{self.name}-{self.kind}-{self.period}.zip"

    @property
    def path(self) -> str:
        """Where it lies below the catalogue's folder."""
        rhythm = "monthly" if self.monthly else "daily"
        return f"{_FOLDERS[self.kind]}/{rhythm}/{self.period.replace('-', '')}/{self.filename}"

    @property
    def start_ms(self) -> int:
        """The exchange's midnight that it begins with."""
        return exchange_midnight_ms(self.first_day)

    @property
    def end_ms(self) -> int:
        """The exchange's midnight that it ends before."""
        return exchange_midnight_ms(self._next_day)

    @property
    def published_ms(self) -> int:
        """When it appears."""
        return exchange_midnight_ms(self._next_day - timedelta(days=1) + _PUBLISHED_AFTER)

    @property
    def _next_day(self) -> date:
        return add_months(self.first_day, 1) if self.monthly else self.first_day + timedelta(days=1)


def exchange_midnight_ms(day: date) -> int:
    """The moment that the exchange's day begins, in milliseconds since 1970."""
    return int((day_start(day) - EXCHANGE_OFFSET).timestamp()) * 1000


def exchange_day(moment_ms: int) -> date:
    """The exchange's day that a moment lies in."""
    return (datetime.fromtimestamp(moment_ms / 1000, UTC) + EXCHANGE_OFFSET).date()


class BulkFiles:
    """The files of a back end's swaps, built when asked for; ``now_ms`` says which of them have appeared."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def catalogue(
        self, kind: Kind, name: str, *, first: date, last: date, monthly: bool, now_ms: int
    ) -> list[BulkFile]:
        """The files of a swap, or of all, that have appeared for the exchange's days or months; newest first."""
        periods = month_range(first, last) if monthly else day_range(first, last)
        files = (BulkFile(kind, name, period, monthly) for period in periods)
        return [file for file in files if self._exists(file, now_ms)][::-1]

    def content(self, file: BulkFile, now_ms: int) -> bytes | None:
        """The zip; None if there is no such file yet."""
        if not self._exists(file, now_ms):
            return None
        header = CANDLES_HEADER if file.kind == "candlesticks" else FUNDING_HEADER
        lines = [header, *(line for listing in self._listings(file) for line in self._lines(file, listing))]
        return zip_bytes(file.filename.removesuffix(".zip") + ".csv", ("\n".join(lines) + "\n").encode())

    def _exists(self, file: BulkFile, now_ms: int) -> bool:
        # Candles are filed by swap; funding rates by swap and month, or by day for all swaps together.
        is_offered = (file.name == ALL_SWAPS) == (file.kind == "fundingrates" and not file.monthly)
        spans = [self._backend.span_ms(listing) for listing in self._listings(file)]
        traded = any(first < file.end_ms and last >= file.start_ms for first, last in spans)
        return is_offered and traded and file.first_day >= _FIRST_DAY[file.kind] and file.published_ms <= now_ms

    def _listings(self, file: BulkFile) -> list[Listing]:
        swaps = (listing for listing in self._backend.listings if listing.venue == "okx")
        return [listing for listing in swaps if file.name in {ALL_SWAPS, listing.symbol}]

    def _lines(self, file: BulkFile, listing: Listing) -> Iterator[str]:
        first_ms, last_ms = file.start_ms, file.end_ms - 1
        if file.kind == "fundingrates":
            rates = self._backend.funding_rates(listing, first_ms=first_ms, last_ms=last_ms)
            for time, rate in zip(rates.time_ms.tolist(), rates.rate.tolist(), strict=True):
                yield f"{listing.symbol},{trimmed(rate, 10)},{time}"
            return
        bars = self._backend.minutes(listing, first_ms=first_ms, last_ms=last_ms)
        coins_known = file.first_day >= _COIN_VOLUMES_FROM
        for time, row in zip(bars.time_ms.tolist(), candle_rows(bars, listing), strict=True):
            if is_missing_from_files(time):
                continue
            prices, (contracts, coins, quotes) = row[1:5], row[5:8]
            volumes = (contracts, coins if coins_known else "None", quotes)
            yield ",".join([listing.symbol, *prices, *volumes, str(time), "1"])


def is_missing_from_files(minute_ms: int) -> bool:
    """Whether the files lack a minute that REST has: one minute of every third of the exchange's days."""
    day = exchange_day(minute_ms)
    number = (minute_ms - exchange_midnight_ms(day)) // MINUTE_MS
    return day.toordinal() % 3 == 0 and number == day.toordinal() * 131 % 1440


def candle_rows(bars: Bars, listing: Listing) -> list[list[str]]:
    """Candles as REST writes them, in time order: time, prices, contracts, coins, value; what is open is not told."""
    columns = (
        *(bars.time_ms, bars.open, bars.high, bars.low, bars.close),
        *(bars.volume, bars.quote_volume),
    )
    decimals, coin_decimals, quote_decimals = listing.written_decimals
    return [
        [
            str(time),
            *(f"{price:.{decimals}f}" for price in prices),
            trimmed(volume / listing.contract_size, 2),
            trimmed(volume, coin_decimals),
            trimmed(quote, quote_decimals),
        ]
        for time, *prices, volume, quote in zip(*(column.tolist() for column in columns), strict=True)
    ]


def catalogue_entry(file: BulkFile, *, base_url: str) -> dict[str, Any]:
    """How the catalogue names a file; the real host's addresses carry a query as well."""
    return {
        "dateTs": str(file.start_ms),
        "filename": file.filename,
        "sizeMB": "0.05" if not file.monthly else "1.5",
        "url": f"{base_url}/cdn/okex/traderecords/{file.path}?v=999",
    }
