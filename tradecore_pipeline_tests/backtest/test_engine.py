from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tradecore_pipeline.backtest.engine import run_backtest
from tradecore_pipeline.backtest.orders import Costs, Distance, Orders, Rules, Sizing
from tradecore_pipeline.backtest.results import Backtest
from tradecore_pipeline.strategies.reasons import Reason
from tradecore_pipeline_tests.backtest.cases import FREE, HOUR, PLAIN, START, bars_of, random_case

N = float("nan")
FLAT = (100.0, 100.0, 100.0, 100.0)
Row = tuple[float, float, float, float]


def run(
    rows: list[Row], target: list[float], *, rules: Rules = PLAIN, costs: Costs = FREE, **columns: object
) -> Backtest:
    return run_backtest(bars_of(rows), Orders.of(target, **columns), costs=costs, rules=rules, capital=1_000.0)  # type: ignore[arg-type]


def fills(result: Backtest) -> list[tuple[int, str, float, float]]:
    frame = result.fills
    return list(zip(frame["bar"], frame["reason"], frame["units"], frame["price"], strict=True))


def test_a_decision_is_filled_at_the_next_bars_open() -> None:
    result = run([(100, 101, 99, 100), (103, 105, 102, 104), (106, 107, 105, 106)], [1, 0, N])
    assert fills(result) == [(1, "entry", 1, 103), (2, "target_position", -1, 106)]
    assert result.equity.tolist() == [1_000, 1_001, 1_003]
    assert result.position.tolist() == [0, 1, 0]
    assert result.margin.tolist() == [0, 103, 0]


def test_the_last_decision_is_never_carried_out() -> None:
    assert run([FLAT, FLAT], [N, 1]).fills.empty


def test_nan_keeps_and_the_other_sign_turns_the_position() -> None:
    result = run([FLAT, FLAT, FLAT, (90, 90, 90, 90)], [2, N, -1, N])
    assert fills(result) == [(1, "entry", 2, 100), (3, "target_position", -2, 90), (3, "entry", -1, 90)]
    assert result.trades["pnl"].tolist() == [-20, 0]
    assert result.trades["open"].tolist() == [False, True]


def test_a_gap_through_the_stop_fills_at_the_open() -> None:
    result = run([FLAT, FLAT, (90, 96, 89, 95)], [1, N, N], stop=5.0)
    assert fills(result)[-1] == (2, "stop", -1, 90)
    assert result.fill_times[-1] == START + 2 * HOUR


def test_a_stop_inside_a_bar_fills_at_its_price_and_is_known_at_the_close() -> None:
    result = run([FLAT, (100, 101, 94, 100)], [-1, N], stop=1.0)
    assert fills(result)[-1] == (1, "stop", 1, 101)
    assert result.fill_times[-1] == START + 2 * HOUR


def test_stop_and_target_in_one_bar_fill_the_stop_unless_told_otherwise() -> None:
    rows: list[Row] = [FLAT, (100, 106, 94, 100)]
    assert fills(run(rows, [1, N], stop=5.0, profit=5.0))[-1] == (1, "stop", -1, 95)
    lenient = replace(PLAIN, stop_first=False)
    assert fills(run(rows, [1, N], stop=5.0, profit=5.0, rules=lenient))[-1] == (1, "profit_target", -1, 105)


def test_a_target_beyond_the_open_fills_at_the_better_open_and_pays_maker() -> None:
    costs = Costs(maker=0.01, taker=0.02, slippage=0.1)
    result = run([FLAT, (100, 101, 99, 100), (130, 131, 129, 130)], [1, N, N], profit=15.0, costs=costs)
    assert fills(result)[-1] == (2, "profit_target", -1, 130)
    assert result.fills["fee"].tolist() == pytest.approx([110 * 0.02, 1.3])
    assert result.fills["slippage"].tolist() == pytest.approx([10, 0])


def test_a_trailing_stop_never_uses_a_bars_high_before_its_low() -> None:
    rows: list[Row] = [FLAT, (100, 110, 100, 108), (108, 109, 107, 108), (108, 109, 104, 105)]
    result = run(rows, [1, N, N, N], trail=5.0)
    assert fills(result)[-1] == (3, "trailing_stop", -1, 105)
    waiting = run(rows, [1, N, N, N], trail=5.0, trail_activation=10.5)
    assert waiting.position[-1] == 1


