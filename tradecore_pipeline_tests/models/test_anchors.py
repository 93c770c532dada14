from datetime import date
from typing import Any

import numpy as np
import pytest

from tradecore_pipeline.domain.errors import ModelFitError, NotEnoughHistoryError
from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.models.alignment import relabelled_share
from tradecore_pipeline.models.anchors import anchor_window_end, fit_anchor
from tradecore_pipeline.models.regimes import RegimeModel, fit_regimes
from tradecore_pipeline_tests.models.markets import SimulatedMarket, simulate

HOUR = Timeframe("1h")
CHOICES: dict[str, Any] = {
    "timeframe": HOUR,
    "states": 3,
    "restarts": 3,
    "emission": "return_variance",
    "features": (),
    "carry_bars": (1, 3),
    "seed": 7,
}


@pytest.fixture(scope="module")
def long_market() -> SimulatedMarket:
    return simulate(5000, scales=(0.4, 0.7, 1.3), stay=0.985, df=5.0, seed=3, frequency="1h", minutes=60)


@pytest.fixture(scope="module")
def anchor(long_market: SimulatedMarket) -> RegimeModel:
    return fit_anchor(long_market.bars.iloc[:2500], **CHOICES)


def test_the_anchor_is_januarys_where_there_was_history_and_else_the_first_possible() -> None:
    assert anchor_window_end(date(2022, 9, 14), date(2020, 3, 1)) == date(2022, 1, 1)
    assert anchor_window_end(date(2022, 9, 1), date(2022, 7, 1)) == date(2022, 7, 1)
    assert anchor_window_end(date(2022, 7, 31), date(2022, 7, 1)) == date(2022, 7, 1)
    with pytest.raises(NotEnoughHistoryError, match="2022-07 or later"):
        anchor_window_end(date(2022, 6, 1), date(2022, 7, 1))


@pytest.mark.parametrize("month", [date(2021, m, 1) for m in range(1, 13)])
def test_an_anchor_never_comes_after_its_month(month: date) -> None:
    assert anchor_window_end(month, date(2021, 1, 1)) <= month


def test_a_month_fitted_alone_is_the_month_fitted_in_a_chain(long_market: SimulatedMarket, anchor: RegimeModel) -> None:
    def month(first: int) -> RegimeModel:
        return fit_regimes(long_market.bars.iloc[first : first + 2500], anchor=anchor, **CHOICES)

    chain = [month(first) for first in (700, 1400, 2100)]
    alone = month(2100)
    for name, value in alone.to_arrays().items():
        np.testing.assert_array_equal(value, chain[-1].to_arrays()[name])


def test_states_keep_their_bars_from_month_to_month(long_market: SimulatedMarket, anchor: RegimeModel) -> None:
    bars = long_market.bars
    models = [fit_regimes(bars.iloc[first : first + 2500], anchor=anchor, **CHOICES) for first in (700, 1400)]
    assert relabelled_share(models[0], models[1], bars.iloc[1400:3200]) < 0.03
    assert all(model.anchored and model.order_agrees for model in models)
    assert all(np.isfinite(model.cold_gain) for model in models)


def test_relabelling_counts_the_bars_that_are_called_otherwise(
    long_market: SimulatedMarket, anchor: RegimeModel
) -> None:
    assert relabelled_share(anchor, anchor, long_market.bars) == 0
    other = fit_regimes(long_market.bars.iloc[:2500], **{**CHOICES, "states": 2})
    assert 0 < relabelled_share(anchor, other, long_market.bars) < 1


def test_a_window_that_lost_one_of_the_anchors_states_is_fitted_afresh(anchor: RegimeModel) -> None:
    calm = simulate(1500, scales=(0.39, 0.4), stay=0.5, df=8.0, seed=9, frequency="1h", minutes=60).bars
    model = fit_regimes(calm, anchor=anchor, **CHOICES)
    assert not model.anchored
    assert np.isnan(model.cold_gain)


@pytest.mark.parametrize("change", [{"carry_bars": (1,)}, {"emission": "student_t", "features": ("scaled_return",)}])
def test_an_anchor_of_other_settings_is_refused(
    long_market: SimulatedMarket, anchor: RegimeModel, change: dict[str, object]
) -> None:
    with pytest.raises(ModelFitError, match="fit it with these settings"):
        fit_regimes(long_market.bars.iloc[:2500], anchor=anchor, **{**CHOICES, **change})


@pytest.mark.parametrize("emission", ["student_t", "gaussian"])
def test_families_of_features_go_on_from_an_anchor_too(long_market: SimulatedMarket, emission: str) -> None:
    choices = {**CHOICES, "emission": emission, "features": ("scaled_return", "log_realized_variance")}
    first = fit_anchor(long_market.bars.iloc[:2500], **choices)
    again = fit_regimes(long_market.bars.iloc[:2500], anchor=first, **choices)
    assert again.anchored
    assert again.log_likelihood == pytest.approx(first.log_likelihood, abs=1e-3)
    assert relabelled_share(first, again, long_market.bars) < 0.01
