"""Own features by day: the same whatever is computed together, and refused where they look beyond what they declare."""

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tradecore_pipeline.domain.errors import UsageError
from tradecore_pipeline.domain.time import Timeframe, day_start
from tradecore_pipeline.features.own import OwnFeatures, compute_own, load_features, source_digest
from tradecore_pipeline.features.own_days import OwnDays
from tradecore_pipeline.features.prices import Sources

HOUR = Timeframe("1h")
HEAD = "import numpy as np\nfrom tradecore_pipeline.features.own import feature\n"
FIRST, DAYS = date(2024, 1, 1), 12
LAST = FIRST + timedelta(days=DAYS - 1)
SUBJECT = "binance:BTC/USDT:USDT 1h"


def market(seed: int = 1) -> Sources:
    index = pd.date_range(day_start(FIRST), periods=24 * DAYS, freq="1h", name="ts_open", unit="ms")
    random = np.random.default_rng(seed)
    bars = pd.DataFrame({"close": 100 + random.normal(size=len(index)).cumsum(), "volume": 1.0}, index=index)
    bars.insert(0, "ts_close", index + HOUR.duration)
    settled = pd.date_range(day_start(FIRST), periods=3 * DAYS, freq="8h", name="ts_settle", unit="ms")
    funding = pd.DataFrame({"funding_rate": random.normal(size=len(settled))}, index=settled)
    return Sources(bars, funding, None, HOUR)


def own_features(folder: Path, body: str, warm_up_bars: int = 24, more: str = "") -> OwnFeatures:
    path = folder / "mine.py"
    path.write_text(
        f'{HEAD}@feature(warm_up_bars={warm_up_bars}, unit="x", meaning="y"{more})\ndef f(market):\n{body}\n'
    )
    return load_features([path], taken=())


def refusal(own: OwnFeatures, sources: Sources, first: date, last: date) -> str:
    with pytest.raises(UsageError) as error:
        OwnDays(own, sources, SUBJECT).compute(first, last)
    text = str(error.value)
    assert "\n" not in text
    assert "mine.py" in text
    assert "feature f" in text
    assert SUBJECT in text
    return text


MEAN = "    return market.bars['close'].rolling(25).mean()"


@settings(max_examples=15, deadline=None)
@given(first=st.integers(2, DAYS - 1), length=st.integers(1, 6), seed=st.integers(0, 99))
def test_days_computed_from_their_warm_up_equal_the_whole_history(
    tmp_path_factory: pytest.TempPathFactory, first: int, length: int, seed: int
) -> None:
    own, sources = own_features(tmp_path_factory.mktemp("own"), MEAN), market(seed)
    begin = FIRST + timedelta(days=first)
    end = min(begin + timedelta(days=length - 1), LAST)
    near = Sources(sources.bars.loc[day_start(begin) - timedelta(hours=24) :], None, None, HOUR)
    rows = OwnDays(own, near, SUBJECT).compute(begin, end)
    whole = compute_own(own.features, sources.bars, None, None, timeframe=HOUR).loc[rows.index]
    np.testing.assert_allclose(rows["f"], whole["f"], rtol=1e-9, atol=0)
    assert (rows["ts_close"] == rows.index + HOUR.duration).all()
    assert len(rows) == 24 * ((end - begin).days + 1)


def test_the_first_listed_bars_have_no_value(tmp_path: Path) -> None:
    rows = OwnDays(own_features(tmp_path, MEAN), market(), SUBJECT).compute(FIRST, FIRST + timedelta(days=1))
    assert np.flatnonzero(rows["f"].isna()).tolist() == list(range(24))


