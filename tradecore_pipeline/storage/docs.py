"""The text of docs/tables.md, made from the table schemas, so that it cannot say anything else."""

from collections.abc import Iterator

from tradecore_pipeline.domain.tables import (
    BARS,
    BARS_1M,
    GAPS,
    LIQUIDATIONS,
    LISTINGS,
    MARKET_DATA,
    REGIMES,
    features_table,
)
from tradecore_pipeline.domain.time import TIMEFRAME_MINUTES, Timeframe
from tradecore_pipeline.storage.backtests import RESULTS
from tradecore_pipeline.storage.own_features import OWN_FEATURES
from tradecore_pipeline.storage.views import View, all_views, own_view

_INTRODUCTION = """\
# Tables and views

Written from `tradecore_pipeline/domain/tables.py` by `tradecore_pipeline.storage.docs`; a test keeps it so.

Every table is a set of Parquet files, one per instrument and UTC day, under `$TRADECORE_HOME/lake`:

    lake/<table>[/timeframe=<timeframe>]/exchange=<exchange>/symbol=<symbol>/date=YYYY-MM-DD.parquet

A file appears whole, or is replaced whole. When and from where a day was ingested is in `$TRADECORE_HOME/ledger`, not
in the files: the same data makes the same bytes.

`$TRADECORE_HOME/tradecore.duckdb` holds no rows. It is a set of views over those files, rebuilt beside and renamed into
place, so it can be open while everything runs. Open it read-only:

    duckdb -readonly .tradecore/tradecore.duckdb
    python -c "import duckdb; duckdb.connect('.tradecore/tradecore.duckdb', read_only=True).sql('FROM gaps').show()"

It names the files by their absolute paths: open it on the machine it was made on, and open it anew to see new days. A
query that meets a day in the instant it is replaced can fail with an odd error about its bytes: ask again.
All times are UTC moments; say `SET TimeZone = 'UTC'` to see them so. Prices are stored exactly (`decimal128(18, 8)`)
and shown as the nearest double; a file holds each column of numbers at the smallest scale that is exact. A view over no
files is an empty table with the same columns."""


def tables_markdown() -> str:
    """docs/tables.md: every view, its columns, DuckDB and stored types, units and meanings."""
    timeframes = [Timeframe.parse(name) for name in TIMEFRAME_MINUTES]
    views = {view.name: view for view in all_views(timeframes, ())}
    shown = (
        (BARS_1M.name, views[BARS_1M.name]),
        (f"bars_<timeframe> ({', '.join(TIMEFRAME_MINUTES)}; the configured ones)", views[f"bars_{timeframes[0]}"]),
        *((name, views[name]) for name in (*MARKET_DATA, LIQUIDATIONS.name) if name != BARS_1M.name),
        (features_table(()).name, views["features"]),
        (f"{OWN_FEATURES} (where `feature_files` names files)", own_view(timeframes, None)),
        (REGIMES.name, views[REGIMES.name]),
        ("forecast_scores", views["forecast_scores"]),
        (GAPS.name, views[GAPS.name]),
        (LISTINGS.name, views[LISTINGS.name]),
        *((table.name, views[table.name]) for table in RESULTS),
    )
    return "\n".join([_INTRODUCTION, *(line for title, view in shown for line in _section(title, view))]) + "\n"


def _section(title: str, view: View) -> Iterator[str]:
    table = view.table
    yield from ("", f"## {title}", "", f"{table.meaning[0].upper()}{table.meaning[1:]}.{_notes(view)}", "")
    yield from ("| column | DuckDB type | stored as | unit | meaning |", "|---|---|---|---|---|")
    stored = {column.name: column for column in table.columns}
    for name, kind in view.columns:
        if name in stored:
            column = stored[name]
            null = "; null where unknown" if column.nullable else ""
            yield f"| `{name}` | {kind} | {column.type} | {column.unit} | {column.meaning}{null} |"
        else:
            yield f"| `{name}` | {kind} | {_DERIVED[name]} |"
    if table.name == OWN_FEATURES:
        yield "| one per own feature | DOUBLE | double | as it declares | null in its warm-up, later if nullable |"
    if table.name == "features":
        yield "| one per feature | DOUBLE | double | see docs/features.md | null in its warm-up and without a source |"


_DERIVED = {
    "instrument": "the path | name | `exchange:SYMBOL`, e.g. `binance:BTC/USDT:USDT`",
    "timeframe": f"the path | name | the length of the bar: {', '.join(TIMEFRAME_MINUTES)}",
    "ts_close": "not stored | UTC | a minute after `ts_open`: the moment the row became known",
}


def _notes(view: View) -> str:
    notes = f" Key: `{view.table.key}`."
    if view.table.name in MARKET_DATA and view.table is not BARS_1M:
        notes += " Perpetual futures only; docs/exchanges.md says which exchanges have it."
    if view.table is LIQUIDATIONS:
        notes += " Nothing records them yet."
    if view.table.name == GAPS.name:
        notes += " Gaps that touch across midnight are shown as one."
    if view.table.name == BARS.name:
        notes += " A bar is there only once it has closed."
    if view.table in RESULTS:
        notes += " Under `lake/backtests`, a file per run: the newest of each strategy, timeframe and account."
    return notes
