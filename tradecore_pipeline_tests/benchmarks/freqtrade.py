"""How fast ``freqtrade download-data`` fetches minute bars from the local exchange, where a freqtrade is named."""

import json
import os
import subprocess
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import ccxt
import pyarrow.feather

from tradecore_pipeline_tests.benchmarks.local_exchange import INSTRUMENT, local_urls

VARIABLE = "BENCHMARK_FREQTRADE"
"""A freqtrade executable, in an environment of its own."""


def freqtrade_note(url: str, days: Sequence[date]) -> str:
    """A clause for a benchmark's note: rows per second beside its own start, which a second run without work tells.

    Its archive downloader cannot be pointed at another host, so that it pages through ccxt here.
    """
    executable = os.environ.get(VARIABLE)
    if not executable:
        return f"freqtrade not measured ({VARIABLE} names no executable)"
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "config.json").write_text(json.dumps(_config(url)))
        for directory in ("data", "user_data"):
            (folder / directory).mkdir()
        first, after = days[0], days[-1] + timedelta(days=1)
        whole = _download(executable, folder, f"{first:%Y%m%d}-{after:%Y%m%d}")
        again = _download(executable, folder, f"{first:%Y%m%d}-{after:%Y%m%d}")
        rows = sum(len(pyarrow.feather.read_table(path)) for path in folder.rglob("*1m*.feather"))
    speed = rows / max(whole - again, 1e-9)
    return (
        f"freqtrade download-data (only_from_ccxt: its archive downloader has a fixed host) {rows} rows in "
        f"{whole:.1f} s, {again:.1f} s where it has nothing to fetch: {speed:.0f} rows/s beside its start"
    )


def _download(executable: str, folder: Path, window: str) -> float:
    began = perf_counter()
    command = [executable, "download-data", "-c", "config.json", "-d", "data", "-t", "1m", "--timerange", window]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"freqtrade failed: {(done.stderr or done.stdout)[-2000:]}")
    return perf_counter() - began


def _config(url: str) -> dict[str, object]:
    urls = {"urls": {"api": local_urls(ccxt.binance(), url)}, "options": {"fetchMarkets": {"types": ["spot"]}}}
    return {
        "stake_currency": "USDT",
        "dry_run": True,
        "trading_mode": "spot",
        "exchange": {
            "name": "binance",
            "only_from_ccxt": True,
            "pair_whitelist": [INSTRUMENT.symbol],
            "ccxt_config": urls,
            "ccxt_async_config": urls,
        },
        "pairs": [INSTRUMENT.symbol],
    }
