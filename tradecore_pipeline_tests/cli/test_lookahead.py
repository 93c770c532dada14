"""`tradecore lookahead`: one line and 0 where nothing looks ahead, a table and 1 where something does."""

from pathlib import Path

import pytest

from tradecore_pipeline_tests.chain import BTC, Chain, Outcome, lake_files, small_settings, tradecore

NAME = str(BTC)
PEEK = """
from tradecore_pipeline.features.own import feature

@feature(warm_up_bars=0, unit="quote", meaning="the next close")
def peek(market):
    return market.bars["close"].shift(-1)
"""


def simulated(home: Path, *more: str) -> Outcome:
    settings = small_settings(home, "http://127.0.0.1:9")
    return tradecore(settings, "lookahead", NAME, "--simulated", "--cuts", "10", *more)


def test_a_home_that_knows_nothing_early_is_one_line_and_unchanged(chain: Chain) -> None:
    before = lake_files(chain.settings.home)
    outcome = tradecore(chain.settings, "lookahead", NAME, "--timeframe", "1h", "--cuts", "10")
    assert outcome.code == 0, outcome.out + outcome.err
    assert outcome.out.startswith("nothing looked ahead (")
    assert outcome.out.endswith(" columns, 10 cuts)\n")
    assert outcome.out.count("\n") == 1
    assert "the models of 2025-03" in outcome.err
    assert lake_files(chain.settings.home) == before


def test_an_own_feature_that_peeks_is_a_table_a_page_and_a_failure(tmp_path: Path) -> None:
    (tmp_path / "peek.py").write_text(PEEK)
    outcome = simulated(tmp_path / "home", "--features", "peek.py", "--html")
    assert outcome.code == 1
    head, row = outcome.out.splitlines()
    assert head.split()[:2] == ["stage", "column"]
    assert row.split()[:4] == ["own", "feature", "peek", "peek"]
    assert "2024-01-01 01:00" in row, "the last bar known at the first cut"
    (page,) = (tmp_path / "home/reports").glob("lookahead-*.html")
    assert "SIMULATED" in page.read_text()
    assert str(page) in outcome.err


def test_json_has_every_stage_and_finding(tmp_path: Path) -> None:
    (tmp_path / "peek.py").write_text(PEEK)
    page = tmp_path / "page.html"
    outcome = simulated(tmp_path / "home", "--features", "peek.py", "--json", "--out", str(page))
    assert outcome.code == 1
    result = outcome.json
    assert set(result) == {
        "instrument", "timeframe", "market", "month", "cuts", "columns", "stages", "findings", "report",
    }  # fmt: skip
    (found,) = result["findings"]
    assert set(found) == {
        "stage", "column", "first_bar", "cut", "experiment", "from", "to", "size", "cuts_caught",
    }  # fmt: skip
    assert (found["column"], found["first_bar"], found["cuts_caught"]) == ("peek", "2024-01-01T01:00:00Z", 10)
    assert found["size"] == pytest.approx(abs(found["to"] - found["from"]))
    assert {stage["stage"] for stage in result["stages"]} >= {"stored bars", "features", "published rows", "fits"}
    assert page.exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--cuts", "9"), "from 10 to 5000"),
        (("--timeframe", "4h"), "4h is not configured"),
        (("--features", "absent.py"), "absent.py cannot be read"),
    ],
)
def test_what_it_cannot_do_is_one_line(tmp_path: Path, arguments: tuple[str, str], says: str) -> None:
    outcome = simulated(tmp_path / "home", *arguments)
    assert outcome.code == 2
    assert outcome.err.count("\n") == 1
    assert says in outcome.err


def test_a_home_without_bars_is_told_what_to_do(tmp_path: Path) -> None:
    outcome = tradecore(small_settings(tmp_path / "home", "http://127.0.0.1:9"), "lookahead", NAME)
    assert outcome.code == 1
    assert outcome.err.count("\n") == 1
    assert "--simulated" in outcome.err
