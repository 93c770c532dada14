"""Registered models as MLflow serves them: from bars to predictions."""

import dataclasses
import os

import numpy as np
import pandas as pd

from tradecore_pipeline.features.tuned import TUNED_NAMES
from tradecore_pipeline.model_registry import ModelRegistry
from tradecore_pipeline.model_registry.registry import CHAMPION
from tradecore_pipeline.models import har, lstm, pool, pool_members, regimes, seasonality
from tradecore_pipeline.models.inputs import PROBABILITIES
from tradecore_pipeline.models.lstm_corrector import Corrector, new_network
from tradecore_pipeline.models.lstm_network import Ensemble
from tradecore_pipeline.models.lstm_reading import Reading
from tradecore_pipeline.models.lstm_shape import DEFAULT_SHAPE
from tradecore_pipeline_tests.model_registry.cases import HOUR, Fit, loaded, some_bars


def test_the_champion_loads_as_a_pyfunc_where_pickle_is_forbidden(fit: Fit, registry: ModelRegistry) -> None:
    logged = fit()
    model = loaded(registry, f"models:/{logged.name}@{CHAMPION}")
    assert os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] == "false"
    bars = some_bars()
    predicted = model.predict(bars)
    assert tuple(predicted.columns) == TUNED_NAMES
    assert predicted.index.equals(bars.index)
    assert predicted.iloc[-1].notna().all()
    by_column = model.predict(bars.reset_index().astype({"ts_open": str}))
    np.testing.assert_array_equal(by_column, predicted)


def test_a_regime_model_predicts_its_filtered_probabilities(fit: Fit, registry: ModelRegistry) -> None:
    bars = some_bars()
    fitted = regimes.fit_regimes(
        bars,
        timeframe=HOUR,
        states=2,
        restarts=1,
        emission="student_t",
        features=("scaled_return",),
        carry_bars=(1, 3),
        seed=1,
    )
    logged = fit(kind="hmm", arrays=fitted.to_arrays(), config=fitted.config())
    predicted = loaded(registry, f"models:/{logged.name}@{CHAMPION}").predict(bars)
    np.testing.assert_array_equal(predicted, fitted.filter(bars).probabilities)


def test_a_har_model_predicts_the_next_bars_density(fit: Fit, registry: ModelRegistry) -> None:
    bars = some_bars()
    fitted = har.fit_har(bars, timeframe=HOUR, seasonal=seasonality.SeasonalScale.fit(bars))
    logged = fit(kind="har", arrays=fitted.to_arrays(), config=fitted.config())
    predicted = loaded(registry, f"models:/{logged.name}@{CHAMPION}").predict(bars)
    np.testing.assert_array_equal(predicted["forecast_volatility"], fitted.forecast(bars).volatility / 100)
    assert predicted["forecast_volatility"].iloc[-1] > 0


def test_a_network_predicts_from_bars_and_its_other_inputs(fit: Fit, registry: ModelRegistry) -> None:
    bars = some_bars()
    family = pool_members.fit_har_family(bars, timeframe=HOUR, seed=7)
    state = pd.DataFrame({"state_0": np.linspace(0, 1, len(bars))}, index=bars.index)
    inputs = lstm.forecast_inputs(bars, family.har, filtered=state, features=None)
    reading = Reading(tuple(inputs.columns), ("state_0",), PROBABILITIES)
    shape = dataclasses.replace(DEFAULT_SHAPE, hidden=4)
    network = Ensemble([new_network(reading, shape)])
    weights = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    fitted = lstm.LstmForecaster(
        family=family,
        corrector=Corrector(reading, np.zeros(reading.inputs), np.ones(reading.inputs), shape, 1, weights),
        start=pool.PoolStart({pool.BASELINE: 0.0, pool.NETWORK: 0.5}, {}),
        report={},
    )
    logged = fit(kind="lstm", arrays=fitted.to_arrays(), tensors=fitted.weights, config=fitted.config())
    predicted = loaded(registry, f"models:/{logged.name}@{CHAMPION}").predict(bars.join(state))
    expected = fitted.forecast(bars, inputs).pooled
    np.testing.assert_allclose(predicted["forecast_volatility"], expected.volatility / 100, rtol=1e-12)
