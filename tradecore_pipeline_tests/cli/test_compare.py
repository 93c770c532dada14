"""`tradecore compare`: its report, its words and its refusals."""

import re
from pathlib import Path

import pytest

from tradecore_pipeline_tests.chain import BTC, Chain, copy_home, tradecore

NAME = str(BTC)
COMMAND = ("compare", NAME, "--timeframe", "1h", "--months", "2", "--to", "2025-03")


def test_the_report_has_tables_words_and_charts_and_opens_offline(chain: Chain, tmp_path: Path) -> None:
    settings, page = copy_home(chain, tmp_path / "home"), tmp_path / "page.html"
    outcome = tradecore(
        settings, *COMMAND, "--variants", "har,constant-t,pool:har+ewma-t", "--out", str(page), "--json"
    )
    assert outcome.code == 0, outcome.err
    told = outcome.json
    assert told["baseline"] == "har"
    assert told["months"] == ["2025-02", "2025-03"]
    assert set(told["measures"]) == {"log_score", "next_bar_qlike", "day_qlike"}
    assert (told["fitted"], told["recalled"]) == (6, 0)
    scores = {row["variant"]: row for row in told["measures"]["log_score"]["variants"]}
    assert set(scores) == {"har", "constant-t", "pool:har+ewma-t"}
    assert scores["constant-t"]["difference"] == pytest.approx(scores["constant-t"]["score"] - scores["har"]["score"])
    assert 0 <= told["measures"]["log_score"]["spa_p_value"] <= 1
    text = page.read_text(encoding="utf-8")
    assert "SIMULATED" in text
    assert "What it cannot show" in text
    for row in scores.values():
        assert f"{row['score']:.4f}" in text
    outside_scripts = re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
    assert re.findall(r"(?:src|href)=", outside_scripts) == []
    again = tradecore(settings, *COMMAND, "--variants", "har,constant-t,pool:har+ewma-t", "--processes", "1", "--json")
    assert again.json == {key: value for key, value in told.items() if key != "report"} | {"fitted": 0, "recalled": 6}


def test_the_list_names_every_variant_without_a_home(chain: Chain) -> None:
    outcome = tradecore(chain.settings, "compare", "--list")
    assert outcome.code == 0
    for word in ("constant-t", "switching-har", "carry=", "published", "pool:A+B"):
        assert word in outcome.out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--variants", "har,swithing-har"), "did you mean switching-har"),
        (("--variants", "har"), "--variants names 1: give 2 to 12"),
        (("--variants", "har,hmm:emission=gaus"), "emission=gaus is not possible"),
        (("--variants", "har,ewma-t", "--to", "2024-02"), "has no bars in 2024-02: stored are"),
        (("--variants", "har,ewma-t", "--to", "2025-13"), "write YYYY-MM"),
        (("--variants", "har,ewma-t", "--months", "12"), "compare fewer months"),
    ],
)
def test_a_refusal_is_one_line_that_says_what_to_do(chain: Chain, options: tuple[str, ...], words: str) -> None:
    outcome = tradecore(chain.settings, *COMMAND, *options)
    assert outcome.code in (1, 2)
    lines = [line for line in outcome.err.splitlines() if not line.startswith("compare:")]
    assert len(lines) == 1, outcome.err
    assert words in lines[0]


def test_published_forecasts_of_models_with_other_windows_are_pointed_out(chain: Chain, tmp_path: Path) -> None:
    shorter = copy_home(chain, tmp_path / "home").model_copy(update={"training_window_bars": {"1h": 600}})
    outcome = tradecore(shorter, *COMMAND, "--variants", "published,constant-t", "--json")
    assert outcome.code == 0, outcome.err
    told = [note for note in outcome.json["notes"] if "were trained on" in note]
    assert len(told) == 1
    assert told[0] == (
        "the models of 2025-02 to 2025-03, 2 months, were trained on 480 bars, and the settings ask for 600 by now: "
        "published is theirs, the other variants are fitted on 600"
    )
    assert told[0] in outcome.err
    without = tradecore(shorter, *COMMAND, "--variants", "har,constant-t", "--json")
    assert without.json["notes"] == []
