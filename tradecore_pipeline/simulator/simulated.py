"""The simulated back end: a market's rows behind REST, and its archive built file by file on demand."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from functools import lru_cache

import numpy as np

from tradecore_pipeline.domain.time import MINUTES_PER_DAY, add_months, day_range, day_start, month_range
from tradecore_pipeline.simulator.archive import ArchiveFile, zip_bytes
from tradecore_pipeline.simulator.market import SimulatedMarket
from tradecore_pipeline.simulator.parameters import Listing
from tradecore_pipeline.simulator.rows import MINUTE_MS, Bars, Floats, FundingRates, OpenInterest

KLINES_HEADER = (
    "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore"
)
FUNDING_HEADER = "calc_time,funding_interval_hours,last_funding_rate"
METRICS_HEADER = (
    "create_time,symbol,sum_open_interest,sum_open_interest_value,count_toptrader_long_short_ratio,"
    "sum_toptrader_long_short_ratio,count_long_short_ratio,sum_taker_long_short_vol_ratio"
)

_DAY_MS = MINUTES_PER_DAY * MINUTE_MS
_MICROSECONDS_FROM = date(2025, 1, 1)
"""Spot files count in microseconds from this day on."""
_KEPT_FILES = 64


class SimulatedBackend:
    """A simulated market as an exchange would publish it."""

    def __init__(self, market: SimulatedMarket) -> None:
        self._market = market
        self._keys_on = lru_cache(maxsize=2)(self._build_keys)
        self._built = lru_cache(maxsize=_KEPT_FILES)(self._build_file)

    @property
    def market(self) -> str:
        return f"simulated:{self._market.market_id}"

    @property
    def listings(self) -> Sequence[Listing]:
        return self._market.parameters.listings

    def span_ms(self, listing: Listing) -> tuple[int, int]:  # noqa: ARG002 (every symbol lives as long as the market)
        """The market's first and last millisecond."""
        return self._market.start_ms, _ms(self._market.end) - 1

    def minutes(self, listing: Listing, *, first_ms: int, last_ms: int) -> Bars:
        """The published minutes that open inside the window."""
        return self._market.minute_bars(listing).between(first_ms, last_ms)

    def funding_rates(self, listing: Listing, *, first_ms: int, last_ms: int) -> FundingRates:
        """Settlements stamped inside the window."""
        return self._market.funding_rates(listing).between(first_ms, last_ms)

    def open_interest(self, listing: Listing, *, first_ms: int, last_ms: int) -> OpenInterest:
        """Snapshots taken inside the window."""
        return self._market.open_interest(listing).between(first_ms, last_ms)

    def archive_keys(self, now: datetime) -> Sequence[str]:
        """Everything published by ``now``; a month that the market does not finish has no monthly file."""
        return sorted(self._keys_on(now.astimezone(UTC).date()))

    def archive_checksum(self, key: str) -> bytes | None:  # noqa: ARG002 (nothing is recorded: all are computed)
        """None: every checksum is computed from its file."""
        return None

    def archive_object(self, key: str, now: datetime) -> bytes | None:
        """The file, built when first asked for; None if it is not published at ``now``."""
        if key not in self._keys_on(now.astimezone(UTC).date()):
            return None
        return self._built(key)

    def _build_keys(self, today: date) -> frozenset[str]:
        now = day_start(today)
        return frozenset(
            file.key for listing in self.listings for file in self._files(listing) if file.published_at <= now
        )

    def _files(self, listing: Listing) -> list[ArchiveFile]:
        start, end = self._market.start, self._market.end
        months = [month for month in month_range(start, end) if add_months(month, 1) <= end]
        days = list(day_range(start, end))[:-1]
        name = listing.venue, listing.symbol
        files = [ArchiveFile(name[0], "klines", name[1], first, monthly=True) for first in months]
        files += [ArchiveFile(name[0], "klines", name[1], first, monthly=False) for first in days]
        if listing.venue == "um":
            files += [ArchiveFile(name[0], "fundingRate", name[1], first, monthly=True) for first in months]
            files += [ArchiveFile(name[0], "metrics", name[1], first, monthly=False) for first in days]
        return files

    def _build_file(self, key: str) -> bytes | None:
        file = ArchiveFile.parse(key)
        if file is None:
            return None
        listing = next(listing for listing in self.listings if file.belongs_to(listing))
        window = {"first_ms": _ms(file.days[0]), "last_ms": _ms(file.days[-1]) + _DAY_MS - 1}
        if file.dataset == "klines":
            microseconds = file.venue == "spot" and file.first_day >= _MICROSECONDS_FROM
            lines = _kline_lines(self.minutes(listing, **window), listing, microseconds=microseconds)
        elif file.dataset == "fundingRate":
            lines = _funding_lines(self.funding_rates(listing, **window))
        else:
            lines = self._metrics_lines(listing, **window)
        name = key.rpartition("/")[2].removesuffix(".zip") + ".csv"
        return zip_bytes(name, ("\n".join(lines) + "\n").encode())

    def _metrics_lines(self, listing: Listing, *, first_ms: int, last_ms: int) -> list[str]:
        snapshots = self.open_interest(listing, first_ms=first_ms, last_ms=last_ms)
        taker = _taker_ratio(self.minutes(listing, first_ms=first_ms, last_ms=last_ms), snapshots)
        # The account ratios are invented: no reader of ours looks at them, but the columns must be there.
        accounts = 1 + 0.2 * np.sin(np.arange(len(snapshots)) / 40)
        times = np.datetime_as_string(snapshots.time_ms.astype("datetime64[ms]"), unit="s")
        return [
            METRICS_HEADER,
            *(
                f"{str(time).replace('T', ' ')},{listing.symbol},{base:.16f},{usd:.16f},"
                f"{ratio:.8f},{ratio:.8f},{ratio:.8f},{bought:.8f}"
                for time, base, usd, ratio, bought in zip(
                    times, snapshots.base, snapshots.usd, accounts, taker, strict=True
                )
            ),
        ]


