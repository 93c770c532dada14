"""Everything that is under test in a user's configuration: it is innocent, and guilty where a leak is planted in it."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tradecore_pipeline.domain.errors import MissingInputError, NotEnoughHistoryError, UsageError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.tables import BARS
from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.features.own import load_features
from tradecore_pipeline.serving import lookahead, lookahead_models
from tradecore_pipeline.serving.lookahead import Experiment, claims, own_claims, plan_for
from tradecore_pipeline.serving.lookahead_markets import simulated_sources, stored_sources
from tradecore_pipeline.serving.lookahead_report import lookahead_page, verdict
from tradecore_pipeline.settings import Settings
from tradecore_pipeline.storage.lake import Lake
from tradecore_pipeline.storage.layout import Layout
from tradecore_pipeline.validation.lookahead import Claim, Sources, StageResult, examine, find_lookahead
from tradecore_pipeline_tests.chain import BTC, HOUR, SMALL

SPAN = pd.Timedelta(days=100).to_pytimedelta()
EXAMPLE = Path(__file__).parents[2] / "docs/lookahead.md"


def silent(_: str) -> None:
    """No progress."""


@pytest.fixture(scope="module")
def sources() -> Sources:
    return simulated_sources(BTC, HOUR, span=SPAN, seed=5)


def experiment(sources: Sources, own: Any = (), cuts: int = 10, **changes: Any) -> Experiment:
    settings = Settings.load(**{**SMALL, **changes})
    return Experiment(plan_for(settings, HOUR, sources, own=own), cuts, seed=1)


def claim_of(found: list[Claim], stage: str) -> Claim:
    return next(claim for claim in found if claim.stage == stage)


def test_nothing_of_a_default_configuration_looks_ahead(sources: Sources) -> None:
    wanted = experiment(sources)
    results = find_lookahead(claims(wanted, sources), sources, seed=1, done=silent)
    assert [finding for result in results for finding in result.findings] == []
    assert [result.stage for result in results] == [
        "bars", "features", "tuned features", "technical indicators", "labels", "labels of the window",
        "HAR forecasts", "filtered regimes", "published rows", "fits",
    ]  # fmt: skip
    columns = {column for result in results for column in result.columns}
    assert {"realized_variance", "rsi_14", "tuned_rsi", "macd_12_26", "filtered_probability", "held_index", "trend",
            "forecast_volatility", "log_score", "lstm_forecast_volatility_percent", "next_return",
            "LSTM: centre", "HMM: transmat", "HMM anchor: transmat", "HAR family: har_seasonal",
            "tuned lengths: rsi_length"} <= columns  # fmt: skip
    assert verdict(results).startswith("Nothing looked ahead: ")


def test_a_regime_model_of_stored_features_does_not_look_ahead_either(sources: Sources) -> None:
    wanted = experiment(sources, hmm_emission="student_t", hmm_features=("scaled_return", "rsi_14", "funding_rate"))
    found = [claim_of(claims(wanted, sources), stage) for stage in ("filtered regimes", "fits")]
    results = find_lookahead(found, sources, seed=1, done=silent)
    assert [result.findings for result in results] == [(), ()]


def test_the_network_that_is_examined_reads_what_the_settings_say(sources: Sources) -> None:
    wanted = experiment(sources, lstm_regimes="per_regime", lstm_tuned=False, lstm_features=("rsi_14",), lstm_hidden=3)
    corrector = lookahead_models.fit_month({n: s.rows for n, s in sources.items()}, wanted.plan).forecaster.corrector
    assert corrector.reading.regimes == "per_regime"
    assert corrector.shape.hidden == 3
    assert "rsi_14" in corrector.columns
    assert not any(name.startswith("tuned_") for name in corrector.columns)


def test_a_window_that_reaches_into_its_month_is_found_in_every_fit(
    sources: Sources, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = experiment(sources)
    honest = claim_of(claims(wanted, sources), "fits")

    def reaching(frames: Any, plan: Any, month: Any) -> pd.DataFrame:
        start, end = plan.window_of(month)
        return lookahead_models.between(frames[BARS.name], start, end + 48 * HOUR.duration)

    monkeypatch.setattr(lookahead_models, "window_bars", reaching)
    result = examine(honest, sources, seed=1, done=silent)
    guilty = {finding.column for finding in result.findings}
    assert {"HAR family: har_coefficients", "HAR family: har_seasonal", "HMM: transmat", "LSTM: centre"} <= guilty
    assert not {column for column in guilty if column.startswith(("HMM anchor", "tuned"))}


def test_a_label_of_the_window_that_reaches_into_its_month_is_found(
    sources: Sources, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = experiment(sources)
    honest = claim_of(lookahead._label_claims(wanted, sources), "labels of the window")
    real = lookahead.between
    monkeypatch.setattr(lookahead, "between", lambda rows, start, end: real(rows, start, end + 3 * HOUR.duration))
    (found, *_) = examine(honest, sources, seed=1, done=silent).findings
    assert found.row == pd.Timestamp(wanted.plan.month, tz="UTC") - HOUR.duration, "its label is the month's first bar"


def test_the_example_of_the_docs_is_innocent(sources: Sources, tmp_path: Path) -> None:
    own = load_features([written_example(tmp_path)], taken=()).features
    assert [feature.name for feature in own] == ["momentum_24", "open_contracts"]
    results = find_lookahead(own_claims(experiment(sources, own), sources), sources, seed=1, done=silent)
    assert [result.stage for result in results] == ["own feature momentum_24", "own feature open_contracts"]
    assert [result.findings for result in results] == [(), ()]


def written_example(folder: Path) -> Path:
    text = "\n\n".join(part.split("```")[0] for part in EXAMPLE.read_text().split("```python\n")[1:])
    path = folder / "my_features.py"
    path.write_text(text)
    return path


def test_own_features_that_peek_or_read_more_than_they_say_are_named(sources: Sources, tmp_path: Path) -> None:
    results = guilty_results(sources, tmp_path)
    found = {result.stage: result.findings[0].done for result in results if result.findings}
    assert found == {
        "own feature peek": "future scrambled",
        "own feature unclosed": "future removed",
        "own feature greedy": "history shortened",
    }
    assert verdict(results) == "2 of 4 columns know the future. 1 reads more history than declared."


def guilty_results(sources: Sources, folder: Path) -> list[StageResult]:
    path = folder / "guilty.py"
    path.write_text(
        "import pandas as pd\nfrom tradecore_pipeline.features.own import feature\n"
        "@feature(warm_up_bars=4, unit='x', meaning='y')\ndef honest(market):\n"
        "    return market.bars['close'].rolling(4).mean()\n"
        "@feature(warm_up_bars=0, unit='x', meaning='y')\ndef peek(market):\n"
        "    return market.bars['close'].shift(-1)\n"
        "@feature(warm_up_bars=4, unit='x', meaning='y')\ndef unclosed(market):\n"
        "    four = market.bars['close'].resample('4h').last()\n"
        "    return four.reindex(market.bars.index.floor('4h')).to_numpy()\n"
        "@feature(warm_up_bars=2, unit='x', meaning='y')\ndef greedy(market):\n"
        "    return market.bars['close'].rolling(24, min_periods=1).mean()\n"
    )
    own = load_features([path], taken=()).features
    return find_lookahead(own_claims(experiment(sources, own, cuts=20), sources), sources, seed=1, done=silent)


def test_the_page_names_what_leaks_says_what_is_simulated_and_asks_nobody(sources: Sources, tmp_path: Path) -> None:
    results = guilty_results(sources, tmp_path)
    bars = sources[BARS.name].rows
    month = experiment(sources).plan.month
    page = lookahead_page(results, bars.index, "a <b>, 1h", market="simulated", month=month)
    assert "a &lt;b&gt;, 1h" in page
    assert "SIMULATED" in page
    assert "own feature peek: 1 looked ahead" in page
    assert "own feature greedy: warm-up too short" in page
    assert "own feature honest: clean" in page
    assert "http://" not in page
    assert "https://" not in page
    assert "SIMULATED" not in lookahead_page(results, bars.index, "x", market="real", month=month)


def test_the_same_seed_simulates_the_same_market() -> None:
    two = [simulated_sources(BTC, HOUR, span=pd.Timedelta(days=3).to_pytimedelta(), seed=5) for _ in range(2)]
    for name in two[0]:
        pd.testing.assert_frame_equal(two[0][name].rows, two[1][name].rows)


def test_a_market_that_is_not_simulated_and_a_home_without_bars_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not list"):
        simulated_sources(Instrument.parse("binance:XRP/USDT"), HOUR, span=SPAN, seed=5)
    with pytest.raises(MissingInputError, match="--simulated"):
        stored_sources(Lake(Layout(tmp_path)), BTC, HOUR, span=SPAN)


def test_too_little_history_is_one_line_that_says_from_when(sources: Sources) -> None:
    settings = Settings.load(**{**SMALL, "training_window_bars": {"1h": 4_000}})
    with pytest.raises(NotEnoughHistoryError, match=r"backfill from 20\d\d-\d\d-\d\d"):
        plan_for(settings, HOUR, sources, own=())


@pytest.mark.parametrize("name", ["1h", "4h"])
def test_at_least_a_year_is_asked_for_and_always_a_window(name: str) -> None:
    settings, timeframe = Settings.load(), Timeframe(name)
    span = lookahead.wanted_span(settings, timeframe)
    assert span >= pd.Timedelta(days=366)
    assert span >= settings.window_bars(timeframe) * timeframe.duration
    assert np.isfinite(span.total_seconds())
