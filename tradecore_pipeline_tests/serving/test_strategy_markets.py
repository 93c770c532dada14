"""What a strategy reads of a home: published rows as they were known, settlements, and refusals that say what to do."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tradecore_pipeline.backtest.permutation import moved
from tradecore_pipeline.defs.older_models import older_opinions
from tradecore_pipeline.domain.errors import InvalidDataError, MissingInputError, UsageError
from tradecore_pipeline.domain.tables import BARS, FUNDING_RATES, REGIMES
from tradecore_pipeline.domain.time import day_start
from tradecore_pipeline.serving.backtest_home import backtest_home
from tradecore_pipeline.serving.backtest_run import labels_by_volatility, state_names
from tradecore_pipeline.serving.strategy_markets import Gathered, Home, gather
from tradecore_pipeline.storage.lake import Lake
from tradecore_pipeline.storage.layout import Layout
from tradecore_pipeline.strategies.higher import beside
from tradecore_pipeline.strategies.market import NO_STATE
from tradecore_pipeline.strategies.schema import StrategyConfig
from tradecore_pipeline_tests.chain import BTC, FEBRUARY, HOUR, MARCH, SPOT, TODAY, Chain, copy_home

LATE = date(2025, 2, 20)


def config(**sections: Any) -> StrategyConfig:
    return StrategyConfig.model_validate({"name": "x", **sections})


def home_of(chain: Chain) -> Home:
    adapters = chain.adapters
    return backtest_home(
        adapters.lake, adapters.registry, recall=lambda *asked: older_opinions(adapters, *asked), label_threshold=0.6
    )


@pytest.fixture(scope="module")
def home(chain: Chain) -> Home:
    return home_of(chain)


@pytest.fixture(scope="module")
def whole(home: Home) -> Gathered:
    return gather(home, BTC, config(), first=None, last=None)


def rows(chain: Chain) -> pd.DataFrame:
    return chain.adapters.lake.read(
        REGIMES, BTC, day_start(FEBRUARY), day_start(TODAY) + timedelta(days=1), timeframe=HOUR
    )


def test_every_bar_has_what_was_published_for_it(chain: Chain, whole: Gathered) -> None:
    published, market = rows(chain), whole.market
    assert market.bars.index.equals(published.index)
    assert market.known.all()
    assert np.array_equal(market.forecast, published["forecast_log_return"])
    assert np.array_equal(market.held, published["held_index"])
    assert np.array_equal(market.probabilities, np.vstack(published["filtered_probability"].to_list()))
    assert whole.notes == ()
    assert [len(runs) for runs in whole.runs.values()] == [2, 2]


def test_a_held_state_bears_its_own_name_and_not_the_most_probable_ones(chain: Chain, whole: Gathered) -> None:
    published = rows(chain)
    for run in published["hmm_run_id"].unique():
        own = (published["hmm_run_id"] == run).to_numpy()
        names = dict(zip(published["regime_index"][own], published["regime"][own], strict=True))
        expected = [names.get(state) for state in whole.market.held[own]]
        assert all(
            name is None or name == found for name, found in zip(expected, whole.market.regime[own], strict=True)
        )
    assert set(whole.market.regime) <= {"Bear", "Chop", "Bull"}


def test_a_name_that_no_row_shows_comes_from_the_model_itself(chain: Chain, whole: Gathered) -> None:
    home = home_of(chain)
    published = rows(chain)
    index = published.index[np.flatnonzero(np.diff(whole.market.held))[0] + 1]
    alone = gather(home, BTC, config(), first=index.date(), last=index.date())
    place = whole.market.bars.index.get_indexer(alone.market.bars.index)
    assert alone.market.regime.tolist() == whole.market.regime[place].tolist()


def test_a_month_of_equal_states_has_no_names_by_volatility(
    home: Home, whole: Gathered, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not whole.market.equal_states.any()
    equal = whole.market.bars.index >= day_start(MARCH)
    read = Lake.read

    def renamed(*args: Any, **options: Any) -> pd.DataFrame:
        found = read(*args, **options)
        if "volatility_regime" not in found:
            return found
        other = "Equal " + (found["regime_index"] + 1).astype(str)
        return found.assign(volatility_regime=found["volatility_regime"].mask(found.index >= day_start(MARCH), other))

    monkeypatch.setattr(Lake, "read", renamed)
    market = gather(home, BTC, config(), first=None, last=None).market
    assert np.array_equal(market.equal_states, equal)
    assert state_names(market) == ("Calm / Equal 1", "Normal / Equal 2", "Turbulent / Equal 3")
    labels = labels_by_volatility(market)
    assert set(labels[equal]) <= {"Equal 1", "Equal 2", "Equal 3"}
    assert np.array_equal(labels[~equal], labels_by_volatility(whole.market)[~equal])
    later = market.rows(24, len(market))
    assert np.array_equal(later.equal_states, equal[24:])
    assert np.array_equal(beside(market, market.bars).equal_states, equal)
    assert np.array_equal(moved(market, 10).equal_states, np.roll(equal, 10))


def test_a_rate_that_is_settled_at_a_bars_close_is_known_one_bar_later(chain: Chain, whole: Gathered) -> None:
    settled = chain.adapters.lake.read(FUNDING_RATES, BTC, day_start(FEBRUARY), day_start(LATE))
    bars = whole.market.bars
    moment = settled.index[4].floor("h")
    at = int(np.flatnonzero(pd.DatetimeIndex(bars["ts_close"]) == moment)[0])
    assert whole.market.funding_rate[at] == settled["funding_rate"].iloc[3]
    assert whole.market.funding_rate[at + 1] == settled["funding_rate"].iloc[4]
    assert len(whole.bars.funding.ts_settle) >= 3 * 32


def test_bars_that_came_later_change_nothing_before_them(home: Home, whole: Gathered) -> None:
    part = gather(home, BTC, config(), first=None, last=LATE)
    count = len(part.market)
    assert count < len(whole.market)
    for name in ("held", "regime", "forecast", "volatility", "trend", "funding_rate", "direction_significant"):
        assert np.array_equal(getattr(part.market, name), getattr(whole.market, name)[:count])


def test_bars_without_published_rows_are_shown_as_unknown_and_told(home: Home) -> None:
    early = gather(home, BTC, config(), first=date(2025, 1, 30), last=date(2025, 2, 2))
    assert early.market.known.tolist() == [False] * 48 + [True] * 48
    assert (early.market.held[:48] == NO_STATE).all()
    assert np.isnan(early.market.probabilities[:48]).all()
    assert early.notes == (f"{BTC} 1h: no regimes are published for 48 of 96 bars: nothing is opened on those",)


def test_minutes_inside_bars_are_read_where_stops_follow_them(home: Home) -> None:
    fine = config(backtesting_parameters={"intrabar": "minutes"})
    found = gather(home, BTC, fine, first=date(2025, 2, 3), last=date(2025, 2, 4))
    assert found.bars.inner is not None
    assert len(found.bars.inner) >= 47 * 60
    assert found.bars.extremes[0] == pytest.approx(found.bars.high)


def test_models_of_two_months_are_averaged_where_the_older_one_is_there(home: Home, whole: Gathered) -> None:
    both = gather(home, BTC, config(ensemble={"months": 2}), first=None, last=None)
    march = np.asarray(both.market.bars.index >= day_start(MARCH))
    assert np.array_equal(both.market.forecast[~march], whole.market.forecast[~march])
    assert not np.array_equal(both.market.forecast[march], whole.market.forecast[march])
    assert both.market.consensus is not None
    assert set(both.market.consensus[~march]) == {1.0}
    assert set(both.market.consensus[march]) <= {0.5, 1.0}
    assert "averaged over the models of 2 months" in both.notes[0]


def test_an_older_models_word_on_a_bar_does_not_depend_on_later_bars(chain: Chain, whole: Gathered) -> None:
    index = pd.DatetimeIndex(whole.market.bars.index)
    index = index[index >= day_start(MARCH)]
    (long,) = older_opinions(chain.adapters, BTC, HOUR, index, 1)
    (short,) = older_opinions(chain.adapters, BTC, HOUR, index[:30], 1)
    assert np.isfinite(long.forecast).all()
    assert short.forecast == pytest.approx(long.forecast[:30], rel=1e-9)
    assert short.probabilities == pytest.approx(long.probabilities[:30], abs=1e-9)


def refusal(home: Home, kind: type[Exception], asked: StrategyConfig, *days: date | None) -> str:
    first, last = days or (None, None)
    with pytest.raises(kind) as refused:
        gather(home, BTC, asked, first=first, last=last)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_refusals_are_one_line_that_says_what_to_do(chain: Chain, home: Home, tmp_path: Path) -> None:
    empty = replace(home, lake=Lake(Layout(tmp_path / "empty")))
    assert "run `tradecore run" in refusal(empty, MissingInputError, config())
    outside = refusal(home, MissingInputError, config(), date(2024, 12, 25), date(2024, 12, 26))
    assert "only 2025-02-01 to 2025-03-05" in outside
    assert "--timeframe 4h" in refusal(home, MissingInputError, config(timeframe="4h"))
    other = config(timeframe_analysis={"weights": {"1h": 0.5, "4h": 0.5}})
    assert "has no 4h bars" in refusal(home, MissingInputError, other)
    old = config(model_requirements={"max_lstm_age_days": 14})
    assert "max_lstm_age_days is 14" in refusal(home, UsageError, old)
    assert "min_training_samples is 481" in refusal(
        home, UsageError, config(model_requirements={"min_training_samples": 481})
    )
    copied = copy_home(chain, tmp_path / "home")
    lake = Lake(Layout(copied.home))
    lake.layout.day(FUNDING_RATES.name, BTC, LATE, timeframe=None).unlink()
    assert f"no funding_rates for 1 days from {LATE}" in refusal(replace(home, lake=lake), MissingInputError, config())


def test_rows_whose_model_knew_them_are_refused(chain: Chain, home: Home, tmp_path: Path) -> None:
    lake = Lake(Layout(copy_home(chain, tmp_path / "home").home))
    later = rows(chain)["hmm_run_id"].iloc[-1]
    day = lake.read(REGIMES, BTC, day_start(LATE), day_start(LATE) + timedelta(days=1), timeframe=HOUR)
    lake.publish(REGIMES, BTC, LATE, day.assign(hmm_run_id=later), timeframe=HOUR)
    message = refusal(replace(home, lake=lake), InvalidDataError, config())
    assert "would mix training and test" in message
    assert "2025-02-20 00:00" in message


def test_spot_pays_no_funding_and_says_so(chain: Chain, home: Home, tmp_path: Path) -> None:
    lake = Lake(Layout(tmp_path / "home"))
    start, end = day_start(FEBRUARY), day_start(FEBRUARY) + timedelta(days=2)
    for table in (BARS, REGIMES):
        found = chain.adapters.lake.read(table, BTC, start, end, timeframe=HOUR)
        for day in (FEBRUARY, FEBRUARY + timedelta(days=1)):
            own = found.loc[day_start(day) : day_start(day) + timedelta(hours=23)]
            lake.publish(table, SPOT, day, own, timeframe=HOUR)

    def of_spot(run_id: str) -> Any:
        origin = home.find_origin(run_id)
        return None if origin is None else replace(origin, instrument=str(SPOT))

    def nobody(*_: object) -> Sequence[Any]:
        return ()

    found = gather(replace(home, lake=lake, find_origin=of_spot, recall=nobody), SPOT, config(), first=None, last=None)
    assert found.notes == (f"{SPOT} is spot: no funding is paid",)
    assert np.isnan(found.market.funding_rate).all()
    assert len(found.bars.funding.ts_settle) == 0
