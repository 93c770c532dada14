"""What regime models cannot be fitted on, or filter, is said with instrument, month and column; or it is recorded."""

import re
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tradecore_pipeline import load_regimes, open_filter
from tradecore_pipeline.defs import fits, regimes
from tradecore_pipeline.defs.anchors import ANCHOR, load_anchor
from tradecore_pipeline.defs.feature_days import FEATURES
from tradecore_pipeline.defs.fits import HMM, Month, load_regime_model
from tradecore_pipeline.defs.regime_fits import fit_hmm, regime_choices
from tradecore_pipeline.defs.regimes import predict
from tradecore_pipeline.domain.errors import (
    InvalidDataError,
    MissingInputError,
    ModelFitError,
    NotEnoughHistoryError,
    TradecoreError,
)
from tradecore_pipeline.domain.tables import BARS, REGIMES, Table
from tradecore_pipeline.domain.time import day_range, day_start
from tradecore_pipeline.model_registry import StoredModel
from tradecore_pipeline.models.regimes import RegimeModel, fit_regimes
from tradecore_pipeline.settings import Settings
from tradecore_pipeline_tests.chain import (
    BTC,
    FEBRUARY,
    HOUR,
    MARCH,
    ONE_DAY,
    START,
    TODAY,
    Chain,
    copy_home,
    set_variables,
    span,
    tradecore,
    variables,
)

Change = Callable[[pd.DataFrame], pd.DataFrame]
NAME = str(BTC)
MARCHS = "binance:BTC/USDT:USDT 1h 2025-03"
BEFORE = MARCH - ONE_DAY
RSI = ("scaled_return", "rsi_14")


@pytest.fixture
def copy(chain: Chain, tmp_path: Path) -> Settings:
    return copy_home(chain, tmp_path / "home")


def changed(settings: Settings, table: Table, first: date, last: date, *, change: Change) -> None:
    """Store something else for the days from ``first`` to ``last``."""
    lake = Chain(settings, {}).adapters.lake
    for day in day_range(first, last):
        rows = lake.read(table, BTC, day_start(day), day_start(day + ONE_DAY), timeframe=HOUR)
        lake.publish(table, BTC, day, change(rows), timeframe=HOUR)


def tampered(settings: Settings, table: Table, day: date, *, column: str, value: float) -> None:
    """Put a value into the sixth row of a day that the lake itself would not store."""
    path = Chain(settings, {}).adapters.layout.day(table.name, BTC, day, timeframe=HOUR)
    rows = pq.read_table(path)
    values = rows[column].to_pylist()
    values[5] = value
    pq.write_table(rows.set_column(rows.column_names.index(column), column, pa.array(values, pa.float64())), path)


def month_of_march(settings: Settings, **more: Any) -> Month:
    return Month(Chain(settings.model_copy(update=more), {}).adapters, BTC, HOUR, MARCH)


def refused(month: Month, kind: type[TradecoreError], text: str) -> None:
    """Training the month fails in one line, before anything is logged."""
    with pytest.raises(kind, match=text) as caught:
        fit_hmm(month, "run")
    assert "\n" not in str(caught.value)


