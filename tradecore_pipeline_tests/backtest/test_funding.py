"""Twelve settlements by hand: a coin at 100, a rate of .01, so 1 is paid for each coin."""

import numpy as np
import pytest

from tradecore_pipeline.backtest.bars import Funding
from tradecore_pipeline.backtest.engine import run_backtest
from tradecore_pipeline.backtest.orders import Orders
from tradecore_pipeline_tests.backtest.cases import FREE, HOUR, PLAIN, START, bars_of

FLAT = (100.0, 100.0, 100.0, 100.0)


def paid(
    targets: list[float], hours: list[float], *, rate: float = 0.01, mark: float | None = None, bar_hours: int = 1,
    inner: bool = False, last: tuple[float, float, float, float] = FLAT,
) -> float:  # fmt: skip
    """Funding of a run over flat bars; row i of ``targets`` is carried out at the open of bar i + 1."""
    times = np.array([START + int(hour * HOUR) for hour in hours], dtype=np.int64)
    funding = Funding.of(times, np.full(len(times), rate), None if mark is None else np.full(len(times), mark))
    rows = [FLAT] * (len(targets) - 1) + [last]
    minutes = bars_of([FLAT] * (60 * bar_hours * len(targets)), step=HOUR // 60) if inner else None
    bars = bars_of(rows, funding=funding, inner=minutes, step=bar_hours * HOUR)
    result = run_backtest(bars, Orders.of(np.array(targets)), costs=FREE, rules=PLAIN, capital=1_000.0)
    assert result.equity[-1] - 1_000.0 == pytest.approx(-result.totals.funding, abs=1e-12)
    return result.totals.funding


N = float("nan")
CASES = {
    "a long position pays a positive rate": (paid([2, N, N, N], [2]), 2.0),
    "a short position is paid a positive rate": (paid([-2, N, N, N], [2]), -2.0),
    "a long position is paid a negative rate": (paid([1, N, N, N], [2], rate=-0.01), -1.0),
    "a short position pays a negative rate": (paid([-1, N, N, N], [2], rate=-0.01), 1.0),
    "hourly settlements each count": (paid([1, N, N, N, N, N], [2, 3, 4, 5]), 4.0),
    "every four hours": (paid([1] + [N] * 9, [0, 4, 8]), 2.0),
    "every eight hours": (paid([1] + [N] * 17, [0, 8, 16]), 2.0),
    "closed an hour before": (paid([1, 0, N, N], [3]), 0.0),
    "closed exactly at the settlement still pays": (paid([1, N, 0, N], [3]), 1.0),
    "opened exactly at the settlement does not pay": (paid([N, 1, N, N], [2]), 0.0),
    "opened an hour after": (paid([N, N, 1, N], [2]), 0.0),
    "the mark price values the position": (paid([1, N, N], [2], mark=150.0), 1.5),
    "inside a longer bar what is held then pays": (paid([1, N, N], [4, 5, 8], bar_hours=4), 2.0),
    "inside a longer bar with minutes, too": (paid([1, N, N], [4, 5.5, 8], bar_hours=4, inner=True), 2.0),
    "after the last bar nothing is paid": (paid([1, N, N], [3, 4]), 0.0),
}


@pytest.mark.parametrize("name", CASES)
def test_funding(name: str) -> None:
    found, expected = CASES[name]
    assert found == pytest.approx(expected, abs=1e-12)


def test_a_settlement_between_two_bars_is_paid_at_the_later_ones_open() -> None:
    bars = bars_of([FLAT, FLAT, (110.0, 110.0, 110.0, 110.0)], step=HOUR)
    moved = bars.ts_open + np.array([0, 0, 6 * HOUR])
    funding = Funding.of(np.array([START + 4 * HOUR]), [0.01], None)
    late = bars_of([FLAT], step=HOUR).__class__(
        ts_open=moved, ts_close=moved + HOUR, open=bars.open, high=bars.high, low=bars.low, close=bars.close,
        funding=funding, inner=None,
    )  # fmt: skip
    result = run_backtest(late, Orders.of(np.array([1.0, N, N])), costs=FREE, rules=PLAIN, capital=1_000.0)
    assert result.totals.funding == pytest.approx(1.1)


def test_a_position_stopped_by_the_gap_at_a_settlement_was_held_until_then() -> None:
    funding = Funding.of(np.array([START + 2 * HOUR]), [0.01], None)
    bars = bars_of([FLAT, FLAT, (90.0, 90.0, 90.0, 90.0)], funding=funding)
    result = run_backtest(bars, Orders.of([1.0, N, N], stop=5.0), costs=FREE, rules=PLAIN, capital=1_000.0)
    assert result.totals.funding == pytest.approx(0.9)
    assert result.trades["exit_price"].tolist() == [90.0]
