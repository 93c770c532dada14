"""The whole chain at every length of bars, each with a window of its own; over spot, which has bars only."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from tradecore_pipeline import load_regimes
from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.simulator.parameters import demo_parameters
from tradecore_pipeline.simulator.server import build_simulated, running
from tradecore_pipeline_tests.chain import SEED, SPOT, Chain, small_settings, span, tradecore

WINDOWS = {"5m": 3_000, "15m": 1_440, "30m": 960, "4h": 480, "1d": 480}
HISTORY_DAYS = {"5m": 20, "15m": 30, "30m": 45, "4h": 190, "1d": 745}
"""Enough for the window and, before it, the indicators' warm-up."""
MONTH, LAST = date(2025, 3, 1), date(2025, 3, 2)
NOW = datetime(2025, 3, 5, 10, 30, 30, tzinfo=UTC)


@pytest.mark.slow
@pytest.mark.parametrize("name", WINDOWS)
def test_regimes_are_published_at_every_timeframe(tmp_path: Path, name: str) -> None:
    timeframe, start = Timeframe.parse(name), MONTH - timedelta(days=HISTORY_DAYS[name])
    with running(build_simulated(demo_parameters(), SEED, start=start, end=NOW.date(), now=NOW)) as url:
        settings = small_settings(
            tmp_path / "home",
            url,
            instruments=(str(SPOT),),
            timeframes=(name,),
            training_window_bars={name: WINDOWS[name]},
        )
        outcome = tradecore(settings, "run", str(SPOT), *span(start, LAST), "--timeframe", name)
    assert outcome.code == 0, outcome.err
    regimes = load_regimes(str(SPOT), name, home=settings.home, start=str(MONTH))
    assert len(regimes) == 2 * timeframe.bars_per_day
    assert (regimes["ts_close"] - regimes.index == timeframe.duration).all()
    probabilities = np.vstack(regimes["filtered_probability"].to_list())
    assert np.abs(probabilities.sum(axis=1) - 1).max() < 1e-9
    assert (probabilities >= 0).all()
    assert np.isfinite(regimes["forecast_volatility"]).all()
    stored = Chain(settings, {}).adapters.registry.load("hmm", SPOT, timeframe=timeframe, month=MONTH)
    assert stored is not None
    stays = np.diag(stored.arrays["transmat"])
    print(name, "stays", stays.round(4))  # noqa: T201 (shown with -s: what the fit made of the timeframe)
    assert ((stays > 0) & (stays <= 1)).all()


@pytest.mark.slow
@pytest.mark.parametrize(("name", "days"), [("5m", 9), ("4h", 70)])
def test_the_least_history_is_a_number_of_bars(tmp_path: Path, name: str, days: int) -> None:
    start = MONTH - timedelta(days=days)
    bars = days * Timeframe.parse(name).bars_per_day - 1
    least = int(0.9 * WINDOWS[name])
    with running(build_simulated(demo_parameters(), SEED, start=start, end=NOW.date(), now=NOW)) as url:
        settings = small_settings(
            tmp_path / "home",
            url,
            instruments=(str(SPOT),),
            timeframes=(name,),
            training_window_bars={name: WINDOWS[name]},
        )
        outcome = tradecore(settings, "run", str(SPOT), *span(start, MONTH), "--timeframe", name)
    assert outcome.code == 1
    assert f"{bars} {name} bars in the window before 2025-03 and {least} are needed" in outcome.err.splitlines()[-1]
