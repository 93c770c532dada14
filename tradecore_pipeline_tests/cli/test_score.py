"""`tradecore score`: the published forecasts against the peers, and what it refuses."""

from datetime import timedelta
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import pytest

from tradecore_pipeline.domain.errors import MissingInputError, ModelFitError
from tradecore_pipeline.domain.tables import REGIMES
from tradecore_pipeline.domain.time import Timeframe, day_start
from tradecore_pipeline.models import peers
from tradecore_pipeline.serving.model_scores import HMM, Registered, Wanted, score_models, scored_rows
from tradecore_pipeline_tests.chain import BTC, FEBRUARY, HOUR, MARCH, TODAY, Chain, copy_home, tradecore

NAME = str(BTC)
MODELS = {"published", "t-HAR", "HMM", "constant t", "EWMA-t", "GARCH-t", "EGARCH-t"}


def published(chain: Chain) -> pd.DataFrame:
    lake = chain.adapters.lake
    return lake.read(REGIMES, BTC, day_start(FEBRUARY), day_start(TODAY) + timedelta(days=1), timeframe=HOUR)


def wanted(chain: Chain) -> Wanted:
    end = day_start(TODAY) + timedelta(days=1)
    window = chain.settings.window_bars(HOUR)
    return Wanted(BTC, HOUR, start=day_start(FEBRUARY), end=end, window_bars=window, least_bars=window, trained_on={})


def no_models(*_: object) -> Registered:
    raise MissingInputError("no models here")


