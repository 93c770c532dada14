from datetime import UTC, datetime

import numpy as np

from tradecore_pipeline.models.evidence import PIT_BINS, POOL, Evidence, HeldOutReport
from tradecore_pipeline.models.pool import BASELINE, NETWORK, PoolStart
from tradecore_pipeline.models.pool_members import SWITCHING
from tradecore_pipeline.serving.forecast_card import PAGE, TEXT, forecast_card

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


def test_the_card_says_who_takes_part_who_does_not_and_what_held_out_bars_showed() -> None:
    card = forecast_card("a market", START, {"epochs": 3.0}, FOUND, published="Challenger: nothing yet.")
    assert card.text.startswith("Challenger: nothing yet.")
    assert "switching HAR 76%" in card.text
    assert "t-HAR corrected by the LSTM (t 0.3)" in card.text
    assert "51.2% [48.0%, 54.0%]" in card.text
    assert "nan" not in card.text
    assert card.figures[TEXT].decode() == card.text
    assert card.metrics["held_out_pool_gain_t_lstm"] == 0.3
    assert card.metrics["held_out_pool_log_score"] == -0.7186
    assert card.metrics["epochs"] == 3.0


def test_the_page_asks_nobody_for_anything_and_escapes_what_it_shows() -> None:
    page = forecast_card("a <b>", START, {}, FOUND, published="").figures[PAGE].decode()
    assert "<svg" in page
    assert "<script" not in page
    assert "http" not in page
    assert "a &lt;b&gt;" in page
    assert "&lt;zero&gt;" in page


def test_a_window_too_short_to_hold_bars_out_still_has_a_card() -> None:
    card = forecast_card("a market", PoolStart({BASELINE: 0.0}, {}), {}, None, published="Challenger.")
    assert "too short" in card.text
    assert "t-HAR 100%" in card.text
