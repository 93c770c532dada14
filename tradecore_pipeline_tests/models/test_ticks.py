from dataclasses import replace
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.features.bars import aggregate_bars
from tradecore_pipeline.models.density import Floats, StudentMixture, student_t_log_interval_density
from tradecore_pipeline.models.har import THar, fit_har
from tradecore_pipeline.models.peers import fit_garch_t
from tradecore_pipeline.models.returns import next_percent_returns
from tradecore_pipeline.models.seasonality import SeasonalScale
from tradecore_pipeline.models.ticks import next_log_scores, price_tick
from tradecore_pipeline_tests.models.markets import SimulatedMarket
from tradecore_pipeline_tests.recorded import ARCHIVE, NO_FILES, read_klines

HOUR, FIVE_MINUTES = Timeframe("1h"), Timeframe("5m")
KLINES = ARCHIVE / "data" / "futures" / "um" / "monthly" / "klines"


def bars_of(closes: list[float]) -> pd.DataFrame:
    index = pd.date_range("2022-01-03", periods=len(closes), freq="h", tz="UTC", name="ts_open", unit="ms")
    return pd.DataFrame(dict.fromkeys(("open", "high", "low", "close"), np.array(closes)), index=index)


def test_the_tick_is_the_largest_step_that_all_exact_decimals_keep() -> None:
    assert price_tick(bars_of([0.1 + 0.2, 0.3, 0.3007, 0.3004])) == 0.0001
    assert price_tick(bars_of([0.3, 0.3009, 0.3003])) == 0.0003
    assert price_tick(bars_of([20_000.01, 20_000.02, 65_432.10])) == 0.01
    assert price_tick(bars_of([7.0, 7.0])) == 0.0


def test_one_odd_price_does_not_pass_for_a_finer_grid() -> None:
    grid = np.random.default_rng(1).permutation(np.arange(1000, 1400)) * 0.01
    assert price_tick(bars_of([*grid.tolist(), 12.34567891])) == 0.01
    assert price_tick(bars_of([12.00000001, *grid.tolist(), 12.34567891])) == 0.01


def test_a_market_that_took_a_finer_step_has_it() -> None:
    coarse, fine = np.arange(1000, 1400) * 0.01, np.arange(120_000, 120_100) * 0.0001
    assert price_tick(bars_of([*coarse.tolist(), *fine.tolist()])) == 0.0001


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), tick=st.integers(1, 60), odd=st.integers(0, 4))
def test_the_tick_is_what_trying_every_step_finds(seed: int, tick: int, odd: int) -> None:
    random = np.random.default_rng(seed)
    units = np.unique([*(tick * random.integers(1000, 4000, 300)), *random.integers(tick * 1000, tick * 4000, odd)])
    steps = np.diff(units)
    tried = (step for step in range(int(steps.max()), 0, -1) if (steps % step != 0).sum() <= 0.01 * len(steps))
    assert price_tick(bars_of((units / 1e8).tolist())) == next(tried) / 1e8


@settings(max_examples=50, deadline=None)
@given(
    x=st.floats(-5, 5), half=st.floats(1e-2, 3), location=st.floats(-1, 1), scale=st.floats(0.05, 4),
    df=st.floats(3, 100),
)  # fmt: skip
def test_the_interval_density_is_scipys_probability_over_the_width(
    x: float, half: float, location: float, scale: float, df: float
) -> None:
    law = stats.t(df, location, scale)
    left, right = (x - half, x + half) if x < location else (2 * location - x - half, 2 * location - x + half)
    expected = np.log((law.cdf(right) - law.cdf(left)) / (2 * half))
    found = student_t_log_interval_density(x, x - half, x + half, location, scale, df)
    assert float(found) == pytest.approx(expected, rel=1e-7, abs=1e-7)


@settings(max_examples=30, deadline=None)
@given(
    tick=st.sampled_from([0.5, 0.1, 0.01]), scale=st.floats(0.02, 2), df=st.floats(3, 30), weight=st.floats(0, 1),
    tiny=st.floats(1e-9, 1e-1),
)  # fmt: skip
def test_the_probabilities_of_all_ticks_sum_to_one(
    tick: float, scale: float, df: float, weight: float, tiny: float
) -> None:
    closes = np.arange(1, int(400 / tick)) * tick
    lower, upper = (100 * np.log((closes + side * tick / 2) / 100.0) for side in (-1, 1))
    rows = [np.full((len(closes), 2), part) for part in ([weight, 1 - weight], [0.0, 0.1], [tiny, scale], [df, df])]
    density = StudentMixture(*(np.asarray(row) for row in rows))
    scores = density.interval_log_density(100 * np.log(closes / 100.0), lower=lower, upper=upper)
    assert (np.exp(scores) * (upper - lower)).sum() == pytest.approx(1.0, abs=1e-3)


