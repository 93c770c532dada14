"""Files for other tools: a view's rows as Parquet, CSV or Feather."""

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal, cast

import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet

from tradecore_pipeline.domain.errors import MissingInputError, UsageError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.storage.atomic import replacing
from tradecore_pipeline.storage.catalog import Catalog
from tradecore_pipeline.storage.encoding import arrow_column

Format = Literal["parquet", "csv", "feather"]


def export_table(
    catalog: Catalog,
    view: str,
    instrument: Instrument,
    start: datetime,
    end: datetime,
    *,
    format: Format,  # noqa: A002 (the word people use)
    path: Path,
    timeframe: Timeframe | None = None,
) -> int:
    """Write the rows of ``view`` whose key lies in [start, end) to ``path``, replacing it at once; returns how many.

    Columns and types are the view's: times in UTC, prices as doubles.

    Raises:
        UsageError: the view does not exist, needs a timeframe, or the directory of ``path`` does not exist.
        MissingInputError: there are no such rows; no file is written.
    """
    if not path.parent.is_dir():
        raise UsageError(f"{path.parent} is not a directory: create it or choose another path")
    frame = catalog.frame(view, instrument, start, end, timeframe=timeframe).reset_index()
    if frame.empty:
        raise MissingInputError(
            f"{view} has no rows of {instrument} from {start:%Y-%m-%d} to {end - timedelta(microseconds=1):%Y-%m-%d}: "
            "`tradecore coverage` shows what is stored"
        )
    shown = catalog.view(view)
    constants = {"instrument": str(instrument), "timeframe": str(timeframe or shown.timeframes[0])}
    rows = frame.assign(**constants).reindex(columns=[name for name, _ in shown.columns])
    with replacing(path) as temporary:
        if format == "csv":
            _with_json_lists(rows).to_csv(temporary, index=False, date_format="%Y-%m-%dT%H:%M:%S.%fZ")
        elif format == "parquet":
            pyarrow.parquet.write_table(_arrow(rows), temporary, compression="zstd")
        else:
            pyarrow.feather.write_feather(_arrow(rows), str(temporary))
    return len(rows)


def _arrow(rows: pd.DataFrame) -> pa.Table:
    return pa.table({name: arrow_column(cast("pd.Series", rows[name])) for name in rows.columns})


def _with_json_lists(rows: pd.DataFrame) -> pd.DataFrame:
    """CSV has no lists: they become text that JSON parsers read."""
    lists = [name for name in rows.columns if rows[name].dtype == object]
    return rows.assign(**{name: [json.dumps(list(values)) for values in rows[name]] for name in lists})