@pytest.mark.parametrize(
    "body",
    [
        "    return market.bars['close'].shift(-1).fillna(0.0)",
        "    close = market.bars['close']\n    return (close - close.mean()) / close.std()",
        "    return market.bars['close'].rolling(25, center=True, min_periods=1).mean()",
    ],
)
@pytest.mark.parametrize("days", [1, 5])
def test_a_feature_that_reads_the_future_is_refused(tmp_path: Path, body: str, days: int) -> None:
    begin = FIRST + timedelta(days=5)
    end = begin + timedelta(days=days - 1)
    whole = market()
    seen = Sources(whole.bars.loc[: day_start(end) + timedelta(hours=23)], None, None, HOUR)
    text = refusal(own_features(tmp_path, body), seen, begin, end)
    assert "it reads the future" in text
    assert "2024-01-0" in text


def test_a_feature_that_reads_more_than_it_declares_is_refused(tmp_path: Path) -> None:
    own = own_features(tmp_path, "    return market.bars['close'].ewm(span=200).mean()")
    assert "more bars than it declares" in refusal(own, market(), FIRST + timedelta(days=3), LAST)


def test_funding_beyond_the_declared_warm_up_is_not_seen(tmp_path: Path) -> None:
    body = "    return np.full(len(market.bars), len(market.funding), dtype=float)"
    own = own_features(tmp_path, body, more=", inputs=('bars', 'funding_rates')")
    assert "more bars than it declares" in refusal(own, market(), FIRST + timedelta(days=3), LAST)


def test_a_value_missing_beyond_the_warm_up_is_refused_unless_declared(tmp_path: Path) -> None:
    body = "    close = market.bars['close']\n    return close.where(market.bars.index.day != 5)"
    text = refusal(own_features(tmp_path, body), market(), FIRST + timedelta(days=2), LAST)
    assert "at 2024-01-05 00:00 is NaN" in text
    assert "nullable=True" in text
    rows = OwnDays(own_features(tmp_path, body, more=", nullable=True"), market(), SUBJECT).compute(FIRST, LAST)
    assert rows["f"].isna().sum() == 48, "the listing's first day and the fifth"


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("    assert market.bars.index[-1].day < 7, 'too late'\n    return market.bars['close']", "AssertionError"),
        ("    return market.bars['close'] / (market.bars.index[-1].day < 7)", "is infinite"),
        ("    return market.bars['close'].to_numpy()[market.bars.index[-1].day >= 7 :]", "return one number per bar"),
        (
            "    return market.bars['close'].astype(str if market.bars.index[-1].day >= 7 else float)",
            "instead of numbers",
        ),
    ],
)
def test_what_fails_on_one_day_is_named_with_that_day(tmp_path: Path, body: str, says: str) -> None:
    text = refusal(own_features(tmp_path, body), market(), FIRST + timedelta(days=2), LAST)
    assert text.startswith(f"{SUBJECT} 2024-01-07: ")
    assert says in text


def test_days_without_bars_are_empty(tmp_path: Path) -> None:
    sources = market()
    gone = FIRST + timedelta(days=4)
    kept = Sources(sources.bars[sources.bars.index.date != gone], None, None, HOUR)
    rows = OwnDays(own_features(tmp_path, MEAN), kept, SUBJECT).compute(gone, gone)
    assert rows.empty
    assert list(rows) == ["ts_close", "f"]


def test_a_version_is_the_source_and_what_it_declares(tmp_path: Path) -> None:
    first = own_features(tmp_path, MEAN)
    assert own_features(tmp_path, MEAN).definition == first.definition
    assert first.definition.startswith(f"{source_digest([tmp_path / 'mine.py'])}-")
    edited = own_features(tmp_path, f"{MEAN}  # no change of meaning")
    longer = own_features(tmp_path, MEAN, warm_up_bars=25)
    parts = [one.definition.split("-") for one in (first, edited, longer)]
    assert parts[0][1] == parts[1][1] != parts[2][1]
    assert len({part[0] for part in parts}) == 3


def test_names_that_nobody_computes_are_refused_with_the_nearest(tmp_path: Path) -> None:
    own = own_features(tmp_path, MEAN)
    own.require(["f", "rsi_14"], "hmm_features")
    with pytest.raises(UsageError, match=r"setting lstm_features: unknown feature 'rsi_15': did you mean rsi_14"):
        own.require(["rsi_15"], "lstm_features")
