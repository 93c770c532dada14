import json

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import check_grad

from tradecore_pipeline.domain.errors import ModelFitError
from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.models.density import DF_FLOOR, Floats, StudentMixture
from tradecore_pipeline.models.har import THar, _negative_mean_score, fit_har, horizon_bars, mean_variances
from tradecore_pipeline.models.returns import next_percent_returns
from tradecore_pipeline.models.seasonality import SeasonalScale
from tradecore_pipeline.validation.leaks import assert_causal, assert_future_does_not_matter
from tradecore_pipeline_tests.models.markets import SimulatedMarket

HOUR = Timeframe("1h")


def fit(bars: pd.DataFrame) -> THar:
    return fit_har(bars, timeframe=HOUR, seasonal=SeasonalScale.fit(bars))


@pytest.fixture(scope="module")
def har(market: SimulatedMarket) -> THar:
    return fit(market.bars.iloc[:2000])


def test_the_gradient_is_that_of_the_score() -> None:
    random = np.random.default_rng(2)
    design = np.column_stack((np.ones(200), random.normal(size=(200, 3))))
    labels = random.standard_t(4, 200)
    at = np.array([0.1, np.log(5.0), 0.2, 0.1, -0.3, 0.05])
    score, gradient = (lambda p, i=i: _negative_mean_score(p, design, labels)[i] for i in (0, 1))
    assert check_grad(score, gradient, at) < 1e-6


def test_it_beats_the_best_constant_density_out_of_sample_and_comes_near_the_truth(
    market: SimulatedMarket, har: THar
) -> None:
    labels = next_percent_returns(market.bars, HOUR)[2000:-1]
    later = slice(2000, len(market.bars) - 1)
    ours = har.forecast(market.bars).rows(later).log_density(labels).mean()
    past = market.returns[:2000]
    constant = StudentMixture.single(np.zeros(len(labels)), np.median(np.abs(past)), DF_FLOOR).log_density(labels)
    known = StudentMixture.single(
        np.zeros(len(labels)), market.scales[market.states[2001:]], market.df
    ).log_density(labels)  # fmt: skip
    assert ours > constant.mean() + 0.1
    assert ours > known.mean() - 0.15


def test_a_forecast_does_not_know_its_future(market: SimulatedMarket, har: THar) -> None:
    def scale(bars: pd.DataFrame) -> Floats:
        return har.forecast(bars).scales[:, 0]

    assert_causal(scale, market.bars, [200, 1000, 2500], tolerance=0)
    assert_future_does_not_matter(scale, market.bars, [200, 1000, 2500], seed=1, tolerance=0)


def test_a_fit_does_not_read_past_its_window(market: SimulatedMarket) -> None:
    one = fit(market.bars.iloc[:1500])
    two = fit(market.bars.iloc[:1501])
    assert not np.array_equal(one.coefficients, two.coefficients)
    np.testing.assert_array_equal(one.coefficients, fit(market.bars.iloc[:1500].copy()).coefficients)


def test_rows_without_a_full_week_before_them_have_no_forecast(market: SimulatedMarket, har: THar) -> None:
    scales = har.forecast(market.bars).scales[:, 0]
    assert np.isnan(scales[:167]).all()
    assert np.isfinite(scales[167:]).all()


def test_it_is_stored_and_read_back_exactly(market: SimulatedMarket, har: THar) -> None:
    copy = THar.from_parts(json.loads(json.dumps(har.config())), har.to_arrays())
    np.testing.assert_array_equal(copy.forecast(market.bars).scales, har.forecast(market.bars).scales)
    assert (copy.df, copy.location) == (har.df, har.location)


@pytest.mark.parametrize(
    ("timeframe", "bars"),
    [
        ("5m", (1, 3, 12, 36, 72, 288, 2016)),
        ("1h", (1, 3, 6, 24, 168)),
        ("4h", (1, 3, 6, 42)),
        ("1d", (1, 3, 7)),
    ],
)
def test_horizons_are_hours_whatever_the_timeframe_and_the_last_bars(timeframe: str, bars: tuple[int, ...]) -> None:
    assert horizon_bars(Timeframe(timeframe)) == bars


def test_a_model_from_before_the_last_bars_keeps_its_horizons(market: SimulatedMarket) -> None:
    har = fit(market.bars)
    stored = {name: value for name, value in har.config().items() if name != "horizon_bars"}
    assert THar.from_parts(stored | {"timeframe": "5m"}, har.to_arrays()).horizons == (12, 36, 72, 288, 2016)
    assert THar.from_parts(har.config(), har.to_arrays()).horizons == har.horizons


def test_a_bar_with_missing_minutes_counts_by_the_minutes_it_has(market: SimulatedMarket) -> None:
    bars = market.bars.iloc[:300].copy()
    flat = SeasonalScale(np.zeros((2, 24)))
    bars[["realized_variance", "minutes"]] = (1e-4, 60.0)
    whole = mean_variances(bars, HOUR, flat, horizon_bars(HOUR))
    bars.iloc[250, bars.columns.get_indexer(["realized_variance", "minutes"])] = (0.25e-4, 15.0)
    np.testing.assert_allclose(mean_variances(bars, HOUR, flat, horizon_bars(HOUR))[170:], whole[170:], rtol=1e-9)


def test_stretches_without_trades_give_finite_forecasts(market: SimulatedMarket) -> None:
    bars = market.bars.copy()
    bars.iloc[1000:1400, bars.columns.get_loc("realized_variance")] = 0.0
    assert np.isfinite(fit(bars).forecast(bars).scales[167:]).all()


def test_a_window_that_is_too_short_is_refused(market: SimulatedMarket) -> None:
    with pytest.raises(ModelFitError, match="more than"):
        fit(market.bars.iloc[:190])
