import numpy as np
import pandas as pd
import pytest

from tradecore_pipeline.models.trend import TREND_DAYS, trend_signs


def bars(days: int, slope: float) -> pd.DataFrame:
    index = pd.date_range("2022-01-01", periods=24 * days, freq="h", tz="UTC", name="ts_open")
    return pd.DataFrame({"close": 100 * np.exp(slope * np.arange(len(index)))}, index=index)


@pytest.mark.parametrize(("slope", "sign"), [(1e-3, 1), (-1e-3, -1), (0.0, 0)])
def test_it_is_the_sign_of_the_thirty_day_return_once_there_are_thirty_days(slope: float, sign: int) -> None:
    signs = trend_signs(bars(TREND_DAYS + 5, slope))
    assert (signs[: 24 * TREND_DAYS] == 0).all()
    assert (signs[24 * TREND_DAYS :] == sign).all()


def test_it_does_not_know_its_future_and_a_gap_does_not_shift_it() -> None:
    walk = bars(TREND_DAYS + 20, 0.0)
    walk["close"] *= np.exp(np.cumsum(np.random.default_rng(2).normal(0, 0.01, len(walk))))
    whole = trend_signs(walk)
    for cut in (10, 24 * TREND_DAYS + 3, len(walk) - 1):
        np.testing.assert_array_equal(trend_signs(walk.iloc[:cut]), whole[:cut])
    holed = walk.drop(walk.index[300:310])
    later = whole[24 * TREND_DAYS + 320 :]
    np.testing.assert_array_equal(trend_signs(holed)[-len(later) :], later)
