import numpy as np
import pytest

from tradecore_pipeline.validation.scores import mean_log_score, oracle_r2


def test_missing_rows_are_left_out_and_nothing_is_an_error() -> None:
    assert mean_log_score([np.nan, -1.0, -2.0]) == -1.5
    with pytest.raises(ValueError, match="nothing to score"):
        mean_log_score([np.nan])


def test_the_oracle_scores_one_and_its_mean_zero() -> None:
    oracle = np.random.default_rng(2).normal(-9, 1, size=100)
    assert oracle_r2(oracle, oracle) == 1
    assert oracle_r2(np.full(100, oracle.mean()), oracle) == pytest.approx(0)
    assert oracle_r2(oracle.mean() + 0.8 * (oracle - oracle.mean()), oracle) == pytest.approx(0.96)
    assert oracle_r2([*oracle, np.nan], [*oracle, 5.0]) == 1
