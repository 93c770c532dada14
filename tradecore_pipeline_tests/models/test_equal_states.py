import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tradecore_pipeline.domain.errors import ModelFitError
from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.models import return_variance
from tradecore_pipeline.models.anchors import fit_anchor
from tradecore_pipeline.models.density import Floats, StudentMixture
from tradecore_pipeline.models.direction import equal_rows, state_names
from tradecore_pipeline.models.equal_states import (
    EqualStatesHMM,
    are_equal,
    deciding_nats,
    equal_if_as_likely,
    equalled,
)
from tradecore_pipeline.models.published import published_rows
from tradecore_pipeline.models.regimes import RegimeModel, fit_regimes
from tradecore_pipeline.models.return_variance import ReturnVarianceEmission
from tradecore_pipeline.models.return_variance_hmm import ReturnVarianceHMM
from tradecore_pipeline.models.return_variance_kernels import JointParameters
from tradecore_pipeline.models.return_variance_step import AnchorPrior
from tradecore_pipeline_tests.models.markets import SimulatedMarket, simulate, sticky

CHOICES: dict[str, Any] = {
    "timeframe": Timeframe("1h"),
    "states": 3,
    "restarts": 3,
    "emission": "return_variance",
    "features": (),
    "carry_bars": (1, 3),
    "seed": 7,
}
APART = JointParameters(
    np.array([0.3, -0.2]), np.array([1.0, 4.0]), np.array([2.0, 8.0]), np.array([5.0, 20.0]), np.array([10.0, 40.0])
)


def chain(rows: int, random: np.random.Generator) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    jumps, targets = random.random(rows) < 0.03, random.integers(0, 3, rows)
    last = np.maximum.accumulate(np.where(jumps, np.arange(rows), 0))
    return targets[last]


def means_apart(rows: int, seed: int, apart: float = 0.3) -> tuple[pd.DataFrame, Floats]:
    """Hours of a market whose states differ by their mean only, ``apart`` of a bar's deviations, and its states."""
    random = np.random.default_rng(seed)
    states = chain(rows, random)
    minutes = 0.007 * (apart * (states[:, None] - 1) / 60 + random.normal(size=(rows, 60)) / np.sqrt(60))
    path = np.cumsum(minutes.ravel()).reshape(rows, 60)
    index = pd.date_range("2021-01-04", periods=rows, freq="1h", tz="UTC", name="ts_open", unit="ms")
    before = np.append(0.0, path[:-1, -1])
    columns = {
        "open": before,
        "high": np.maximum(before, path.max(axis=1)),
        "low": np.minimum(before, path.min(axis=1)),
        "close": path[:, -1],
    }
    bars = pd.DataFrame({name: 20_000 * np.exp(level) for name, level in columns.items()}, index=index)
    return bars.assign(volume=1.0, realized_variance=(minutes**2).sum(axis=1), minutes=60.0), states.astype(np.float64)


def scales_apart() -> SimulatedMarket:
    return simulate(3000, scales=(0.55, 0.7, 0.9), stay=0.985, df=5.0, seed=3, frequency="1h", minutes=60)


def parameters_of(model: RegimeModel) -> JointParameters:
    assert isinstance(model.emission, ReturnVarianceEmission)
    return model.emission.parameters


@pytest.fixture(scope="module")
def market() -> tuple[pd.DataFrame, Floats]:
    return means_apart(5760, seed=2)


@pytest.fixture(scope="module")
def anchor(market: tuple[pd.DataFrame, Floats]) -> RegimeModel:
    return fit_anchor(market[0].iloc[:4320], **CHOICES)


def test_states_that_differ_by_their_means_alone_share_everything_else(anchor: RegimeModel) -> None:
    parameters = parameters_of(anchor)
    assert are_equal(parameters)
    assert (np.diff(parameters.means) > 0).all()


