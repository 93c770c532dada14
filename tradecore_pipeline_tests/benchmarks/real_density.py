"""Next-bar log density on real bars, walk-forward: every model against t-HAR, and the peers against what is known.

First BTC spot hours of 2022 with models refitted monthly, then a month of 5-minute bars of each recorded perpetual,
where some ticks are coarse.
"""

import itertools
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import date, datetime
from time import perf_counter

import numpy as np
import pandas as pd

from tradecore_pipeline.domain.errors import ModelFitError
from tradecore_pipeline.domain.time import Timeframe, add_months, day_start, month_range
from tradecore_pipeline.features.tuned import DEFAULT_PARAMETERS, tuned_features
from tradecore_pipeline.models.bootstrap import block_length
from tradecore_pipeline.models.density import StudentMixture
from tradecore_pipeline.models.inputs import SCALED_RETURN
from tradecore_pipeline.models.lstm import forecast_inputs
from tradecore_pipeline.models.lstm_shape import DEFAULT_SHAPE
from tradecore_pipeline.models.lstm_training import Recipe, fit_forecaster
from tradecore_pipeline.models.peers import PEER_FITS, ConstantT, Peer, PeerFit, fit_baseline, fit_garch_t
from tradecore_pipeline.models.pool import NETWORK, pool_start, pooled
from tradecore_pipeline.models.pool_members import SWITCHING as SWITCHING_MEMBER
from tradecore_pipeline.models.pool_members import SWITCHING_LEAST_T, HarFamily, fit_har_family
from tradecore_pipeline.models.regimes import RegimeModel, fit_regimes
from tradecore_pipeline.models.returns import percent_returns
from tradecore_pipeline.models.seasonality import SeasonalScale
from tradecore_pipeline.models.ticks import next_log_scores, price_tick
from tradecore_pipeline.settings import Settings
from tradecore_pipeline.validation.scoreboard import ALL, common_rows, hac_lags, standings
from tradecore_pipeline.validation.walk_forward import LABEL_HORIZON_BARS, training_window
from tradecore_pipeline_tests.benchmarks.bars import VARIABLE
from tradecore_pipeline_tests.benchmarks.recorded_years import perpetual_months, spot_year
from tradecore_pipeline_tests.benchmarks.report import SKIPPED, print_report, say

HOUR, FIVE_MINUTES = Timeframe.parse("1h"), Timeframe.parse("5m")
MONTHS = tuple(month_range(date(2022, 7, 1), date(2022, 12, 1)))
REPORTED_FROM = date(2022, 8, 1)
"""The known figures are for 2022-08 to 2022-12; July is shown beside them."""
BASELINE, POOL, LSTM, HMM, SWITCHING = "t-HAR", "published pool", "LSTM alone", "HMM", "switching HAR"
KNOWN = {
    "constant normal": -0.883,
    "constant t": -0.582,
    "EWMA-t": -0.441,
    "GARCH-t unscaled": -0.454,
    "GARCH-t": -0.418,
    "t-HMM, 4 states": -0.430,
    "t-HMM, 5 states": -0.419,
    BASELINE: -0.394,
}
"""What an independent implementation of the same models reached on the same bars, to three decimals."""
TOLERANCE = 0.005
PERPETUAL_WINDOW, PERPETUAL_BLOCKS = 4_320, 3


def _normal(bars: pd.DataFrame, timeframe: Timeframe) -> Peer:
    returns = percent_returns(bars, timeframe)
    return ConstantT(float(np.nanmean(returns)), float(np.nanstd(returns)), 1e7)


def _unscaled_garch(bars: pd.DataFrame, timeframe: Timeframe) -> Peer:
    return fit_garch_t(bars, timeframe, seasonal=SeasonalScale(np.zeros((2, 24))), exponential=False)


SIMPLE: Mapping[str, PeerFit] = {
    "constant normal": _normal,
    "GARCH-t unscaled": _unscaled_garch,
    **PEER_FITS,
    BASELINE: fit_baseline,
}


def regime_fits(
    settings: Settings, timeframe: Timeframe, t_states: Iterable[int]
) -> dict[str, Callable[[pd.DataFrame], RegimeModel]]:
    """The regime model as it is published, and Student-t HMMs of the scaled return alone with ``t_states`` states."""

    def fit(bars: pd.DataFrame, emission: str, states: int) -> RegimeModel:
        return fit_regimes(
            bars,
            timeframe=timeframe,
            states=states,
            restarts=settings.hmm_restarts,
            emission=emission,
            features=(SCALED_RETURN,),
            carry_bars=settings.hmm_carry_bars,
            seed=settings.random_seed,
        )

    fits: dict[str, Callable[[pd.DataFrame], RegimeModel]] = {
        f"t-HMM, {states} states": lambda bars, states=states: fit(bars, "student_t", states) for states in t_states
    }
    return fits | {HMM: lambda bars: fit(bars, settings.hmm_emission, settings.hmm_states)}


