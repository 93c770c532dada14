from pathlib import Path

import pytest

from tradecore_pipeline_tests.benchmarks.__main__ import main, names


def test_every_benchmark_is_found_and_documented() -> None:
    page = (Path(__file__).parents[1] / "docs/benchmarks.md").read_text()
    assert {"archive_ingest", "hmm_filter", "kills", "lookahead", "real_density"} <= set(names())
    assert [name for name in names() if f"NAME={name}`" not in page] == []


def test_an_unknown_name_lists_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["no_such_thing"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "hmm_filter" in error
