"""A change of what a shipped configuration trades shows in review, as a change of ``golden.json``."""

import json

import pytest

from tradecore_pipeline.strategies.reading import variants
from tradecore_pipeline_tests.strategies.golden import FILE, _told, traded

KEPT = json.loads(FILE.read_text(encoding="utf-8"))
AGAIN = "if this is meant, run: python -m tradecore_pipeline_tests.strategies.golden"


def test_every_shipped_configuration_has_golden_results() -> None:
    assert sorted(KEPT) == list(variants()), AGAIN


@pytest.mark.parametrize("name", variants())
def test_a_shipped_configuration_trades_what_it_traded(name: str) -> None:
    found = _told(traded(name))
    assert (found.pop("trades"), found.pop("trade_list")) == (KEPT[name]["trades"], KEPT[name]["trade_list"]), AGAIN
    assert found == pytest.approx({key: KEPT[name][key] for key in found}, rel=1e-5), AGAIN
