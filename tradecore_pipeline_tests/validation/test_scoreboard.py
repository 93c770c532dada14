import numpy as np
import pandas as pd
import pytest

from tradecore_pipeline.domain.errors import NotEnoughHistoryError
from tradecore_pipeline.domain.statistics import variance_of_mean
from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.validation.scoreboard import (
    ALL,
    Standing,
    cumulative_gains,
    hac_lags,
    pit_shares,
    standard_error,
    standings,
)


def scores(rows: int, gain: float, seed: int) -> pd.DataFrame:
    """A baseline and a model that is better by ``gain`` on average; half of the rows lie in each of two years."""
    random = np.random.default_rng(seed)
    index = pd.date_range(pd.Timestamp("2023-01-01", tz="UTC") - rows // 2 * pd.Timedelta("1h"), periods=rows, freq="h")
    base = random.normal(size=rows)
    return pd.DataFrame({"base": base, "model": base + gain + random.normal(scale=0.1, size=rows)}, index=index)


def found(table: list[Standing], model: str, era: str) -> Standing:
    return next(standing for standing in table if (standing.model, standing.era) == (model, era))


def test_every_model_stands_in_every_year_and_over_all() -> None:
    frame = scores(4000, 0.02, seed=1)
    table = standings(frame, baseline="base", lags=48)
    assert [(s.era, s.model) for s in table] == [(era, m) for era in ("2022", "2023", ALL) for m in ("model", "base")]
    own = found(table, "model", ALL)
    assert own.bars == 4000
    assert own.log_score == pytest.approx(frame["model"].mean())
    assert own.difference == pytest.approx((frame["model"] - frame["base"]).mean())
    assert own.t_statistic == pytest.approx(2 * own.difference / own.smallest_detectable)
    assert found(table, "model", "2022").log_score == pytest.approx(frame["model"].iloc[:2000].mean())


def test_one_year_alone_is_shown_once() -> None:
    assert {s.era for s in standings(scores(4000, 0.0, seed=2).iloc[2000:], baseline="base", lags=48)} == {ALL}


def test_only_rows_that_all_models_have_are_counted() -> None:
    frame = scores(4000, 0.0, seed=3)
    frame.iloc[:500, 1] = np.nan
    frame.iloc[-100:, 0] = np.nan
    assert {s.bars for s in standings(frame, baseline="base", lags=48) if s.era == ALL} == {3400}
    with pytest.raises(NotEnoughHistoryError, match="model scored none"):
        standings(frame.assign(model=np.nan), baseline="base", lags=48)


def test_the_baseline_and_its_double_have_no_error_to_speak_of() -> None:
    frame = scores(4000, 0.0, seed=4)
    for standing in standings(frame.assign(model=frame["base"]), baseline="base", lags=48):
        assert standing.difference == 0
        assert np.isnan(standing.t_statistic)
        assert np.isnan(standing.smallest_detectable)


def test_a_gain_of_the_smallest_detectable_size_is_found_in_about_half_of_samples() -> None:
    least = found(standings(scores(4000, 0.0, seed=5), baseline="base", lags=48), "model", ALL).smallest_detectable
    tables = [standings(scores(4000, least, seed=seed), baseline="base", lags=48) for seed in range(100, 160)]
    share = np.mean([found(table, "model", ALL).t_statistic > 2 for table in tables])
    assert 0.3 < share < 0.75


def test_the_error_is_the_root_of_the_variance_of_the_mean_and_needs_rows_for_its_lags() -> None:
    noise = np.convolve(np.random.default_rng(6).normal(size=1000), np.ones(10), mode="valid")
    assert standard_error(noise, lags=48) ** 2 == pytest.approx(variance_of_mean(noise, lags=48))
    assert standard_error(noise, lags=48) > 2 * noise.std() / np.sqrt(len(noise))
    assert np.isnan(standard_error(noise[:100], lags=48))


@pytest.mark.parametrize(("timeframe", "lags"), [("5m", 576), ("1h", 48), ("4h", 12), ("1d", 5)])
def test_lags_are_two_days_whatever_the_timeframe(timeframe: str, lags: int) -> None:
    assert hac_lags(Timeframe(timeframe)) == lags


def test_gains_add_up_to_their_mean() -> None:
    frame = scores(1000, 0.05, seed=7)
    frame.iloc[10, 1] = np.nan
    gains = cumulative_gains(frame, baseline="base")
    assert list(gains.columns) == ["model"]
    assert gains["model"].iloc[-1] == pytest.approx((frame["model"] - frame["base"]).sum())


def test_pit_values_of_a_right_forecast_fall_evenly() -> None:
    values = np.append(np.random.default_rng(8).random(100_000), np.nan)
    shares = pit_shares(values, bins=20)
    assert shares.sum() == pytest.approx(1)
    assert np.abs(shares - 0.05).max() < 0.005
