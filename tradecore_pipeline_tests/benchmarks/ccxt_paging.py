"""Minute bars through REST, as for the days that the archive does not have yet, against ccxt's own fetch_ohlcv."""

from datetime import timedelta

import ccxt

from tradecore_pipeline.domain.time import day_start
from tradecore_pipeline.exchanges.base import PERPETUAL, SPOT
from tradecore_pipeline.exchanges.binance import forward
from tradecore_pipeline.exchanges.binance.rest import BinanceRest
from tradecore_pipeline.exchanges.binance.symbols import Listed
from tradecore_pipeline.exchanges.http import Endpoint, HttpClient
from tradecore_pipeline_tests.benchmarks.bars import archive_folder
from tradecore_pipeline_tests.benchmarks.local_exchange import INSTRUMENT, ccxt_exchange, ccxt_pages, recorded_exchange
from tradecore_pipeline_tests.benchmarks.report import interleaved, print_report

DAYS = 20


def main() -> None:
    with archive_folder(DAYS) as (folder, days, source), recorded_exchange(folder) as url:
        start, end = day_start(days[0]), day_start(days[-1] + timedelta(days=1))
        http = HttpClient(timeout_seconds=20, retries=1, connections=2)
        endpoints = {SPOT: Endpoint(url, "spot"), PERPETUAL: Endpoint(url, "futures")}
        rest = BinanceRest(http=http, endpoints=endpoints, timeout_seconds=20, retries=1)
        client = ccxt_exchange(url, limited=True)
        listed = Listed.of(INSTRUMENT)

        def ours() -> forward.Answer:
            return forward.bars(rest, listed, start=start, end=end)

        def peer() -> list[list[float]]:
            return ccxt_pages(client, int(start.timestamp() * 1000), int(end.timestamp() * 1000))

        our_seconds, peer_seconds = interleaved(ours, peer, repeats=3)
        rows, pages = ours().piece.rows, peer()
        rest.close()
        http.close()
        client.session.close()
    names = ("open", "high", "low", "close", "volume")
    columns = [[float(value) for value in rows.column(name).to_pylist()] for name in names]
    print_report(
        name="ccxt_paging",
        ours=our_seconds,
        peer=peer_seconds,
        peer_name=f"ccxt {ccxt.__version__} fetch_ohlcv in pages of 1000",
        unit="s",
        ratio=peer_seconds / our_seconds,
        equal=[list(row) for row in zip(*columns, strict=True)] == [row[1:] for row in pages],
        n=rows.num_rows,
        note=f"{source}; both paced by ccxt; ours checks every payload and keeps all columns, prices exact; what "
        "makes years of history fast is the archive (archive_ingest), not this route",
    )


if __name__ == "__main__":
    main()