def test_a_trailing_fraction_is_of_the_best_price() -> None:
    rules = replace(PLAIN, distance=Distance.FRACTION)
    result = run([FLAT, (100, 120, 100, 118), (118, 119, 100, 101)], [1, N, N], trail=0.1, rules=rules)
    assert fills(result)[-1] == (2, "trailing_stop", -1, 108)


def test_a_trailing_distance_may_be_read_at_each_close() -> None:
    rules = replace(PLAIN, trail_by_bar=True)
    rows: list[Row] = [FLAT, (100, 110, 100, 108), (108, 109, 104, 105), (105, 106, 101, 102)]
    assert fills(run(rows, [1, N, N, N], trail=[20, 8, 8, 8], rules=rules))[-1] == (3, "trailing_stop", -1, 102)


def test_breakeven_moves_the_stop_to_the_entry() -> None:
    rows: list[Row] = [FLAT, (100, 103, 99, 103), (103, 104, 98, 99)]
    result = run(rows, [1, N, N], stop=10.0, breakeven=3.0, breakeven_offset=0.5)
    assert fills(result)[-1] == (2, "breakeven_stop", -1, 100.5)


def test_partial_exits_fill_in_order_and_the_target_takes_the_rest() -> None:
    rows: list[Row] = [FLAT, (100, 107, 100, 106), (106, 111, 105, 110)]
    result = run(
        rows, [4, N, N], partial_distance=[[2.0, 5.0, 50.0]], partial_fraction=[[0.25, 0.5, 0.25]], profit=10.0
    )
    assert fills(result)[1:] == [
        (1, "partial_exit", -1, 102), (1, "partial_exit", -2, 105), (2, "profit_target", -1, 110)
    ]  # fmt: skip
    assert len(result.trades) == 1
    assert result.trades["pnl"].tolist() == [2 + 10 + 10]


def test_a_position_is_closed_after_its_longest_holding() -> None:
    result = run([FLAT] * 6, [1] * 6, max_holding_bars=2)
    assert [(bar, reason) for bar, reason, *_ in fills(result)] == [
        (1, "entry"), (3, "max_holding"), (4, "entry")
    ]  # fmt: skip


def test_an_exit_flag_closes_its_side_and_opens_none_of_it() -> None:
    flags = np.array([0, Reason.REGIME_CHANGE, Reason.REGIME_CHANGE, 0, 0])
    result = run([FLAT] * 5, [1] * 5, exit_long=flags, exit_short=np.zeros(5))
    assert [(bar, reason) for bar, reason, *_ in fills(result)] == [
        (1, "entry"), (2, "regime_change"), (4, "entry")
    ]  # fmt: skip


def test_after_a_gap_through_the_stop_the_same_open_does_not_buy_again() -> None:
    result = run([FLAT, FLAT, (90, 91, 89, 90), (90, 91, 89, 90)], [1, 1, 1, 1], stop=5.0)
    assert [(bar, reason) for bar, reason, *_ in fills(result)] == [(1, "entry"), (2, "stop"), (3, "entry")]


