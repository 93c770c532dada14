"""What the LSTM may be asked for: its shape, what it makes of regimes, longer windows, ablations, one bar at a time."""

import json
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tradecore_pipeline.domain.errors import FilterStateError, InvalidDataError, MissingInputError, ModelFitError
from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.models.evidence import ablation_table
from tradecore_pipeline.models.inputs import LSTM_REGIMES, WITHOUT_REGIMES, WITHOUT_TUNED
from tradecore_pipeline.models.lstm import LstmForecaster, forecast_inputs
from tradecore_pipeline.models.lstm_corrector import Corrector
from tradecore_pipeline.models.lstm_reading import Reading
from tradecore_pipeline.models.lstm_shape import DEFAULT_SHAPE, LstmShape
from tradecore_pipeline.models.lstm_training import FittedForecaster, Recipe, fit_forecaster
from tradecore_pipeline.models.pool import BASELINE, NETWORK
from tradecore_pipeline.models.pool_members import HarFamily, fit_har_family
from tradecore_pipeline_tests.models.markets import SimulatedMarket, simulate

HOUR = Timeframe("1h")
WINDOW = 1000
SMALL = replace(DEFAULT_SHAPE, hidden=6, learning_rate=1e-2)


@pytest.fixture(scope="module")
def market() -> SimulatedMarket:
    """Switches too often for t-HAR to follow."""
    return simulate(2000, scales=(0.3, 1.5), stay=0.8, df=5.0, seed=11, frequency="1h", minutes=60)


@pytest.fixture(scope="module")
def family(market: SimulatedMarket) -> HarFamily:
    return fit_har_family(market.bars.iloc[:WINDOW], timeframe=HOUR, seed=7)


def filtered(market: SimulatedMarket) -> pd.DataFrame:
    """Probabilities of the next bar's state: known at ts_close only because this market says so."""
    high = 0.1 + 0.8 * np.append(market.states[1:], 0)
    return pd.DataFrame({"state_0": 1 - high, "state_1": high}, index=market.bars.index)


def tuned(market: SimulatedMarket) -> pd.DataFrame:
    return pd.DataFrame({"log_volume": np.log(market.bars["volume"])}, index=market.bars.index)


def recipe(market: SimulatedMarket, *, regimes: str = "probabilities", shape: LstmShape = SMALL) -> Recipe:
    return Recipe(
        filtered=filtered(market),
        features=tuned(market),
        regimes=regimes,
        shape=shape,
        epochs=12,
        seed=7,
        device="cpu",
        history=None,
    )


def fit(
    market: SimulatedMarket, family: HarFamily, wanted: Recipe, *, ablations: bool = False, first: int = 0
) -> FittedForecaster:
    return fit_forecaster(market.bars.iloc[first:WINDOW], family=family, recipe=wanted, ablations=ablations)


def inputs(market: SimulatedMarket, family: HarFamily) -> pd.DataFrame:
    return forecast_inputs(market.bars, family.har, filtered=filtered(market), features=tuned(market))


@pytest.mark.parametrize("regimes", LSTM_REGIMES)
def test_every_use_of_regimes_is_stored_and_read_back_exactly(
    market: SimulatedMarket, family: HarFamily, regimes: str
) -> None:
    model = fit(market, family, recipe(market, regimes=regimes)).model
    config = json.loads(json.dumps(model.config()))
    copy = LstmForecaster.from_parts(config, model.to_arrays(), weights=model.weights)
    read = inputs(market, family)
    one, two = (each.forecast(market.bars, read).lstm for each in (model, copy))
    np.testing.assert_array_equal(one.scales, two.scales)
    assert copy.corrector.reading == model.corrector.reading
    told = model.report["stopping_log_score"] - model.report["stopping_har_log_score"]
    assert told > 0.02 if regimes != "none" else told < 0.01
    assert ("state_0" in model.corrector.columns) == (regimes != "none")


def test_one_hot_networks_do_not_see_how_probable_the_most_probable_state_is(
    market: SimulatedMarket, family: HarFamily
) -> None:
    corrector = fit(market, family, recipe(market, regimes="one_hot")).model.corrector
    read = inputs(market, family)
    sharper = read.assign(state_0=read["state_0"].round(), state_1=read["state_1"].round())
    np.testing.assert_array_equal(corrector.corrections(read), corrector.corrections(sharper))


