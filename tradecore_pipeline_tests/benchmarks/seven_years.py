"""Seven years of daily files for the reading benchmarks, made of a few days' bars over and over."""

from collections.abc import Sequence
from datetime import date, timedelta

import pyarrow as pa

from tradecore_pipeline.domain.tables import BARS_1M
from tradecore_pipeline.domain.time import day_start
from tradecore_pipeline.storage.lake import Lake
from tradecore_pipeline_tests.storage.days import BTC

FIRST = date(2019, 9, 8)
DAYS = 2630


def fill(lake: Lake, templates: Sequence[pa.Table]) -> int:
    """Publish ``DAYS`` days; returns how many rows they hold."""
    rows = 0
    for offset in range(DAYS):
        day = FIRST + timedelta(days=offset)
        template = templates[offset % len(templates)]
        opens = template["ts_open"].cast(pa.int64()).to_numpy()
        moved = pa.array(opens - opens[0] + int(day_start(day).timestamp() * 1000)).cast(BARS_1M.schema.field(0).type)
        rows += lake.publish(
            BARS_1M, BTC, day, template.set_column(0, BARS_1M.schema.field(0), moved), timeframe=None
        ).rows
    return rows
