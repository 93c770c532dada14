import numpy as np
import pytest
from scipy import stats

from tradecore_pipeline.domain.errors import UsageError
from tradecore_pipeline.tuning.objective import OBJECTIVES, log_moves, parse_objective, row_errors

ROWS = 4000
TRAIN, TEST = np.arange(3000), np.arange(3001, ROWS)


def known_market() -> tuple[np.ndarray, np.ndarray]:
    """A column that is the log scale of the next return but for noise, beside one that says nothing."""
    rng = np.random.default_rng(4)
    log_scale = 0.6 * rng.normal(size=ROWS)
    returns = np.exp(log_scale) * rng.standard_t(5, ROWS)
    return np.column_stack([log_scale, rng.normal(size=ROWS)]), returns


def test_the_log_score_is_that_of_the_density_that_made_the_returns() -> None:
    matrix, returns = known_market()
    moves = log_moves(returns, known=TRAIN)
    errors = row_errors("log_score", matrix, returns, moves, train=TRAIN, test=TEST)
    scale = np.exp(matrix[TEST, 0])
    truth = -stats.t(5).logpdf(returns[TEST] / scale) + np.log(scale)
    assert errors.mean() == pytest.approx(truth.mean(), abs=0.02)
    assert np.corrcoef(errors, truth)[0, 1] > 0.98


def test_a_column_that_knows_the_size_lowers_the_errors_of_size_and_not_of_direction() -> None:
    matrix, returns = known_market()
    moves = log_moves(returns, known=TRAIN)
    for name in OBJECTIVES:
        known, nothing = (
            row_errors(name, columns, returns, moves, train=TRAIN, test=TEST).mean()
            for columns in (matrix, matrix[:, :0])
        )
        assert (known < nothing - 0.05) == (name != "direction")


def test_errors_take_nothing_from_tested_rows() -> None:
    matrix, returns = known_market()
    for name in OBJECTIVES:
        moves = log_moves(returns, known=TRAIN)
        before = row_errors(name, matrix, returns, moves, train=TRAIN, test=TEST[:10])
        poisoned_matrix, poisoned = matrix.copy(), returns.copy()
        poisoned_matrix[TEST[10:]], poisoned[TEST[10:]] = 1e9, -1e9
        moves = log_moves(poisoned, known=TRAIN)
        after = row_errors(name, poisoned_matrix, poisoned, moves, train=TRAIN, test=TEST[:10])
        np.testing.assert_array_equal(before, after)


def test_a_market_that_hardly_moves_has_finite_errors() -> None:
    matrix, returns = known_market()
    returns[::2] = 0.0
    returns[:2000] = 0.0
    for name in OBJECTIVES:
        moves = log_moves(returns, known=TRAIN)
        assert np.isfinite(row_errors(name, matrix, returns, moves, train=TRAIN, test=TEST)).all()


def test_an_unknown_objective_is_refused_with_the_known_ones() -> None:
    assert parse_objective("log_score") == "log_score"
    with pytest.raises(UsageError, match="choose from log_absolute_return, log_score, direction"):
        parse_objective("sharpe")
