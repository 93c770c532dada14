import json

import numpy as np
import pytest

from tradecore_pipeline.domain.errors import InvalidDataError
from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.models.density import Floats
from tradecore_pipeline.models.pool import BASELINE
from tradecore_pipeline.models.pool_members import FIRST_PART, SWITCHING, HarFamily, fit_har_family
from tradecore_pipeline_tests.models.markets import SimulatedMarket

HOUR = Timeframe("1h")
WINDOW = 2000


@pytest.fixture(scope="module")
def family(market: SimulatedMarket) -> HarFamily:
    return fit_har_family(market.bars.iloc[:WINDOW], timeframe=HOUR, seed=7)


def test_it_is_stored_and_read_back_exactly(market: SimulatedMarket, family: HarFamily) -> None:
    copy = HarFamily.from_parts(json.loads(json.dumps(family.config())), family.to_arrays())
    assert (copy.held_out_from, copy.window_end) == (family.held_out_from, family.window_end)
    assert copy.early is not None
    assert family.early is not None
    for one, two in ((family.whole, copy.whole), (family.early, copy.early)):
        ours, theirs = one.forecasts(market.bars), two.forecasts(market.bars)
        assert set(ours) == set(theirs) == {BASELINE, SWITCHING}
        for name, density in ours.items():
            np.testing.assert_array_equal(density.scales, theirs[name].scales)


def test_held_out_scores_are_of_bars_that_the_early_fits_never_saw(market: SimulatedMarket, family: HarFamily) -> None:
    cut = round(FIRST_PART * WINDOW)
    changed = market.bars.iloc[:WINDOW].copy()
    prices = ["open", "high", "low", "close"]
    changed.iloc[cut:, [changed.columns.get_loc(name) for name in prices]] *= 1.5
    again = fit_har_family(changed, timeframe=HOUR, seed=7)
    assert family.early is not None
    assert again.early is not None
    ours, theirs = family.early.to_arrays(), again.early.to_arrays()
    for name, values in ours.items():
        np.testing.assert_array_equal(theirs[name], values, err_msg=name)
    window = market.bars.iloc[:WINDOW]
    forecasts, first = family.held_out(window)
    scores = family.held_out_scores(forecasts, window, first)
    assert first == cut - 1
    for values in scores.values():
        assert np.isnan(values[:first]).all()
        assert np.isfinite(values[first:-1]).all()


def test_a_window_too_short_for_an_early_fit_says_nothing_of_any_member(market: SimulatedMarket) -> None:
    family = fit_har_family(market.bars.iloc[:300], timeframe=HOUR, seed=7)
    window = market.bars.iloc[:300]
    forecasts, first = family.held_out(window)
    assert family.early is None
    assert family.held_out_scores(forecasts, window, first) == {}
    copy = HarFamily.from_parts(json.loads(json.dumps(family.config())), family.to_arrays())
    assert copy.early is None


def test_members_score_by_the_price_step_of_their_own_window(market: SimulatedMarket, family: HarFamily) -> None:
    scores: dict[str, Floats] = family.whole.scores(family.whole.forecasts(market.bars), market.bars)
    assert np.isnan(scores[BASELINE][-1])
    assert np.isfinite(scores[BASELINE][200:-1]).all()


def test_a_model_of_an_earlier_version_says_so(family: HarFamily) -> None:
    with pytest.raises(InvalidDataError, match="train the month again"):
        HarFamily.from_parts(family.har.config(), family.to_arrays())
