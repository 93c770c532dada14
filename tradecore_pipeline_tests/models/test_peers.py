import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tradecore_pipeline.domain.errors import ModelFitError
from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.models.density import Floats
from tradecore_pipeline.models.peers import EWMA_DECAY, PEER_FITS, Peer, fit_baseline, fit_ewma_t, fit_garch_t
from tradecore_pipeline.models.returns import next_percent_returns, percent_returns
from tradecore_pipeline.models.seasonality import SeasonalScale
from tradecore_pipeline.validation.leaks import assert_causal, assert_future_does_not_matter
from tradecore_pipeline_tests.models.markets import SimulatedMarket

HOUR = Timeframe("1h")
FLAT = SeasonalScale(np.zeros((2, 24)))
WINDOW = 2000
FITS = {**PEER_FITS, "t-HAR": fit_baseline}


@pytest.fixture(scope="module")
def peers(market: SimulatedMarket) -> dict[str, Peer]:
    return {name: fit(market.bars.iloc[:WINDOW], HOUR) for name, fit in FITS.items()}


@pytest.mark.parametrize("name", FITS)
def test_a_forecast_does_not_know_its_future(market: SimulatedMarket, peers: dict[str, Peer], name: str) -> None:
    def scale(bars: pd.DataFrame) -> Floats:
        return peers[name].forecast(bars).scales[:, 0]

    assert_causal(scale, market.bars, [300, 1000, 2500], tolerance=0)
    assert_future_does_not_matter(scale, market.bars, [300, 1000, 2500], seed=1, tolerance=0)


def test_models_of_changing_volatility_beat_the_constant_out_of_sample(
    market: SimulatedMarket, peers: dict[str, Peer]
) -> None:
    labels = next_percent_returns(market.bars, HOUR)
    scores = {name: peer.forecast(market.bars).log_density(labels)[WINDOW:-1].mean() for name, peer in peers.items()}
    assert all(scores[name] > scores["constant t"] + 0.05 for name in scores if name != "constant t")


@pytest.mark.parametrize("exponential", [False, True])
def test_the_variance_recursion_is_that_of_arch(market: SimulatedMarket, *, exponential: bool) -> None:
    from arch import arch_model  # noqa: PLC0415 (a second to import)

    window = market.bars.iloc[:WINDOW]
    own = fit_garch_t(window, HOUR, seasonal=FLAT, exponential=exponential)
    returns = percent_returns(window, HOUR)[1:]
    vol = "EGARCH" if exponential else "GARCH"
    theirs = arch_model(returns, mean="Constant", vol=vol, o=int(exponential), dist="t", rescale=False).fit(disp="off")
    # Ours begins at the window's variance, theirs at its first returns': a few hundred bars later nothing is left.
    np.testing.assert_allclose(
        np.sqrt(own.variances(returns))[500:-1], theirs.conditional_volatility[501:], rtol=1e-6
    )  # fmt: skip
    scores = own.forecast(window).log_density(next_percent_returns(window, HOUR))
    z = (returns - own.location) / theirs.conditional_volatility
    expected = stats.t.logpdf(z, own.df, 0, np.sqrt((own.df - 2) / own.df)) - np.log(theirs.conditional_volatility)
    np.testing.assert_allclose(scores[500:-1], expected[500:], rtol=1e-4, atol=1e-6)


def test_the_season_is_divided_out_and_multiplied_back(market: SimulatedMarket) -> None:
    window = market.bars.iloc[:WINDOW]
    table = np.tile(np.log(np.where(np.arange(24) < 12, 0.5, 2.0)), (2, 1))
    seasonal = SeasonalScale(table)
    scaled = window.copy()
    closes = np.cumsum(np.nan_to_num(percent_returns(window, HOUR)) * seasonal.at(pd.DatetimeIndex(window.index))) / 100
    scaled["close"] = 20_000 * np.exp(closes)
    plain = fit_garch_t(window, HOUR, seasonal=FLAT, exponential=False).forecast(window)
    found = fit_garch_t(scaled, HOUR, seasonal=seasonal, exponential=False).forecast(scaled)
    following = seasonal.at(pd.DatetimeIndex(window.index) + pd.Timedelta(HOUR.duration))
    np.testing.assert_allclose(found.scales[:, 0], plain.scales[:, 0] * following, rtol=1e-3)


def test_ewma_forgets_by_its_decay(market: SimulatedMarket) -> None:
    peer = fit_ewma_t(market.bars.iloc[:WINDOW], HOUR)
    returns = percent_returns(market.bars, HOUR)[1:300]
    weights = EWMA_DECAY ** np.arange(298, -1, -1) * (1 - EWMA_DECAY)
    expected = EWMA_DECAY**299 * peer.start + weights @ returns**2
    assert peer.variances(returns)[-1] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", FITS)
def test_a_gap_in_the_bars_leaves_later_forecasts_finite(
    market: SimulatedMarket, peers: dict[str, Peer], name: str
) -> None:
    bars = market.bars.drop(market.bars.index[2100:2110])
    scales = peers[name].forecast(bars).scales[200:, 0]
    assert np.isfinite(scales).all()


@pytest.mark.parametrize("name", PEER_FITS)
def test_a_market_that_does_not_move_and_a_window_too_short_are_refused(market: SimulatedMarket, name: str) -> None:
    still = market.bars.iloc[:WINDOW].assign(close=100.0)
    with pytest.raises(ModelFitError, match="does not move"):
        PEER_FITS[name](still, HOUR)
    with pytest.raises(ModelFitError, match="too few"):
        PEER_FITS[name](market.bars.iloc[:60], HOUR)
