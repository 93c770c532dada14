from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest

from tradecore_pipeline.defs.fits import Month
from tradecore_pipeline.defs.forecast_fits import history, published_verdict
from tradecore_pipeline.defs.resources import Adapters
from tradecore_pipeline.domain.tables import BARS, REGIMES
from tradecore_pipeline_tests.chain import BTC, HOUR, small_settings
from tradecore_pipeline_tests.storage.days import hour_bars, regimes

MAY = date(2022, 5, 1)


@pytest.fixture
def month(tmp_path: Path) -> Month:
    return Month(Adapters(small_settings(tmp_path / "home", "http://127.0.0.1:9")), BTC, HOUR, MAY)


def publish(month: Month, first: date, days: int, gain: float) -> None:
    """Days on which the published forecast gained so much a bar over t-HAR, more or less."""
    random = np.random.default_rng(1)
    for day in (first + timedelta(days=k) for k in range(days)):
        rows = regimes(day).to_pandas()
        har = random.normal(-1, 0.3, len(rows))
        rows = rows.assign(har_log_score=har, log_score=har + gain + random.normal(0, 0.01, len(rows)))
        month.adapters.lake.publish(REGIMES, BTC, day, rows.set_index("ts_open"), timeframe=HOUR)


def test_a_forecast_without_published_scores_is_a_challenger(month: Month) -> None:
    verdict = published_verdict(month)
    assert not verdict.champion
    assert "no score was published" in verdict.evidence


@pytest.mark.parametrize(("gain", "champion"), [(0.01, True), (0.0, False), (-0.01, False)])
def test_only_a_clear_lead_over_t_har_makes_a_champion(month: Month, gain: float, champion: bool) -> None:
    publish(month, date(2022, 4, 10), 20, gain)
    verdict = published_verdict(month)
    assert verdict.champion is champion
    assert "480 bars" in verdict.evidence
    assert verdict.evidence.startswith("Champion" if champion else "Challenger")


def test_what_the_month_itself_publishes_does_not_count(month: Month) -> None:
    publish(month, MAY, 20, 0.01)
    assert "no score was published" in published_verdict(month).evidence


def store_bars(month: Month, days: list[date]) -> None:
    for day in days:
        rows = hour_bars(day).to_pandas().set_index("ts_open")
        month.adapters.lake.publish(BARS, BTC, day, rows, timeframe=HOUR)


def days_before(month: Month, days: int) -> list[date]:
    return [month.month - timedelta(days=k) for k in range(days, 0, -1)]


def test_longer_windows_reach_as_far_back_as_days_are_stored_without_a_hole(month: Month) -> None:
    """A window is 480 bars; the bar before the month's first is a label's, so it ends an hour earlier."""
    stored = days_before(month, 70)
    hole = stored[15]
    store_bars(month, [day for day in stored if day != hole])
    bars = month.window()
    two = history(month, bars, windows=2, features=())
    assert two is not None
    assert len(two) == 2 * 480
    assert two.index[-1] == bars.index[-1]
    four = history(month, bars, windows=4, features=())
    assert four is not None
    assert four.index[0].date() == hole + timedelta(days=1)
    assert four.index[-1] == bars.index[-1]


def test_without_more_history_or_need_of_it_the_month_s_own_window_is_all(month: Month) -> None:
    store_bars(month, days_before(month, 20))
    assert history(month, month.window(), windows=4, features=()) is None
    store_bars(month, days_before(month, 60))
    assert history(month, month.window(), windows=1, features=()) is None


def test_history_that_lacks_a_feature_which_the_regimes_read_is_no_history(month: Month) -> None:
    store_bars(month, days_before(month, 60))
    assert history(month, month.window(), windows=2, features=("rsi_14",)) is None