def test_with_a_head_per_state_the_correction_is_the_mean_by_filtered_probabilities() -> None:
    """One layer, one state's head at a time, and both: exact before the bound, which small corrections do not feel."""
    reading = Reading(("a", "state_0", "state_1"), ("state_0", "state_1"), "per_regime")
    shape = replace(DEFAULT_SHAPE, hidden=3)
    random = np.random.default_rng(3)
    weights = {
        f"members.0.{name}": random.normal(scale=0.01, size=size).astype(np.float32)
        for name, size in {
            "lstm.weight_ih_l0": (12, 1), "lstm.weight_hh_l0": (12, 3), "lstm.bias_ih_l0": (12,),
            "lstm.bias_hh_l0": (12,), "head.weight": (4, 3), "head.bias": (4,),
        }.items()
    }  # fmt: skip
    corrector = Corrector(reading, np.zeros(1), np.ones(1), shape, 1, weights)
    frame = pd.DataFrame({"a": random.normal(size=40)})

    def under(first: float) -> np.ndarray:
        return corrector.corrections(frame.assign(state_0=first, state_1=1 - first))

    np.testing.assert_allclose(under(0.3), 0.3 * under(1.0) + 0.7 * under(0.0), atol=1e-5)
    np.testing.assert_array_equal(under(np.nan), under(0.5))
    with pytest.raises(MissingInputError, match="state_1"):
        corrector.corrections(frame.assign(state_0=0.5))


def test_models_of_before_there_were_shapes_still_load(market: SimulatedMarket, family: HarFamily) -> None:
    model = fit(market, family, recipe(market)).model
    config = {key: value for key, value in model.config().items() if key not in {"shape", "states", "regimes"}}
    then = {name: value for name, value in model.weights.items() if not name.endswith("direct.weight")}
    old = LstmForecaster.from_parts(config | {"hidden": 6}, model.to_arrays(), weights=then)
    assert old.corrector.shape == replace(DEFAULT_SHAPE, hidden=6)
    now = {name: np.zeros_like(value) if name not in then else value for name, value in model.weights.items()}
    read = inputs(market, family)
    same = replace(model.corrector, weights=now).corrections(read)
    np.testing.assert_allclose(old.corrector.corrections(read), same, atol=1e-7)


def test_a_damaged_shape_or_an_unknown_use_of_regimes_is_refused(market: SimulatedMarket, family: HarFamily) -> None:
    model = fit(market, family, recipe(market)).model
    for wrong in ({"shape": {"hidden": 3}}, {"shape": SMALL.config() | {"layers": 0}}, {"regimes": "all"}):
        with pytest.raises(InvalidDataError):
            LstmForecaster.from_parts(model.config() | wrong, model.to_arrays(), weights=model.weights)


@pytest.mark.parametrize(
    "wrong",
    [{"hidden": 0}, {"layers": 1.5}, {"dropout": 1.0}, {"learning_rate": 0.0}, {"windows": 9}, {"chunk_bars": 2}],
)
def test_an_impossible_shape_is_refused_by_name(wrong: Mapping[str, float]) -> None:
    with pytest.raises(ModelFitError, match=next(iter(wrong))):
        LstmShape(**(DEFAULT_SHAPE.config() | wrong))


def test_a_shape_is_what_its_config_says() -> None:
    shape = LstmShape(chunk_bars=96, hidden=12, layers=2, dropout=0.1, learning_rate=1e-3, windows=2)
    assert LstmShape.from_config(json.loads(json.dumps(shape.config()))) == shape


@pytest.mark.parametrize("chunk_bars", [60, 480])
def test_chunks_of_any_length_and_two_layers_are_trained_on(
    market: SimulatedMarket, family: HarFamily, chunk_bars: int
) -> None:
    """The longest is as long as the shortest window's first part."""
    shape = replace(SMALL, chunk_bars=chunk_bars, layers=2)
    curve = fit(market, family, replace(recipe(market, shape=shape), epochs=2)).learning_curve
    assert len(set(curve)) == 3
    assert np.isfinite(curve).all()


def test_longer_history_is_learned_from_and_what_it_says_is_noted(market: SimulatedMarket) -> None:
    bars = market.bars.iloc[500:WINDOW]
    family = fit_har_family(bars, timeframe=HOUR, seed=7)
    own = replace(recipe(market), epochs=3)
    short, long = (
        fit(market, family, wanted, first=500).model
        for wanted in (own, replace(own, history=market.bars.iloc[:WINDOW]))
    )
    assert (short.report["lstm_windows"], long.report["lstm_windows"]) == (1.0, 2.0)
    assert long.report["lstm_bars"] == WINDOW
    assert not np.array_equal(short.corrector.centre, long.corrector.centre)


