"""Months of perpetuals' minute bars into a home, against paging the same days through ccxt as everybody does.

The peer's pacing is on, as it must be against the real exchange; the note says how fast it is without.
"""

import sys
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import ccxt

from tradecore_pipeline.defs.ingestion import store_days
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.tables import BARS_1M
from tradecore_pipeline.domain.time import day_start, month_days, utc_now
from tradecore_pipeline.storage.lake import Lake
from tradecore_pipeline.storage.layout import Layout
from tradecore_pipeline.storage.ledger import Ledger
from tradecore_pipeline_tests.benchmarks.bars import VARIABLE, recorded_root
from tradecore_pipeline_tests.benchmarks.local_exchange import ccxt_pages, local_urls, our_exchange, recorded_exchange
from tradecore_pipeline_tests.benchmarks.report import interleaved, print_report

KLINES = "data/futures/um/monthly/klines"
WORKERS = 4
_COLUMNS = ["open", "high", "low", "close", "volume"]


@dataclass(frozen=True)
class Month:
    """A recorded month of one perpetual."""

    instrument: Instrument
    first: date

    @property
    def days(self) -> tuple[date, ...]:
        return month_days(self.first)

    @property
    def span_ms(self) -> tuple[int, int]:
        ends = (self.days[0], self.days[-1] + timedelta(days=1))
        first, end = (int(day_start(day).timestamp() * 1000) for day in ends)
        return first, end


def recorded_months(root: Path) -> list[Month]:
    """Every monthly file of a USDT-M perpetual under ``root``."""
    months: list[Month] = []
    for path in sorted((root / KLINES).glob("*/1m/*.zip")):
        symbol, _, month = path.stem.partition("-1m-")
        instrument = Instrument("binance", f"{symbol.removesuffix('USDT')}/USDT:USDT")
        months.append(Month(instrument, date.fromisoformat(f"{month}-01")))
    return months


def ingest(url: str, months: list[Month], home: Path) -> Lake:
    """Fetch, check, parse, validate and store the months, as assets do."""
    layout = Layout(home)
    lake, ledger = Lake(layout), Ledger(layout)
    exchange = our_exchange(url, budgets=home / "budgets", workers=WORKERS)
    for month in months:
        fetched = exchange.fetch_days(BARS_1M.name, month.instrument, month.days)
        for _ in store_days(lake, ledger, fetched, clock=utc_now, launch="benchmark"):
            continue
    exchange.close()
    return lake


def paged(client: Any, months: list[Month]) -> list[list[list[float]]]:
    """The months' rows through ccxt."""
    return [ccxt_pages(client, *month.span_ms, symbol=month.instrument.symbol) for month in months]


def futures(url: str, *, limited: bool) -> Any:
    """ccxt's futures exchange talking to ``url``, its own pacing on or off."""
    exchange = ccxt.binanceusdm({"enableRateLimit": limited})
    exchange.urls["api"] |= local_urls(exchange, url)
    exchange.load_markets()
    return exchange


def main() -> None:
    root = recorded_root()
    months = recorded_months(root) if root is not None else []
    if root is None or not months:
        sys.exit(f"skipped: no recorded perpetuals ({VARIABLE} names a folder that holds {KLINES})")
    with recorded_exchange(root) as url, TemporaryDirectory() as scratch:
        lakes: list[Lake] = []
        pages: list[list[list[float]]] = []
        client = futures(url, limited=False)

        def ours() -> None:
            lakes.append(ingest(url, months, Path(scratch) / str(len(lakes))))

        def peer() -> None:
            pages[:] = paged(client, months)

        our_seconds, unpaced = interleaved(ours, peer, repeats=5)
        client.session.close()
        client = futures(url, limited=True)
        began = perf_counter()
        peer()
        paced = perf_counter() - began
        client.session.close()
        equal = all(
            _stored(lakes[-1], month) == [row[1:] for row in rows] for month, rows in zip(months, pages, strict=True)
        )
    rows = sum(map(len, pages))
    print_report(
        name="ccxt_paging",
        ours=rows / our_seconds,
        peer=rows / paced,
        peer_name=f"ccxt {ccxt.__version__} fetch_ohlcv in pages of 1000, its pacing on, nothing stored",
        unit="rows/s",
        ratio=paced / our_seconds,
        equal=equal,
        n=rows,
        note=f"{len(months)} recorded months of USDT-M perpetuals, stored with fsync in {our_seconds:.2f} s; with its "
        f"pacing off the peer fetches {rows / unpaced:.0f} rows/s (ratio {unpaced / our_seconds:.1f}); the paced peer "
        "ran once, the others five times in turns; one local server on the same cores, no network delay",
    )


def _stored(lake: Lake, month: Month) -> list[list[float]]:
    start, end = day_start(month.days[0]), day_start(month.days[-1] + timedelta(days=1))
    return lake.read(BARS_1M, month.instrument, start, end)[_COLUMNS].to_numpy().tolist()


if __name__ == "__main__":
    main()