@settings(max_examples=50, deadline=None)
@given(tiny=st.floats(1e-12, 1e-4), weight=st.floats(0.01, 1))
def test_a_state_with_a_tiny_scale_gains_nothing_from_repeated_prices(tiny: float, weight: float) -> None:
    width = 0.1
    one = StudentMixture(
        np.array([[weight, 1 - weight]]), np.zeros((1, 2)), np.array([[tiny, 1.0]]), np.full((1, 2), 4.0)
    )
    honest = StudentMixture(
        np.array([[weight, 1 - weight]]), np.zeros((1, 2)), np.array([[0.005, 1.0]]), np.full((1, 2), 4.0)
    )
    score, fair = (part.interval_log_density([0.0], lower=[-width / 2], upper=[width / 2])[0] for part in (one, honest))
    assert score <= -np.log(width)
    assert score - fair < 1e-3
    assert one.log_density([0.0])[0] > fair + 1


def test_where_ticks_are_too_small_to_matter_the_score_is_the_log_density() -> None:
    bars = bars_of([20_000.0, 20_100.5, 19_900.25, 19_950.0])
    density = StudentMixture.single(np.zeros(4), 0.4, 4.0)
    scores = next_log_scores(density, bars, timeframe=HOUR, tick=0.01)
    np.testing.assert_array_equal(scores, density.log_density(next_percent_returns(bars, HOUR)))
    assert np.isnan(scores[-1])


def test_both_tails_keep_their_digits() -> None:
    for side in (-1.0, 1.0):
        found = float(student_t_log_interval_density(side * 60, side * 60 - 0.5, side * 60 + 0.5, 0.0, 0.1, 12.0))
        assert found == pytest.approx(float(stats.t.logpdf(60, 12.0, 0, 0.1)), abs=1e-2)


def test_a_mixtures_cdf_is_the_share_of_its_draws() -> None:
    one = StudentMixture(
        np.array([[0.3, 0.7]]), np.array([[-0.5, 0.2]]), np.array([[1.2, 0.4]]), np.array([[5.0, 12.0]])
    )
    random = np.random.default_rng(3)
    parts = random.random(200_000) < 0.3
    draws = np.where(parts, -0.5 + 1.2 * random.standard_t(5, 200_000), 0.2 + 0.4 * random.standard_t(12, 200_000))
    for x in (-1.0, 0.1, 0.8):
        assert one.cdf([x])[0] == pytest.approx((draws <= x).mean(), abs=0.005)


def test_the_baselines_scale_never_falls_below_a_quarter_of_a_tick(market: SimulatedMarket) -> None:
    bars = market.bars.copy()
    prices = ["open", "high", "low", "close"]
    bars[prices] = (bars[prices] / 50.0).round() * 50.0
    fine, coarse = (
        fit_har(frame.iloc[:2000], timeframe=HOUR, seasonal=SeasonalScale.fit(market.bars.iloc[:2000]))
        for frame in (market.bars, bars)
    )
    assert coarse.tick == 50.0
    assert fine.tick < 1e-3
    floored = replace(fine, tick=500.0).forecast(bars).scales[167:, 0]
    least = 0.25 * 100 * 500.0 / bars["close"].to_numpy()[167:]
    np.testing.assert_allclose(floored, np.maximum(fine.forecast(bars).scales[167:, 0], least), rtol=1e-12)
    assert 0 < np.isclose(floored, least).mean() < 1
    copy = THar.from_parts(coarse.config(), coarse.to_arrays())
    assert copy.tick == 50.0
    older = coarse.to_arrays() | {"har_shape": coarse.to_arrays()["har_shape"][:3]}
    assert THar.from_parts(coarse.config(), older).tick == 0.0


@pytest.mark.skipif(not KLINES.is_dir(), reason=NO_FILES)
@pytest.mark.parametrize(("symbol", "tick"), [("ALGO", 0.0001), ("FIL", 0.001), ("NEAR", 0.001)])
def test_on_real_coarse_ticks_a_spike_at_zero_pays_by_density_and_not_by_interval(symbol: str, tick: float) -> None:
    minutes = read_klines(KLINES / f"{symbol}USDT" / "1m")
    minutes.index = pd.DatetimeIndex(minutes.index).as_unit("ms")
    minutes = minutes.loc[: minutes.index[0] + timedelta(days=20)]
    bars = aggregate_bars(minutes, FIVE_MINUTES, start=minutes.index[0], end=minutes.index[-1])
    window = bars.iloc[:4320]
    assert price_tick(window) == tick
    fair = fit_garch_t(window, FIVE_MINUTES, seasonal=SeasonalScale.fit(window), exponential=False).forecast(bars)
    spike = StudentMixture.single(np.zeros(len(bars)), 1e-6, 4.0).pooled(fair, weight=0.03)
    later = slice(4320, -1)

    def gain(step: float) -> float:
        scores: list[Floats] = [next_log_scores(d, bars, timeframe=FIVE_MINUTES, tick=step) for d in (spike, fair)]
        return float((scores[0] - scores[1])[later].mean())

    assert gain(0.0) > 0.1
    assert gain(tick) < 0.02