def test_finer_bars_decide_what_came_first_and_let_stops_trail_within_the_bar() -> None:
    minutes = bars_of([FLAT, FLAT, (100, 106, 100, 106), (106, 106, 94, 95)], step=HOUR // 2)
    bars = bars_of([FLAT, (100, 106, 94, 95)], inner=minutes)
    common = {"costs": FREE, "rules": PLAIN, "capital": 1_000.0}
    assert fills(run_backtest(bars, Orders.of([1.0, N], stop=5.0, profit=5.0), **common))[-1][1] == "profit_target"
    assert fills(run_backtest(bars, Orders.of([1.0, N], trail=2.0), **common))[-1] == (1, "trailing_stop", -1, 104)


def test_an_isolated_position_loses_its_margin_and_no_more_however_deep_the_gap() -> None:
    rules = replace(PLAIN, leverage=10.0, maintenance_margin=0.01)
    result = run([FLAT, FLAT, (50, 51, 49, 50)], [10, N, N], rules=rules)
    assert result.trades["reason"].tolist() == ["liquidation"]
    assert result.trades["pnl"].tolist() == pytest.approx([-100])


def test_isolated_liquidation_comes_at_the_maintenance_margin_and_before_a_wider_stop() -> None:
    rules = replace(PLAIN, leverage=10.0, maintenance_margin=0.01)
    level = 100 * 0.9 / 0.99
    assert run([FLAT, (100, 100, level + 0.01, 95)], [10, N], rules=rules, stop=20.0).fills["reason"].tolist() == [
        "entry"
    ]
    assert (
        run([FLAT, (100, 100, level - 0.01, 95)], [10, N], rules=rules, stop=20.0).trades["reason"][0] == "liquidation"
    )
    short = run([FLAT, (100, 100 * 1.1 / 1.01 + 0.01, 100, 100)], [-10, N], rules=rules)
    assert short.trades["pnl"].tolist() == pytest.approx([-100])


def test_cross_margin_lasts_longer_and_then_loses_everything() -> None:
    rules = replace(PLAIN, leverage=10.0, maintenance_margin=0.01, isolated=False)
    assert run([FLAT, (100, 100, 60, 60)], [20, N], rules=rules).equity[-1] == 200
    ruined = run([FLAT, (100, 100, 50, 60), FLAT, FLAT], [20, 5, 5, 5], rules=rules)
    assert ruined.equity.tolist() == pytest.approx([1_000, 0, 0, 0])
    assert len(ruined.fills) == 2


def test_a_target_of_equity_is_sized_at_the_open_that_fills_it() -> None:
    rules = replace(PLAIN, sizing=Sizing.EQUITY, leverage=2.0)
    result = run([FLAT, (125, 125, 125, 125), (150, 150, 150, 150)], [0.5, 0.5, N], rules=rules)
    assert fills(result) == [(1, "entry", 4, 125)]
    resized = run([FLAT, (125, 125, 125, 125), (150, 150, 150, 150)], [0.5, 0.75, N], rules=rules)
    assert resized.fills["units"].tolist() == [4, 1.5]


def test_orders_that_equity_does_not_carry_are_cut_and_too_small_ones_left() -> None:
    costs = Costs(maker=0.0, taker=0.01, slippage=0.0)
    capped = run([FLAT, FLAT], [20, N], costs=costs)
    assert capped.totals.capped_orders == 1
    assert capped.fills["units"][0] * 100 * 1.01 == pytest.approx(1_000)
    lots = run([FLAT, FLAT], [2.9, N], rules=replace(PLAIN, lot=1.0))
    assert lots.fills["units"].tolist() == [2]
    small = run([FLAT, FLAT], [0.05, N], rules=replace(PLAIN, minimum_notional=10.0))
    assert small.totals.small_orders == 1
    assert small.fills.empty


def test_excursions_leave_out_what_the_last_bar_did_besides_the_fill() -> None:
    result = run([FLAT, (100, 104, 98, 103), (103, 120, 90, 100)], [1, N, N], stop=5.0)
    assert result.trades["mfe"].tolist() == pytest.approx([0.04])
    assert result.trades["mae"].tolist() == pytest.approx([-0.05])


def test_frames_are_utc_and_indexed_by_the_bars() -> None:
    result = run([FLAT] * 3, [1, 0, N])
    assert result.by_bar.index[0] == pd.Timestamp("2022-01-01", tz="UTC")
    assert result.trades["entry_time"].dt.tz is not None


@pytest.mark.parametrize("seed", range(4))
def test_what_later_bars_bring_changes_nothing_before_them(seed: int) -> None:
    bars, orders, costs, rules = random_case(seed, 200)
    whole = run_backtest(bars, orders, costs=costs, rules=rules, capital=10_000.0)
    random = np.random.default_rng(seed)
    for cut in random.integers(1, len(bars), 25).tolist():
        scrambled = bars_after(bars, cut, random)
        other = run_backtest(scrambled, orders, costs=costs, rules=rules, capital=10_000.0)
        assert np.array_equal(other.equity[:cut], whole.equity[:cut])


def bars_after(bars, cut: int, random: np.random.Generator):  # noqa: ANN001, ANN201 (both BarArrays)
    """The same bars with other prices from ``cut`` on."""
    factor = np.where(np.arange(len(bars)) < cut, 1.0, random.uniform(0.5, 2.0))
    prices = {name: getattr(bars, name) * factor for name in ("open", "high", "low", "close")}
    inner = bars.inner
    if inner is not None:
        change = np.where(inner.ts_open < bars.ts_open[cut], 1.0, factor[cut])
        inner = replace(inner, **{name: getattr(inner, name) * change for name in prices})
    return replace(bars, **prices, inner=inner)
