import json

import numpy as np
import pandas as pd
import pytest

from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.models.density import StudentMixture
from tradecore_pipeline.models.evidence import POOL, Evidence, HeldOutReport, held_out_report
from tradecore_pipeline.models.pool import BASELINE
from tradecore_pipeline.models.pool_members import HarFamily, fit_har_family
from tradecore_pipeline.models.returns import next_percent_returns
from tradecore_pipeline_tests.models.markets import SimulatedMarket

HOUR = Timeframe("1h")
CLAIRVOYANT = "clairvoyant"


@pytest.fixture(scope="module")
def bars(market: SimulatedMarket) -> pd.DataFrame:
    return market.bars


@pytest.fixture(scope="module")
def family(bars: pd.DataFrame) -> HarFamily:
    return fit_har_family(bars, timeframe=HOUR, seed=7)


def report(bars: pd.DataFrame, family: HarFamily, more: dict[str, StudentMixture]) -> HeldOutReport:
    forecasts, first = family.held_out(bars)
    forecasts |= more
    scores = family.held_out_scores(forecasts, bars, first)
    found = held_out_report(bars, forecasts, scores, timeframe=HOUR, tick=family.har.tick, seed=7)
    assert found is not None
    return found


def named(found: HeldOutReport) -> dict[str, Evidence]:
    return {row.name: row for row in found.table}


def test_a_forecast_that_knows_the_sign_is_told_from_those_that_do_not(bars: pd.DataFrame, family: HarFamily) -> None:
    har = family.har.forecast(bars)
    mean = np.nan_to_num(0.3 * next_percent_returns(bars, HOUR))
    seer = StudentMixture.single(mean, har.scales[:, 0], har.dfs[:, 0])
    rows = named(report(bars, family, {CLAIRVOYANT: seer}))
    known, zero = rows[CLAIRVOYANT], rows["zero"]
    assert known.direction == 1
    assert known.direction_interval == (1, 1)
    assert known.rank_ic > 0.99
    assert known.r2 == pytest.approx(1 - 0.7**2, abs=0.01)
    assert known.gain > 0
    assert known.gain_t > 5
    assert np.isnan(zero.direction)
    assert np.isnan(zero.rank_ic)
    assert zero.r2 == 0
    for name in ("momentum", "persistence", "ridge"):
        low, high = rows[name].direction_interval
        assert low < rows[name].direction < high
        assert low < 0.53
        assert high > 0.47
        assert rows[name].rank_ic_interval[0] < 0.05


def test_only_held_out_bars_are_scored_and_all_forecasts_on_the_same_ones(
    bars: pd.DataFrame, family: HarFamily
) -> None:
    found = report(bars, family, {})
    assert found.first == family.held_out_from
    assert found.last == bars.index[-1]
    assert {row.bars for row in found.table} == {len(bars) - round(2 / 3 * len(bars))}
    assert next(iter(found.table)).name == POOL
    assert named(found)[BASELINE].gain == 0
    assert found.pit_shares.sum() == pytest.approx(1)


def test_shuffled_returns_show_no_direction(market: SimulatedMarket) -> None:
    random = np.random.default_rng(5)
    returns = np.diff(np.log(market.bars["close"].to_numpy()), prepend=np.log(market.bars["close"].iloc[0]))
    close = 100 * np.exp(np.cumsum(random.permutation(returns)))
    shuffled = market.bars.assign(close=close, open=np.append(close[:1], close[:-1]))
    shuffled = shuffled.assign(high=np.maximum(shuffled["open"], close), low=np.minimum(shuffled["open"], close))
    family = fit_har_family(shuffled, timeframe=HOUR, seed=7)
    ridge = named(report(shuffled, family, {}))["ridge"]
    assert ridge.direction_interval[0] < 0.5
    assert ridge.rank_ic_interval[0] < 0
    assert ridge.r2 < 0.01


def test_the_report_is_plain_json_without_nan(bars: pd.DataFrame, family: HarFamily) -> None:
    text = json.dumps(report(bars, family, {}).to_json(), allow_nan=False)
    assert json.loads(text)["table"][0]["name"] == POOL


def test_too_few_held_out_bars_give_no_report(bars: pd.DataFrame) -> None:
    short = bars.iloc[:300]
    family = fit_har_family(short, timeframe=HOUR, seed=7)
    forecasts, first = family.held_out(short)
    scores = family.held_out_scores(forecasts, short, first)
    assert held_out_report(short, forecasts, scores, timeframe=HOUR, tick=0.01, seed=7) is None
