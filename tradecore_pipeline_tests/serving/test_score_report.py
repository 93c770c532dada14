import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tradecore_pipeline.domain.market_data import REAL_MARKET
from tradecore_pipeline.domain.time import day_start
from tradecore_pipeline.serving.model_scores import BASELINE, PUBLISHED, ModelScores, Wanted
from tradecore_pipeline.serving.score_report import score_page, verdict, write_score_report
from tradecore_pipeline.validation.scoreboard import ALL, Standing, standings
from tradecore_pipeline_tests.chain import BTC, FEBRUARY, HOUR, MARCH

WANTED = Wanted(
    BTC, HOUR, start=day_start(FEBRUARY), end=day_start(MARCH), window_bars=480, least_bars=432, trained_on={}
)


def found(*, pit: bool) -> ModelScores:
    random = np.random.default_rng(1)
    index = pd.date_range("2024-12-20", periods=3000, freq="h", tz="UTC", name="ts_open")
    base = random.normal(size=3000)
    columns = {PUBLISHED: 0.004, BASELINE: 0.0, "EWMA-t": -0.05, "constant t": -0.2}
    scores = {
        name: base + gain + random.normal(scale=0.02 if gain else 0.0, size=3000) for name, gain in columns.items()
    }
    values = random.random(3000) if pit else np.full(3000, np.nan)
    return ModelScores(pd.DataFrame(scores, index=index), values, ("EWMA-t of 2025-01 <kept> its parameters",))


def page(scores: ModelScores, market: str) -> str:
    return score_page(scores, standings(scores.scores, baseline=BASELINE, lags=48), WANTED, market=market)


def test_the_page_has_every_model_in_every_era_and_opens_offline() -> None:
    text = page(found(pit=True), REAL_MARKET)
    rows = re.findall(r"</span>([^<]+)</td><td>([\d,]+)</td><td>(-?\d\.\d{4})</td>", text)
    assert [name for name, *_ in rows] == 3 * [PUBLISHED, BASELINE, "EWMA-t", "constant t"]
    assert [bars for _, bars, _ in rows[::4]] == ["288", "2,712", "3,000"]
    assert "SIMULATED" not in text
    assert "EWMA-t of 2025-01 &lt;kept&gt; its parameters" in text
    outside_scripts = re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
    assert re.findall(r"(?:src|href)=", outside_scripts) == []
    assert re.findall(r"<script[^>]+src", text.partition("<h2>")[2]) == []
    assert text.count("Plotly.newPlot(") == 2


def test_a_simulated_home_and_missing_models_say_so() -> None:
    text = page(found(pit=False), "simulated:seed11")
    assert '<span class="simulated">SIMULATED</span>' in text
    assert "there is no histogram" in text
    assert text.count("Plotly.newPlot(") == 1


def test_it_is_written_where_it_was_asked_for(tmp_path: Path) -> None:
    scores = found(pit=True)
    target = tmp_path / "deep" / "page.html"
    table = standings(scores.scores, baseline=BASELINE, lags=48)
    assert write_score_report(scores, table, WANTED, market=REAL_MARKET, path=target) == target
    assert "Cumulative gain over t-HAR" in target.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("difference", "least", "words"),
    [
        (0.004, 0.003, "was better: +0.0040"),
        (-0.004, 0.003, "was worse: -0.0040"),
        (0.002, 0.003, "cannot be told from none here (that takes 0.0030)"),
        (0.0, np.nan, "too few bars, or no difference"),
    ],
)
def test_the_verdict_claims_no_more_than_the_sample_shows(difference: float, least: float, words: str) -> None:
    standing = Standing(PUBLISHED, ALL, 3000, -0.4, difference, 2 * difference / least, least)
    assert words in verdict(standing)
