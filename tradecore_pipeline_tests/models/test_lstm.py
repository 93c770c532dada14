import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from tradecore_pipeline.domain.errors import MissingInputError, ModelFitError
from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.models.density import Floats
from tradecore_pipeline.models.har import fit_har
from tradecore_pipeline.models.inputs import PROBABILITIES
from tradecore_pipeline.models.lstm import LstmForecast, LstmForecaster, forecast_inputs
from tradecore_pipeline.models.lstm_corrector import corrected
from tradecore_pipeline.models.lstm_members import EMBARGO_BARS, MEMBERS, Member, Part, Training, log_density
from tradecore_pipeline.models.lstm_network import CorrectionNetwork, resolve_device
from tradecore_pipeline.models.lstm_optimiser import WholeAdamW
from tradecore_pipeline.models.lstm_reading import reading_of
from tradecore_pipeline.models.lstm_shape import DEFAULT_SHAPE, LOG_SCALE_BOUND, SHIFT_BOUND
from tradecore_pipeline.models.lstm_training import LSTM_LEAST_T, Recipe, fit_forecaster
from tradecore_pipeline.models.pool import NETWORK
from tradecore_pipeline.models.pool_members import FIRST_PART, fit_har_family
from tradecore_pipeline.models.seasonality import SeasonalScale
from tradecore_pipeline.validation.leaks import assert_causal, assert_future_does_not_matter
from tradecore_pipeline_tests.models.markets import SimulatedMarket, simulate

WINDOW = 1500


def columns(bars: pd.DataFrame, signal: pd.Series | None = None) -> pd.DataFrame:
    frame = pd.DataFrame({"log_volume": np.log(bars["volume"])}, index=bars.index)
    return frame if signal is None else frame.assign(signal=signal)


def fit(
    bars: pd.DataFrame, signal: pd.Series | None = None, device: str = "cpu", epochs: int = 8, seed: int = 7
) -> LstmForecaster:
    family = fit_har_family(bars, timeframe=Timeframe("1h"), seed=seed)
    recipe = Recipe(
        filtered=None,
        features=columns(bars, signal),
        regimes=PROBABILITIES,
        shape=replace(DEFAULT_SHAPE, hidden=8),
        epochs=epochs,
        seed=seed,
        device=device,
        history=None,
    )
    return fit_forecaster(bars, family=family, recipe=recipe, ablations=False).model


@pytest.fixture(scope="module")
def market() -> SimulatedMarket:
    """Switches too often for t-HAR to follow."""
    return simulate(3000, scales=(0.3, 1.5), stay=0.8, df=5.0, seed=11, frequency="1h", minutes=60)


@pytest.fixture(scope="module")
def signal(market: SimulatedMarket) -> pd.Series:
    """Tells the next bar's state: known at ts_close only because this market says so."""
    ahead = np.append(market.states[1:], 0).astype(np.float64)
    return pd.Series(ahead, index=market.bars.index)


@pytest.fixture(scope="module")
def forecaster(market: SimulatedMarket, signal: pd.Series) -> LstmForecaster:
    return fit(market.bars.iloc[:WINDOW], signal.iloc[:WINDOW], epochs=40)


def run(forecaster: LstmForecaster, bars: pd.DataFrame, signal: pd.Series | None = None) -> LstmForecast:
    inputs = forecast_inputs(bars, forecaster.har, filtered=None, features=columns(bars, signal))
    return forecaster.forecast(bars, inputs)


def test_a_new_network_is_t_har_exactly(market: SimulatedMarket) -> None:
    bars = market.bars.iloc[:600]
    har = fit_har(bars, timeframe=Timeframe("1h"), seasonal=SeasonalScale.fit(bars)).forecast(bars)
    torch.manual_seed(0)
    with torch.inference_mode():
        network = CorrectionNetwork(3, hidden=8, layers=2, dropout=0.0, heads=1, states=(1,))
        corrections = network(torch.randn(600, 1, 3), torch.ones(600, 1, 1))[:, 0].numpy().astype(np.float64)
    same = corrected(har, corrections)
    np.testing.assert_array_equal(same.scales, har.scales)
    np.testing.assert_array_equal(same.locations, har.locations)


def test_it_uses_an_input_that_t_har_does_not_have(
    market: SimulatedMarket, signal: pd.Series, forecaster: LstmForecaster
) -> None:
    later = slice(WINDOW, 2999)
    forecast = run(forecaster, market.bars, signal)
    labels = market.returns[WINDOW + 1 :]
    har, pooled = (part.rows(later).log_density(labels).mean() for part in (forecast.har, forecast.pooled))
    assert pooled > har + 0.01
    assert forecaster.start.evidence[NETWORK] > LSTM_LEAST_T
    assert forecaster.pool_weight > 0
    assert forecaster.report["stopping_log_score"] > forecaster.report["stopping_har_log_score"]