def _kline_lines(bars: Bars, listing: Listing, *, microseconds: bool) -> list[str]:
    factor = 1000 if microseconds else 1
    opened = bars.time_ms * factor
    closed = opened + MINUTE_MS * factor - 1
    prices, volumes, quotes = listing.written_decimals
    price, volume, quote = f"%.{prices}f", f"%.{volumes}f", f"%.{quotes}f"
    line = f"%d,{price},{price},{price},{price},{volume},%d,{quote},%d,{volume},{quote},0"
    columns = (
        *(opened, bars.open, bars.high, bars.low, bars.close, bars.volume),
        *(closed, bars.quote_volume, bars.trades, bars.taker_buy_volume, bars.taker_buy_quote_volume),
    )
    lines = [line % row for row in zip(*(column.tolist() for column in columns), strict=True)]
    return lines if listing.venue == "spot" else [KLINES_HEADER, *lines]


def _funding_lines(rates: FundingRates) -> list[str]:
    rows = zip(rates.time_ms.tolist(), rates.rate.tolist(), strict=True)
    return [FUNDING_HEADER, *(f"{time},8,{rate:.8f}" for time, rate in rows)]


def _taker_ratio(minutes: Bars, snapshots: OpenInterest) -> Floats:
    """Bought over sold by takers in the five minutes before each snapshot; 1 where nothing was published."""
    edges = np.searchsorted(minutes.time_ms, snapshots.time_ms)
    bought = np.append(0.0, np.cumsum(minutes.taker_buy_volume))[edges]
    traded = np.append(0.0, np.cumsum(minutes.volume))[edges]
    buys, sells = np.diff(bought, prepend=0.0), np.diff(traded - bought, prepend=0.0)
    return np.where(sells > 0, buys / np.maximum(sells, 1e-9), 1.0)


def _ms(day: date) -> int:
    return int(day_start(day).timestamp()) * 1000
