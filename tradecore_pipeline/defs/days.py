"""Daily tables: which days are there, up to when they are known, and how they are stored and reported."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import dagster as dg
import pandas as pd

from tradecore_pipeline.defs.plots import sparkline
from tradecore_pipeline.defs.resources import Adapters, missing_days, report
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.tables import BARS_1M, Table
from tradecore_pipeline.domain.time import FIRST_DAY, Timeframe, day_range, day_start

_ONE_DAY = timedelta(days=1)


def require_days(
    adapters: Adapters,
    table: Table,
    instrument: Instrument,
    days: Iterable[date],
    *,
    timeframe: Timeframe | None = None,
) -> None:
    """Check that every one of ``days`` is stored.

    Raises:
        MissingInputError: some are not; the message names them.
    """
    stored = set(adapters.lake.days(table, instrument, timeframe=timeframe))
    absent = [day for day in days if day not in stored]
    if absent:
        what = f"{timeframe} {table.name}" if timeframe else table.name
        raise missing_days(what, instrument, absent, f"materialize {table.name} for those days first")


def known_until(adapters: Adapters, instrument: Instrument, day: date) -> datetime:
    """Up to when the stored minutes of ``day`` speak: its end, or the last stored minute's close while it lasts."""
    entry = adapters.ledger.get(BARS_1M.name, instrument, day)
    if entry is None or entry.complete:
        return day_start(day) + _ONE_DAY
    minutes = adapters.lake.read(BARS_1M, instrument, day_start(day), day_start(day) + _ONE_DAY, columns=["close"])
    return minutes.index[-1].to_pydatetime() + timedelta(minutes=1) if len(minutes) else day_start(day)


def first_listed_day(adapters: Adapters, instrument: Instrument) -> date:
    """The first day the exchange has bars for, as far as ingestion has learned it; else the first partition."""
    return adapters.ledger.first_day(BARS_1M.name, instrument) or FIRST_DAY


@dataclass(frozen=True)
class DailyTable:
    """A table of one timeframe and what a person wants to see of each of its days."""

    table: Table
    timeframe: Timeframe
    plot: str
    """The column that is drawn."""
    describe: Callable[[pd.DataFrame], Mapping[str, object]] = lambda _: {}
    """More to say about a day's rows."""

    def publish(
        self,
        context: dg.AssetExecutionContext,
        adapters: Adapters,
        instrument: Instrument,
        frame: pd.DataFrame,
        first: date,
        last: date,
    ) -> None:
        """Store and report each day from ``first`` to ``last`` of ``frame``, one after the other."""
        for day in day_range(first, last):
            start = day_start(day)
            rows = frame.loc[start : start + _ONE_DAY - timedelta(microseconds=1)]
            stored = adapters.lake.publish(self.table, instrument, day, rows, timeframe=self.timeframe)
            metadata = {"dagster/row_count": stored.rows, "sha256": stored.sha256, **self.describe(rows)}
            values = rows[self.plot].dropna().tolist()
            if len(values) > 1:
                metadata[self.plot] = sparkline(values, f"{self.plot} over the day")
            report(context, adapters, f"{day}|{instrument}", metadata)