def test_forecasts_do_not_know_their_future(
    market: SimulatedMarket, signal: pd.Series, forecaster: LstmForecaster
) -> None:
    bars = market.bars.iloc[:700].assign(signal=signal.iloc[:700])

    def densities(frame: pd.DataFrame) -> Floats:
        pooled = run(forecaster, frame.drop(columns="signal"), frame["signal"]).pooled
        return np.column_stack((pooled.mean, pooled.volatility))

    assert_causal(densities, bars, [180, 350, 699], tolerance=1e-6)
    assert_future_does_not_matter(densities, bars, [180, 350, 699], seed=2, tolerance=1e-6)


def test_the_pools_weights_move_after_the_window_and_a_row_is_the_same_however_many_follow(
    market: SimulatedMarket, signal: pd.Series, forecaster: LstmForecaster
) -> None:
    whole = run(forecaster, market.bars, signal)
    weights = whole.weights.to_numpy()
    assert (weights[:WINDOW] == weights[0]).all()
    assert np.abs(np.diff(weights[WINDOW:], axis=0)).max() > 0
    for cut in (WINDOW + 1, 1700, 2400):
        early = run(forecaster, market.bars.iloc[:cut], signal.iloc[:cut])
        np.testing.assert_array_equal(early.weights.to_numpy(), weights[:cut])
        np.testing.assert_array_equal(early.pooled.weights, whole.pooled.weights[:cut])
        np.testing.assert_array_equal(early.pooled.scales, whole.pooled.scales[:cut])


def test_what_the_pool_begins_with_is_not_told_by_the_fit_that_is_published(
    market: SimulatedMarket, signal: pd.Series
) -> None:
    """Evidence for the network comes from a fit that saw the first part only: a signal that dies there is no use."""
    bars, dying = market.bars.iloc[:WINDOW], signal.iloc[:WINDOW].copy()
    dying.iloc[: round(FIRST_PART * WINDOW)] = 0.5
    assert fit(bars, dying, epochs=20).pool_weight == 0


def test_the_same_seed_gives_the_same_model_to_the_last_bit(market: SimulatedMarket) -> None:
    bars = market.bars.iloc[:700]
    one, two, other = fit(bars, epochs=2), fit(bars, epochs=2), fit(bars, epochs=2, seed=8)
    for name, value in one.weights.items():
        np.testing.assert_array_equal(value, two.weights[name])
    assert any(not np.array_equal(value, other.weights[name]) for name, value in one.weights.items())


def test_fitting_leaves_torchs_threads_and_random_state_alone(market: SimulatedMarket) -> None:
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    fit(market.bars.iloc[:700], epochs=1)
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)


def test_it_is_stored_and_read_back_exactly(
    market: SimulatedMarket, signal: pd.Series, forecaster: LstmForecaster
) -> None:
    config = json.loads(json.dumps(forecaster.config()))
    copy = LstmForecaster.from_parts(config, forecaster.to_arrays(), weights=forecaster.weights)
    bars, part = market.bars.iloc[:500], signal.iloc[:500]
    one, two = run(forecaster, bars, part), run(copy, bars, part)
    np.testing.assert_array_equal(one.pooled.scales, two.pooled.scales)
    np.testing.assert_array_equal(one.pooled.weights, two.pooled.weights)
    assert copy.corrector.members == MEMBERS


def test_corrections_stay_inside_their_bound_whatever_the_inputs(
    market: SimulatedMarket, signal: pd.Series, forecaster: LstmForecaster
) -> None:
    forecast = run(forecaster, market.bars, signal * 1e6)
    change = np.log(forecast.lstm.scales / forecast.har.scales)[167:]
    shift = ((forecast.lstm.locations - forecast.har.locations) / forecast.har.scales)[167:]
    assert np.abs(change).max() <= LOG_SCALE_BOUND + 1e-6
    assert np.abs(shift).max() <= SHIFT_BOUND + 1e-6


def test_missing_values_count_as_average_and_a_missing_column_is_an_error(
    market: SimulatedMarket, signal: pd.Series, forecaster: LstmForecaster
) -> None:
    holes = signal.copy()
    holes.iloc[300:320] = np.nan
    assert np.isfinite(run(forecaster, market.bars, holes).pooled.mean[167:]).all()
    with pytest.raises(MissingInputError, match="signal"):
        run(forecaster, market.bars)


def test_noise_is_not_given_weight(market: SimulatedMarket) -> None:
    bars = market.bars.iloc[:WINDOW]
    noise = pd.Series(np.random.default_rng(9).normal(size=WINDOW), index=bars.index)
    assert fit(bars, noise).pool_weight == 0


