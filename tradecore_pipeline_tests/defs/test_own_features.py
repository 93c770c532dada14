"""A user's own features in the pipeline: from his file to a column, and what is said where one is wrong."""

import re

import dagster as dg
import duckdb
import numpy as np
import pytest

from tradecore_pipeline.defs import feature_days
from tradecore_pipeline.defs.automation import hourly_request
from tradecore_pipeline.defs.build import build_definitions
from tradecore_pipeline.defs.instance import open_instance
from tradecore_pipeline.defs.own_days import edits
from tradecore_pipeline.defs.resources import Adapters
from tradecore_pipeline.domain.tables import BARS
from tradecore_pipeline.domain.time import day_range, day_start
from tradecore_pipeline.features.own import compute_own
from tradecore_pipeline.storage.own_features import OWN_FEATURES, own_features_table
from tradecore_pipeline_tests.chain import BTC, HOUR, NOW, ONE_DAY, START, TODAY, lake_files, span, tradecore
from tradecore_pipeline_tests.defs.own_cases import EDITED, FILE, FIRST, KEY, LAST, NAME, Deployment, said


def test_a_file_becomes_columns_of_a_view_that_equal_the_whole_history(deployed: Deployment) -> None:
    before = lake_files(deployed.settings.home)
    assert deployed.features().code == 0
    after = lake_files(deployed.settings.home)
    assert {name: after[name] for name in before} == before, "nothing of the pipeline's own is touched"
    days = len(list(day_range(FIRST, LAST)))
    assert len(after) - len(before) == days + 1, "a file a day, and the definition"
    rows = deployed.sql("SELECT ts_open, momentum_24, last_rate FROM own_features ORDER BY ts_open")
    assert len(rows) == 24 * days
    lake, own = deployed.adapters.lake, deployed.adapters.own_features
    bars = lake.read(BARS, BTC, day_start(START), day_start(LAST + ONE_DAY), timeframe=HOUR)
    whole = compute_own(own.features[:1], bars, None, None, timeframe=HOUR).loc[day_start(FIRST) :]
    np.testing.assert_allclose([row[1] for row in rows], whole["momentum_24"], rtol=1e-9)
    rates = [row[2] for row in rows]
    assert 0 < sum(rate is None for rate in rates) < len(rates), "three hours after each settlement"
    with duckdb.connect(str(deployed.adapters.layout.database), read_only=True) as people:
        types = {row[0]: row[1] for row in people.execute("DESCRIBE own_features").fetchall()}
    assert types == {
        "instrument": "VARCHAR", "timeframe": "VARCHAR", "ts_open": "TIMESTAMP WITH TIME ZONE",
        "ts_close": "TIMESTAMP WITH TIME ZONE", "definition": "VARCHAR", "momentum_24": "DOUBLE", "last_rate": "DOUBLE",
    }  # fmt: skip
    again = deployed.features()
    assert again.code == 0
    assert lake_files(deployed.settings.home) == after, "nothing was stale"


def test_an_edit_makes_days_stale_says_so_and_is_recomputed_without_mixing_versions(deployed: Deployment) -> None:
    assert deployed.features().code == 0
    first = deployed.adapters.own_features.definition
    assert edits(deployed.adapters, HOUR) == []
    old = deployed.sql("SELECT momentum_24 FROM own_features ORDER BY ts_open")
    deployed.file.write_text(EDITED)
    adapters = deployed.adapters
    table, days = own_features_table(()), list(day_range(FIRST, LAST))
    assert feature_days.stale_days(adapters, table, BTC, days, timeframe=HOUR) == days
    told = deployed.run("coverage")
    assert "5 days of own features of" in told.err
    assert "another version of my_features.py: `tradecore features` over them" in told.err
    assert deployed.sql("SELECT momentum_24 FROM own_features ORDER BY ts_open") == old, "still the version before"
    assert deployed.features(last=FIRST + ONE_DAY).code == 0
    new = deployed.sql("SELECT momentum_24 FROM own_features ORDER BY ts_open")
    np.testing.assert_allclose(np.ravel(new), 2 * np.ravel(old)[: 2 * 24], rtol=1e-12)
    assert deployed.sql("SELECT count(DISTINCT definition) FROM own_features") == [[1]]
    (text,) = edits(adapters, HOUR)
    assert text.startswith("3 days of own features")
    with open_instance(deployed.settings) as instance:
        event = instance.get_latest_materialization_event(KEY)
    assert event is not None
    assert event.asset_materialization is not None
    why = event.asset_materialization.metadata["computed_again"].value
    assert isinstance(why, str)
    assert why.startswith(f"my_features.py changed: version {first} computed this day before")


