from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from tradecore_pipeline.domain.errors import NotEnoughHistoryError
from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.features.prices import Sources
from tradecore_pipeline.features.tuned import DEFAULT_PARAMETERS
from tradecore_pipeline.tuning.held_out import HeldOutMonth, drawn_choices
from tradecore_pipeline.tuning.inputs import Inputs
from tradecore_pipeline.tuning.objective import OBJECTIVES, log_moves, row_errors

START = datetime(2024, 1, 1, tzinfo=UTC)
HOUR = Timeframe.parse("1h")
ROWS, MONTH_ROWS = 1900, 500
MONTH = START + timedelta(hours=ROWS - MONTH_ROWS)
WINDOW_END = MONTH - HOUR.duration


def market() -> pd.DataFrame:
    rng = np.random.default_rng(11)
    log_scale = np.cumsum(0.05 * rng.normal(size=ROWS))
    returns = 0.004 * np.exp(log_scale - log_scale.mean()) * rng.standard_t(6, ROWS)
    close = 100 * np.exp(np.cumsum(returns))
    opened = np.concatenate([[100.0], close[:-1]])
    return pd.DataFrame(
        {
            "open": opened,
            "high": np.maximum(opened, close) * 1.001,
            "low": np.minimum(opened, close) * 0.999,
            "close": close,
            "volume": rng.gamma(4, 1, ROWS),
            "realized_variance": returns**2 + 1e-8,
        },
        index=pd.date_range(START, periods=ROWS, freq="h", name="ts_open", unit="ms"),
    )


def held_out(bars: pd.DataFrame) -> HeldOutMonth:
    return HeldOutMonth(
        Sources(bars, None, None, HOUR),
        window_start=START + timedelta(hours=700),
        window_end=WINDOW_END,
        month_start=MONTH,
        folds=4,
        purge_bars=1,
    )


def test_a_poisoned_month_changes_nothing_about_the_folds_and_the_weights() -> None:
    bars = market()
    poisoned = bars.copy()
    late = poisoned.index >= MONTH + timedelta(hours=48)
    poisoned.loc[late, ["open", "high", "low", "close"]] *= 1e3
    poisoned.loc[late, ["volume", "realized_variance"]] = 1e9
    clean, other = held_out(bars), held_out(poisoned)
    for name in OBJECTIVES:
        for choice in (DEFAULT_PARAMETERS, *drawn_choices(clean.indicators, count=2, seed=3)):
            np.testing.assert_array_equal(clean.inner_errors(name, choice), other.inner_errors(name, choice))
            before, after = clean.test_errors(name, choice), other.test_errors(name, choice)
            # The last bar before the poison is the 48th; the folds' rows and the fit are the window's own.
            np.testing.assert_allclose(before[:48], after[:48], rtol=1e-9)
            assert not np.allclose(before[48:60], after[48:60])


def test_every_bar_of_the_month_is_foretold_once_by_a_fit_on_the_window() -> None:
    bars = market()
    held = held_out(bars)
    assert held.bars == MONTH_ROWS
    inputs = Inputs(Sources(bars, None, None, HOUR), start=START + timedelta(hours=700))
    closed = inputs.opened + 3_600_000
    train = np.flatnonzero(closed + 3_600_000 < MONTH.timestamp() * 1000)
    test = np.flatnonzero(closed >= MONTH.timestamp() * 1000)
    moves = log_moves(inputs.next_returns, known=train)
    expected = row_errors(
        "log_score", inputs.matrix(DEFAULT_PARAMETERS), inputs.next_returns, moves, train=train, test=test
    )
    np.testing.assert_array_equal(held.test_errors("log_score", DEFAULT_PARAMETERS), expected)


def test_without_indicators_there_are_har_terms_or_a_constant() -> None:
    held = held_out(market())
    har = held.test_errors_without("log_absolute_return", har=True).mean()
    constant = held.test_errors_without("log_absolute_return", har=False).mean()
    assert har < constant


def test_a_month_without_bars_is_refused_with_what_to_do() -> None:
    with pytest.raises(NotEnoughHistoryError, match="no bar to test on from 2024-02-28"):
        held_out(market().iloc[: ROWS - MONTH_ROWS - 1])


def test_drawn_choices_depend_on_their_seed_only_and_leave_absent_sources_alone() -> None:
    indicators = held_out(market()).indicators
    first = drawn_choices(indicators, count=5, seed=1)
    assert first == drawn_choices(indicators, count=5, seed=1)
    assert first != drawn_choices(indicators, count=5, seed=2)
    assert {one.funding_length for one in first} == {DEFAULT_PARAMETERS.funding_length}