def test_weights_as_one_vector_are_trained_as_torch_trains_them_tensor_by_tensor() -> None:
    """Clipping included: the second step's gradient is longer than 1, the first one's shorter."""
    torch.manual_seed(3)
    one, two = (torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Linear(3, 1)) for _ in range(2))
    two.load_state_dict(one.state_dict())
    ours = WholeAdamW(one, learning_rate=1e-2, weight_decay=0.1)
    theirs = torch.optim.AdamW(two.parameters(), lr=1e-2, weight_decay=0.1)
    x = torch.randn(8, 4)
    for size in (0.01, 100.0, 1.0):
        for network in (one, two):
            (size * network(x)).mean().backward()
        torch.nn.utils.clip_grad_norm_(two.parameters(), 1.0)
        ours.step()
        theirs.step()
        theirs.zero_grad()
    for own, peer in zip(one.parameters(), two.parameters(), strict=True):
        torch.testing.assert_close(own, peer, atol=1e-6, rtol=1e-5)


def test_weights_go_back_to_those_kept_last_or_to_the_first() -> None:
    network = torch.nn.Linear(3, 1)
    optimiser = WholeAdamW(network, learning_rate=1e-1, weight_decay=0.0)
    seen = [network.weight.detach().clone()]
    for _ in range(2):
        network(torch.ones(1, 3)).sum().backward()
        optimiser.step()
        seen.append(network.weight.detach().clone())
    optimiser.go_back()
    torch.testing.assert_close(network.weight.detach(), seen[0], rtol=0, atol=0)
    network(torch.ones(1, 3)).sum().backward()
    optimiser.step()
    optimiser.keep()
    kept = network.weight.detach().clone()
    network(torch.ones(1, 3)).sum().backward()
    optimiser.step()
    assert not torch.equal(network.weight.detach(), kept)
    optimiser.go_back()
    assert torch.equal(network.weight.detach(), kept)


def test_training_leaves_out_the_same_values_at_every_step_of_a_sequence() -> None:
    """Without a memory a constant input gives a constant correction only if nothing changes on the way."""
    torch.manual_seed(5)
    network = CorrectionNetwork(4, hidden=6, layers=1, dropout=0.5, heads=1, states=())
    torch.nn.init.normal_(network.head.weight, std=0.1)
    for name, value in network.lstm.named_parameters():
        if "hh" in name:
            torch.nn.init.zeros_(value)
        elif name == "bias_ih_l0":
            value.data[6:12] = -100.0  # forget gates shut
    found = network(torch.ones(20, 7, 4), torch.ones(20, 7, 1)).detach()
    torch.testing.assert_close(found, found[:1].expand_as(found))
    assert len(torch.unique(found[0], dim=0)) > 1
    x, gates = torch.randn(20, 2, 4), torch.ones(20, 2, 1)
    with torch.inference_mode():
        network.eval()
        torch.testing.assert_close(network.after(x, gates, burn_in=5), network(x, gates)[5:], rtol=0, atol=0)


def test_the_score_that_is_trained_on_is_the_density_s(market: SimulatedMarket) -> None:
    bars = market.bars.iloc[:600]
    har = fit_har(bars, timeframe=Timeframe("1h"), seasonal=SeasonalScale.fit(bars))
    one = np.ones((600, 1), dtype=np.float32)
    part = Part.of(one, one, bars, har, device="cpu")
    corrections = np.random.default_rng(1).uniform(-0.2, 0.2, (600, 2))
    found = log_density(part, torch.from_numpy(corrections).float()).numpy()
    density = corrected(har.forecast(bars), corrections).log_density(market.returns[1:601])
    counts = part.counts.numpy()
    assert counts.sum() > 400
    np.testing.assert_allclose(found[counts], density[counts], atol=1e-5)


def test_held_out_blocks_are_never_trained_on(market: SimulatedMarket) -> None:
    bars = market.bars.iloc[:700]
    har = fit_har(bars, timeframe=Timeframe("1h"), seasonal=SeasonalScale.fit(bars))
    inputs = forecast_inputs(bars, har, filtered=None, features=None)
    x = np.nan_to_num(inputs.to_numpy()).astype(np.float32)
    whole = Part.of(x, np.ones((700, 1), dtype=np.float32), bars, har, device="cpu")
    reading = reading_of(inputs, filtered=(), regimes="none")
    member = Member(whole, slice(280, 420), reading, Training(DEFAULT_SHAPE, epochs=1, seed=1, chunks_per_step=4))
    counted = member.train_counts.numpy()
    assert not counted[280 - EMBARGO_BARS : 420 + EMBARGO_BARS].any()
    assert counted[200:250].all()
    assert counted[450:690].all()


def test_a_short_window_and_a_missing_device_are_refused(market: SimulatedMarket) -> None:
    with pytest.raises(ModelFitError, match="too few"):
        fit(market.bars.iloc[:400])
    if not torch.cuda.is_available():
        with pytest.raises(ModelFitError, match="no CUDA device"):
            fit(market.bars.iloc[:700], device="cuda")
        assert resolve_device("auto") == "cpu"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
def test_a_gpu_fit_is_about_as_good(market: SimulatedMarket, signal: pd.Series) -> None:
    bars, part = market.bars.iloc[:WINDOW], signal.iloc[:WINDOW]
    cpu, gpu = (fit(bars, part, device=name).report["stopping_log_score"] for name in ("cpu", "cuda"))
    assert gpu == pytest.approx(cpu, abs=0.01)