def flat(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(open=100.0, high=100.0, low=100.0, close=100.0, realized_variance=0.0)


def emptied(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.iloc[:0]


def without_mornings(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(rsi_14=rows["rsi_14"].where(pd.DatetimeIndex(rows.index).hour > 6))


@pytest.mark.parametrize("emission", ["return_variance", "student_t", "gaussian"])
def test_a_market_that_does_not_move_is_named(copy: Settings, emission: str) -> None:
    changed(copy, BARS, START, BEFORE, change=flat)
    # February's window, the first candidate for the anchor, is as flat.
    refused(month_of_march(copy, hmm_emission=emission), ModelFitError, f"^{MARCHS}, the anchor .* does not move")


def test_a_month_of_one_price_is_refused_by_the_command_in_one_line(copy: Settings) -> None:
    changed(copy, BARS, START, BEFORE, change=flat)
    outcome = tradecore(copy, "train", NAME, "--from", "2025-03", "--to", "2025-03", "--timeframe", "1h")
    assert outcome.code == 1
    assert outcome.err.splitlines()[-1].startswith(f"tradecore: {MARCHS}: every bar of the training window")


@pytest.mark.parametrize("emission", ["student_t", "gaussian"])
@pytest.mark.parametrize(
    ("values", "kind", "text"),
    [
        (50.0, ModelFitError, "feature rsi_14 is 50 in the whole training window"),
        (np.nan, NotEnoughHistoryError, "feature rsi_14 has 0 values in the window of 480 bars"),
    ],
)
def test_a_feature_that_says_nothing_is_named(
    copy: Settings, emission: str, values: float, kind: type[TradecoreError], text: str
) -> None:
    changed(copy, FEATURES, START, BEFORE, change=lambda rows: rows.assign(rsi_14=values))
    refused(month_of_march(copy, hmm_emission=emission, hmm_features=RSI), kind, f"^{MARCHS}: {text}")


def test_a_feature_that_is_infinite_is_named_with_its_bar(copy: Settings) -> None:
    tampered(copy, FEATURES, date(2025, 2, 20), column="rsi_14", value=np.inf)
    month = month_of_march(copy, hmm_emission="gaussian", hmm_features=RSI)
    refused(month, InvalidDataError, f"^{MARCHS}: feature rsi_14 is infinite at 2025-02-20 05:00")
    assert month.training_columns(month.window().iloc[-24:]) is not None


@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0])
def test_a_bar_with_an_impossible_variance_is_named_in_training_and_in_prediction(copy: Settings, value: float) -> None:
    tampered(copy, BARS, date(2025, 2, 20), column="realized_variance", value=value)
    text = f"^{NAME} 1h: realized_variance of the bar at 2025-02-20 05:00 is {value:g}"
    month = month_of_march(copy)
    refused(month, InvalidDataError, text)
    with pytest.raises(InvalidDataError, match=text):
        predict(month, MARCH, MARCH)


def test_a_state_that_dies_is_named_with_its_month(copy: Settings) -> None:
    def calm(rows: pd.DataFrame) -> pd.DataFrame:
        close = (100 * np.exp(np.random.default_rng(len(rows)).normal(0, 1e-3, len(rows)))).round(6)
        prices = {"open": close, "high": (1.002 * close).round(6), "low": (0.998 * close).round(6), "close": close}
        return rows.assign(**prices, realized_variance=1e-6)

    changed(copy, BARS, START, BEFORE, change=calm)
    month = month_of_march(copy, hmm_states=5)
    refused(month, ModelFitError, rf"^{MARCHS}, the anchor of its year: state \d of 5 held .* under 5%")


def test_a_month_without_bars_publishes_no_rows_and_the_next_is_not_trained(copy: Settings) -> None:
    for table in (BARS, FEATURES):
        changed(copy, table, MARCH, TODAY, change=emptied)
    month = month_of_march(copy)
    assert predict(month, MARCH, TODAY).rows.empty
    changed(copy, BARS, FEBRUARY, BEFORE, change=emptied)
    refused(month, NotEnoughHistoryError, f"{NAME} has 0 1h bars in the window before 2025-03 and 432 are needed")
    with pytest.raises(MissingInputError, match=f"^{MARCHS}: no bar is stored from 2025-02-08 to {TODAY}"):
        predict(month, MARCH, TODAY)


def test_a_model_of_another_number_of_states_is_used_and_noted(chain: Chain) -> None:
    noted = predict(month_of_march(chain.settings, hmm_states=4), TODAY, TODAY)
    plain = predict(month_of_march(chain.settings), TODAY, TODAY)
    pd.testing.assert_frame_equal(noted.rows, plain.rows)
    assert "hmm_states" not in plain.day_summary(plain.rows)
    assert noted.day_summary(noted.rows)["hmm_states"] == (
        "3 in the month's model; the settings ask for 4: train the month again"
    )


def test_a_network_is_not_fed_the_regimes_of_a_later_fit(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = Month.stored

    def refitted(month: Month, kind: Any) -> StoredModel:
        model = stored(month, kind)
        return StoredModel(HMM, "1h", model.config, model.arrays, None, "0" * 32, 2) if kind == HMM else model

    monkeypatch.setattr(fits.Month, "stored", refitted)
    with pytest.raises(MissingInputError, match=f"^{MARCHS}: the lstm model was .* 0{{32}}.*--from 2025-03"):
        predict(month_of_march(chain.settings), TODAY, TODAY)


def test_bars_that_show_a_model_nothing_are_counted_in_their_day(
    copy: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed(copy, FEATURES, MARCH, TODAY, change=without_mornings)
    month = month_of_march(copy, hmm_emission="gaussian", hmm_features=RSI)
    window = month.window()
    columns = month.training_columns(window)
    model = fit_regimes(window, columns, timeframe=HOUR, **regime_choices(month.adapters.settings))
    assert isinstance(model, RegimeModel)
    _, logged = load_regime_model(month)
    monkeypatch.setattr(regimes, "load_regime_model", lambda _: (model, logged))
    found = predict(month, MARCH, MARCH + ONE_DAY)
    day = found.rows.loc[day_start(MARCH) : day_start(MARCH + ONE_DAY) - HOUR.duration]
    assert len(day) == 24
    assert found.day_summary(day)["bars_without_observation"] == 7
    changed(copy, FEATURES, BEFORE, BEFORE, change=lambda rows: rows.assign(rsi_14=np.nan))
    assert month.training_columns(window)["rsi_14"].isna().sum() == 23


@pytest.fixture(scope="module")
def anchor(chain: Chain) -> RegimeModel:
    month = month_of_march(chain.settings)
    return load_anchor(month, regime_choices(month.adapters.settings)).model


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:200])


def one_digit(path: Path) -> None:
    text = path.read_text()
    at = text.index("0x1.") + 4
    path.write_text(text[:at] + ("0" if text[at] != "0" else "1") + text[at + 1 :])


def a_list(path: Path) -> None:
    path.write_text("[1, 2]")


@pytest.mark.parametrize("damage", [cut, one_digit, a_list])
def test_a_damaged_anchor_is_fitted_again(copy: Settings, anchor: RegimeModel, damage: Callable[[Path], None]) -> None:
    month = month_of_march(copy)
    path = month.adapters.layout.document(ANCHOR, BTC, FEBRUARY, timeframe=HOUR)
    whole = path.read_bytes()
    damage(path)
    again = load_anchor(month, regime_choices(month.adapters.settings)).model
    assert all(
        np.array_equal(again.to_arrays()[name], value, equal_nan=True) for name, value in anchor.to_arrays().items()
    )
    assert path.read_bytes() == whole


def test_the_anchor_is_the_first_month_whose_features_have_warmed_up(copy: Settings) -> None:
    changed(copy, FEATURES, START, FEBRUARY - ONE_DAY, change=lambda rows: rows.assign(rsi_14=np.nan))
    plain, with_rsi = month_of_march(copy), month_of_march(copy, hmm_emission="student_t", hmm_features=RSI)
    anchors = [load_anchor(month, regime_choices(month.adapters.settings)) for month in (plain, with_rsi)]
    assert [(one.month, one.passed_over) for one in anchors] == [(FEBRUARY, ()), (MARCH, ())]


def test_an_anchor_of_other_settings_is_fitted_again(copy: Settings, anchor: RegimeModel) -> None:
    month = month_of_march(copy, hmm_states=2)
    other = load_anchor(month, regime_choices(month.adapters.settings))
    assert (anchor.states, other.model.states, other.month) == (3, 2, FEBRUARY)
    kept = month.adapters.lake.get_document(ANCHOR, BTC, FEBRUARY, timeframe=HOUR)
    assert kept is not None
    assert kept["config"]["states"] == 2


def test_regimes_stored_before_there_were_held_labels_are_named_or_null(copy: Settings) -> None:
    layout = Chain(copy, {}).adapters.layout
    for day in day_range(FEBRUARY, TODAY):
        path = layout.day(REGIMES.name, BTC, day, timeframe=HOUR)
        pq.write_table(pq.read_table(path).drop_columns(["held_index", "trend"]), path)
    lacks = "date=2025-02-01.parquet lacks held_index, trend: materialize that day again"
    report = tradecore(copy, "report", NAME, *span(FEBRUARY, TODAY), "--timeframe", "1h")
    assert (report.code, report.out) == (1, "")
    assert report.err.splitlines()[-1].endswith(lacks)
    rows = tradecore(copy, "sql", "SELECT count(*) AS a, count(held_index) AS b FROM regimes", "--json").json["rows"]
    assert rows[0]["a"] > 24 * (TODAY - FEBRUARY).days
    assert rows[0]["b"] == 0
    with pytest.raises(InvalidDataError, match=re.escape(lacks)):
        load_regimes(NAME, home=copy.home)
    with set_variables(variables(copy)), pytest.raises(InvalidDataError, match="lacks held_index"):
        open_filter(NAME, home=copy.home)


def test_too_little_history_is_told_in_bars_of_the_timeframe(chain: Chain) -> None:
    month = Month(chain.adapters, BTC, HOUR, date(2025, 1, 1))
    with pytest.raises(NotEnoughHistoryError, match=f"^{NAME} has 287 1h bars in the window before 2025-01 and 432"):
        fit_hmm(month, "run")
