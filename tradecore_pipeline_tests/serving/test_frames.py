import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from tradecore_pipeline import load_bars, load_regimes
from tradecore_pipeline.domain.errors import UsageError
from tradecore_pipeline_tests.chain import BTC, FEBRUARY, NOW, START, TODAY, Chain


def test_minutes_are_loaded_from_the_first_stored_to_the_last_closed_one(chain: Chain) -> None:
    bars = load_bars(str(BTC), home=chain.settings.home)
    assert bars.index.name == "ts_open"
    assert str(bars.index.tz) == "UTC"
    assert bars.index.is_monotonic_increasing
    assert bars.index.is_unique
    assert bars.index[0] == pd.Timestamp(START, tz="UTC")
    assert bars.index[-1] == pd.Timestamp(NOW).floor("min") - timedelta(minutes=1)
    assert (bars["ts_close"] - bars.index == timedelta(minutes=1)).all()
    assert bars["close"].dtype == "float64"


def test_bars_of_a_timeframe_carry_their_realized_variance(chain: Chain) -> None:
    first, after = datetime(2025, 1, 10, tzinfo=UTC), datetime(2025, 1, 12, tzinfo=UTC)
    bars = load_bars(str(BTC), "1h", start=first, end=after, home=chain.settings.home)
    assert len(bars) == 48
    assert (bars["realized_variance"] > 0).all()


def test_regimes_begin_with_the_first_month_that_had_models_and_none_is_from_the_future(chain: Chain) -> None:
    regimes = load_regimes(str(BTC), home=chain.settings.home)
    assert regimes.index[0].date() == FEBRUARY
    assert regimes.index[-1].date() == TODAY
    assert regimes["ts_close"].max() <= pd.Timestamp(NOW)
    assert (regimes["ts_close"] - regimes.index == timedelta(hours=1)).all()


def test_moments_may_be_texts_and_naive_ones_are_utc(chain: Chain) -> None:
    home = chain.settings.home
    named = load_regimes(str(BTC), start="2025-02-10", end="2025-02-10T06:00:00Z", home=home)
    naive = load_regimes(str(BTC), start=datetime(2025, 2, 10), end="2025-02-10T07:00:00+01:00", home=home)  # noqa: DTZ001 (the point)
    assert len(named) == 6
    pd.testing.assert_frame_equal(named, naive)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("binance:XX",), "is not an instrument"),
        ((str(BTC), "7m"), "unknown timeframe"),
        ((str(BTC), "4h"), "nothing is stored in bars"),
        (("binance:ETH/USDT:USDT",), "nothing is stored in bars_1m"),
    ],
)
def test_what_is_not_there_is_refused_in_one_line(chain: Chain, arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_bars(*arguments, home=chain.settings.home)


def test_a_malformed_moment_is_refused(chain: Chain) -> None:
    for moment in ("soon", "0001-01-01T00:00:00+14:00"):
        with pytest.raises(UsageError, match=re.escape(f"'{moment}' is not a moment")):
            load_bars(str(BTC), start=moment, home=chain.settings.home)


def test_an_empty_home_stays_empty_when_it_is_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing is stored"):
        load_regimes(str(BTC), home=tmp_path)
    assert list(tmp_path.iterdir()) == []