def test_a_feature_added_or_removed_changes_the_columns_of_the_view(deployed: Deployment) -> None:
    assert deployed.features().code == 0
    deployed.file.write_text(FILE.replace("momentum_24", "momentum_of_a_day"))
    assert deployed.features().code == 0
    columns = [row[0] for row in deployed.sql("DESCRIBE own_features")]
    assert columns[-2:] == ["momentum_of_a_day", "last_rate"]
    rows = tradecore(deployed.settings, "sql", "SELECT * FROM own_features", "--json")
    assert "own_features" in rows.err, "without the setting there is no such view"
    assert "momentum" not in str(tradecore(deployed.settings, "sql", "SHOW TABLES", "--json").json)
    exported = deployed.settings.home.parent / "own.csv"
    told = deployed.run(
        "export", OWN_FEATURES, "--instrument", NAME, *span(FIRST, FIRST), "--timeframe", "1h",
        "--format", "csv", "--out", str(exported),
    )  # fmt: skip
    assert told.code == 0, told.err
    assert len(exported.read_text().splitlines()) == 25


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x = 1 +\n", "my_features.py cannot be run: SyntaxError"),
        ("import no_such_module\n", "ModuleNotFoundError"),
        (FILE.replace("def momentum_24", "def rsi_14"), "rsi_14 is a name of the pipeline's own"),
        (FILE.replace("def momentum_24", "def state_1"), "state_1 is a name of the pipeline's own"),
        (FILE.replace("def momentum_24", "def Momentum"), "a name is small letters, digits and underscores"),
    ],
)
def test_a_broken_file_is_one_line_at_the_command_and_stops_nothing_else(
    deployed: Deployment, text: str, says: str
) -> None:
    before = lake_files(deployed.settings.home)
    deployed.file.write_text(text)
    assert says in said(deployed.features())
    month = ("--timeframe", "1h", "--from", "2025-03", "--to", "2025-03")
    assert says in said(deployed.run("train", NAME, *month))
    assert says in said(deployed.run("run", NAME, "--timeframe", "1h", *span(FIRST, FIRST)))
    assert lake_files(deployed.settings.home) == before
    assert deployed.sql("SELECT count(*) FROM own_features") == [[0]]
    assert deployed.run("coverage").code == 0
    assert KEY in build_definitions(deployed.settings, deployed.adapters).resolve_asset_graph().get_all_asset_keys()


def test_definitions_load_without_running_the_file_and_a_broken_one_fails_in_the_run(deployed: Deployment) -> None:
    marker = deployed.file.with_name("was_run")
    deployed.file.write_text(f"open({str(marker)!r}, 'w').close()\n{FILE}")
    adapters = deployed.adapters
    definitions = build_definitions(deployed.settings, adapters)
    dg.Definitions.validate_loadable(definitions)
    adapters.catalog.query("SELECT count(*) FROM own_features")
    edits(adapters, HOUR)
    assert not marker.exists()
    deployed.file.write_text("raise RuntimeError('not today')\n")
    with open_instance(deployed.settings) as instance:
        result = definitions.resolve_implicit_global_asset_job_def().execute_in_process(
            asset_selection=[KEY], instance=instance, raise_on_error=False, partition_key=f"{FIRST}|{BTC}"
        )
    assert not result.success
    (failed,) = [event for event in result.all_events if event.is_step_failure]
    failure = failed.step_failure_data.user_failure_data
    assert failure is not None
    assert "RuntimeError (not today) in line 1" in str(failure.description)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("    raise RuntimeError('no')", f"{FIRST}: .*my_features.py: feature f failed on 27 bars: RuntimeError"),
        ("    return market.bars['close'][1:]", "another index"),
        ("    return market.bars['close'].astype(str)", "instead of numbers"),
        ("    return market.bars['close'].where(market.bars.index.day != 13)", "at 2025-02-13 00:00 is NaN"),
        ("    return market.bars['close'].shift(-1).ffill()", "it reads the future"),
    ],
)
def test_a_wrong_feature_names_file_feature_instrument_and_day_and_writes_nothing(
    deployed: Deployment, body: str, says: str
) -> None:
    before = lake_files(deployed.settings.home)
    deployed.file.write_text(f"{FILE}\n@feature(warm_up_bars=3, unit='x', meaning='y')\ndef f(market):\n{body}\n")
    line = said(deployed.features())
    for part in ("my_features.py", "feature f", f"{BTC} 1h", "2025-02-1"):
        assert part in line
    assert re.search(says, line)
    assert lake_files(deployed.settings.home) == before


def test_days_whose_warm_up_is_not_stored_are_counted_and_none_at_all_is_one_line(deployed: Deployment) -> None:
    before = lake_files(deployed.settings.home)
    deployed.file.write_text(FILE.replace("warm_up_bars=24", "warm_up_bars=99_999"))
    backfilled_later(deployed)
    refused = deployed.features()
    assert refused.code == 1
    assert "my_features.py: feature momentum_24 has a warm-up of 99999 bars" in refused.err
    assert "backfill earlier days, ask for later ones, or lower warm_up_bars" in refused.err
    assert lake_files(deployed.settings.home) == before
    reach = (FIRST - START).days + 2  # two days before the market began are stored, without rows
    deployed.file.write_text(FILE.replace("warm_up_bars=24", f"warm_up_bars={reach * 24}"))
    outcome = deployed.features(FIRST - ONE_DAY, FIRST)
    assert outcome.code == 0, outcome.err
    assert f"1 of these days ({FIRST - ONE_DAY} to {FIRST - ONE_DAY}) have no own features" in outcome.err
    assert deployed.sql("SELECT count(DISTINCT ts_open::DATE) FROM own_features") == [[1]]


def backfilled_later(deployed: Deployment) -> None:
    """Forget that the exchange's history begins with what is stored."""
    layout = deployed.adapters.layout
    for path in layout.ledger_series("bars_1m", BTC).iterdir():
        if path.name < f"date={START}":
            path.unlink()


def test_the_hourly_schedule_computes_them_where_files_are_named(deployed: Deployment) -> None:
    bare = Adapters(deployed.settings.model_copy(update={"feature_files": ()}), clock=lambda: NOW)
    with open_instance(deployed.settings) as instance:
        asked = [hourly_request(adapters, instance, BTC, TODAY) for adapters in (deployed.adapters, bare)]
    selected = [one.asset_selection or [] for one in asked if isinstance(one, dg.RunRequest)]
    assert [KEY in assets for assets in selected] == [True, False]