def test_every_model_is_scored_on_the_same_published_bars(chain: Chain, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    outcome = tradecore(chain.settings, "score", NAME, "--timeframe", "1h", "--out", str(page), "--json")
    assert outcome.code == 0, outcome.err
    keys = {"instrument", "timeframe", "baseline", "hac_lags", "scores", "notes", "report"}
    assert set(outcome.json) == keys
    assert (outcome.json["baseline"], outcome.json["hac_lags"], outcome.json["notes"]) == ("t-HAR", 48, [])
    scores = {row["model"]: row for row in outcome.json["scores"]}
    assert set(scores) == MODELS
    assert {row["era"] for row in scores.values()} == {"all"}
    rows = published(chain)
    both = rows[["log_score", "har_log_score"]].dropna()
    assert {row["bars"] for row in scores.values()} == {len(both)}
    assert scores["published"]["log_score"] == pytest.approx(both["log_score"].mean())
    assert scores["t-HAR"]["log_score"] == pytest.approx(both["har_log_score"].mean())
    for row in scores.values():
        assert row["difference"] == pytest.approx(row["log_score"] - scores["t-HAR"]["log_score"])
    text = page.read_text(encoding="utf-8")
    assert "SIMULATED" in text
    assert "heaped ends mean forecasts too narrow" in text


def test_the_table_says_what_its_figures_mean(chain: Chain) -> None:
    outcome = tradecore(chain.settings, "score", NAME, "--timeframe", "1h", "--from", "2025-02", "--to", "2025-02")
    assert outcome.code == 0, outcome.err
    assert outcome.out.splitlines()[0].split()[:3] == ["era", "model", "bars"]
    assert len(outcome.out.splitlines()) == 1 + len(MODELS)
    assert "two HAC standard errors" in outcome.err


def test_scores_of_a_month_do_not_change_with_what_came_later(chain: Chain) -> None:
    rows, asked, lake = published(chain), wanted(chain), chain.adapters.lake
    both = score_models(lake, rows, asked, recall=no_models, done=lambda _: None)
    first = rows.loc[: day_start(MARCH) - HOUR.duration]
    alone = score_models(lake, first, asked, recall=no_models, done=lambda _: None)
    pd.testing.assert_frame_equal(both.scores.loc[first.index], alone.scores, check_exact=True)


def test_without_their_models_the_rows_are_scored_without_the_regime_model_and_a_note_says_so(chain: Chain) -> None:
    found = score_models(chain.adapters.lake, published(chain), wanted(chain), recall=no_models, done=lambda _: None)
    assert HMM not in found.scores.columns
    assert np.isnan(found.pit).all()
    assert [note.partition(":")[0] for note in found.notes] == [
        f"no HMM and no PIT for {month}" for month in ("2025-02", "2025-03")
    ]


def test_a_peer_that_does_not_converge_keeps_its_parameters_and_a_note_says_so(chain: Chain) -> None:
    fits, calls = dict(peers.PEER_FITS), []

    def fails_later(bars: pd.DataFrame, timeframe: Timeframe) -> peers.Peer:
        calls.append(len(bars))
        if len(calls) > 1:
            raise ModelFitError("GARCH did not converge")
        return fits["GARCH-t"](bars, timeframe)

    with mock.patch.object(peers, "PEER_FITS", fits | {"GARCH-t": fails_later}):
        found = score_models(
            chain.adapters.lake, published(chain), wanted(chain), recall=no_models, done=lambda _: None
        )
    assert "GARCH-t of 2025-03 did not converge: it keeps its parameters of before" in found.notes
    assert found.scores["GARCH-t"].loc[day_start(MARCH) :].notna().any()


def test_a_peer_that_cannot_be_fitted_in_the_first_month_is_left_out_with_a_note(chain: Chain) -> None:
    fits, calls = dict(peers.PEER_FITS), []

    def fails_at_first(bars: pd.DataFrame, timeframe: Timeframe) -> peers.Peer:
        calls.append(len(bars))
        if len(calls) == 1:
            raise ModelFitError("GARCH did not converge")
        return fits["GARCH-t"](bars, timeframe)

    with mock.patch.object(peers, "PEER_FITS", fits | {"GARCH-t": fails_at_first}):
        found = score_models(
            chain.adapters.lake, published(chain), wanted(chain), recall=no_models, done=lambda _: None
        )
    assert set(found.scores.columns) == MODELS - {HMM, "GARCH-t"}
    assert found.notes[-2].startswith("GARCH-t is left out: it could not be fitted in the first month, 2025-02 (GARCH")


def test_months_beyond_what_is_published_are_left_out_and_not_asked_for(chain: Chain) -> None:
    command = ("score", NAME, "--timeframe", "1h", "--json")
    whole, wider = (
        tradecore(chain.settings, *command),
        tradecore(chain.settings, *command, "--from", "0001-01", "--to", "9999-12"),
    )
    assert wider.code == 0, wider.err
    assert wider.json["scores"] == whole.json["scores"]


def test_refusals_are_one_line_that_says_what_to_do(chain: Chain, tmp_path: Path) -> None:
    def error(settings: object, *more: str) -> str:
        outcome = tradecore(settings, "score", NAME, "--timeframe", "1h", *more)  # type: ignore[arg-type]
        assert outcome.code in (1, 2)
        lines = [line for line in outcome.err.splitlines() if not line.startswith("score:")]
        assert len(lines) == 1, outcome.err
        return lines[0]

    empty = chain.settings.model_copy(update={"home": tmp_path / "empty"})
    assert "run `tradecore run` or `tradecore predict` first" in error(empty)
    assert "is after --to" in error(chain.settings, "--from", "2025-03", "--to", "2025-02")
    assert "write YYYY-MM" in error(chain.settings, "--from", "2025-02-01")
    assert "nothing is published" in error(chain.settings, "--from", "2024-01", "--to", "2024-02")
    assert "nothing is published" in error(chain.settings, "--from", "2031-01", "--to", "9999-12")
    longer = copy_home(chain, tmp_path / "home").model_copy(update={"training_window_bars": {"1h": 4320}})
    nowhere = longer.model_copy(update={"mlflow_tracking_uri": f"sqlite:///{tmp_path / 'mlflow.db'}"})
    assert "the peers need 3888" in error(nowhere)


def test_models_are_scored_on_the_window_they_were_trained_on_whatever_settings_ask_for_by_now(
    chain: Chain, tmp_path: Path
) -> None:
    command = ("score", NAME, "--timeframe", "1h", "--json")
    longer = copy_home(chain, tmp_path / "home").model_copy(update={"training_window_bars": {"1h": 2000}})
    before, after = (tradecore(settings, *command) for settings in (chain.settings, longer))
    assert after.code == 0, after.err
    assert after.json["scores"] == before.json["scores"]
    (told,) = after.json["notes"]
    assert told == (
        "the models of 2025-02 to 2025-03, 2 months, were trained on 480 bars, and the settings ask for 2,000 by now: "
        "the peers of those months have the same windows"
    )
    assert before.json["notes"] == []


def test_published_rows_outside_the_span_are_not_read(chain: Chain) -> None:
    asked = wanted(chain)
    assert scored_rows(chain.adapters.lake, asked).index[0] == pd.Timestamp(day_start(FEBRUARY))
