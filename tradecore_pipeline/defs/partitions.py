"""Partitions: what a day and a month of an instrument are to Dagster, and how they map onto each other."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise

import dagster as dg

from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.offers import offering
from tradecore_pipeline.domain.tables import MARKET_DATA
from tradecore_pipeline.domain.time import FIRST_DAY, add_months, month_of

FIRST_MONTH = month_of(FIRST_DAY)

DATE = "date"
INSTRUMENT = "instrument"


@dataclass(frozen=True)
class Partitions:
    """The partition definitions of one deployment: days and months, each by instrument."""

    instruments: tuple[Instrument, ...]
    days: dg.MultiPartitionsDefinition
    datasets: Mapping[str, dg.MultiPartitionsDefinition]
    """The days of each market-data table, for the instruments that can have it; others are absent."""
    months: dg.MultiPartitionsDefinition


def make_partitions(instruments: Sequence[Instrument]) -> Partitions:
    """The partitions for these instruments; today and the current month exist, too (``end_offset=1``)."""
    days = dg.DailyPartitionsDefinition(start_date=FIRST_DAY.isoformat(), end_offset=1)
    months = dg.MonthlyPartitionsDefinition(start_date=FIRST_MONTH.isoformat(), end_offset=1)
    return Partitions(
        instruments=tuple(instruments),
        days=_by_instrument(days, instruments),
        datasets={name: _by_instrument(days, some) for name in MARKET_DATA if (some := offering(name, instruments))},
        months=_by_instrument(months, instruments),
    )


def _by_instrument(
    dates: dg.TimeWindowPartitionsDefinition, instruments: Iterable[Instrument]
) -> dg.MultiPartitionsDefinition:
    return dg.MultiPartitionsDefinition(
        {DATE: dates, INSTRUMENT: dg.StaticPartitionsDefinition([str(i) for i in instruments])}
    )


def same_instrument(*, first_offset: int = 0, last_offset: int = 0) -> dg.MultiPartitionMapping:
    """The same instrument's dates from ``first_offset`` to ``last_offset`` periods away.

    Between days and months (either way) both offsets must be 0: the period that contains the other, or lies in it.
    """
    return dg.MultiPartitionMapping(
        {
            DATE: dg.DimensionPartitionMapping(
                DATE,
                dg.TimeWindowPartitionMapping(
                    start_offset=first_offset, end_offset=last_offset, allow_nonexistent_upstream_partitions=True
                ),
            ),
            INSTRUMENT: dg.DimensionPartitionMapping(INSTRUMENT, dg.IdentityPartitionMapping()),
        }
    )


def those_with(dataset: str, instruments: Sequence[Instrument], *, first_offset: int) -> dg.MultiPartitionMapping:
    """Like ``same_instrument`` from ``first_offset`` to 0, onto a table that only some of ``instruments`` have."""
    return dg.MultiPartitionMapping(
        {
            DATE: dg.DimensionPartitionMapping(
                DATE,
                dg.TimeWindowPartitionMapping(start_offset=first_offset, allow_nonexistent_upstream_partitions=True),
            ),
            INSTRUMENT: dg.DimensionPartitionMapping(
                INSTRUMENT, dg.StaticPartitionMapping({str(i): str(i) for i in offering(dataset, instruments)})
            ),
        }
    )


def split_keys(keys: Iterable[str]) -> dict[Instrument, list[date]]:
    """The dates asked for, by instrument, sorted: how many a run holds, and of whom, is Dagster's choice."""
    grouped: dict[Instrument, list[date]] = {}
    for key in keys:
        day, _, instrument = key.partition("|")
        grouped.setdefault(Instrument.parse(instrument), []).append(date.fromisoformat(day))
    return {instrument: sorted(days) for instrument, days in grouped.items()}


def stretches(dates: Sequence[date], *, monthly: bool) -> list[tuple[date, date]]:
    """``dates`` (sorted) as unbroken ranges of days, or of months' first days."""
    if not dates:
        return []

    def follows(left: date, right: date) -> bool:
        return right == (add_months(left, 1) if monthly else left + timedelta(days=1))

    cuts = [i + 1 for i, (left, right) in enumerate(pairwise(dates)) if not follows(left, right)]
    return [(dates[a], dates[b - 1]) for a, b in pairwise([0, *cuts, len(dates)])]


def months_that_hold(days: int) -> int:
    """The fewest consecutive calendar months that hold ``days`` days wherever they begin."""
    count = 1
    while any(
        (add_months(start, count) - start).days < days for start in (add_months(FIRST_MONTH, k) for k in range(48))
    ):
        count += 1
    return count