def test_sharing_finds_states_that_numbers_of_their_own_hide(
    market: tuple[pd.DataFrame, Floats], anchor: RegimeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    bars, states = market

    def right(model: RegimeModel) -> float:
        order = np.argsort(model.mean_returns_bps)
        return float((model.filter(bars).probabilities[:, order].argmax(axis=1) == states).mean())

    shared = right(anchor)
    monkeypatch.setattr(return_variance, "equal_if_as_likely", lambda model, *_: model)
    own = fit_anchor(bars.iloc[:4320], **CHOICES)
    assert not are_equal(parameters_of(own))
    assert shared > right(own) + 0.02


def test_states_of_close_scales_keep_their_own() -> None:
    model = fit_regimes(scales_apart().bars, **CHOICES)
    assert not are_equal(parameters_of(model))
    assert (np.diff(parameters_of(model).variance_levels) > 0).all()


def test_a_month_from_an_anchor_of_equal_states_keeps_them_and_their_bars(
    market: tuple[pd.DataFrame, Floats], anchor: RegimeModel
) -> None:
    bars = market[0]
    months = [fit_regimes(bars.iloc[first : first + 4320], anchor=anchor, **CHOICES) for first in (720, 1440)]
    shared = bars.iloc[1440:5040]
    for month in months:
        assert month.anchored
        assert are_equal(parameters_of(month))
        assert abs(month.cold_gain) < deciding_nats(3)
    assert (months[0].filter(shared).index != months[1].filter(shared).index).mean() < 0.06


def test_equal_states_are_published_under_no_name_of_volatility(
    market: tuple[pd.DataFrame, Floats], anchor: RegimeModel
) -> None:
    bars = market[0].iloc[:400]
    copy = RegimeModel.from_parts(json.loads(json.dumps(anchor.config())), anchor.to_arrays())
    assert anchor.config()["equal_scales"] is True
    assert copy.equal_scales
    states, nothing = copy.filter(bars), np.full(400, np.nan)[:, None]
    density = StudentMixture(np.ones((400, 1)), nothing, nothing, nothing)
    rows = published_rows(
        bars, model=copy, filtered=states, direction_significant=False, forecast=density, har=density,
        trend=np.zeros(400, dtype=np.int32), tick=0.01, label_threshold=0.6,
    )  # fmt: skip
    assert set(rows["volatility_regime"]) == {"Equal 1", "Equal 2", "Equal 3"}
    assert (rows["volatility_regime"] == [f"Equal {k + 1}" for k in states.index]).all()
    assert equal_rows(rows["volatility_regime"].to_numpy()).all()


def test_states_of_their_own_scales_keep_their_names_by_volatility() -> None:
    model = fit_regimes(scales_apart().bars, **CHOICES)
    assert model.config()["equal_scales"] is False
    assert [name for name, _ in state_names(model)] == ["Calm", "Normal", "Turbulent"]


def test_an_anchor_of_equal_states_lets_go_where_scales_have_come_apart(anchor: RegimeModel) -> None:
    month = fit_regimes(scales_apart().bars, anchor=anchor, **CHOICES)
    assert not month.anchored
    assert not are_equal(parameters_of(month))


def begun(X: Floats, **options: Any) -> EqualStatesHMM:
    model = EqualStatesHMM(2, random_state=1, start="return", n_iter=1, tol=0.0, **options)
    model.fit(X)
    model.init_params = ""
    return model


def rows_of(seed: int) -> Floats:
    random = np.random.default_rng(seed)
    states = np.cumsum(random.random(2000) < 0.02) % 2
    variance = random.chisquare(20, 2000) / 20
    return np.column_stack((0.6 * states - 0.3 + random.normal(size=2000), variance, random.normal(size=2000)))


def test_em_with_equal_states_never_lowers_the_posterior_and_keeps_them_equal() -> None:
    X = rows_of(1)
    common = equalled(APART)._replace(return_scales=np.ones(2), variance_levels=np.ones(2))
    model, previous = (
        begun(X, prior=AnchorPrior.of(common, np.full(2, 300.0)), transmat_prior=np.full((2, 2), 20.0)),
        -np.inf,
    )
    for _ in range(40):
        model.fit(X)
        assert model.monitor_.history[-1] >= previous - 1e-9 * abs(previous if np.isfinite(previous) else 1)
        assert are_equal(model.parameters)
        previous = model.monitor_.history[-1]


def test_a_strong_prior_holds_the_means_where_the_anchor_has_them() -> None:
    X = rows_of(2)
    far = equalled(APART)._replace(means=np.array([-2.0, 2.0]), return_scales=np.ones(2), variance_levels=np.ones(2))
    found = []
    for bars in (1e-6, 1e6):
        model = EqualStatesHMM(2, prior=AnchorPrior.of(far, np.full(2, bars)), init_params="", n_iter=30)
        model.startprob_, model.transmat_ = np.full(2, 0.5), sticky(2, 0.98)
        model.set_emission(far._replace(means=np.array([-0.3, 0.3])), np.zeros(1))
        model.fit(X)
        found.append(np.abs(model.means_ - far.means))
    assert found[0].min() > 1.0
    assert found[1].max() < 0.05


def test_states_in_order_of_their_means_keep_their_transitions() -> None:
    X = rows_of(4)
    model = begun(X)
    model.means_, model.transmat_ = np.array([0.4, -0.4]), np.array([[0.99, 0.01], [0.05, 0.95]])
    before = model.score(X)
    model.sort_by_mean()
    assert (np.diff(model.means_) > 0).all()
    np.testing.assert_array_equal(np.diag(model.transmat_), [0.95, 0.99])
    assert model.score(X) == pytest.approx(before, rel=1e-12)


def test_states_of_equal_bars_may_last_differently() -> None:
    X = rows_of(4)
    model = begun(X)
    for _ in range(40):
        model.fit(X)
    assert np.ptp(np.diag(model.transmat_)) > 0


def test_equalling_takes_the_geometric_mean_and_leaves_the_means() -> None:
    common = equalled(APART)
    np.testing.assert_array_equal(common.means, APART.means)
    np.testing.assert_allclose(common.return_scales, 2.0)
    np.testing.assert_allclose(common.variance_levels, 4.0)
    assert are_equal(common)
    assert not are_equal(APART)


def test_a_refused_fit_of_equal_states_changes_nothing() -> None:
    X, lengths = rows_of(3), np.array([2000])
    model = ReturnVarianceHMM(2, random_state=1, start="return", n_iter=20, tol=1e-3)
    model.fit(X)

    def refused() -> EqualStatesHMM:
        raise ModelFitError("state 1 of 2 held 1.0% of the window, under 5%")

    assert equal_if_as_likely(model, refused, X, lengths) is model
