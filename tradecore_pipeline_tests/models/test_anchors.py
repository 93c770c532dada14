from typing import Any

import numpy as np
import pytest

from tradecore_pipeline.domain.errors import ModelFitError
from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.models import gaussian_hmm, return_variance
from tradecore_pipeline.models.alignment import relabelled_share
from tradecore_pipeline.models.anchors import fit_anchor
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
BOTH = ("scaled_return", "log_realized_variance")


@pytest.fixture(scope="module")
def long_market() -> SimulatedMarket:
    return simulate(5000, scales=(0.4, 0.7, 1.3), stay=0.985, df=5.0, seed=3, frequency="1h", minutes=60)


@pytest.fixture(scope="module")
def anchor(long_market: SimulatedMarket) -> RegimeModel:
    return fit_anchor(long_market.bars.iloc[:2500], **CHOICES)


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
    choices: dict[str, Any] = {**CHOICES, "emission": emission, "features": BOTH}
    first = fit_anchor(long_market.bars.iloc[:2500], **choices)
    again = fit_regimes(long_market.bars.iloc[:2500], anchor=first, **choices)
    assert again.anchored
    assert again.log_likelihood == pytest.approx(first.log_likelihood, abs=1e-3)
    assert relabelled_share(first, again, long_market.bars) < 0.01


@pytest.mark.parametrize("emission", ["student_t", "gaussian"])
def test_fresh_starts_gain_nothing_on_a_market_that_stayed_as_it_was(emission: str) -> None:
    # Its tails are such that a Gaussian fit clips three bars.
    bars = simulate(3200, scales=(0.4, 0.7, 1.3), stay=0.985, df=2.5, seed=3, frequency="1h", minutes=60).bars
    choices: dict[str, Any] = {**CHOICES, "emission": emission, "features": BOTH}
    first = fit_anchor(bars.iloc[:2500], **choices)
    later = fit_regimes(bars.iloc[700:], anchor=first, **choices)
    assert later.anchored
    assert abs(later.cold_gain) < 1


def test_one_80_sigma_bar_takes_no_state_of_an_anchored_gaussian_fit(long_market: SimulatedMarket) -> None:
    choices: dict[str, Any] = {**CHOICES, "emission": "gaussian", "features": BOTH}
    window = long_market.bars.iloc[700:3200]
    first = fit_anchor(long_market.bars.iloc[:2500], **choices)
    clean = fit_regimes(window, anchor=first, **choices)
    jumped = window.copy()
    prices = ["open", "high", "low", "close"]
    jumped.loc[jumped.index[1500] :, prices] *= np.exp(80 * long_market.returns.std() / 100)
    jumped.loc[jumped.index[1500], "realized_variance"] = (80 * long_market.returns.std() / 100) ** 2
    found = fit_regimes(jumped, anchor=first, **choices)
    assert found.anchored
    assert relabelled_share(clean, found, long_market.bars) < 0.03
    own, other = (np.einsum("kii->ki", model.emission.to_arrays()["covars"]) for model in (found, clean))
    np.testing.assert_allclose(own, other, rtol=0.4)
    assert abs(found.cold_gain) < 1


def test_a_covariance_that_an_anchor_leads_to_is_held_to_the_same_condition(
    long_market: SimulatedMarket, monkeypatch: pytest.MonkeyPatch
) -> None:
    choices: dict[str, Any] = {**CHOICES, "emission": "gaussian", "features": BOTH}
    first = fit_anchor(long_market.bars.iloc[:2500], **choices)
    monkeypatch.setattr(gaussian_hmm, "MAXIMUM_CONDITION", 1.0)
    with pytest.raises(ModelFitError, match="condition number"):
        fit_regimes(long_market.bars.iloc[700:3200], anchor=first, **choices)


def test_a_diagnostic_that_fails_costs_no_anchored_fit(
    long_market: SimulatedMarket, anchor: RegimeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise ModelFitError("no start survived its first iterations")

    monkeypatch.setattr(return_variance, "best_of_restarts", refused)
    model = fit_regimes(long_market.bars.iloc[700:3200], anchor=anchor, **CHOICES)
    assert model.anchored
    assert np.isnan(model.cold_gain)