def densities(
    window: pd.DataFrame, seen: pd.DataFrame, settings: Settings, timeframe: Timeframe, *, whole: bool
) -> dict[str, StudentMixture]:
    """Every model's densities of the bars after those ``seen``, fitted on ``window`` alone.

    ``whole`` takes the network and all Student-t HMMs, too, which a short window is not enough for; there a regime
    model that finds no acceptable fit is left out.
    """
    found = {name: fit(window, timeframe).forecast(seen) for name, fit in SIMPLE.items()}
    filtered: dict[str, pd.DataFrame] = {}
    for name, fit in regime_fits(settings, timeframe, (3, 4, 5) if whole else (3,)).items():
        try:
            model = fit(window)
        except ModelFitError as error:
            if whole:
                raise
            say(f"{name} left out: {error}")
            continue
        states = model.filter(seen)
        found[name], filtered[name] = model.forecast(seen, states), states.frame
    if whole:
        found |= published(window, seen, filtered[HMM], settings, timeframe)
    else:
        found[POOL] = baseline_pool(window, seen, settings, timeframe)
    return found


def published(
    window: pd.DataFrame, seen: pd.DataFrame, regimes: pd.DataFrame, settings: Settings, timeframe: Timeframe
) -> dict[str, StudentMixture]:
    """The forecast as it is published, on default indicators, and its members beside t-HAR."""
    family = fit_har_family(window, timeframe=timeframe, seed=settings.random_seed)
    tuned = tuned_features(seen, DEFAULT_PARAMETERS, timeframe=timeframe)
    recipe = Recipe(
        filtered=regimes.loc[window.index],
        features=tuned.loc[window.index],
        regimes=settings.lstm_regimes,
        shape=replace(DEFAULT_SHAPE, hidden=settings.lstm_hidden),
        epochs=settings.lstm_epochs,
        seed=settings.random_seed,
        device="cpu",
        history=None,
    )
    forecaster = fit_forecaster(window, family=family, recipe=recipe, ablations=False).model
    say(f"the LSTM's evidence: t {forecaster.start.evidence.get(NETWORK, float('nan')):.1f}")
    found = forecaster.forecast(seen, forecast_inputs(seen, family.har, filtered=regimes, features=tuned))
    return {POOL: found.pooled, LSTM: found.lstm} | _switching(family, seen)


def baseline_pool(window: pd.DataFrame, seen: pd.DataFrame, settings: Settings, timeframe: Timeframe) -> StudentMixture:
    """The published pool of a window where no network is trained: t-HAR and the switching HAR."""
    family = fit_har_family(window, timeframe=timeframe, seed=settings.random_seed)
    forecasts, first = family.held_out(window)
    start = pool_start(
        family.held_out_scores(forecasts, window, first),
        least_t={SWITCHING_MEMBER: SWITCHING_LEAST_T},
        lags=block_length(timeframe),
    )
    parts = family.whole.forecasts(seen)
    return pooled(parts, family.whole.scores(parts, seen), start=start, since=len(window) - 1)[0]


def _switching(family: HarFamily, seen: pd.DataFrame) -> dict[str, StudentMixture]:
    model = family.whole.switching
    return {} if model is None else {SWITCHING: model.forecast(seen)}


def scores_of(
    window: pd.DataFrame,
    seen: pd.DataFrame,
    first: datetime,
    settings: Settings,
    timeframe: Timeframe,
    *,
    whole: bool,
) -> pd.DataFrame:
    """Scores by model of the bars from ``first`` on, indexed by the scored bar."""
    tick = price_tick(window)
    scores = {
        name: next_log_scores(density, seen, timeframe=timeframe, tick=tick)[:-1]
        for name, density in densities(window, seen, settings, timeframe, whole=whole).items()
    }
    return pd.DataFrame(scores, index=seen.index[1:]).loc[first:]


