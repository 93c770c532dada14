"""The views people query: their names, columns and types, what they refuse, and that the files docs describe them."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

from tradecore_pipeline.domain.errors import InvalidDataError, MissingInputError, UsageError
from tradecore_pipeline.domain.market_data import Gap
from tradecore_pipeline.domain.tables import BARS, BARS_1M, FUNDING_RATES, REGIMES, features_table
from tradecore_pipeline.domain.time import Timeframe, day_start
from tradecore_pipeline.storage.catalog import Catalog
from tradecore_pipeline.storage.export import export_table
from tradecore_pipeline.storage.ingest import store_day
from tradecore_pipeline.storage.lake import Lake
from tradecore_pipeline.storage.layout import Layout
from tradecore_pipeline.storage.ledger import Ledger
from tradecore_pipeline.storage.own_features import OwnColumn, OwnDefinition, own_features_table, put_own_definition
from tradecore_pipeline_tests.storage.days import (
    BTC,
    DAY,
    ETH,
    HOUR,
    NOW,
    SPOT,
    fetched,
    funding,
    hour_bars,
    minute_bars,
    regimes,
)

START, END = day_start(DAY), day_start(DAY + timedelta(days=1))
FOUR_HOURS = Timeframe.parse("4h")
BAR = ["open", "high", "low", "close", "volume", "quote_volume", "trades", "taker_buy_volume", "taker_buy_quote_volume"]
COLUMNS = {
    "bars_1m": ["instrument", "ts_open", "ts_close", *BAR],
    "bars_1h": ["instrument", "ts_open", "ts_close", *BAR, "realized_variance", "minutes"],
    "bars_4h": ["instrument", "ts_open", "ts_close", *BAR, "realized_variance", "minutes"],
    "funding_rates": ["instrument", "ts_settle", "funding_rate", "funding_interval_minutes"],
    "open_interest": ["instrument", "ts_event", "open_interest_base", "open_interest_usd"],
    "features": ["instrument", "timeframe", "ts_open", "ts_close", "a", "b"],
    "regimes": [
        *("instrument", "timeframe", "ts_open", "ts_close", "regime_index", "volatility_regime", "regime"),
        *("direction_significant", "confidence", "filtered_probability", "held_index", "trend"),
        *("forecast_log_return", "forecast_volatility"),
        *("log_score", "hmm_run_id", "forecast_run_id"),
    ],
    "forecast_scores": ["instrument", "timeframe", "ts_open", "log_score", "har_log_score"],
    "gaps": ["instrument", "dataset", "first_missing", "last_missing", "missing"],
}


@pytest.fixture
def catalog(layout: Layout) -> Catalog:
    return Catalog(layout, [BTC, ETH, SPOT], [HOUR, FOUR_HOURS], ["a", "b"])


def _fill(lake: Lake) -> None:
    lake.publish(BARS_1M, BTC, DAY, minute_bars(), timeframe=None)
    lake.publish(BARS_1M, SPOT, DAY, minute_bars(seed=2), timeframe=None)
    lake.publish(FUNDING_RATES, BTC, DAY, funding(), timeframe=None)
    lake.publish(BARS, BTC, DAY, hour_bars(), timeframe=HOUR)
    lake.publish(REGIMES, BTC, DAY, regimes(), timeframe=HOUR)
    lake.publish(REGIMES, BTC, DAY, regimes().slice(0, 3), timeframe=FOUR_HOURS)


@pytest.mark.parametrize("filled", [False, True])
def test_views_have_the_promised_columns_and_types_with_and_without_files(
    lake: Lake, catalog: Catalog, filled: bool
) -> None:
    if filled:
        _fill(lake)
    with catalog.connect() as connection:
        for view, names in COLUMNS.items():
            described = connection.execute(f"DESCRIBE {view}").fetchall()
            assert [row[0] for row in described] == names
            assert [(row[0], row[1]) for row in described] == list(catalog.views[view].columns)
            if not filled:
                assert connection.table(view).fetchall() == []
        types = dict(row[:2] for row in connection.execute("DESCRIBE regimes").fetchall())
        assert (types["ts_open"], types["filtered_probability"]) == ("TIMESTAMP WITH TIME ZONE", "DOUBLE[]")


def test_a_view_shows_every_instrument_and_what_is_known_when(lake: Lake, catalog: Catalog) -> None:
    _fill(lake)
    counted = catalog.query("SELECT instrument, count(*) AS n FROM bars_1m GROUP BY ALL ORDER BY ALL")
    assert (counted.columns, counted.rows) == (["instrument", "n"], [(str(SPOT), 1440), (str(BTC), 1440)])
    first = catalog.query(
        "SELECT ts_open, ts_close, open FROM bars_1m WHERE instrument LIKE '%:USDT' ORDER BY 1 LIMIT 1"
    )
    assert first.rows == [(START, START + timedelta(minutes=1), float(minute_bars()["open"][0].as_py()))]
    assert catalog.query("SELECT timeframe, count(*) FROM regimes GROUP BY 1 ORDER BY 1").rows == [
        ("1h", 24),
        ("4h", 3),
    ]


def test_days_made_before_a_feature_was_added_show_null_in_its_view(lake: Lake, catalog: Catalog) -> None:
    for offset, names in enumerate((["a", "gone"], ["a", "b"])):
        index = pd.date_range(START + timedelta(days=offset), periods=2, freq="h", tz="UTC", name="ts_open")
        frame = pd.DataFrame({"ts_close": index + HOUR.duration} | dict.fromkeys(names, 1.0), index=index)
        lake.publish(features_table(names), BTC, DAY + timedelta(days=offset), frame, timeframe=HOUR)
    assert catalog.query("SELECT a, b FROM features ORDER BY ts_open").rows == [(1.0, None)] * 2 + [(1.0, 1.0)] * 2


def test_own_features_show_the_rows_of_the_last_version_only_and_no_columns_of_another(
    lake: Lake, layout: Layout
) -> None:
    catalog = Catalog(layout, [BTC], [HOUR], [], own_features=True)
    empty = ["instrument", "timeframe", "ts_open", "ts_close", "definition"]
    assert [row[0] for row in catalog.query("DESCRIBE own_features").rows] == empty
    versions = {name: OwnDefinition(name, ("f.py",), (OwnColumn(name, "x", "y"),)) for name in ("old", "new")}
    for offset, (name, version) in enumerate(versions.items()):
        index = pd.date_range(START + timedelta(days=offset), periods=2, freq="h", tz="UTC", name="ts_open")
        frame = pd.DataFrame({"ts_close": index + HOUR.duration, "definition": name, name: 1.0}, index=index)
        lake.publish(own_features_table(version.columns), BTC, DAY + timedelta(days=offset), frame, timeframe=HOUR)
        put_own_definition(layout, version)
        shown = catalog.query("SELECT DISTINCT * EXCLUDE (instrument, timeframe, ts_open, ts_close) FROM own_features")
        assert (shown.columns, shown.rows) == (["definition", name], [(name, 1.0)])
    assert [row[0] for row in catalog.query("DESCRIBE own_features").rows] == [*empty, "new"]
    frame = catalog.frame("own_features", BTC, START, END + timedelta(days=1), timeframe=HOUR)
    assert (list(frame), len(frame), frame.index.name) == (["ts_close", "definition", "new"], 2, "ts_open")
    layout.own_definition.write_bytes(b"{")
    assert catalog.query("SELECT count(*) FROM own_features").rows == [(0,)]
    with pytest.raises(UsageError, match="own_features"):
        Catalog(layout, [BTC], [HOUR], []).query("FROM own_features")


def test_gaps_that_touch_across_midnight_are_one_gap(lake: Lake, ledger: Ledger, catalog: Catalog) -> None:
    minute = timedelta(minutes=1)
    late, early = Gap(END - 3 * minute, END - minute, 3), Gap(END, END + minute, 2)
    apart = Gap(END + 9 * minute, END + 9 * minute, 1)
    first = fetched(minute_bars(count=1437), gaps=(late,))
    kept = [index for index in range(1440) if index not in {0, 1, 9}]
    second_day = DAY + timedelta(days=1)
    second = fetched(minute_bars(second_day).take(kept), day=second_day, gaps=(early, apart))
    for day in (first, second):
        store_day(lake, ledger, day, now=NOW, seconds=0.0, launch="x")
    assert catalog.query("FROM gaps").rows == [
        (str(BTC), "bars_1m", late.first_missing, early.last_missing, 5),
        (str(BTC), "bars_1m", apart.first_missing, apart.last_missing, 1),
    ]


@pytest.mark.parametrize(
    "sql", ["SELECT 1", "FROM bars_1m", "SHOW TABLES", "DESCRIBE gaps", "WITH x AS (SELECT 1) FROM x"]
)
def test_queries_that_read_are_answered(catalog: Catalog, sql: str) -> None:
    assert catalog.query(sql).columns


@pytest.mark.parametrize(
    "sql",
    [
        "",
        "SELECT 1; SELECT 2",
        "CREATE TABLE t (a INT)",
        "DROP VIEW bars_1m",
        "SET threads = 1",
        "ATTACH 'x.db'",
        "INSTALL httpfs",
        "COPY (SELECT 1) TO '{lake}/stolen.csv'",
        "WITH x AS (COPY (SELECT 1) TO '{lake}/stolen.csv') SELECT * FROM x",
        "EXPLAIN ANALYZE SELECT 1",
        "SELECT * FROM read_text('{home}/market.json')",
        "SELECT * FROM read_text('{lake}/../market.json')",
        "SELECT * FROM '{home}/market.json'",
        "SELECT nothing FROM bars_1m",
        "SELEC 1",
    ],
)
def test_queries_that_write_configure_or_leave_the_lake_are_refused_in_one_line(
    layout: Layout, lake: Lake, ledger: Ledger, catalog: Catalog, sql: str
) -> None:
    _fill(lake)
    ledger.claim_market("real")
    before = sorted(layout.root.rglob("*"))
    with pytest.raises(UsageError) as refused:
        catalog.query(sql.format(lake=layout.lake, home=layout.root))
    assert "\n" not in str(refused.value)
    assert sorted(layout.root.rglob("*")) == before


def test_the_published_database_is_replaced_under_those_who_have_it_open(lake: Lake, catalog: Catalog) -> None:
    path = catalog.publish_database()
    with duckdb.connect(str(path), read_only=True) as old:
        assert old.execute("SELECT count(*) FROM bars_1m").fetchall() == [(0,)]
        _fill(lake)
        assert catalog.publish_database() == path
        assert old.execute("SELECT count(*) FROM bars_1m").fetchall() == [(0,)]
    with duckdb.connect(str(path), read_only=True) as new:
        assert new.execute("SELECT count(*) FROM bars_1m").fetchall() == [(2880,)]
    assert [entry.name for entry in path.parent.iterdir() if ".tmp" in entry.name or ".wal" in entry.name] == []


def test_a_frame_is_what_the_lake_reads(lake: Lake, catalog: Catalog) -> None:
    _fill(lake)
    start, end = START + timedelta(hours=3), START + timedelta(hours=5)
    shown = catalog.frame("bars_1m", BTC, start, end)
    pd.testing.assert_frame_equal(shown, lake.read(BARS_1M, BTC, start, end))
    assert len(catalog.frame("regimes", BTC, START, END, timeframe=FOUR_HOURS)) == 3
    assert catalog.frame("funding_rates", BTC, START, END).index.name == "ts_settle"
    assert catalog.frame("open_interest", BTC, START, END).empty


def test_a_frame_needs_a_known_view_and_one_timeframe(lake: Lake, catalog: Catalog) -> None:
    _fill(lake)
    with pytest.raises(UsageError, match="no view 'bars_2h': choose one of bars_1m, bars_1h"):
        catalog.frame("bars_2h", BTC, START, END)
    with pytest.raises(UsageError, match="regimes needs a timeframe: choose one of 1h, 4h"):
        catalog.frame("regimes", BTC, START, END)
    torn = lake.layout.day("bars_1m", BTC, DAY, timeframe=None)
    torn.write_bytes(b"PAR1")
    with pytest.raises(InvalidDataError, match=r"bars_1m.*date=2022-05-01\.parquet cannot be read"):
        catalog.frame("bars_1m", BTC, START, END)


def test_exports_hold_the_views_rows_in_each_format(lake: Lake, catalog: Catalog, tmp_path: Path) -> None:
    _fill(lake)
    expected = catalog.frame("regimes", BTC, START, END, timeframe=HOUR)
    paths = {kind: tmp_path / f"out.{kind}" for kind in ("parquet", "csv", "feather")}
    for kind, path in paths.items():
        rows = export_table(catalog, "regimes", BTC, START, END, format=kind, path=path, timeframe=HOUR)
        assert rows == 24
    for table in (pq.ParquetFile(paths["parquet"]).read(), pyarrow.feather.read_table(paths["feather"])):
        assert table.column_names == COLUMNS["regimes"]
        assert table["confidence"].to_pylist() == expected["confidence"].tolist()
    csv = pd.read_csv(paths["csv"], parse_dates=["ts_open"])
    assert csv["ts_open"].iloc[0] == datetime(2022, 5, 1, tzinfo=UTC)
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == [
        "out.csv",
        "out.feather",
        "out.parquet",
    ]
    with pytest.raises(UsageError, match="is not a directory"):
        export_table(catalog, "gaps", BTC, START, END, format="csv", path=tmp_path / "no" / "x.csv")
    late = END + (END - START)
    with pytest.raises(MissingInputError, match=r"regimes has no rows of .* from 2022-05-02 to 2022-05-02"):
        export_table(catalog, "regimes", BTC, END, late, format="csv", path=tmp_path / "x.csv", timeframe=HOUR)
    assert not (tmp_path / "x.csv").exists()
