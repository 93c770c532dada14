"""Four processes write the days that others read: no reader ever fails or sees a torn day."""

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

from tradecore_pipeline.domain.tables import BARS_1M
from tradecore_pipeline.domain.time import day_start
from tradecore_pipeline.storage.catalog import Catalog
from tradecore_pipeline.storage.lake import Lake
from tradecore_pipeline.storage.layout import Layout
from tradecore_pipeline_tests.storage.days import BTC, DAY, minute_bars

DAYS = 5
WRITER = """
import sys
from datetime import timedelta
from pathlib import Path
from tradecore_pipeline.domain.tables import BARS_1M
from tradecore_pipeline.storage.lake import Lake
from tradecore_pipeline.storage.layout import Layout
from tradecore_pipeline_tests.storage.days import BTC, DAY, minute_bars
lake, seed = Lake(Layout(Path(sys.argv[1]))), int(sys.argv[2])
for round in range(6):
    for offset in range(5):
        day = DAY + timedelta(days=offset)
        lake.publish(BARS_1M, BTC, day, minute_bars(day, seed=seed), timeframe=None)
"""


def test_four_writers_never_disturb_a_reader(layout: Layout, lake: Lake) -> None:
    sums = {}
    for seed in range(4):
        first = Lake(Layout(layout.root / str(seed)))
        first.publish(BARS_1M, BTC, DAY, minute_bars(seed=seed), timeframe=None)
        sums[seed] = first.read(BARS_1M, BTC, day_start(DAY), day_start(DAY + timedelta(days=1)))["volume"].sum()
    for offset in range(DAYS):
        day = DAY + timedelta(days=offset)
        lake.publish(BARS_1M, BTC, day, minute_bars(day, seed=0), timeframe=None)
    catalog = Catalog(layout, [BTC], [], [])
    listed = catalog.connect()
    root = Path(__file__).parents[2]
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(layout.root), str(seed)], cwd=root) for seed in range(4)
    ]
    polls = 0
    while any(writer.poll() is None for writer in writers):
        frame = lake.read(BARS_1M, BTC, day_start(DAY), day_start(DAY + timedelta(days=DAYS)))
        assert len(frame) == DAYS * 1440
        for _, volume in frame["volume"].groupby(frame.index.date):
            assert volume.sum() in sums.values()
        assert listed.execute("SELECT count(*) FROM bars_1m").fetchall() == [(DAYS * 1440,)]
        polls += 1
    listed.close()
    assert [writer.returncode for writer in writers] == [0, 0, 0, 0]
    assert polls > 3
