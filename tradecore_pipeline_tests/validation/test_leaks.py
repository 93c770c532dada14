import numpy as np
import pandas as pd
import pytest

from tradecore_pipeline.validation.leaks import Rowwise, assert_causal, assert_future_does_not_matter


@pytest.fixture
def frame() -> pd.DataFrame:
    values = np.random.default_rng(0).normal(size=(200, 2))
    index = pd.date_range("2022-01-01", periods=200, freq="1h", tz="UTC")
    return pd.DataFrame(values, index=index, columns=["a", "b"])


CUTS = (1, 50, 199)


def check_both(function: Rowwise, frame: pd.DataFrame) -> None:
    assert_causal(function, frame, CUTS, tolerance=0)
    assert_future_does_not_matter(function, frame, CUTS, seed=1, tolerance=0)


def test_a_causal_function_passes(frame: pd.DataFrame) -> None:
    check_both(lambda x: x.rolling(5).mean(), frame)


@pytest.mark.parametrize(
    "leak",
    [
        lambda x: x["a"].shift(-1),
        lambda x: x["a"] - x["a"].mean(),
        lambda x: x["a"].rolling(5, center=True).mean(),
        lambda x: x["a"].bfill().where(x.index != x.index[-1], x["a"].max()),
        lambda x: (x["a"] / x["a"].abs().max()).to_numpy(),
    ],
    ids=["shift", "mean", "centred", "last row", "maximum"],
)
def test_planted_leaks_are_caught(frame: pd.DataFrame, leak: Rowwise) -> None:
    with pytest.raises(AssertionError, match="looked ahead"):
        check_both(leak, frame)


def test_a_leak_that_only_scrambling_shows_is_caught(frame: pd.DataFrame) -> None:
    def peeks(x: pd.DataFrame) -> pd.Series:
        return x["a"].shift(-1, fill_value=0.0)

    known = frame.copy()
    known["a"] = np.where(np.isin(np.arange(200), CUTS), 0.0, known["a"])
    assert_causal(peeks, known, CUTS, tolerance=0)
    with pytest.raises(AssertionError, match="scrambled"):
        assert_future_does_not_matter(peeks, known, CUTS, seed=1, tolerance=0)


def test_a_wrong_number_of_rows_is_not_compared(frame: pd.DataFrame) -> None:
    with pytest.raises(AssertionError, match="one row per input row"):
        assert_causal(lambda x: x.iloc[:10], frame, [50], tolerance=0)
