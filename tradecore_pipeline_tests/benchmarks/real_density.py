"""Next-bar log density on real BTC hours of 2022, walk-forward, month by month: every model against t-HAR."""

import sys
from datetime import date, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from scipy import stats

from tradecore_pipeline.domain.tables import BARS_1M
from tradecore_pipeline.domain.time import Timeframe, add_months, day_start, month_range
from tradecore_pipeline.features.bars import aggregate_bars
from tradecore_pipeline.features.tuned import DEFAULT_PARAMETERS, tuned_features
from tradecore_pipeline.models.density import Floats, StudentMixture
from tradecore_pipeline.models.har import fit_har
from tradecore_pipeline.models.inputs import LOG_REALIZED_VARIANCE, SCALED_RETURN
from tradecore_pipeline.models.lstm import forecast_inputs
from tradecore_pipeline.models.lstm_training import fit_lstm
from tradecore_pipeline.models.regimes import FilteredRegimes, fit_regimes
from tradecore_pipeline.models.returns import next_percent_returns
from tradecore_pipeline.models.seasonality import SeasonalScale
from tradecore_pipeline.models.statistics import variance_of_mean
from tradecore_pipeline.settings import Settings
from tradecore_pipeline.validation.walk_forward import training_window
from tradecore_pipeline_tests.benchmarks.bars import VARIABLE, recorded_day, recorded_zips
from tradecore_pipeline_tests.benchmarks.report import SKIPPED, print_report, say

HOUR = Timeframe.parse("1h")
MONTHS = tuple(month_range(date(2022, 7, 1), date(2022, 12, 1)))
REPORTED_FROM = date(2022, 8, 1)
"""The reference figures are for 2022-08 to 2022-12; July is shown beside them."""
LAGS = 48
NAMES = ("constant t", "t-HAR", "LSTM", "pool", "t-HMM", "t-HMM + variance")


def load_bars(zips: list[Path]) -> pd.DataFrame:
    days = pa.concat_tables([recorded_day(path)[1] for path in zips])
    prices = [field.name for field in BARS_1M.schema if pa.types.is_decimal(field.type)]
    minutes = days.to_pandas().astype(dict.fromkeys(prices, np.float64)).set_index("ts_open")
    return aggregate_bars(minutes, HOUR, start=minutes.index[0], end=day_start(date(2023, 1, 1)))


def month_scores(bars: pd.DataFrame, month: date, settings: Settings) -> dict[str, Floats]:
    """Log density that each model, trained before the month, gave to each return of the month."""
    first, last = training_window(month, bars=settings.window_bars(HOUR), timeframe=HOUR)
    window, seen = _between(bars, first, last), _between(bars, first, day_start(add_months(month, 1)))
    labels = next_percent_returns(seen, HOUR)
    closes = seen.index + pd.Timedelta(HOUR.duration)
    rows = np.asarray(closes >= pd.Timestamp(day_start(month))) & ~np.isnan(labels)

    har = fit_har(window, timeframe=HOUR, seasonal=SeasonalScale.fit(window))
    found: dict[str, StudentMixture] = {}
    filtered: dict[str, FilteredRegimes] = {}
    for name, features in zip(NAMES[4:], ((SCALED_RETURN,), (SCALED_RETURN, LOG_REALIZED_VARIANCE)), strict=True):
        model = fit_regimes(
            window,
            timeframe=HOUR,
            states=settings.hmm_states,
            restarts=settings.hmm_restarts,
            features=features,
            seed=settings.random_seed,
        )
        filtered[name] = model.filter(seen)
        found[name] = model.forecast(seen, filtered[name])
    regimes = filtered["t-HMM"].frame
    tuned = tuned_features(seen, DEFAULT_PARAMETERS, timeframe=HOUR)
    lstm = fit_lstm(
        window,
        har=har,
        filtered=regimes.loc[window.index],
        features=tuned.loc[window.index],
        hidden=settings.lstm_hidden,
        epochs=settings.lstm_epochs,
        seed=settings.random_seed,
        device="cpu",
    )
    forecast = lstm.forecast(seen, forecast_inputs(seen, har, filtered=regimes, features=tuned))
    past = next_percent_returns(window, HOUR)
    df, location, scale = stats.t.fit(past[~np.isnan(past)])
    found |= {
        "constant t": StudentMixture.single(np.full(len(seen), location), scale, df),
        "t-HAR": forecast.har,
        "LSTM": forecast.lstm,
        "pool": forecast.pooled,
    }
    say(f"{month:%Y-%m}: pool weight {lstm.pool_weight:.2f}, epochs {lstm.report['epochs']:.0f}")
    return {name: found[name].rows(rows).log_density(labels[rows]) for name in NAMES}


def _between(bars: pd.DataFrame, first: datetime, last: datetime) -> pd.DataFrame:
    return bars.loc[(bars.index >= first) & (bars.index < last)]


def mean_and_error(gains: Floats) -> tuple[float, float]:
    """The mean of a series and its standard error, robust to autocorrelation."""
    return float(gains.mean()), float(np.sqrt(variance_of_mean(gains, lags=LAGS)))


def main() -> None:
    zips = recorded_zips(365)
    if not zips:
        say(f"real_density needs recorded 1-minute zips of 2022: set {VARIABLE} to the folder that holds their data/")
        sys.exit(SKIPPED)
    settings, bars = Settings(), load_bars(zips)
    by_month = {month: month_scores(bars, month, settings) for month in MONTHS}
    say("month    " + "".join(f"{name:>18}" for name in NAMES))
    for month, scores in by_month.items():
        say(f"{month:%Y-%m}  " + "".join(f"{scores[name].mean():18.4f}" for name in NAMES))
    reported = {
        name: np.concatenate([scores[name] for month, scores in by_month.items() if month >= REPORTED_FROM])
        for name in NAMES
    }
    say("from 08  " + "".join(f"{reported[name].mean():18.4f}" for name in NAMES))
    for name in NAMES:
        if name != "t-HAR":
            gain, error = mean_and_error(reported[name] - reported["t-HAR"])
            say(f"{name} less t-HAR: {gain:+.4f} (HAC t {gain / error:.1f})")
    gain, error = mean_and_error(reported["t-HMM + variance"] - reported["t-HMM"])
    say(f"t-HMM: realized variance as a second emission adds {gain:+.4f} (HAC t {gain / error:.1f})")
    gain, error = mean_and_error(reported["pool"] - reported["t-HAR"])
    july = by_month[MONTHS[0]]
    print_report(
        name="real_density",
        ours=float(reported["pool"].mean()),
        peer=float(reported["t-HAR"].mean()),
        peer_name="t-HAR",
        unit="nats per bar (percent returns)",
        ratio=float(np.clip(1 + gain / 0.003, 0, 3)),
        equal=True,
        n=len(reported["pool"]),
        note=f"BTC spot 1h 2022-08..12, HAC t {gain / error:.2f}, smallest detectable "
        f"{2 * error:.4f}; July apart: {(july['pool'] - july['t-HAR']).mean():+.4f}",
    )


if __name__ == "__main__":
    main()