def spot_scores(bars: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    """The year's scores, each month by models of the window before it."""
    parts: list[pd.DataFrame] = []
    for month in MONTHS:
        began = perf_counter()
        first, end = training_window(month, bars=settings.window_bars(HOUR), timeframe=HOUR)
        seen = _between(bars, first, day_start(add_months(month, 1)))
        window = seen.loc[seen.index < end]
        parts.append(scores_of(window, seen, day_start(month), settings, HOUR, whole=True))
        listed = ", ".join(f"{name} {mean:.4f}" for name, mean in _means(parts[-1]).items())
        say(f"{month:%Y-%m} in {perf_counter() - began:.0f} s: {listed}")
    return pd.concat(parts)


def perpetual_scores(bars: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    """Scores of the models that fitted every block of a perpetual's bars, each block by models of the window before."""
    edges = np.linspace(PERPETUAL_WINDOW + LABEL_HORIZON_BARS, len(bars), PERPETUAL_BLOCKS + 1).astype(int)
    parts: list[pd.DataFrame] = []
    for first, after in itertools.pairwise(edges.tolist()):
        start = first - LABEL_HORIZON_BARS - PERPETUAL_WINDOW
        window, seen = bars.iloc[start : first - LABEL_HORIZON_BARS], bars.iloc[start:after]
        opens = bars.index[first].to_pydatetime()
        parts.append(scores_of(window, seen, opens, settings, FIVE_MINUTES, whole=False))
    return pd.concat(parts, join="inner")


def _between(bars: pd.DataFrame, first: datetime, last: datetime) -> pd.DataFrame:
    return bars.loc[(bars.index >= first) & (bars.index < last)]


def _means(scores: pd.DataFrame) -> dict[str, float]:
    """Mean score by model on the rows that all have."""
    rows = common_rows(scores)
    return {str(name): float(rows[name].to_numpy(dtype=np.float64).mean()) for name in rows.columns}


def print_standings(scores: pd.DataFrame, timeframe: Timeframe, known: Mapping[str, float]) -> None:
    """Models from best to worst, against t-HAR and, where there is one, the known figure."""
    say(f"{'model':20}{'nats a bar':>12}{'less t-HAR':>12}{'HAC t':>8}{'detectable':>12}{'known':>9}")
    for one in standings(scores, baseline=BASELINE, lags=hac_lags(timeframe)):
        if one.era == ALL:
            reference = f"{known[one.model]:9.3f}" if one.model in known else ""
            say(
                f"{one.model:20}{one.log_score:12.4f}{one.difference:+12.4f}{one.t_statistic:8.1f}"
                f"{one.smallest_detectable:12.4f}{reference}"
            )


def main() -> None:
    settings, bars = Settings(), spot_year(HOUR)
    if bars is None:
        say(f"real_density needs recorded 1-minute zips of 2022: set {VARIABLE} to the folder that holds their data/")
        sys.exit(SKIPPED)
    scores = spot_scores(bars, settings)
    july, reported = scores.loc[: day_start(REPORTED_FROM)].iloc[:-1], scores.loc[day_start(REPORTED_FROM) :]
    for name, part in (("BTC spot 1h, 2022-07 apart", july), ("BTC spot 1h, 2022-08..12", reported)):
        say(f"{name}, {len(common_rows(part))} bars")
        print_standings(part, HOUR, KNOWN if part is reported else {})
    for name, month in perpetual_months(FIVE_MINUTES).items():
        found = perpetual_scores(month, settings)
        say(f"{name} perpetual 5m, {len(common_rows(found))} bars by tick intervals (least step {price_tick(month):g})")
        print_standings(found, FIVE_MINUTES, {})
    means = _means(reported)
    pool = next(one for one in standings(reported, baseline=BASELINE, lags=hac_lags(HOUR)) if one.model == POOL)
    away = {name: abs(means[name] - value) for name, value in KNOWN.items()}
    print_report(
        name="real_density",
        ours=pool.log_score,
        peer=means[BASELINE],
        peer_name=BASELINE,
        unit="nats per bar (percent returns)",
        ratio=float(np.clip(1 + pool.difference / 0.003, 0, 3)),
        equal=max(away.values()) <= TOLERANCE,
        n=pool.bars,
        note=f"BTC spot 1h 2022-08..12, HAC t {pool.t_statistic:.2f}, smallest detectable "
        f"{pool.smallest_detectable:.4f}; July apart: {_means(july)[POOL] - _means(july)[BASELINE]:+.4f}; {HMM} alone "
        f"{means[HMM]:.4f}, {SWITCHING} {means[SWITCHING]:.4f}; equal: {len(KNOWN)} known scores met within "
        f"{TOLERANCE}, the furthest {max(away, key=lambda name: away[name])} by {max(away.values()):.4f}",
    )


if __name__ == "__main__":
    main()
