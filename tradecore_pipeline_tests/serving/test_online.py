import itertools
import json
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tradecore_pipeline import load_regimes, open_filter
from tradecore_pipeline.domain.errors import (
    FilterStateError,
    MissingInputError,
    UsageError,
)
from tradecore_pipeline.domain.tables import REGIMES
from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.models.flicker import held_states
from tradecore_pipeline.models.online import OnlineFilter, parameters_id
from tradecore_pipeline.models.regimes import RegimeModel, fit_regimes
from tradecore_pipeline.serving.next_bars import BAR_COLUMNS
from tradecore_pipeline.serving.online_regimes import OnlineRegimes, content_sha256
from tradecore_pipeline.settings import Settings
from tradecore_pipeline_tests.chain import (
    BTC,
    HOUR,
    NOW,
    TODAY,
    Chain,
    set_variables,
)
from tradecore_pipeline_tests.models.markets import simulate
from tradecore_pipeline_tests.serving.online_cases import NAME, opened, todays_bars

FIVE_MINUTES = Timeframe("5m")
WINDOW, STREAMED = 2_000, 10_000
THRESHOLD = 0.6
LATER = date(2022, 12, 1)
COLUMNS = [
    "ts_close", "regime_index", "volatility_regime", "regime", "direction_significant", "confidence",
    "filtered_probability", "held_index",
]  # fmt: skip


def market(rows: int) -> pd.DataFrame:
    """5-minute bars in whose middle the exchange was silent for a while."""
    bars = simulate(rows + 30, scales=(0.1, 0.3, 0.9), stay=0.97, df=6.0, seed=4, frequency="5min", minutes=5).bars
    silent = WINDOW + (rows - WINDOW) // 2
    bars = pd.concat([bars.iloc[:silent], bars.iloc[silent + 30 :]])
    return bars.assign(rsi_14=np.random.default_rng(4).uniform(20, 80, len(bars)))


def fitted(bars: pd.DataFrame, emission: str) -> RegimeModel:
    features = ("scaled_return", "log_realized_variance", "rsi_14")
    return fit_regimes(
        bars, bars[["rsi_14"]], timeframe=FIVE_MINUTES, states=3, restarts=2, emission=emission, features=features,
        carry_bars=(1, 3), seed=1,
    )  # fmt: skip


def standing(model: RegimeModel, bars: pd.DataFrame) -> OnlineRegimes:
    """The filter after ``bars``, as the last published row has it."""
    filtered = model.filter(bars, bars[["rsi_14"]])
    filtering = OnlineFilter(model.startprob, model.transmat, parameters_id(model.to_arrays()))
    filtering.probabilities, filtering.bars = filtered.probabilities[-1].copy(), len(bars)
    features = [name for name in model.emission.features if name == "rsi_14"]
    reach = 3 if model.emission.kind == "return_variance" else 1
    return OnlineRegimes(
        instrument=BTC, month=LATER, model=model, hmm_run_id="run", direction_significant=False,
        label_threshold=THRESHOLD, clock=lambda: NOW, filtering=filtering,
        recent=bars.iloc[-reach:][[*BAR_COLUMNS, *features]],
        held_index=int(held_states(filtered.probabilities, THRESHOLD)[-1]),
    )  # fmt: skip


def streamed(filtering: OnlineRegimes, bars: pd.DataFrame, seed: int) -> pd.DataFrame:
    """``bars`` given a few at a time."""
    sizes = np.random.default_rng(seed).choice([0, 1, 1, 2, 24, 300], len(bars))
    cuts = [0, *(cut for cut in np.cumsum(sizes).tolist() if cut < len(bars)), len(bars)]
    parts = [filtering.update(bars.iloc[a:b], after_gap=True) for a, b in itertools.pairwise(cuts)]
    return pd.concat([part for part in parts if len(part)])


def stacked(rows: pd.DataFrame) -> np.ndarray:
    return np.vstack(rows["filtered_probability"].to_list())


@pytest.mark.parametrize("emission", ["return_variance", "student_t", "gaussian"])
def test_ten_thousand_streamed_bars_are_what_the_batch_says(emission: str) -> None:
    bars = market(WINDOW + STREAMED)
    model = fitted(bars.iloc[:WINDOW], emission)
    rows = streamed(standing(model, bars.iloc[:WINDOW]), bars.iloc[WINDOW:], seed=2)
    batch = model.filter(bars, bars[["rsi_14"]])
    assert len(rows) == STREAMED
    assert list(rows.columns) == COLUMNS
    assert rows.index.equals(pd.DatetimeIndex(bars.index[WINDOW:]).as_unit("us"))
    np.testing.assert_allclose(stacked(rows), batch.probabilities[WINDOW:], atol=1e-9)
    assert np.array_equal(rows["regime_index"], batch.index[WINDOW:])
    assert np.array_equal(rows["held_index"], held_states(batch.probabilities, THRESHOLD)[WINDOW:])
    np.testing.assert_allclose(rows["confidence"], batch.confidence[WINDOW:], atol=1e-9)
    assert (rows["regime_index"] != rows["held_index"]).any()


@pytest.fixture
def home(online_home: Settings) -> Settings:
    return online_home


