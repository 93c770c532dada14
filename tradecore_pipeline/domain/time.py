"""Time: UTC days, calendar months and bar lengths."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Self

from tradecore_pipeline.domain.errors import UsageError

Clock = Callable[[], datetime]
"""Returns the present moment, UTC-aware. Passed in, so that tests and simulations can set it."""

TIMEFRAME_MINUTES = {"5m": 5, "15m": 15, "30m": 30, "1h": 60, "4h": 240, "1d": 1440}

MINUTES_PER_DAY = 1440

FIRST_DAY = date(2019, 9, 8)
"""The first day of Binance's BTC perpetual: the oldest day there are partitions for."""


def utc_now() -> datetime:
    """The present moment by this machine's clock."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Timeframe:
    """The length of a bar."""

    name: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """The timeframe called ``text``.

        Raises:
            UsageError: there is no such timeframe.
        """
        if text not in TIMEFRAME_MINUTES:
            raise UsageError(f"unknown timeframe {text!r}: choose one of {', '.join(TIMEFRAME_MINUTES)}")
        return cls(text)

    @property
    def minutes(self) -> int:
        return TIMEFRAME_MINUTES[self.name]

    @property
    def duration(self) -> timedelta:
        return timedelta(minutes=self.minutes)

    @property
    def bars_per_day(self) -> int:
        return MINUTES_PER_DAY // self.minutes

    def days(self, bars: int) -> int:
        """The least number of whole days that hold ``bars`` bars."""
        return -(-bars // self.bars_per_day)

    def __str__(self) -> str:
        return self.name


def parse_day(text: str) -> date:
    """The UTC day written ``YYYY-MM-DD``.

    Raises:
        UsageError: the text is not such a day.
    """
    try:
        day = date.fromisoformat(text)
    except ValueError:
        day = None
    if day is None or day.isoformat() != text:
        raise UsageError(f"{text!r} is not a day: write YYYY-MM-DD, for example 2022-05-01")
    return day


def parse_month(text: str) -> date:
    """The first day of the month written ``YYYY-MM``.

    Raises:
        UsageError: the text is not such a month.
    """
    try:
        return parse_day(f"{text}-01")
    except UsageError:
        raise UsageError(f"{text!r} is not a month: write YYYY-MM, for example 2022-05") from None


def day_start(day: date) -> datetime:
    """The moment a UTC day begins."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def day_range(first: date, last: date) -> Iterator[date]:
    """Every day from ``first`` to ``last``, both included."""
    for offset in range((last - first).days + 1):
        yield first + timedelta(days=offset)


def month_of(day: date) -> date:
    """The first day of the month that ``day`` lies in."""
    return day.replace(day=1)


def add_months(month: date, count: int) -> date:
    """The first day of the month ``count`` months after ``month`` (before, if negative)."""
    index = month.year * 12 + month.month - 1 + count
    return date(index // 12, index % 12 + 1, 1)


def month_range(first: date, last: date) -> Iterator[date]:
    """The first day of every month from ``first``'s to ``last``'s, both included."""
    month = month_of(first)
    while month <= last:
        yield month
        month = add_months(month, 1)


def month_days(month: date) -> tuple[date, ...]:
    """Every day of the month that ``month`` lies in."""
    first = month_of(month)
    return tuple(day_range(first, add_months(first, 1) - timedelta(days=1)))
