"""Parameters of a strategy are chosen on the bars before each month, and on nothing else."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tradecore_pipeline.backtest.bars import Funding
from tradecore_pipeline.domain.errors import NotEnoughHistoryError, UsageError
from tradecore_pipeline.strategies.market import Market
from tradecore_pipeline.strategies.reading import variant
from tradecore_pipeline.strategies.registry import Registry
from tradecore_pipeline.tuning.strategies import Rolling, TuningPlan, best_values, choices_of, knobs_of, with_values
from tradecore_pipeline_tests.strategies.worlds import HOUR, series

PLAN = TuningPlan(bars=480, trials=12, seed=3, threads=1)
BARS = 24 * 100
"""From January 2024 to the beginning of April."""


def own(seed: int = 5, count: int = BARS) -> Market:
    """One number of states throughout."""
    return series(seed, HOUR, 2 * BARS).rows(0, count)


def rolling(market: Market, plan: TuningPlan = PLAN, name: str = "simple") -> Rolling:
    return Rolling(variant(name), Registry(), {"a": market}, {"a": Funding.none()}, plan)


def nothing(_: str) -> None:
    pass


def test_a_months_choice_depends_on_the_bars_before_it_alone() -> None:
    market = own()
    february = int((market.bars["ts_close"] <= pd.Timestamp("2024-02-01", tz="UTC")).sum())
    plans, choices = rolling(market).run(done=nothing)
    other = own(seed=6)
    changed = replace(
        market,
        forecast=np.concatenate((market.forecast[:february], other.forecast[february:])),
        probabilities=np.concatenate((market.probabilities[:february], other.probabilities[february:])),
    )
    again_plans, again = rolling(changed).run(done=nothing)
    assert again[1] == choices[1], "February's was chosen on January"
    assert again[2] != choices[2]
    assert np.array_equal(again_plans["a"].size[:february], plans["a"].size[:february])


def test_each_months_rows_are_those_of_its_own_values() -> None:
    market = own()
    plans, choices = rolling(market).run(done=nothing)
    from tradecore_pipeline.strategies.decision import Strategy  # noqa: PLC0415 (only here)

    months = pd.DatetimeIndex(market.bars["ts_close"] - pd.Timedelta(nanoseconds=1)).tz_localize(None).to_period("M")
    assert choices[0].chosen == {}, "nothing came before the first month: its own values stand"
    for choice in choices:
        plan = Strategy.of(with_values(variant("simple"), choice.chosen), Registry()).plan(market)
        rows = np.asarray(months == pd.Period(f"{choice.month:%Y-%m}"))
        closes = market.bars["ts_close"].to_numpy()[rows]
        # The last close before a month decides by the month before: its period is the one it closes.
        assert np.array_equal(plans["a"].size[rows], plan.size[rows]), closes[0]
        assert np.array_equal(plans["a"].exits.stop[rows], plan.exits.stop[rows], equal_nan=True)


def test_the_same_seed_gives_the_same_choices_on_any_number_of_threads() -> None:
    market = own()
    _, one = rolling(market).run(done=nothing)
    _, two = rolling(market, replace(PLAN, threads=2)).run(done=nothing)
    _, other = rolling(market, replace(PLAN, seed=4)).run(done=nothing)
    assert [choice.chosen for choice in one] == [choice.chosen for choice in two]
    assert [choice.chosen for choice in one] != [choice.chosen for choice in other]


def test_the_best_trial_is_taken_and_the_own_values_are_the_first() -> None:
    asked: list[Mapping[str, float]] = []

    def worth(values: Mapping[str, float]) -> float:
        asked.append(dict(values))
        return -abs(values["risk_management.stop_loss"] - 0.03)

    knobs = knobs_of(variant("simple"))
    own_values = {knob.name: knob.low for knob in knobs}
    found, best, own_worth = best_values(worth, knobs, own_values, replace(PLAN, trials=50))
    assert asked[0] == own_values
    tried = list(asked)
    assert own_worth == worth(own_values)
    assert best == max(worth(values) for values in tried)
    assert all(knob.low <= values[knob.name] <= knob.high for values in tried for knob in knobs)
    assert found["risk_management.stop_loss"] == pytest.approx(0.03, abs=0.01)


def test_every_months_choice_is_one_of_the_same_ones_which_can_be_listed() -> None:
    _, choices = rolling(own()).run(done=nothing)
    listed = choices_of(variant("simple"), PLAN)
    assert len(listed) == PLAN.trials == len({tuple(values.values()) for values in listed})
    chosen = [choice.chosen for choice in choices if choice.chosen]
    assert len(chosen) > 1
    assert all(values in listed for values in chosen)


def test_a_strategy_without_anything_to_tune_and_a_span_too_short_say_so() -> None:
    with pytest.raises(UsageError, match="nothing of VolatilityTargetEntryMixin with NoExitMixin is tuned"):
        rolling(own(), name="vol_target").run(done=nothing)
    with pytest.raises(NotEnoughHistoryError, match="no month has 480 bars"):
        rolling(own(count=600)).run(done=nothing)
