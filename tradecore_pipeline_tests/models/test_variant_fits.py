import numpy as np
import pandas as pd
import pytest

from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.models.density import StudentMixture
from tradecore_pipeline.models.peers import fit_baseline
from tradecore_pipeline.models.variant_fits import Fold, _least_qlike, density_of, period_variances, realized_variances
from tradecore_pipeline.models.variants import parse_variant
from tradecore_pipeline_tests.models.markets import simulate
from tradecore_pipeline_tests.models.test_variants import DEFAULTS

HOUR = Timeframe("1h")
WINDOW = 1_200


@pytest.fixture(scope="module")
def bars() -> pd.DataFrame:
    return simulate(1_500, scales=(0.3, 1.2), stay=0.98, df=8, seed=3, frequency="1h", minutes=60).bars


def fold(bars: pd.DataFrame, until: int) -> Fold:
    return Fold(HOUR, bars.iloc[:WINDOW], bars.iloc[:until], None, None)


def test_a_variant_is_the_model_that_its_family_names(bars: pd.DataFrame) -> None:
    ours = density_of(parse_variant("har", DEFAULTS), fold(bars, 1_500))
    np.testing.assert_array_equal(ours.scales, fit_baseline(bars.iloc[:WINDOW], HOUR).forecast(bars).scales)


@pytest.mark.parametrize("text", ["ewma-t", "har", "switching-har", "hmm:states=2"])
def test_no_forecast_changes_with_what_came_later(bars: pd.DataFrame, text: str) -> None:
    variant = parse_variant(text, DEFAULTS)
    results = []
    for until in (1_300, 1_500):
        own = fold(bars, until)
        density = density_of(variant, own)
        results.append(np.vstack((density.variance, period_variances(density, own, bars=24)))[:, :1_300])
    np.testing.assert_array_equal(*results)


def test_realized_variances_are_those_of_whole_stretches_of_bars(bars: pd.DataFrame) -> None:
    with_gap = bars.iloc[:100].drop(bars.index[50])
    found = realized_variances(with_gap, HOUR, bars=24)
    own = 1e4 * with_gap["realized_variance"].to_numpy()
    assert found[10] == pytest.approx(own[10:34].sum())
    assert np.flatnonzero(np.isnan(found)).tolist() == [*range(27, 50), *range(76, 99)]
    halved = with_gap.assign(minutes=30.0)
    np.testing.assert_allclose(realized_variances(halved, HOUR, bars=1), 2 * own)


def test_a_day_of_a_market_that_never_changes_is_twenty_four_of_its_hours() -> None:
    market = simulate(3_000, scales=(0.5, 0.5), stay=0.9, df=200, seed=4, frequency="1h", minutes=60)
    own = Fold(HOUR, market.bars, market.bars, None, None)
    flat = StudentMixture.single(0.0, np.full(3_000, 0.7), 5.0)
    found = period_variances(flat, own, bars=24)
    realized = realized_variances(market.bars, HOUR, bars=24)
    assert np.nanmean(realized / found) == pytest.approx(1, abs=0.02)


def test_the_line_of_least_qlike_is_found_and_is_flat_where_there_is_none() -> None:
    random = np.random.default_rng(5)
    level = random.normal(scale=1.5, size=5_000)
    outcomes = np.exp(0.3 + 0.6 * level) * random.chisquare(20, size=5_000) / 20
    intercept, slope = _least_qlike(level, outcomes)
    assert intercept == pytest.approx(0.3, abs=0.02)
    assert slope == pytest.approx(0.6, abs=0.02)
    assert _least_qlike(np.zeros(5_000), outcomes) == (pytest.approx(np.log(outcomes.mean())), 0.0)
