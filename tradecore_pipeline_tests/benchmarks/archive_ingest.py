"""Minute bars from the exchange's archive to stored Parquet, end to end, against paging them through ccxt."""

from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import ccxt

from tradecore_pipeline.domain.tables import BARS_1M
from tradecore_pipeline.domain.time import day_start, utc_now
from tradecore_pipeline.storage.ingest import store_day
from tradecore_pipeline.storage.lake import Lake
from tradecore_pipeline.storage.layout import Layout
from tradecore_pipeline.storage.ledger import Ledger
from tradecore_pipeline_tests.benchmarks.bars import archive_folder
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


def main() -> None:
    with (
        archive_folder(365) as (folder, days, source),
        recorded_exchange(folder) as url,
        TemporaryDirectory() as scratch,
    ):
        homes: list[Layout] = []

        def ours() -> None:
            homes.append(Layout(Path(scratch) / str(len(homes))))
            lake, ledger, exchange = Lake(homes[-1]), Ledger(homes[-1]), our_exchange(url, workers=WORKERS)
            for fetched in exchange.fetch_days(BARS_1M.name, INSTRUMENT, days):
                store_day(lake, ledger, fetched, now=utc_now(), seconds=0.0, launch="benchmark")
            exchange.close()

        first, end = day_start(days[0]), day_start(days[PEER_DAYS - 1] + timedelta(days=1))
        client = ccxt_exchange(url, limited=False)
        pages: list[list[float]] = []

        def peer() -> None:
            pages[:] = ccxt_pages(client, int(first.timestamp() * 1000), int(end.timestamp() * 1000))

        our_seconds, peer_seconds = interleaved(ours, peer, repeats=3)
        lake = Lake(homes[-1])
        same_days = lake.read(BARS_1M, INSTRUMENT, first, end)
        rows = len(lake.read(BARS_1M, INSTRUMENT, first, day_start(days[-1] + timedelta(days=1))))
        client.session.close()
    columns = ["open", "high", "low", "close", "volume"]
    equal = same_days[columns].to_numpy().tolist() == [row[1:] for row in pages]
    print_report(
        name="archive_ingest",
        ours=rows / our_seconds,
        peer=len(pages) / peer_seconds,
        peer_name=f"ccxt {ccxt.__version__} fetch_ohlcv in pages of 1000, its pacing off, nothing stored",
        unit="rows/s",
        ratio=(rows / our_seconds) / (len(pages) / peer_seconds),
        equal=equal,
        n=rows,
        note=f"{source}; {len(days)} daily zips fetched with checksums, parsed, validated and stored with fsync in "
        f"{our_seconds:.2f} s, {WORKERS} workers; peer {len(pages)} rows; both from one local server on the same "
        "cores, without the network's delay or the exchange's request limits, which only the peer would feel",
    )


if __name__ == "__main__":
    main()
