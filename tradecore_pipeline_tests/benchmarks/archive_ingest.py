"""Minute bars from the exchange's archive to stored Parquet, end to end, against paging them through ccxt.

The environment variable ``BENCHMARK_FREQTRADE`` may name a freqtrade executable (in an environment of its own): its
``download-data`` then fetches the same days from the same server, and the note says how fast.
"""

from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import ccxt
import pandas as pd

from tradecore_pipeline.defs.ingestion import store_days
from tradecore_pipeline.domain.tables import BARS_1M
from tradecore_pipeline.domain.time import day_start, utc_now
from tradecore_pipeline.storage.lake import Lake
from tradecore_pipeline.storage.layout import Layout
from tradecore_pipeline.storage.ledger import Ledger
from tradecore_pipeline_tests.benchmarks.bars import archive_folder
from tradecore_pipeline_tests.benchmarks.freqtrade import freqtrade_note
from tradecore_pipeline_tests.benchmarks.local_exchange import (
    INSTRUMENT,
    ccxt_exchange,
    ccxt_pages,
    our_exchange,
    recorded_exchange,
)
from tradecore_pipeline_tests.benchmarks.report import interleaved, print_report

PEER_DAYS = 20
WORKERS = 4
_COLUMNS = ["open", "high", "low", "close", "volume"]


def ingest(url: str, days: Sequence[date], *, root: Path, workers: int) -> Lake:
    """Fetch, check, parse, validate and store ``days`` in the home ``root``, as an asset does."""
    layout = Layout(root)
    lake, ledger = Lake(layout), Ledger(layout)
    exchange = our_exchange(url, budgets=root / "budgets", workers=workers)
    fetched = exchange.fetch_days(BARS_1M.name, INSTRUMENT, days)
    for _ in store_days(lake, ledger, fetched, clock=utc_now, launch="benchmark"):
        continue
    exchange.close()
    return lake


def main() -> None:
    with (
        archive_folder(365, monthly=True) as (months, days, source),
        archive_folder(365, monthly=False) as (single, _, _),
        recorded_exchange(months) as monthly_url,
        recorded_exchange(single) as daily_url,
        TemporaryDirectory() as scratch,
    ):
        lakes: list[Lake] = []

        def ours(url: str) -> None:
            lakes.append(ingest(url, days, root=Path(scratch) / str(len(lakes)), workers=WORKERS))

        first, end = day_start(days[0]), day_start(days[PEER_DAYS - 1] + timedelta(days=1))
        client = ccxt_exchange(daily_url, limited=False)
        pages: list[list[float]] = []

        def peer() -> None:
            pages[:] = ccxt_pages(client, int(first.timestamp() * 1000), int(end.timestamp() * 1000))

        monthly, unpaced = interleaved(lambda: ours(monthly_url), peer, repeats=5)
        daily, _ = interleaved(lambda: ours(daily_url), lambda: None, repeats=5)
        homes = [_frame(lake, days) for lake in (lakes[0], lakes[-1])]
        client.session.close()
        client = ccxt_exchange(daily_url, limited=True)
        began = perf_counter()
        peer()
        paced = perf_counter() - began
        client.session.close()
        others = freqtrade_note(daily_url, days[:PEER_DAYS])
    rows = len(homes[0])
    same_days = homes[0].loc[(homes[0].index >= first) & (homes[0].index < end), _COLUMNS]
    speeds = {name: len(pages) / seconds for name, seconds in (("unpaced", unpaced), ("paced", paced))}
    print_report(
        name="archive_ingest",
        ours=rows / monthly,
        peer=speeds["unpaced"],
        peer_name=f"ccxt {ccxt.__version__} fetch_ohlcv in pages of 1000, its pacing off, nothing stored",
        unit="rows/s",
        ratio=(rows / monthly) / speeds["unpaced"],
        equal=same_days.to_numpy().tolist() == [row[1:] for row in pages] and homes[0].equals(homes[1]),
        n=rows,
        note=f"{source}; {len(days)} days from monthly zips fetched with checksums, parsed, validated and stored with "
        f"fsync in {monthly:.2f} s, {WORKERS} workers; from daily zips {rows / daily:.0f} rows/s; peer {len(pages)} "
        f"rows; with its pacing on, as against the real exchange, {speeds['paced']:.0f} rows/s "
        f"(ratio {(rows / monthly) / speeds['paced']:.1f}); all from one kind of local server on the same cores, "
        f"without the network's delay, which the peer would feel with every page; {others}",
    )


def _frame(lake: Lake, days: Sequence[date]) -> pd.DataFrame:
    return lake.read(BARS_1M, INSTRUMENT, day_start(days[0]), day_start(days[-1] + timedelta(days=1)))


if __name__ == "__main__":
    main()
