"""What `tradecore doctor` looks at: each check says what it found, and what to do where that is not well."""

import importlib.metadata
import os
import shutil
import sys
from dataclasses import dataclass
from datetime import timedelta

from tradecore_pipeline.cli.services import free_port
from tradecore_pipeline.defs.resources import Adapters
from tradecore_pipeline.domain.errors import TradecoreError
from tradecore_pipeline.domain.instruments import PERPETUAL, SPOT
from tradecore_pipeline.domain.time import utc_now
from tradecore_pipeline.exchanges.http import Endpoint, probe
from tradecore_pipeline.settings import PREFIX, Settings
from tradecore_pipeline.storage.alerts import alerts
from tradecore_pipeline.storage.layout import Layout
from tradecore_pipeline.storage.ledger import Ledger

_LEAST_FREE_GB = 5
_CLOCK_TOLERANCE = timedelta(seconds=5)
_PROBE_SECONDS = 5
_PROBED_FILE = "/data/spot/daily/klines/BTCUSDT/1m/BTCUSDT-1m-2022-01-01.zip.CHECKSUM"
_PACKAGES = ("dagster", "duckdb", "mlflow", "torch", "ccxt", "pandas", "TA-Lib")


@dataclass(frozen=True)
class Check:
    """One finding. What is not ``needed`` does not fail the command."""

    name: str
    passed: bool
    detail: str
    needed: bool = True

    def to_json(self) -> dict[str, object]:
        """The finding as plain values."""
        return {"name": self.name, "passed": self.passed, "detail": self.detail, "needed": self.needed}


def run_checks(settings: Settings) -> list[Check]:
    """Every check, in the order a person would mend them. The ports are needed only by `tradecore up`."""
    ports = (("dagster_port", settings.dagster_port), ("mlflow_port", settings.mlflow_port))
    return [
        _versions(),
        _home(settings),
        _disk(settings),
        *(_port(name, port) for name, port in ports),
        *_sources(settings),
        *_clocks(settings),
        _failures(settings),
    ]


def _versions() -> Check:
    found = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in _PACKAGES)
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    supported = (3, 11) <= sys.version_info[:2] < (3, 14)
    return Check(
        "versions", supported, f"Python {python}{'' if supported else ' (3.11 to 3.13 is supported)'}, {found}"
    )


def _home(settings: Settings) -> Check:
    existing = next(folder for folder in (settings.home, *settings.home.parents) if folder.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        return Check(
            "home", passed=False, detail=f"{existing} cannot be written to: set {PREFIX}HOME to another folder"
        )
    try:
        market = Ledger(Layout(settings.home)).market()
    except TradecoreError as error:
        return Check("home", passed=False, detail=str(error))
    return Check("home", passed=True, detail=f"{settings.home}, market: {market or 'none yet'}")


def _disk(settings: Settings) -> Check:
    existing = next(folder for folder in (settings.home, *settings.home.parents) if folder.exists())
    free = shutil.disk_usage(existing).free / 1e9
    return Check(
        "disk", passed=free >= _LEAST_FREE_GB, detail=f"{free:.0f} GB free at {existing}, {_LEAST_FREE_GB} are needed"
    )


def _port(name: str, port: int) -> Check:
    try:
        free_port(port, name)
    except TradecoreError as error:
        return Check(name, passed=False, detail=str(error), needed=False)
    return Check(name, passed=True, detail=f"{port} is free", needed=False)


def _sources(settings: Settings) -> list[Check]:
    kinds = {(instrument.exchange, instrument.market_type) for instrument in settings.parsed_instruments}
    exchanges = {exchange for exchange, _ in kinds}
    sources: list[tuple[str, str, str]] = []
    if "binance" in exchanges:
        sources.append(("archive", "binance_archive_url", _PROBED_FILE))
        sources.append(("listing", "binance_archive_listing_url", "?prefix=data/&delimiter=/"))
    apis = {
        ("binance", PERPETUAL): ("binance futures", "binance_rest_url", "/fapi/v1/time"),
        ("binance", SPOT): ("binance spot", "binance_spot_rest_url", "/api/v3/time"),
        ("bybit", PERPETUAL): ("bybit", "bybit_rest_url", "/v5/market/time"),
        ("okx", PERPETUAL): ("okx", "okx_rest_url", "/api/v5/public/time"),
    }
    if not settings.archive_only:
        sources += [api for kind, api in apis.items() if kind in kinds]
    # HyperLiquid answers to POST alone: the clock's check below asks it.
    return [_source(settings, *source) for source in sources]


def _source(settings: Settings, name: str, setting: str, path: str) -> Check:
    timeout = min(_PROBE_SECONDS, settings.http_timeout_seconds)
    url = settings.urls[setting]
    found = probe(Endpoint(url, PREFIX + setting.upper()), path, timeout_seconds=timeout)
    return Check(name, found.ok, f"{url}: {found.explanation}")


def _clocks(settings: Settings) -> list[Check]:
    adapters = Adapters(settings)
    return [_clock(adapters, name) for name in sorted({one.exchange for one in settings.parsed_instruments})]


def _clock(adapters: Adapters, exchange: str) -> Check:
    name = f"{exchange} clock"
    try:
        off = abs(utc_now() - adapters.exchange(exchange).server_time())
    except TradecoreError:
        return Check(name, passed=True, detail=f"not compared: {exchange} does not answer", needed=False)
    if off <= _CLOCK_TOLERANCE:
        return Check(name, passed=True, detail=f"{off.total_seconds():.1f} s from this machine's", needed=False)
    return Check(
        name,
        passed=False,
        detail=f"{off.total_seconds():.0f} s from this machine's: set its clock (a simulator's may stand)",
        needed=False,
    )


def _failures(settings: Settings) -> Check:
    try:
        newest = alerts(Layout(settings.home))
    except TradecoreError as error:
        return Check("failed runs", passed=False, detail=str(error), needed=False)
    if not newest:
        return Check("failed runs", passed=True, detail="none", needed=False)
    last = newest[0]
    detail = f"{len(newest)}, the last at {last.at:%Y-%m-%d %H:%M} UTC: {last.what}: {last.reason}"
    return Check("failed runs", passed=False, detail=detail, needed=False)
