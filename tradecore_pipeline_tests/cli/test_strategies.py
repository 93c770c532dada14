"""`tradecore strategies`: what it lists, and a file of one's own."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from tradecore_pipeline.cli.strategies import strategies
from tradecore_pipeline.domain.errors import UsageError

MINE = """from tradecore_pipeline.strategies.schema import Section


class NeverExitMixin(Section):
    '''Closes ``nothing``.'''

    bars: int = 3
    '''Not read.'''

    @property
    def warm_up_bars(self):
        return self.bars

    def exits(self, market, config, side): ...
"""


def said(*options: str) -> str:
    app = typer.Typer()
    app.command()(strategies)
    outcome = CliRunner().invoke(app, options, catch_exceptions=False)
    assert outcome.exit_code == 0
    return outcome.stdout


def test_the_table_has_variants_mixins_and_defaults() -> None:
    told = said()
    for word in ("vol_target_trend", "RSIBBEntryMixin", "AdvancedATRExitMixin", "k_init", "[0.25, 0.25, 0.25]"):
        assert word in told


def test_json_is_the_same_for_programs_with_ones_own_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    told = json.loads(said("--file", str(path), "--json").splitlines()[-1])
    assert set(told) == {"variants", "entries", "exits"}
    assert told["exits"][-1] == {
        "name": "NeverExitMixin",
        "meaning": "Closes `nothing`.",
        "warm_up_bars": 3,
        "parameters": [{"name": "bars", "kind": "whole number", "default": 3, "meaning": "Not read."}],
    }
    assert "mixin" in {one["name"] for one in told["variants"]}


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        said("--file", str(tmp_path / "none.py"))
