import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradecore_pipeline.domain.errors import NotEnoughHistoryError, UsageError
from tradecore_pipeline.validation.comparison import Comparison, compare, least_t_of_many, quasi_likelihood

ROWS = 2_000


def scores(gains: dict[str, tuple[float, float]], *, rows: int, seed: int) -> pd.DataFrame:
    """A baseline, and variants by mean and deviation of their gain on it; gains depend on those of hours before."""
    random = np.random.default_rng(seed)
    index = pd.date_range("2022-01-01", periods=rows, freq="h", tz="UTC", name="ts_open")
    base = random.standard_t(5, size=rows)
    columns = {"base": base}
    for name, (mean, deviation) in gains.items():
        noise = np.convolve(random.normal(size=rows + 5), np.ones(6) / np.sqrt(6), mode="valid")
        columns[name] = base + mean + deviation * noise
    return pd.DataFrame(columns, index=index)


def judged(frame: pd.DataFrame, baseline: str, seed: int) -> Comparison:
    return compare(frame, baseline=baseline, lags=48, level=0.1, repetitions=400, seed=seed)


def test_a_planted_better_variant_beats_the_baseline_and_is_alone_in_the_set() -> None:
    found = judged(scores({"better": (0.03, 0.1), "same": (0.0, 0.1)}, rows=ROWS, seed=1), "base", 1)
    assert found.best.standing.model == "better"
    assert found.best_p_value < 0.01
    assert found.in_set == ("better",)
    assert found.bars == ROWS


def test_without_a_better_one_luck_is_found_about_as_often_as_the_level_says() -> None:
    tables = [
        judged(scores({"a": (0.0, 0.1), "b": (0.0, 0.02), "c": (0.0, 0.5)}, rows=1_000, seed=seed), "base", 1)
        for seed in range(40)
    ]
    assert np.mean([table.best_p_value < 0.05 for table in tables]) <= 0.2
    assert np.mean(["base" in table.in_set for table in tables]) >= 0.75


def test_twins_tie_and_the_set_keeps_or_drops_both() -> None:
    frame = scores({"better": (0.03, 0.1), "worse": (-0.1, 0.1)}, rows=ROWS, seed=2)
    found = judged(frame.assign(twin=frame["better"], worse_twin=frame["worse"]), "base", 1)
    assert set(found.in_set) == {"better", "twin"}
    by_name = {verdict.standing.model: verdict for verdict in found.verdicts}
    assert by_name["better"].set_p_value == by_name["twin"].set_p_value
    assert by_name["worse"].set_p_value == by_name["worse_twin"].set_p_value


def test_a_variant_that_is_the_baseline_under_another_name_shows_nothing() -> None:
    frame = scores({}, rows=ROWS, seed=3)
    found = judged(frame.assign(again=frame["base"]), "base", 1)
    assert found.best_p_value == 1
    assert set(found.in_set) == {"base", "again"}
    assert found.challenger.standing.difference == 0


def test_a_noisy_variant_does_not_hide_a_sharp_one() -> None:
    sharp = scores({"sharp": (0.01, 0.02)}, rows=ROWS, seed=4)
    noise = np.random.default_rng(5).normal(scale=3.0, size=ROWS)
    found = judged(sharp.assign(noisy=sharp["base"] + noise - noise.mean()), "base", 1)
    assert found.best_p_value < 0.02


def test_neither_the_order_of_variants_nor_a_second_look_changes_a_figure() -> None:
    frame = scores({"a": (0.01, 0.1), "b": (0.0, 0.1), "c": (-0.02, 0.1)}, rows=ROWS, seed=6)
    first, again = judged(frame, "base", 3), judged(frame[["c", "base", "b", "a"]], "base", 3)
    assert repr(first) == repr(again)
    assert judged(frame, "base", 4).best_p_value == pytest.approx(first.best_p_value, abs=0.1)


def test_long_samples_are_averaged_before_they_are_resampled() -> None:
    found = judged(scores({"better": (0.03, 0.1)}, rows=25_000, seed=7), "base", 1)
    assert found.bars == 25_000
    assert found.block_bars % 3 == 0
    assert found.in_set == ("better",)


def test_rows_that_one_variant_lacks_count_for_none() -> None:
    frame = scores({"a": (0.0, 0.1)}, rows=ROWS, seed=8)
    frame.iloc[:500, 1] = np.nan
    assert repr(judged(frame, "base", 1)) == repr(judged(frame.iloc[500:], "base", 1))


def test_too_little_to_compare_is_refused() -> None:
    frame = scores({"a": (0.0, 0.1)}, rows=100, seed=9)
    with pytest.raises(NotEnoughHistoryError, match="100 bars are too few to compare forecasts"):
        judged(frame, "base", 1)
    with pytest.raises(UsageError, match="at least one more"):
        judged(frame[["base"]], "base", 1)
    with pytest.raises(UsageError, match="'other'"):
        judged(frame, "other", 1)


@given(realized=st.floats(1e-8, 1e8), forecast=st.floats(1e-8, 1e8))
def test_no_forecast_has_less_qlike_than_the_outcome_itself(realized: float, forecast: float) -> None:
    loss = quasi_likelihood(np.array([realized, realized]), np.array([forecast, realized]))
    assert loss[0] >= 0
    assert loss[1] == 0


def test_a_bar_without_trades_or_without_a_forecast_has_no_qlike() -> None:
    found = quasi_likelihood(np.array([0.0, 1.0, np.nan, 1.0]), np.array([1.0, np.nan, 1.0, 0.0]))
    assert np.isnan(found).all()


def test_more_differences_at_once_ask_for_a_larger_t() -> None:
    assert [round(least_t_of_many(count, level=0.05), 2) for count in (1, 4, 10)] == [1.96, 2.5, 2.81]
