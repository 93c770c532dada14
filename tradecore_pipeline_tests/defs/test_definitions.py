import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
import yaml

from tradecore_pipeline.defs.build import build_definitions
from tradecore_pipeline.defs.instance import instance_config, open_instance
from tradecore_pipeline.defs.resources import Adapters
from tradecore_pipeline.settings import Settings
from tradecore_pipeline_tests.chain import BTC, SPOT

ROOT = Path(__file__).parents[2]
STAGES = ("market_data", "features", "tuning", "training", "regimes", "backtests")
STRATEGIES = 10
"""Those that ask no other timeframe than their own."""
PER_TIMEFRAME = 9 + STRATEGIES
LISTINGS = 1


def build(**settings: object) -> dg.Definitions:
    chosen = Settings.load(**settings)
    return build_definitions(chosen, Adapters(chosen))


def keys(definitions: dg.Definitions) -> set[dg.AssetKey]:
    return set(definitions.resolve_asset_graph().get_all_asset_keys())


@pytest.mark.parametrize(
    ("instruments", "market_data"), [((str(BTC),), 5), ((str(SPOT),), 1), ((str(BTC), str(SPOT)), 5)]
)
@pytest.mark.parametrize("timeframes", [("1h",), ("1h", "4h")])
def test_there_are_nine_assets_and_the_strategies_per_timeframe_and_one_asset_per_dataset(
    tmp_path: Path, instruments: tuple[str, ...], market_data: int, timeframes: tuple[str, ...]
) -> None:
    definitions = build(home=tmp_path, instruments=instruments, timeframes=timeframes)
    dg.Definitions.validate_loadable(definitions)
    assert len(keys(definitions)) == LISTINGS + market_data + PER_TIMEFRAME * len(timeframes)
    assert list(tmp_path.iterdir()) == []


def test_keys_start_with_their_group_and_no_edge_runs_backward(tmp_path: Path) -> None:
    graph = build(home=tmp_path, timeframes=("1h", "4h")).resolve_asset_graph()
    for key in graph.get_all_asset_keys():
        assert graph.get(key).group_name == key.path[0]
        own = STAGES.index(key.path[0])
        for parent in graph.get(key).parent_keys:
            assert STAGES.index(parent.path[0]) <= own, f"{parent} -> {key}"
            assert len(parent.path) == 2 or parent.path[1] == key.path[1], "timeframes do not mix"


def test_every_stage_has_assets_and_is_named_in_the_readme(tmp_path: Path) -> None:
    assert {key.path[0] for key in keys(build(home=tmp_path))} == set(STAGES)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [stage for stage in STAGES if stage not in readme] == []


def test_every_asset_says_what_it_is_and_whose(tmp_path: Path) -> None:
    graph = build(home=tmp_path).resolve_asset_graph()
    for key in graph.get_all_asset_keys():
        assert len(graph.get(key).description or "") > 60
        assert graph.get(key).owners


def test_loading_definitions_leaves_heavy_libraries_out(tmp_path: Path) -> None:
    heavy = ("torch", "mlflow", "hmmlearn", "sklearn", "ccxt", "optuna")
    code = (
        "import sys, tradecore_pipeline.definitions as d; d.definitions.resolve_asset_graph(); "
        f"print(sorted(set({heavy}) & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_the_roots_dagster_yaml_is_what_commands_write_with_relative_paths() -> None:
    root = yaml.safe_load((ROOT / "dagster.yaml").read_text())
    runs = Settings.model_fields["max_concurrent_runs"].default
    assert root == instance_config(Path(".tradecore/dagster"), max_concurrent_runs=runs)


def test_an_instance_keeps_everything_inside_its_home(tmp_path: Path) -> None:
    settings = Settings.load(home=tmp_path / "home")
    with open_instance(settings) as instance:
        assert instance.get_runs() == []
    written = yaml.safe_load((settings.home / "dagster" / "dagster.yaml").read_text())
    assert written == instance_config(settings.home / "dagster", max_concurrent_runs=settings.max_concurrent_runs)
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


def test_schedules_start_stopped(tmp_path: Path) -> None:
    schedules = build(home=tmp_path).schedules
    assert {s.name: s.default_status for s in schedules or []} == dict.fromkeys(
        ("hourly", "monthly", "nightly", "yearly"), dg.DefaultScheduleStatus.STOPPED
    )
