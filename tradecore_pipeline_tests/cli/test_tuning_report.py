"""`tradecore tuning-report`: what it says of tuned months, and what it refuses."""

import json
from pathlib import Path

import pandas as pd
import pytest

from tradecore_pipeline.domain.errors import MissingInputError
from tradecore_pipeline.domain.tables import BARS
from tradecore_pipeline.domain.time import day_start
from tradecore_pipeline.features.tuned import DEFAULT_PARAMETERS
from tradecore_pipeline.serving.tuned_sources import tuned_sources
from tradecore_pipeline.serving.tuning_months import KIND, Asked, stored_months, tuning_report
from tradecore_pipeline.tuning.objective import OBJECTIVES
from tradecore_pipeline_tests.chain import BTC, FEBRUARY, HOUR, MARCH, SPOT, TODAY, Chain, copy_home, tradecore

NAME = str(BTC)


def asked(chain: Chain) -> Asked:
    return Asked(BTC, HOUR, "log_absolute_return", window_bars=480, folds=chain.settings.tuning_folds, seed=7)


def test_every_tuned_month_is_judged_on_its_own_bars(chain: Chain, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    outcome = tradecore(chain.settings, "tuning-report", NAME, "--timeframe", "1h", "--out", str(page), "--json")
    assert outcome.code == 0, outcome.err
    found = outcome.json
    assert [month["month"] for month in found["months"]] == ["2025-02", "2025-03"]
    assert found["months"][0]["bars"] == 28 * 24
    assert set(found["objectives"]) == set(OBJECTIVES)
    for month in found["months"]:
        assert month["gain"]["mean"] == pytest.approx(month["test_default"] - month["test_tuned"])
        assert month["inner_tuned"] <= month["inner_default"]
        assert set(month["moved"]) <= set(DEFAULT_PARAMETERS.to_dict())
    assert "SIMULATED" in page.read_text(encoding="utf-8")


def test_the_folds_errors_are_those_of_the_stored_study(chain: Chain) -> None:
    lake = chain.adapters.lake
    months = stored_months(lake, BTC, timeframe=HOUR)
    assert months == [FEBRUARY, MARCH]
    found = tuning_report(lake, asked(chain), months, done=lambda _: None)
    for month in found.months:
        document = lake.get_document(KIND, BTC, month.month, timeframe=HOUR)
        assert document is not None
        assert month.inner_tuned == pytest.approx(document["value"], rel=1e-12)
        assert month.inner_default == pytest.approx(document["default_value"], rel=1e-12)


def test_a_month_is_chosen_and_the_table_explains_itself(chain: Chain) -> None:
    arguments = ("tuning-report", NAME, "--timeframe", "1h", "--from", "2025-02", "--to", "2025-02")
    outcome = tradecore(chain.settings, *arguments, "--objective", "log_score")
    assert outcome.code == 0, outcome.err
    lines = outcome.out.splitlines()
    assert [line.split()[0] for line in lines[:4]] == ["month", "2025-02", "all", "objective"]
    assert "which no trial saw" in outcome.err
    assert "Tuned lengths" in outcome.err


def test_lengths_of_an_older_version_say_what_to_do(chain: Chain, tmp_path: Path) -> None:
    settings = copy_home(chain, tmp_path / "home")
    lake = Chain(settings, {}).adapters.lake
    document = lake.get_document(KIND, BTC, MARCH, timeframe=HOUR)
    assert document is not None
    older = {name: length for name, length in document["parameters"].items() if name < "macd"}
    lake.put_document(KIND, BTC, MARCH, timeframe=HOUR, document=document | {"parameters": older})
    outcome = tradecore(settings, "tuning-report", NAME, "--timeframe", "1h")
    assert outcome.code == 1
    assert f"{NAME} 1h 2025-03: the stored indicator lengths are of another version" in outcome.err
    assert "tune that month again" in outcome.err
    assert "Traceback" not in outcome.err


def test_refusals_are_one_line_that_says_what_to_do(chain: Chain, tmp_path: Path) -> None:
    def error(settings: object, *more: str) -> str:
        outcome = tradecore(settings, "tuning-report", NAME, "--timeframe", "1h", *more)  # type: ignore[arg-type]
        assert outcome.code in (1, 2)
        lines = [line for line in outcome.err.splitlines() if not line.startswith("months:")]
        assert len(lines) == 1, outcome.err
        return lines[0]

    empty = chain.settings.model_copy(update={"home": tmp_path / "empty"})
    assert "run `tradecore train` first" in error(empty)
    assert "is tuned from 2025-02 to 2025-03" in error(chain.settings, "--from", "2024-01", "--to", "2024-02")
    assert "choose from log_absolute_return" in error(chain.settings, "--objective", "sharpe")
    with pytest.raises(MissingInputError, match="2025-01 has not been tuned"):
        tuning_report(chain.adapters.lake, asked(chain), [pd.Timestamp("2025-01-01").date()], done=lambda _: None)


def test_a_perpetual_is_tuned_on_its_funding_and_open_interest_and_spot_is_not(chain: Chain) -> None:
    lake = chain.adapters.lake
    bars = lake.read(BARS, BTC, day_start(FEBRUARY), day_start(TODAY), timeframe=HOUR)
    found = tuned_sources(lake, BTC, bars, timeframe=HOUR)
    assert found.funding is not None
    assert found.open_interest is not None
    assert found.funding.index[-1] < bars.index[-1] + HOUR.duration
    assert len(found.open_interest) >= 12 * (len(bars) - 1)
    spot = tuned_sources(lake, SPOT, bars, timeframe=HOUR)
    assert (spot.funding, spot.open_interest) == (None, None)


def test_the_study_says_what_it_judged_by(chain: Chain) -> None:
    document = chain.adapters.lake.get_document(KIND, BTC, MARCH, timeframe=HOUR)
    assert document is not None
    assert document["objective"] == "log_absolute_return"
    assert document["importances"] == {}, "four trials say nothing about importance"
    assert json.dumps(document, allow_nan=False)
