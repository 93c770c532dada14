from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.models.evidence import PIT_BINS, POOL, Ablation, Evidence, HeldOutReport
from tradecore_pipeline.models.inputs import WITHOUT_REGIMES
from tradecore_pipeline.models.lstm import LstmForecaster
from tradecore_pipeline.models.lstm_corrector import Corrector
from tradecore_pipeline.models.lstm_reading import Reading
from tradecore_pipeline.models.lstm_shape import DEFAULT_SHAPE
from tradecore_pipeline.models.pool import BASELINE, NETWORK, PoolStart
from tradecore_pipeline.models.pool_members import SWITCHING, HarFamily, fit_har_family
from tradecore_pipeline.serving.forecast_card import PAGE, TEXT, ForecastCard, forecast_card
from tradecore_pipeline_tests.models.markets import simulate

NOTHING = (np.nan, np.nan)


def row(name: str, direction: float = 0.512) -> Evidence:
    interval = NOTHING if np.isnan(direction) else (0.48, 0.54)
    return Evidence(name, 1440, -0.7186, 0.009, 2.5, direction, interval, np.nan, NOTHING, 0.0002)


FOUND = HeldOutReport(
    (row(POOL), row(BASELINE, np.nan), row("<zero>")),
    np.full(PIT_BINS, 1 / PIT_BINS),
    datetime(2025, 8, 1, 23, tzinfo=UTC),
    datetime(2025, 9, 30, 22, tzinfo=UTC),
)
START = PoolStart({BASELINE: 0.0, SWITCHING: 1.2}, {SWITCHING: 1.1, NETWORK: 0.3})


ABLATIONS = (
    Ablation(NETWORK, 1440, 0.0012, 0.8, np.nan, np.nan),
    Ablation(WITHOUT_REGIMES, 1440, -0.0003, -0.2, 0.0015, 2.4),
)


@pytest.fixture(scope="module")
def family() -> HarFamily:
    bars = simulate(400, scales=(0.5, 0.6), stay=0.9, df=5.0, seed=3, frequency="1h", minutes=60).bars
    return fit_har_family(bars, timeframe=Timeframe("1h"), seed=1)


def card(
    family: HarFamily,
    title: str = "a market",
    *,
    start: PoolStart = START,
    report: Mapping[str, float] | None = None,
    found: HeldOutReport | None = FOUND,
    windows: int = 1,
) -> ForecastCard:
    reading = Reading(("state_0",), ("state_0",), "probabilities")
    shape = replace(DEFAULT_SHAPE, windows=windows)
    corrector = Corrector(reading, np.zeros(1), np.ones(1), shape, 5, {})
    model = LstmForecaster(family, corrector, start, report or {})
    return forecast_card(
        title, model, found, ABLATIONS if found else (), published="Challenger: nothing yet.", shape_source="settings"
    )


def test_the_card_says_who_takes_part_who_does_not_and_what_held_out_bars_showed(family: HarFamily) -> None:
    made = card(family, report={"epochs": 3.0})
    assert made.text.startswith("Challenger: nothing yet.")
    assert "switching HAR 76%" in made.text
    assert "t-HAR corrected by the LSTM (t 0.3)" in made.text
    assert "51.2% [48.0%, 54.0%]" in made.text
    assert "nan" not in made.text
    assert made.figures[TEXT].decode() == made.text
    assert made.metrics["held_out_pool_gain_t_lstm"] == 0.3
    assert made.metrics["held_out_pool_log_score"] == -0.7186
    assert made.metrics["epochs"] == 3.0


def test_the_card_says_what_the_lstm_s_inputs_add(family: HarFamily) -> None:
    made = card(family)
    assert "| without regimes | -0.0003 | -0.2 | +0.0015 | +2.4 |" in made.text
    assert "<td>without regimes</td><td>-0.0003</td>" in made.figures[PAGE].decode()
    assert made.metrics["lstm_without_regimes_worth"] == 0.0015
    assert made.metrics["lstm_without_regimes_worth_t"] == 2.4


def test_the_card_says_how_far_back_the_lstm_learned_and_when_that_is_less_than_was_asked_for(
    family: HarFamily,
) -> None:
    whole = card(family, report={"lstm_bars": 8640.0, "lstm_windows": 2.0}, windows=2).text
    assert "8,640 bars (2.0 of the month's windows)" in whole
    short = card(family, report={"lstm_bars": 6480.0, "lstm_windows": 1.5}, windows=4).text
    assert "1.5 of the month's windows, of 4 asked for: no more is stored" in short


def test_the_page_asks_nobody_for_anything_and_escapes_what_it_shows(family: HarFamily) -> None:
    page = card(family, "a <b>").figures[PAGE].decode()
    assert "<svg" in page
    assert "<script" not in page
    assert "http" not in page
    assert "a &lt;b&gt;" in page
    assert "&lt;zero&gt;" in page


def test_a_window_too_short_to_hold_bars_out_still_has_a_card(family: HarFamily) -> None:
    made = card(family, start=PoolStart({BASELINE: 0.0}, {}), found=None)
    assert "too short" in made.text
    assert "t-HAR 100%" in made.text
    assert "inputs add" not in made.text
