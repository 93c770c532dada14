import numpy as np
import pandas as pd
import pytest

from tradecore_pipeline.domain.errors import ModelFitError
from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.models.density import Floats
from tradecore_pipeline.models.returns import next_percent_returns, percent_returns
from tradecore_pipeline.models.seasonality import SeasonalScale


def bars_with_width(index: pd.DatetimeIndex, width: Floats) -> pd.DataFrame:
    return pd.DataFrame({"high": 100 * np.exp(width / 100), "low": np.full(len(index), 100.0)}, index=index)


@pytest.mark.parametrize("frequency", ["5min", "1h", "4h", "1D"])
def test_a_planted_pattern_is_found_at_every_timeframe(frequency: str) -> None:
    index = pd.date_range("2022-01-03", "2022-02-28", freq=frequency, tz="UTC", inclusive="left")
    pattern = np.where(np.asarray(index.day_of_week) >= 5, 0.5, 1.0) * (1 + np.asarray(index.hour) / 24)
    seasonal = SeasonalScale.fit(bars_with_width(index, 0.3 * pattern))
    found = seasonal.log_at(index)
    np.testing.assert_allclose(found, np.log(pattern) - np.log(pattern).mean(), atol=1e-9)
    assert found.mean() == pytest.approx(0, abs=1e-12)


def test_bars_without_a_range_do_not_break_it_and_a_dead_market_is_refused() -> None:
    index = pd.date_range("2022-01-03", periods=480, freq="1h", tz="UTC")
    width = np.where(np.arange(480) % 7 == 0, 0.0, 0.4)
    assert np.isfinite(SeasonalScale.fit(bars_with_width(index, width)).at(index)).all()
    with pytest.raises(ModelFitError, match="does not move"):
        SeasonalScale.fit(bars_with_width(index, np.zeros(480)))


def test_hours_that_the_window_lacks_have_scale_one() -> None:
    index = pd.date_range("2022-01-03", periods=30, freq="1D", tz="UTC")
    seasonal = SeasonalScale.fit(bars_with_width(index, np.linspace(0.2, 0.9, 30)))
    assert seasonal.at(pd.DatetimeIndex(["2022-03-01 13:00"], tz="UTC"))[0] == 1.0


def test_a_return_over_a_missing_bar_is_not_a_return() -> None:
    index = pd.date_range("2022-01-03", periods=5, freq="1h", tz="UTC").delete(2)
    bars = pd.DataFrame({"close": [100.0, 101.0, 103.0, 102.0]}, index=index)
    returns = percent_returns(bars, Timeframe("1h"))
    assert np.isnan(returns).tolist() == [True, False, True, False]
    assert returns[1] == pytest.approx(100 * np.log(1.01))
    np.testing.assert_array_equal(next_percent_returns(bars, Timeframe("1h"))[:-1], returns[1:])
