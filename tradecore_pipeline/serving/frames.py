"""DataFrames for notebooks, read straight from a home's lake; safe while everything else runs."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd

from tradecore_pipeline.domain.errors import UsageError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.tables import BARS, BARS_1M, REGIMES, Table
from tradecore_pipeline.domain.time import Timeframe, day_start
from tradecore_pipeline.settings import Settings
from tradecore_pipeline.storage.lake import Lake
from tradecore_pipeline.storage.layout import Layout

Moment = str | datetime | None


def load_bars(
    instrument: str, timeframe: str = "1m", *, start: Moment = None, end: Moment = None, home: Path | str | None = None
) -> pd.DataFrame:
    """Closed bars indexed by ``ts_open`` (UTC), ``ts_close`` beside it; prices in quote units as float64.

    Args:
        instrument: e.g. ``binance:BTC/USDT:USDT``.
        timeframe: ``1m``, or a configured one (those carry ``realized_variance`` and ``minutes``, too).
        start: first moment; a naive one or a date is UTC. Default: the first stored row.
        end: the moment after the last one. Default: everything stored.
        home: the home to read; by default that of the settings.

    Raises:
        UsageError: the instrument or timeframe does not exist, or nothing is stored for it.
    """
    if timeframe == "1m":
        return _read(BARS_1M, instrument, None, start, end, home)
    return _read(BARS, instrument, Timeframe.parse(timeframe), start, end, home)


def load_regimes(
    instrument: str, timeframe: str = "1h", *, start: Moment = None, end: Moment = None, home: Path | str | None = None
) -> pd.DataFrame:
    """Published regimes indexed by ``ts_open`` (UTC); every row was known at its ``ts_close`` (docs/tables.md).

    The arguments and errors are those of ``load_bars``.
    """
    return _read(REGIMES, instrument, Timeframe.parse(timeframe), start, end, home)


def _read(
    table: Table, instrument: str, timeframe: Timeframe | None, start: Moment, end: Moment, home: Path | str | None
) -> pd.DataFrame:
    which = Instrument.parse(instrument)
    lake = Lake(Layout(Path(home) if home is not None else Settings.load().home))
    days = lake.days(table, which, timeframe=timeframe)
    if not days:
        raise UsageError(
            f"nothing is stored in {table.name} for {which} in {lake.layout.root}: backfill or predict first"
        )
    first = _moment(start) or day_start(days[0])
    last = _moment(end) or day_start(days[-1]) + timedelta(days=1)
    return lake.read(table, which, first, last, timeframe=timeframe)


def _moment(value: Moment) -> datetime | None:
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise UsageError(f"{value!r} is not a moment: write 2022-05-01 or 2022-05-01T12:00:00Z") from None
