"""What commands say to programs: one JSON object as the last line of stdout, with the documented keys."""

import csv
import io
import json
import socket
from datetime import date
from pathlib import Path

import pandas as pd
import pytest

from tradecore_pipeline.settings import Settings
from tradecore_pipeline_tests.chain import (
    BTC,
    FEBRUARY,
    FIRST,
    START,
    TODAY,
    Chain,
    copy_home,
    lake_files,
    small_settings,
    span,
    tradecore,
)

NAME = str(BTC)
DAY = span(date(2025, 1, 2), date(2025, 1, 2))


def test_run_reports_months_days_and_seconds_by_stage(chain: Chain) -> None:
    assert set(chain.result) == {"instrument", "timeframe", "months", "days", "seconds"}
    assert (chain.result["instrument"], chain.result["timeframe"], chain.result["months"]) == (NAME, "1h", 2)
    assert chain.result["days"] == (TODAY - FEBRUARY).days + 1
    assert set(chain.result["seconds"]) == {"market_data", "features", "tuning", "training", "regimes"}


def test_coverage_tells_extent_rows_and_what_is_missing(chain: Chain) -> None:
    outcome = tradecore(chain.settings, "coverage", "--json")
    assert outcome.code == 0
    assert set(outcome.json) == {"coverage", "own_features"}
    assert outcome.json["own_features"] == []
    rows = {row["dataset"]: row for row in outcome.json["coverage"]}
    assert set(rows) == {"bars_1m", "funding_rates", "open_interest"}
    minutes = rows["bars_1m"]
    states = ("done", "gap", "restated", "not_published", "before_listing", "incomplete", "failed", "missing")
    states += ("damaged",)
    extent = {"instrument", "dataset", "first", "last", "days", "rows", "missing_minutes", "gaps"}
    assert set(minutes) == extent | {f"{state}_days" for state in states}
    assert (minutes["gap_days"], minutes["before_listing_days"], minutes["incomplete_days"]) == (2, 2, 1)
    assert sum(minutes[f"{state}_days"] for state in states) == (TODAY - FIRST).days + 1
    assert (minutes["instrument"], minutes["first"], minutes["last"]) == (NAME, str(START), str(TODAY))
    assert (minutes["days"], minutes["missing_minutes"], minutes["gaps"]) == ((TODAY - FIRST).days + 1, 70, 2)
    assert minutes["rows"] == ((TODAY - START).days) * 1440 + 630 - 70


def test_sql_answers_as_json_csv_and_table(chain: Chain) -> None:
    query = "SELECT count(*) AS bars, min(ts_open) AS first, max(close) > 0 AS fine FROM bars_1m"
    outcome = tradecore(chain.settings, "sql", query, "--json")
    assert set(outcome.json) == {"columns", "rows"}
    assert outcome.json["columns"] == ["bars", "first", "fine"]
    (row,) = outcome.json["rows"]
    assert row["first"] == f"{START}T00:00:00Z"
    assert row["fine"] is True
    table = list(csv.reader(io.StringIO(tradecore(chain.settings, "sql", query, "--csv").out)))
    assert table[0] == ["bars", "first", "fine"]
    assert table[1][0] == str(row["bars"])
    assert str(row["bars"]) in tradecore(chain.settings, "sql", query).out


def test_json_is_strict_whatever_sql_finds(chain: Chain) -> None:
    query = (
        "SELECT 'nan'::DOUBLE AS n, [1.5, 'inf'::DOUBLE] AS l, {'x': '-inf'::DOUBLE} AS s, MAP {DATE '2020-01-01': 1} m"
    )
    last = tradecore(chain.settings, "sql", query, "--json").out.splitlines()[-1]
    (row,) = json.loads(last, parse_constant=pytest.fail)["rows"]
    assert row == {"n": None, "l": [1.5, None], "s": {"x": None}, "m": {"2020-01-01": 1}}


def test_sql_over_every_view_finds_the_chains_rows(chain: Chain) -> None:
    for view in ("bars_1m", "funding_rates", "open_interest", "bars_1h", "features", "regimes", "gaps"):
        outcome = tradecore(chain.settings, "sql", f"SELECT count(*) AS n FROM {view}", "--json")  # noqa: S608 (ours)
        assert outcome.code == 0, outcome.err
        assert outcome.json["rows"][0]["n"] > 0, view


@pytest.mark.parametrize("kind", ["parquet", "csv", "feather"])
def test_export_writes_what_it_says(chain: Chain, tmp_path: Path, kind: str) -> None:
    arguments = ("export", "bars_1m", "--instrument", NAME, *DAY, "--format", kind, "--json")
    outcome = tradecore(chain.settings, *arguments, cwd=tmp_path)
    assert outcome.code == 0, outcome.err
    assert set(outcome.json) == {"table", "instrument", "rows", "path"}
    assert outcome.json["rows"] == 1440
    written = tmp_path / outcome.json["path"]
    read = {"parquet": pd.read_parquet, "csv": pd.read_csv, "feather": pd.read_feather}[kind]
    assert len(read(written)) == 1440
    assert list(tmp_path.iterdir()) == [written]


