from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from tradecore_pipeline.domain.errors import ModelFitError, NotEnoughHistoryError
from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.models.regimes import RegimeModel, fit_regimes
from tradecore_pipeline.models.review import Fit, StatesReview, recommend, review_states
from tradecore_pipeline_tests.models.markets import SimulatedMarket

HOUR = Timeframe("1h")
LAGS = 5


def fitting(features: tuple[str, ...] = ()) -> Fit:
    def fit(bars: pd.DataFrame, columns: pd.DataFrame | None, states: int) -> RegimeModel:
        return fit_regimes(
            bars, columns, timeframe=HOUR, states=states, restarts=2,
            emission="student_t" if features else "return_variance", features=features, carry_bars=(1,), seed=7,
        )  # fmt: skip

    return fit


def review_of(bars: pd.DataFrame, states: list[int], fit: Fit | None = None) -> list[StatesReview]:
    return review_states(bars, states=states, folds=3, label_threshold=0.6, fit=fit or fitting())


@pytest.fixture(scope="module")
def reviews(market: SimulatedMarket) -> list[StatesReview]:
    return review_of(market.bars, [2, 3])


def test_the_true_number_of_states_scores_best_on_bars_held_out(reviews: list[StatesReview]) -> None:
    two, three = reviews
    assert two.next_bar_scores is not None
    assert three.next_bar_scores is not None
    assert len(three.next_bar_scores) == len(three.log_likelihoods) == 1500
    assert three.next_bar_scores.mean() > two.next_bar_scores.mean() + 0.01
    assert three.relabelled < 0.1
    assert three.held_switches <= three.switches
    assert recommend(reviews, lags=48)[0] == 3


def test_every_held_out_bar_is_scored_by_a_model_that_ended_before_it(market: SimulatedMarket) -> None:
    ends: list[pd.Timestamp] = []
    plain = fitting()

    def fit(bars: pd.DataFrame, columns: pd.DataFrame | None, states: int) -> RegimeModel:
        ends.append(bars.index[-1])
        return plain(bars, columns, states)

    bars = market.bars.iloc[:2000]
    before = review_of(bars, [2], fit)[0]
    assert [bars.index.get_loc(end) for end in ends] == [1999, 999, 1332, 1665]
    # Scrambled from the last block on, the whole window's fit apart, the scores of the blocks before are the same.
    changed = bars.copy()
    changed.iloc[1667:] = bars.iloc[1667:].to_numpy()[::-1]
    after = review_of(changed, [2])[0]
    assert before.next_bar_scores is not None
    assert after.next_bar_scores is not None
    np.testing.assert_array_equal(before.next_bar_scores[:666], after.next_bar_scores[:666])
    assert (before.next_bar_scores[667:] != after.next_bar_scores[667:]).any()


def test_a_number_without_an_acceptable_fit_is_out_with_the_reason(market: SimulatedMarket) -> None:
    plain = fitting()

    def fit(bars: pd.DataFrame, columns: pd.DataFrame | None, states: int) -> RegimeModel:
        if states == 3:
            raise ModelFitError("one of 3 states died: use fewer")
        return plain(bars, columns, states)

    found = review_of(market.bars.iloc[:2000], [2, 3], fit)
    assert found[1].objection == "no acceptable fit: one of 3 states died"
    assert recommend(found, lags=LAGS) == (2, "2 states: 3 is out (no acceptable fit: one of 3 states died)")


def test_a_model_without_a_density_of_returns_is_compared_by_its_likelihood(market: SimulatedMarket) -> None:
    (found,) = review_of(market.bars.iloc[:2000], [2], fitting(("log_realized_variance",)))
    assert found.next_bar_scores is None
    assert found.evidence is found.log_likelihoods


def test_a_window_too_short_for_its_folds_is_refused(market: SimulatedMarket) -> None:
    with pytest.raises(NotEnoughHistoryError, match="lengthen the training window"):
        review_states(market.bars.iloc[:8], states=[2], folds=4, label_threshold=0.6, fit=fitting())


def made_up(states: int, score: float, **changes: object) -> StatesReview:
    noise = np.random.default_rng(states).normal(0, 0.02, 1000)
    given: dict[str, object] = {
        "states": states, "failure": "", "log_likelihoods": np.zeros(1000), "next_bar_scores": score + noise,
        "occupancy": np.full(states, 1 / states), "durations": np.full(states, 50.0), "relabelled": 0.05,
        "switches": 20.0, "held_switches": 10.0,
    }  # fmt: skip
    return StatesReview(**(given | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("larger", "number", "words"),
    [
        (lambda: made_up(3, 0.05), 3, "3 gains +0.0"),
        (lambda: made_up(3, 0.006), 2, "under 0.01"),
        (lambda: made_up(3, -0.02), 2, "within two standard errors"),
        (lambda: made_up(3, 0.05, relabelled=0.5), 2, "overlapping windows disagree on 50%"),
        (lambda: made_up(3, 0.05, occupancy=np.array([0.5, 0.47, 0.03])), 2, "a state holds 3.0% of the window"),
        (lambda: made_up(3, 0.05, durations=np.array([90.0, 40.0, 1.5])), 2, "a state lasts 1.5 bars"),
    ],
)
def test_a_larger_number_has_to_earn_its_place(larger: Callable[[], StatesReview], number: int, words: str) -> None:
    recommended, reason = recommend([larger(), made_up(2, 0.0)], lags=LAGS)
    assert recommended == number
    assert words in reason


def test_an_unstable_smallest_number_is_recommended_but_said_to_be() -> None:
    recommended, reason = recommend([made_up(2, 0.0, relabelled=0.3)], lags=LAGS)
    assert recommended == 2
    assert "2 is not stable (overlapping windows disagree on 30%" in reason


def test_there_may_be_nothing_to_recommend() -> None:
    recommended, reason = recommend([made_up(2, 0.0, durations=np.array([2.0, 90.0]))], lags=LAGS)
    assert recommended is None
    assert reason.startswith("no number of states is acceptable")
