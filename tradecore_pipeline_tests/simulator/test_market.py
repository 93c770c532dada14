from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tradecore_pipeline.domain.errors import UsageError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.simulator.market import SimulatedMarket
from tradecore_pipeline.simulator.parameters import demo_parameters
from tradecore_pipeline.simulator.rows import MINUTE_MS

PERPETUAL = Instrument.parse("binance:BTC/USDT:USDT")
SPOT = Instrument.parse("binance:BTC/USDT")
ETHER = Instrument.parse("binance:ETH/USDT:USDT")
START = date(2024, 1, 1)


def a_market(seed: int, days: int) -> SimulatedMarket:
    return SimulatedMarket(demo_parameters(), seed, start=START, end=START + timedelta(days=days))


def test_same_seed_gives_the_same_market_and_another_seed_another_one() -> None:
    first, again, other = a_market(3, 3), a_market(3, 3), a_market(4, 3)
    pd.testing.assert_frame_equal(first.bars(PERPETUAL), again.bars(PERPETUAL))
    assert not first.bars(PERPETUAL)["close"].equals(other.bars(PERPETUAL)["close"])


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 6))
def test_a_market_that_ends_later_begins_with_the_same_rows(seed: int, days: int) -> None:
    short, long = a_market(seed, days), a_market(seed, 7)
    for listing in short.parameters.listings:
        ours, theirs = short.bars(listing.instrument), long.bars(listing.instrument)
        pd.testing.assert_frame_equal(ours, theirs.loc[ours.index])
        for name in ("funding_rates", "open_interest"):
            rows, longer = getattr(short, name)(listing), getattr(long, name)(listing)
            for column in rows.__dataclass_fields__:
                np.testing.assert_array_equal(getattr(rows, column), getattr(longer, column)[: len(rows)])


def test_every_bar_encloses_its_prices_and_opens_at_the_close_before() -> None:
    market = a_market(5, 30)
    for listing in market.parameters.listings:
        bars = market.bars(listing.instrument)
        assert (bars["high"] >= bars[["open", "close"]].max(axis=1)).all()
        assert (bars["low"] <= bars[["open", "close"]].min(axis=1)).all()
        adjacent = bars.index.to_series().diff() == timedelta(minutes=1)
        assert (bars["open"] == bars["close"].shift())[adjacent].all()
        assert (bars[["volume", "trades", "quote_volume"]] > 0).all(axis=None)
        assert (bars["taker_buy_volume"] < bars["volume"]).all()
        on_tick = bars["close"] * 10**listing.price_decimals
        np.testing.assert_allclose(on_tick, on_tick.round(), atol=1e-6)


def test_minute_returns_have_the_designed_variance_and_mean_in_every_state() -> None:
    market = a_market(1, 300)
    parameters = replace(market.parameters, outages=())
    market = SimulatedMarket(parameters, 1, start=START, end=market.end)
    bars = market.bars(PERPETUAL)
    returns = np.log(bars["close"] / bars["open"]).to_numpy().reshape(-1, 60)
    path = market._path(0)
    standard = returns / np.sqrt(path.variance / 60)[:, None]
    for state in range(parameters.states):
        assert np.var(standard[path.states == state]) == pytest.approx(1, abs=0.02)
        hourly = returns[path.states == state].sum(axis=1)
        assert np.mean(hourly) == pytest.approx(parameters.mean_log_return[state], abs=4 * np.std(hourly) / 30)
    assert np.all(market.states(PERPETUAL)["state"].to_numpy() == path.states)


def test_states_switch_as_often_as_the_transition_matrix_says() -> None:
    states = a_market(2, 900).states(PERPETUAL)["state"].to_numpy()
    counts = np.zeros((3, 3))
    np.add.at(counts, (states[:-1], states[1:]), 1)
    observed = counts / counts.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(observed, demo_parameters().transition_matrix(), atol=0.01)


def test_spot_and_perpetual_of_one_coin_share_their_path_and_ether_does_not() -> None:
    market = a_market(6, 5)
    perpetual, spot, ether = (np.log(market.bars(i)["close"]).diff().dropna() for i in (PERPETUAL, SPOT, ETHER))
    np.testing.assert_allclose(perpetual, spot, atol=6e-6)
    assert abs(np.corrcoef(perpetual, ether)[0, 1]) < 0.05
    assert (market.bars(PERPETUAL)["volume"] != market.bars(SPOT)["volume"]).mean() > 0.99


def test_outages_lie_where_they_were_planted_and_nowhere_else() -> None:
    market = a_market(7, 30)
    begin = datetime(2024, 1, 1, tzinfo=UTC)
    assert [gap.missing for gap in market.outages] == [7, 63]
    assert market.outages[0].first_missing == begin + timedelta(days=9, minutes=197)
    expected = pd.date_range(begin, periods=30 * 1440, freq="min")
    for gap in market.outages:
        expected = expected[(expected < gap.first_missing) | (expected > gap.last_missing)]
    assert market.bars(PERPETUAL).index.equals(expected.as_unit("ms").rename("ts_open"))
    assert a_market(7, 9).outages == ()


def test_funding_settles_every_eight_hours_slightly_late_and_follows_the_regime() -> None:
    market = a_market(8, 300)
    rates = market.funding_rates(market.listing(PERPETUAL))
    late = rates.time_ms % (480 * MINUTE_MS)
    assert len(rates) == 900
    assert late.max() <= 31
    assert 0.3 < (late > 0).mean() < 0.55
    states = market.states(PERPETUAL)["state"].to_numpy().reshape(-1, 8)
    pure = [np.flatnonzero((states == state).all(axis=1)) + 1 for state in (0, 2)]
    calm, turbulent = (rates.rate[rows[rows < 900]].mean() for rows in pure)
    assert calm == pytest.approx(0.0001, abs=2e-5)
    assert turbulent == pytest.approx(-0.00004, abs=2e-5)


def test_open_interest_is_lower_in_turbulent_times() -> None:
    market = a_market(8, 300)
    interest = market.open_interest(market.listing(PERPETUAL))
    states = np.repeat(market.states(PERPETUAL)["state"].to_numpy(), 12)
    assert len(interest) == 300 * 288
    assert interest.base.min() > 70_000
    assert interest.base.max() < 115_000
    assert interest.base[states == 2].mean() < interest.base[states == 0].mean() * 0.9


def test_impossible_markets_are_refused() -> None:
    with pytest.raises(UsageError, match="start < end"):
        SimulatedMarket(demo_parameters(), 1, start=START, end=START)
    with pytest.raises(UsageError, match="does not list"):
        a_market(1, 1).bars(Instrument.parse("binance:SOL/USDT:USDT"))
    with pytest.raises(UsageError, match="sum to 1"):
        replace(demo_parameters(), transition=((1.0, 0.1, 0.0),) * 3)
    with pytest.raises(UsageError, match="ascending"):
        replace(demo_parameters(), volatility=(0.02, 0.01, 0.03))
