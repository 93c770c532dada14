"""`tradecore review-states`: what it reports, what it refuses, and that it changes nothing."""

from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from tradecore_pipeline.defs.feature_days import FEATURES
from tradecore_pipeline.domain.time import day_range, day_start
from tradecore_pipeline_tests.chain import (
    BTC,
    FEBRUARY,
    HOUR,
    ONE_DAY,
    START,
    Chain,
    copy_home,
    lake_files,
    set_variables,
    small_settings,
    tradecore,
)

NAME = str(BTC)
HOURLY = ("--timeframe", "1h")


def test_it_reviews_each_number_recommends_one_and_changes_nothing(chain: Chain) -> None:
    before = lake_files(chain.settings.home)
    outcome = tradecore(
        chain.settings, "review-states", NAME, *HOURLY, "--month", "2025-02", "--states", "3,2", "--json"
    )
    assert outcome.code == 0, outcome.err
    result = outcome.json
    assert set(result) == {
        "instrument", "timeframe", "month", "states", "recommended", "reason", "hmm_states",
    }  # fmt: skip
    assert (result["instrument"], result["timeframe"], result["month"]) == (NAME, "1h", "2025-02")
    assert [row["states"] for row in result["states"]] == [2, 3]
    assert set(result["states"][0]) == {
        "states", "log_likelihood_per_bar", "next_bar_log_score", "score", "score_two_standard_errors",
        "gain_over_fewer", "two_standard_errors", "least_occupancy", "occupancy", "relabelled_share", "expected_bars",
        "switches_per_1000_bars", "shown_switches_per_1000_bars", "objection",
    }  # fmt: skip
    assert result["recommended"] in {2, 3, None}
    assert result["hmm_states"] == 3
    assert "Nothing was changed" in outcome.err
    assert lake_files(chain.settings.home) == before


def test_by_default_it_takes_the_newest_stored_month_and_a_page_has_its_figures(chain: Chain, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    outcome = tradecore(chain.settings, "review-states", NAME, *HOURLY, "--states", "2", "--out", str(page), "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.json["month"] == "2025-03"
    assert outcome.json["report"] == str(page)
    assert f"report: {page}" in outcome.err
    text, (row,) = page.read_text(encoding="utf-8"), outcome.json["states"]
    assert "SIMULATED" in text
    assert "the training window of 2025-03" in text.lower()
    assert f"<td>{row['next_bar_log_score']:.4f}</td>" in text
    assert sum(row["occupancy"]) == pytest.approx(1)
    assert row["score"] == row["next_bar_log_score"]
    assert row["score_two_standard_errors"] > 0


@pytest.mark.parametrize("states", ["", "1", "2,six", "2,,9", "-2"])
def test_numbers_of_states_that_no_model_has_are_refused(chain: Chain, states: str) -> None:
    outcome = tradecore(chain.settings, "review-states", NAME, *HOURLY, f"--states={states}")
    assert outcome.code == 2
    assert outcome.err.count("\n") == 1
    assert "name numbers from 2 to 5" in outcome.err


def test_a_month_in_the_future_is_refused(chain: Chain) -> None:
    future = date(datetime.now(UTC).year + 1, 1, 1)
    outcome = tradecore(chain.settings, "review-states", NAME, *HOURLY, "--month", f"{future:%Y-%m}")
    assert outcome.code == 2
    assert "is in the future" in outcome.err
    outcome = tradecore(chain.settings, "review-states", NAME, *HOURLY, "--month", "0001-01")
    assert outcome.code == 2
    assert "--month 0001-01 is before 2019-09" in outcome.err


def test_a_month_with_too_little_history_is_one_line_that_says_what_to_do(chain: Chain) -> None:
    outcome = tradecore(chain.settings, "review-states", NAME, *HOURLY, "--month", "2025-01")
    assert outcome.code == 1
    assert outcome.err.count("\n") == 1
    assert "backfill from" in outcome.err


def test_a_feature_that_never_changes_is_named(chain: Chain, tmp_path: Path) -> None:
    settings = copy_home(chain, tmp_path / "home")
    lake = Chain(settings, {}).adapters.lake
    for day in day_range(START, FEBRUARY - ONE_DAY):
        rows = lake.read(FEATURES, BTC, day_start(day), day_start(day + ONE_DAY), timeframe=HOUR)
        lake.publish(FEATURES, BTC, day, rows.assign(rsi_14=50.0), timeframe=HOUR)
    chosen = {"TRADECORE_HMM_EMISSION": "student_t", "TRADECORE_HMM_FEATURES": "scaled_return,rsi_14"}
    with set_variables(chosen):
        outcome = tradecore(settings, "review-states", NAME, *HOURLY, "--month", "2025-02", "--states", "2")
    assert outcome.code == 1
    assert "feature rsi_14 is 50 in the whole training window" in outcome.err


def test_a_home_without_bars_is_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    outcome = tradecore(small_settings(tmp_path / "home", "http://127.0.0.1:9"), "review-states", NAME, *HOURLY)
    assert outcome.code == 1
    assert "run `tradecore backfill` and `tradecore train` first" in outcome.err