def test_held_out_scores_do_not_know_the_window_s_last_part_whatever_the_history(market: SimulatedMarket) -> None:
    """The network of the first part never saw the bars that it is held against."""
    bars = market.bars.iloc[500:WINDOW]
    family = fit_har_family(bars, timeframe=HOUR, seed=7)
    wanted = replace(recipe(market), history=market.bars.iloc[:WINDOW], epochs=3)
    changed = filtered(market)
    changed.loc[bars.index[-50] :] = 0.5
    one, two = (
        fit(market, family, each, first=500).held_out.forecasts[NETWORK]
        for each in (wanted, replace(wanted, filtered=changed))
    )
    np.testing.assert_array_equal(one.scales[:450], two.scales[:450])
    assert not np.array_equal(one.scales[450:], two.scales[450:])


def test_ablations_show_which_inputs_the_network_lives_on(market: SimulatedMarket, family: HarFamily) -> None:
    held_out = fit(market, family, recipe(market), ablations=True).held_out
    table = ablation_table(held_out.scores[BASELINE], held_out.ablations, timeframe=HOUR)
    rows = {row.name: row for row in table}
    assert list(rows) == [NETWORK, WITHOUT_REGIMES, WITHOUT_TUNED]
    assert rows[WITHOUT_REGIMES].worth > 0.02
    assert rows[WITHOUT_REGIMES].worth_t > 3
    assert abs(rows[WITHOUT_TUNED].worth) < rows[WITHOUT_REGIMES].worth / 2
    assert rows[NETWORK].gain > 0.02
    assert rows[NETWORK].to_json()["worth"] is None


def test_without_regimes_there_is_no_ablation_of_them_and_none_unless_asked(
    market: SimulatedMarket, family: HarFamily
) -> None:
    none = replace(recipe(market, regimes="none"), epochs=1)
    assert list(none.ablations) == [WITHOUT_TUNED]
    held_out = fit(market, family, none).held_out
    assert not held_out.ablations
    assert ablation_table(held_out.scores[BASELINE], held_out.ablations, timeframe=HOUR) == ()


@pytest.mark.parametrize(("regimes", "layers"), [("probabilities", 1), ("one_hot", 1), ("per_regime", 2)])
def test_bar_by_bar_corrections_are_the_batch_s(
    market: SimulatedMarket, family: HarFamily, regimes: str, layers: int
) -> None:
    shape = replace(SMALL, layers=layers)
    model = fit(market, family, replace(recipe(market, regimes=regimes, shape=shape), epochs=1)).model
    long = pd.concat([inputs(market, family)] * 5, ignore_index=True)
    long.iloc[300:310, -1] = np.nan
    table = model.corrector.reading.table(long)
    stream = model.stream()
    found = np.array([stream.advance(row) for row in table])
    assert len(found) == 10_000
    np.testing.assert_allclose(found, model.corrector.corrections(long), atol=1e-5)


def test_a_stream_goes_on_from_its_kept_memory(market: SimulatedMarket, family: HarFamily) -> None:
    model = fit(market, family, replace(recipe(market), epochs=2)).model
    table = model.corrector.reading.table(inputs(market, family))[200:260]
    whole, first, second = model.stream(), model.stream(), model.stream()
    found = [whole.advance(row) for row in table]
    for row in table[:30]:
        first.advance(row)
    second.memory = first.memory
    assert [second.advance(row) for row in table[30:]] == found[30:]
    with pytest.raises(FilterStateError, match="start anew"):
        second.memory = first.memory[:, :, :2]


def test_three_runs_of_the_same_seed_and_data_have_the_same_metrics_and_files(
    market: SimulatedMarket, family: HarFamily
) -> None:
    runs = [fit(market, family, replace(recipe(market), epochs=2), ablations=True) for _ in range(3)]
    texts = [
        json.dumps([one.model.config(), one.learning_curve, {k: v.tolist() for k, v in one.model.to_arrays().items()}])
        for one in runs
    ]
    assert texts[0] == texts[1] == texts[2]
    for other in runs[1:]:
        assert {k: v.tobytes() for k, v in other.model.weights.items()} == {
            k: v.tobytes() for k, v in runs[0].model.weights.items()
        }
        for name, scores in runs[0].held_out.ablations.items():
            np.testing.assert_array_equal(other.held_out.ablations[name], scores)