def test_report_writes_one_page_into_the_home(chain: Chain, tmp_path: Path) -> None:
    copy = copy_home(chain, tmp_path / "home")
    outcome = tradecore(copy, "report", NAME, *span(FEBRUARY, TODAY), "--timeframe", "1h", "--json")
    assert set(outcome.json) == {"report"}
    page = Path(outcome.json["report"])
    assert page.parent == copy.home / "reports"
    assert "SIMULATED" in page.read_text(encoding="utf-8")


def test_backfill_fetches_skips_and_says_so(simulator_url: str, tmp_path: Path) -> None:
    settings = small_settings(tmp_path / "home", simulator_url)
    arguments = ("backfill", NAME, *span(FIRST, START), "--json")
    first, again = (tradecore(settings, *arguments) for _ in range(2))
    assert set(first.json) == {"instrument", "datasets", "seconds"}
    assert set(first.json["datasets"]) == {"bars_1m", "funding_rates", "open_interest"}
    row = {"days": 3, "fetched": 3, "skipped": 0, "rows": 1440, "missing": 0}
    row |= {"incomplete": 0, "first": str(START)}
    assert first.json["datasets"]["bars_1m"] == row
    assert again.json["datasets"]["bars_1m"] == row | {"fetched": 0, "skipped": 3}


def test_predict_again_changes_no_byte(chain: Chain, tmp_path: Path) -> None:
    copy = copy_home(chain, tmp_path / "home")
    before = lake_files(copy.home)
    arguments = ("predict", NAME, *span(date(2025, 2, 26), date(2025, 3, 2)), "--timeframe", "1h", "--json")
    outcome = tradecore(copy, *arguments)
    assert outcome.code == 0, outcome.err
    assert set(outcome.json) == {"instrument", "timeframe", "days", "seconds"}
    assert outcome.json["days"] == 5
    assert lake_files(copy.home) == before


def test_a_month_trained_again_is_the_same_model_and_publishes_the_same_bytes(past_chain: Chain) -> None:
    settings = past_chain.settings
    month = ("--from", "2025-02", "--to", "2025-02")
    outcome = tradecore(settings, "train", NAME, *month, "--timeframe", "1h", "--json")
    assert outcome.code == 0, outcome.err
    assert set(outcome.json) == {"instrument", "timeframe", "months", "seconds"}
    assert outcome.json["months"] == 1
    before = lake_files(settings.home)
    assert tradecore(settings, "predict", NAME, *span(FEBRUARY, date(2025, 2, 13)), "--timeframe", "1h").code == 0
    assert lake_files(settings.home) == before


def test_doctor_lists_its_findings_and_fails_on_an_unreachable_source(chain: Chain, tmp_path: Path) -> None:
    outcome = tradecore(chain.settings, "doctor", "--json")
    assert set(outcome.json) == {"checks"}
    checks = {check["name"]: check for check in outcome.json["checks"]}
    assert all(set(check) == {"name", "passed", "detail", "needed"} for check in checks.values())
    sources = {"archive", "listing", "binance futures", "binance clock"}
    assert {"versions", "home", "disk", "dagster_port", "mlflow_port", "failed runs"} | sources == set(checks)
    assert outcome.code == (0 if all(check["passed"] for check in checks.values() if check["needed"]) else 1)
    assert checks["home"]["detail"].endswith("market: simulated:seed11-2024-12-20")
    assert not checks["binance clock"]["passed"], "the simulator's clock stands still in 2025"

    nobody = small_settings(tmp_path / "home", "http://127.0.0.1:9")
    outcome = tradecore(nobody, "doctor", "--json")
    assert outcome.code == 1
    assert not next(c for c in outcome.json["checks"] if c["name"] == "binance futures")["passed"]
    assert not nobody.home.exists()


def test_help_names_every_command(chain: Chain) -> None:
    outcome = tradecore(chain.settings, "--help")
    assert outcome.code == 0
    for name in [
        "demo",
        "backfill",
        "train",
        "predict",
        "run",
        "coverage",
        "sql",
        "export",
        "report",
        "up",
        "simulator",
        "doctor",
    ]:
        assert name in outcome.out


@pytest.mark.slow
def test_the_demo_comes_near_the_best_possible(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = Settings.load(home=tmp_path / "home", simulator_port=port)
    outcome = tradecore(settings, "demo", "--days", "230", "--json")
    assert outcome.code == 0, outcome.err
    result = outcome.json
    assert {"rows", "days", "gaps", "seconds", "state_accuracy", "oracle_state_accuracy", "forecast_oracle_r2"} <= set(
        result
    )
    assert {"log_score", "har_log_score", "report", "home"} <= set(result)
    assert json.dumps(result, allow_nan=False)
    assert result["state_accuracy"] > 0.8
    assert result["state_accuracy"] <= result["oracle_state_accuracy"] + 0.05
    assert Path(result["report"]).is_relative_to(settings.home / "demo")
