"""Bars of a person's own file in a home of their own: trained and published month by month, as the pipeline does."""

from collections.abc import Callable
from datetime import date, timedelta

import numpy as np
import pandas as pd

from tradecore_pipeline.defs.fits import INDICATORS, Month
from tradecore_pipeline.defs.forecast_fits import fit_forecaster, fit_har_models
from tradecore_pipeline.defs.regime_fits import fit_hmm
from tradecore_pipeline.defs.regimes import compute_regimes
from tradecore_pipeline.defs.resources import Adapters
from tradecore_pipeline.defs.tuning import require_history, tune
from tradecore_pipeline.domain.errors import MissingInputError, NotEnoughHistoryError, UsageError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.tables import BARS, BARS_1M, REGIMES, Table
from tradecore_pipeline.domain.time import FIRST_DAY, Timeframe, add_months, day_range, day_start, month_of, month_range
from tradecore_pipeline.features.bars import aggregate_bars

MINUTE = "1m"
_ABSENT = ("quote_volume", "trades", "taker_buy_volume", "taker_buy_quote_volume")
_CLOSE_TO_OPEN = 2 * np.log(2) - 1
_ONE_DAY = timedelta(days=1)


def store_bars(
    adapters: Adapters, instrument: Instrument, timeframe: Timeframe, bars: pd.DataFrame, length: str
) -> None:
    """Put a file's bars into the lake, aggregated where they are minutes.

    Raises:
        UsageError: the bars are of another length, or before the first day there are partitions for.
    """
    if length not in {MINUTE, timeframe.name}:
        raise UsageError(
            f"the file's bars are {length} long and the strategy's {timeframe}: give --timeframe {length}, or 1-minute "
            "bars"
        )
    if bars.index[0] < day_start(FIRST_DAY):
        raise UsageError(f"the file begins on {bars.index[0]:%Y-%m-%d}; there is nothing before {FIRST_DAY}: cut it")
    whole = bars.assign(**dict.fromkeys(_ABSENT, np.nan))
    if length == MINUTE:
        _publish(adapters, BARS_1M, instrument, whole, timeframe=None)
    made = _aggregated(whole, timeframe) if length == MINUTE else _completed(whole, timeframe)
    _publish(adapters, BARS, instrument, made, timeframe=timeframe)


def _aggregated(minutes: pd.DataFrame, timeframe: Timeframe) -> pd.DataFrame:
    first, last = minutes.index[0].to_pydatetime(), minutes.index[-1].to_pydatetime()
    return aggregate_bars(minutes, timeframe, start=day_start(first.date()), end=last + timedelta(minutes=1))


def _completed(bars: pd.DataFrame, timeframe: Timeframe) -> pd.DataFrame:
    """Bars that tell no variance of their minutes: what their range says of it stands in its place.

    Source: Garman and Klass (1980). A bar counts as one with all its minutes.
    """
    ranges, bodies = np.log(bars["high"] / bars["low"]) ** 2, np.log(bars["close"] / bars["open"]) ** 2
    return bars.assign(
        ts_close=bars.index + pd.Timedelta(timeframe.duration),
        realized_variance=0.5 * ranges - _CLOSE_TO_OPEN * bodies,
        minutes=timeframe.minutes,
    )


def publish_months(
    adapters: Adapters, instrument: Instrument, timeframe: Timeframe, *, done: Callable[[str], None]
) -> list[date]:
    """Models and regimes of every month with enough bars before it, by the pipeline's own fits; those months.

    Raises:
        NotEnoughHistoryError: there is no such month.
    """
    days = adapters.lake.days(BARS, instrument, timeframe=timeframe)
    places = [Month(adapters, instrument, timeframe, month) for month in month_range(days[0], days[-1])]
    refusals = [_lacking(place) for place in places]
    trainable = [place for place, reason in zip(places, refusals, strict=True) if not reason]
    if not trainable:
        raise NotEnoughHistoryError(f"the file is too short to train a model before any of its months: {refusals[-1]}")
    for place in trainable:
        _publish_month(place, max(days[0], place.month), min(days[-1], add_months(place.month, 1) - _ONE_DAY))
        done(f"{place.month:%Y-%m}")
    return [place.month for place in trainable]


def _lacking(place: Month) -> str:
    """Why a month cannot be trained; empty where it can."""
    try:
        require_history(place)
    except MissingInputError as error:
        return str(error)
    return ""


def _publish_month(month: Month, first: date, last: date) -> None:
    adapters, run_id = month.adapters, f"file {month.month:%Y-%m}"
    with month.named():
        result, _ = tune(month, run_id)
        adapters.lake.put_document(
            INDICATORS, month.instrument, month.month, timeframe=month.timeframe, document=result.to_document()
        )
        for fit in (fit_hmm, fit_har_models, fit_forecaster):
            fit(month, run_id)
    rows = compute_regimes(adapters, month.instrument, first, last, timeframe=month.timeframe)
    _publish(adapters, REGIMES, month.instrument, rows, timeframe=month.timeframe)


def _publish(
    adapters: Adapters, table: Table, instrument: Instrument, rows: pd.DataFrame, *, timeframe: Timeframe | None
) -> None:
    """Each day from the first to the last row; days without rows are stored, too, and are empty."""
    for day in day_range(rows.index[0].date(), rows.index[-1].date()):
        own = rows.loc[day_start(day) : day_start(day) + _ONE_DAY - timedelta(microseconds=1)]
        adapters.lake.publish(table, instrument, day, own, timeframe=timeframe)


def months_of(bars: pd.DataFrame) -> int:
    """Calendar months that the bars lie in."""
    return len(list(month_range(month_of(bars.index[0].date()), bars.index[-1].date())))