def test_going_on_from_yesterdays_rows_is_what_predict_publishes_today(chain: Chain, home: Settings) -> None:
    published = load_regimes(NAME, start=str(TODAY), home=chain.settings.home)
    filtering = opened(home)
    assert filtering.next_open == pd.Timestamp(TODAY, tz="UTC")
    bars = todays_bars(home)
    rows = pd.concat([filtering.update(bars.iloc[:1]), filtering.update(bars.iloc[1:])])
    assert len(rows) == len(published) == NOW.hour
    np.testing.assert_allclose(stacked(rows), stacked(published), atol=1e-9)
    np.testing.assert_allclose(rows["confidence"], published["confidence"], atol=1e-9)
    exact = [name for name in COLUMNS if name not in {"filtered_probability", "confidence"}]
    pd.testing.assert_frame_equal(rows[exact], published[exact], check_freq=False)


def test_a_restart_from_a_saved_state_changes_no_bit(home: Settings, tmp_path: Path) -> None:
    bars = todays_bars(home)
    unbroken = opened(home).update(bars)
    first = opened(home)
    rows = first.update(bars.iloc[:4])
    first.save(tmp_path / "state.json")
    second = opened(home, tmp_path / "state.json")
    assert second.next_open == bars.index[4]
    rows = pd.concat([rows, second.update(bars.iloc[4:])])
    assert np.array_equal(stacked(rows), stacked(unbroken))
    pd.testing.assert_frame_equal(
        rows.drop(columns="filtered_probability"), unbroken.drop(columns="filtered_probability")
    )


def test_a_state_of_another_model_is_refused_with_both_ids(home: Settings, tmp_path: Path) -> None:
    path, filtering = tmp_path / "state.json", opened(home)
    own = filtering.filtering.model_id
    filtering.filtering.model_id = "f" * 64
    filtering.save(path)
    with pytest.raises(FilterStateError, match=f"model ffffffffffff, this is model {own[:12]}"):
        opened(home, path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"instrument": "binance:ETH/USDT:USDT"}, "is a state of binance:ETH/USDT:USDT 1h, not of binance:BTC"),
        ({"timeframe": "4h"}, "is a state of binance:BTC/USDT:USDT 4h, not of"),
        ({"month": "soon"}, "is no saved filter state"),
        ({"filter": None}, "damaged"),
        ({"recent": {}}, "damaged"),
        ({"held_index": 3}, "damaged"),
        ({"last_ts_open": "2025-01-01T00:00:00+00:00"}, "damaged"),
    ],
)
def test_a_damaged_or_foreign_state_is_refused(
    home: Settings, tmp_path: Path, change: dict[str, object], message: str
) -> None:
    path = tmp_path / "state.json"
    opened(home).save(path)
    changed = json.loads(path.read_text()) | change
    path.write_text(json.dumps(changed | {"sha256": content_sha256(changed)}))
    with pytest.raises(FilterStateError, match=message):
        opened(home, path)
    path.write_text(path.read_text()[:-9])
    with pytest.raises(FilterStateError, match="is no saved filter state"):
        opened(home, path)
    with pytest.raises(FilterStateError, match="does not exist"):
        opened(home, tmp_path / "nowhere.json")


def test_a_state_that_somebody_edited_is_refused(home: Settings, tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    opened(home).save(path)
    document = json.loads(path.read_text())
    state = json.loads(document["filter"])
    document["filter"] = json.dumps(state | {"probabilities": state["probabilities"][::-1]})
    path.write_text(json.dumps(document))
    with pytest.raises(FilterStateError, match=r"state\.json was changed since it was saved"):
        opened(home, path)
    with pytest.raises(FilterStateError, match="is no saved filter state"):
        opened(home, tmp_path)


def test_rows_of_another_model_than_the_months_are_not_gone_on_from(home: Settings) -> None:
    lake = Chain(home, {}).adapters.lake
    day = TODAY - timedelta(days=1)
    rows = load_regimes(NAME, start=str(day), home=home.home)
    lake.publish(REGIMES, BTC, day, rows.assign(hmm_run_id="0" * 32), timeframe=HOUR)
    with pytest.raises(FilterStateError, match=r"BTC/USDT:USDT 1h 2025-03: .* run 0{32}, the month's model is of run"):
        opened(home)


def test_a_home_without_regimes_is_refused_and_stays_empty(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="run `tradecore predict` first"):
        open_filter(NAME, home=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_month_whose_model_is_gone_is_named(home: Settings) -> None:
    home.home.joinpath("empty").mkdir()
    elsewhere = {"TRADECORE_MLFLOW_TRACKING_URI": f"sqlite:///{home.home / 'empty' / 'mlflow.db'}"}
    with (
        set_variables(elsewhere),
        pytest.raises(MissingInputError, match=r"1h 2025-03: .* --from 2025-03 --to 2025-03"),
    ):
        opened(home)


def test_opening_is_imported_without_dagster_mlflow_and_torch() -> None:
    code = (
        "import sys; from tradecore_pipeline import open_filter; "
        "print(*sorted({'dagster', 'mlflow', 'torch', 'sklearn', 'hmmlearn', 'duckdb'} & set(sys.modules)))"
    )
    answer = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert answer.stdout.split() == []
