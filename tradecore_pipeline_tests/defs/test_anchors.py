"""A year's months start from one anchor, in whichever order they are trained; prediction says where they do not."""

import json
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tradecore_pipeline import open_filter
from tradecore_pipeline.defs.anchors import YEAR, other_anchor
from tradecore_pipeline.defs.fits import HMM, Month
from tradecore_pipeline.defs.regime_fits import fit_hmm
from tradecore_pipeline.defs.regimes import predict
from tradecore_pipeline.domain.errors import ModelFitError
from tradecore_pipeline.domain.tables import BARS
from tradecore_pipeline.domain.time import day_range, day_start
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
    variables,
)

JANUARY = date(2025, 1, 1)
LONGER = {"training_window_bars": {"1h": 600}}


def short_home(chain: Chain, home: Path) -> Settings:
    """A copy of the chain's home with a registry of its own, and windows so short that January has one."""
    own = {"mlflow_tracking_uri": None, "training_window_bars": {"1h": 240}, "hmm_states": 2}
    return copy_home(chain, home).model_copy(update=own)


def month_of(settings: Settings, month: date) -> Month:
    return Month(Chain(settings, {}).adapters, BTC, HOUR, month)


def trained(settings: Settings, months: Sequence[date]) -> dict[date, dict[str, Any]]:
    """What is told of each month, trained in this order."""
    return {month: fit_hmm(month_of(settings, month), "run")[1] for month in months}


def flatten(settings: Settings, first: date, last: date) -> None:
    """Let the price stand still."""
    lake = Chain(settings, {}).adapters.lake
    for day in day_range(first, last):
        rows = lake.read(BARS, BTC, day_start(day), day_start(day + ONE_DAY), timeframe=HOUR)
        still = rows.assign(open=100.0, high=100.0, low=100.0, close=100.0, realized_variance=0.0)
        lake.publish(BARS, BTC, day, still, timeframe=HOUR)


def test_months_trained_in_any_order_are_equal_where_januarys_window_gives_no_anchor(
    chain: Chain, tmp_path: Path
) -> None:
    forward, backward = short_home(chain, tmp_path / "forward"), short_home(chain, tmp_path / "backward")
    for settings in (forward, backward):
        flatten(settings, START, JANUARY - ONE_DAY)
    told = trained(forward, [FEBRUARY, MARCH])
    assert told == trained(backward, [MARCH, FEBRUARY])
    for month in (FEBRUARY, MARCH):
        stored, other = (month_of(settings, month).stored(HMM) for settings in (forward, backward))
        assert stored.run_id != other.run_id
        assert stored.digest() == other.digest()
        assert (stored.config["anchor"], stored.config["window_bars"]) == ("2025-02", 240)
        assert other_anchor(month_of(forward, month), stored.config) == ""
        assert told[month]["anchor_passed_over"].startswith(f"{BTC} 1h 2025-01, the anchor of its year: every bar")
    with pytest.raises(ModelFitError, match="does not move"):
        fit_hmm(month_of(forward, JANUARY), "run")


def test_a_month_anchored_before_a_backfill_differs_from_its_year_until_it_is_trained_again(
    chain: Chain, tmp_path: Path
) -> None:
    settings = short_home(chain, tmp_path / "home")
    series = Chain(settings, {}).adapters.layout.series(BARS.name, BTC, timeframe=HOUR)
    aside = tmp_path / "not yet"
    aside.mkdir()
    for day in day_range(START, date(2025, 2, 17)):
        (series / f"date={day}.parquet").rename(aside / f"date={day}.parquet")
    march = month_of(settings, MARCH)
    assert trained(settings, [MARCH])[MARCH]["anchor"] == "2025-03"
    assert other_anchor(march, march.stored(HMM).config) == ""
    for path in aside.iterdir():
        path.rename(series / path.name)
    assert trained(settings, [FEBRUARY])[FEBRUARY]["anchor"] == "2025-01"
    note = other_anchor(march, march.stored(HMM).config)
    assert note.startswith("the month's model starts from the anchor of 2025-03, and months of its year trained since")
    assert "of 2025-01: train the month again" in note
    trained(settings, [MARCH])
    assert other_anchor(march, march.stored(HMM).config) == ""


def test_predicted_days_note_an_anchor_that_is_no_longer_their_years(chain: Chain, tmp_path: Path) -> None:
    month = month_of(copy_home(chain, tmp_path / "home"), MARCH)
    plain = predict(month, TODAY, TODAY)
    assert "hmm_anchor" not in plain.day_summary(plain.rows)
    document = {"month": "2025-01", "digest": "0" * 64}
    month.adapters.lake.put_document(YEAR, BTC, JANUARY, timeframe=HOUR, document=document)
    noted = predict(month, TODAY, TODAY)
    assert "anchor of 2025-02, and" in str(noted.day_summary(noted.rows)["hmm_anchor"])
    pd.testing.assert_frame_equal(noted.rows, plain.rows)
    path = month.adapters.layout.document(YEAR, BTC, JANUARY, timeframe=HOUR)
    for damage in ("[1, 2]", "{"):
        path.write_text(damage)
        assert "hmm_anchor" not in predict(month, TODAY, TODAY).notes
    path.unlink()
    assert "hmm_anchor" not in predict(month, TODAY, TODAY).notes


def test_a_month_is_filtered_from_the_window_it_was_trained_on_whatever_the_settings_are_by_now(chain: Chain) -> None:
    then = predict(month_of(chain.settings, MARCH), MARCH, TODAY)
    now = predict(month_of(chain.settings.model_copy(update=LONGER), MARCH), MARCH, TODAY)
    pd.testing.assert_frame_equal(now.rows, then.rows, check_exact=True)
    with set_variables(variables(chain.settings)):
        before = open_filter(str(BTC), home=chain.settings.home)
    with set_variables(variables(chain.settings.model_copy(update=LONGER))):
        after = open_filter(str(BTC), home=chain.settings.home)
    assert json.loads(after.filtering.to_json()) == json.loads(before.filtering.to_json())


def test_the_trend_looks_thirty_days_back_beside_a_window_of_twenty(chain: Chain) -> None:
    rows = predict(month_of(chain.settings, MARCH), MARCH, TODAY).rows
    lookback = pd.Timedelta(days=30)
    first = rows.index[0] - lookback
    close = chain.adapters.lake.read(BARS, BTC, first, day_start(TODAY + ONE_DAY), timeframe=HOUR)["close"]
    moved = close.loc[rows.index].to_numpy() - close.loc[rows.index - lookback].to_numpy()
    assert (rows["trend"].to_numpy() == np.sign(moved)).all()
    assert (moved != 0).any()
