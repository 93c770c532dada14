import numpy as np
import pandas as pd
import pytest

from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.models.density import StudentMixture
from tradecore_pipeline.models.published import published_rows
from tradecore_pipeline.models.regimes import RegimeModel, fit_regimes
from tradecore_pipeline.models.returns import percent_returns
from tradecore_pipeline.models.trend import trend_signs
from tradecore_pipeline.validation.leaks import assert_causal, assert_future_does_not_matter
from tradecore_pipeline_tests.models.markets import SimulatedMarket


@pytest.fixture(scope="module")
def model(market: SimulatedMarket) -> RegimeModel:
    return fit_regimes(
        market.bars.iloc[:2000],
        timeframe=Timeframe("1h"),
        states=3,
        restarts=2,
        emission="return_variance",
        features=(),
        carry_bars=(1, 3),
        seed=7,
    )


def rows(model: RegimeModel, bars: pd.DataFrame, threshold: float) -> pd.DataFrame:
    filtered = model.filter(bars)
    forecast = model.forecast(bars, filtered)
    scale = 0.1 + np.abs(np.nan_to_num(percent_returns(bars, model.timeframe)))
    return published_rows(
        bars,
        model=model,
        filtered=filtered,
        direction_significant=False,
        forecast=forecast,
        har=StudentMixture.single(np.zeros(len(bars)), scale, 5.0),
        trend=trend_signs(bars),
        tick=0.01,
        label_threshold=threshold,
    )


def test_held_labels_change_less_often_and_only_to_a_likely_state(market: SimulatedMarket, model: RegimeModel) -> None:
    filtered, held = model.filter(market.bars), rows(model, market.bars, 0.8)["held_index"].to_numpy()
    changed = np.flatnonzero(np.diff(held)) + 1
    assert 0 < len(changed) < np.count_nonzero(np.diff(filtered.index))
    assert (filtered.probabilities[changed, held[changed]] > 0.8).all()


def numbers(found: pd.DataFrame) -> pd.DataFrame:
    """Every column as numbers: moments as nanoseconds, names by their letters, probabilities side by side."""
    parts: list[pd.DataFrame] = []
    for name, column in found.items():
        if name == "filtered_probability":
            parts.append(pd.DataFrame(np.vstack(column.to_list()), index=found.index).add_prefix("filtered_"))
        elif pd.api.types.is_numeric_dtype(column.dtype):
            parts.append(column.astype(np.float64).to_frame())
        elif pd.api.types.is_datetime64_any_dtype(column.dtype):
            parts.append(column.astype(np.int64).astype(np.float64).to_frame())
        else:
            parts.append(column.map(lambda word: float(int.from_bytes(word.encode()))).to_frame())
    return pd.concat(parts, axis=1)


def test_rows_do_not_know_their_future(market: SimulatedMarket, model: RegimeModel) -> None:
    def published(bars: pd.DataFrame) -> pd.DataFrame:
        return numbers(rows(model, bars, 0.6))

    assert len(published(market.bars).columns) == len(rows(model, market.bars, 0.6).columns) + model.states - 1
    assert_causal(published, market.bars, (2, 700, 2100), tolerance=0)
    assert_future_does_not_matter(published, market.bars, (2, 700, 2100), seed=3, tolerance=0)


def test_scores_are_those_of_the_forecast_that_stood_before_the_bar(
    market: SimulatedMarket, model: RegimeModel
) -> None:
    found = rows(model, market.bars, 0.6)
    forecast = model.forecast(market.bars, model.filter(market.bars))
    expected = forecast.rows(slice(None, -1)).log_density(percent_returns(market.bars, model.timeframe)[1:])
    assert np.isnan(found["log_score"].iloc[0])
    np.testing.assert_allclose(found["log_score"].iloc[1:], expected, atol=1e-3)
