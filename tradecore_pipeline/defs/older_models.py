"""What the models of months before a bar's own say of it: for averages over several months' models."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import date, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from tradecore_pipeline.defs.fits import Month, load_forecaster, load_regime_model
from tradecore_pipeline.defs.own_days import LSTM_FEATURES
from tradecore_pipeline.defs.resources import Adapters
from tradecore_pipeline.defs.windows import read_bars
from tradecore_pipeline.domain.errors import MissingInputError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.time import Timeframe, add_months, day_start, month_range
from tradecore_pipeline.validation.walk_forward import training_window

if TYPE_CHECKING:
    from tradecore_pipeline.strategies.ensembles import Opinion

PERCENT = 100.0
"""Densities are of returns in percent."""


def older_opinions(
    adapters: Adapters, instrument: Instrument, timeframe: Timeframe, index: pd.DatetimeIndex, months: int
) -> "Sequence[Opinion]":
    """What the model fitted 1, 2 ... ``months`` months before each bar's month says of it, NaN where there is none.

    A model runs from the start of its own training window, so that it is warm when its bars come, and reads no bar
    after the one it speaks of.
    """
    return [_opinion(adapters, instrument, timeframe, index, back) for back in range(1, months + 1)]


def _opinion(
    adapters: Adapters, instrument: Instrument, timeframe: Timeframe, index: pd.DatetimeIndex, back: int
) -> "Opinion":
    from tradecore_pipeline.strategies.ensembles import Opinion  # noqa: PLC0415 (only where models are averaged)

    parts: list[pd.DataFrame] = []
    for month in month_range(*_first_and_last(index)):
        own = index[slice(*index.searchsorted(pd.DatetimeIndex([day_start(month), day_start(add_months(month, 1))])))]
        # Where no such model was ever fitted the others speak without it, and the backtest says how many did.
        with suppress(MissingInputError):
            parts += [_said(Month(adapters, instrument, timeframe, add_months(month, -back)), own)] if len(own) else []
    states = max((part.shape[1] - 2 for part in parts), default=1)
    alike = [part for part in parts if part.shape[1] - 2 == states]
    whole = pd.concat(alike) if alike else pd.DataFrame()
    values = whole.reindex(index=index, columns=range(states + 2)).to_numpy(dtype=np.float64)
    return Opinion(values[:, :states], values[:, states], values[:, states + 1])


def _said(model_of: Month, index: pd.DatetimeIndex) -> pd.DataFrame:
    """Filtered probabilities, forecast mean and deviation of the bars of ``index``, columns by place."""
    from tradecore_pipeline.models.lstm import forecast_inputs  # noqa: PLC0415 (torch)

    (model, hmm), (forecaster, lstm) = load_regime_model(model_of), load_forecaster(model_of)
    model_of.require_same_regimes(hmm, lstm)
    bars = _bars(model_of, int(hmm.config["window_bars"]), _first_and_last(index)[1])
    filtered = model.filter(bars, model_of.columns(bars, model.emission.features))
    beside = model_of.with_columns(model_of.tuned(bars), bars, lstm.config.get(LSTM_FEATURES, ()))
    inputs = forecast_inputs(bars, forecaster.har, filtered=filtered.frame, features=beside)
    density = forecaster.forecast(bars, inputs).pooled
    columns = (*filtered.probabilities.T, density.mean / PERCENT, density.volatility / PERCENT)
    return pd.DataFrame(np.column_stack(columns), index=bars.index).reindex(index)


def _bars(month: Month, window_bars: int, last: date) -> pd.DataFrame:
    start, _ = training_window(month.month, bars=window_bars, timeframe=month.timeframe)
    end = day_start(last) + timedelta(days=1)
    return read_bars(month.adapters, month.instrument, start, end, timeframe=month.timeframe)


def _first_and_last(index: pd.DatetimeIndex) -> tuple[date, date]:
    moments = index[[0, -1]].to_pydatetime()
    return moments[0].date(), moments[1].date()
