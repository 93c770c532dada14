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
from tradecore_pipeline.domain.time import utc_now
from tradecore_pipeline.exchanges.http import Endpoint, probe
from tradecore_pipeline.settings import PREFIX, Settings
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
        _clock(settings),
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
    sources = [
        ("listing", settings.archive_listing_url, "BINANCE_ARCHIVE_LISTING_URL", "?prefix=data/&delimiter=/"),
        ("futures REST", settings.binance_rest_url, "BINANCE_REST_URL", "/fapi/v1/time"),
        ("spot REST", settings.binance_spot_rest_url, "BINANCE_SPOT_REST_URL", "/api/v3/time"),
    ]
    if settings.binance_archive_url != settings.archive_listing_url:
        sources.insert(0, ("archive", settings.binance_archive_url, "BINANCE_ARCHIVE_URL", _PROBED_FILE))
    return [_source(settings, *source) for source in sources]


def _source(settings: Settings, name: str, url: str, variable: str, path: str) -> Check:
    timeout = min(_PROBE_SECONDS, settings.http_timeout_seconds)
    found = probe(Endpoint(url, PREFIX + variable), path, timeout_seconds=timeout)
    return Check(name, found.ok, f"{url}: {found.explanation}")


def _clock(settings: Settings) -> Check:
    adapters = Adapters(settings)
    try:
        off = abs(utc_now() - adapters.exchange("binance").server_time())
    except TradecoreError:
        return Check("clock", passed=True, detail="not compared: the exchange does not answer", needed=False)
    if off <= _CLOCK_TOLERANCE:
        return Check("clock", passed=True, detail=f"{off.total_seconds():.1f} s from the exchange's", needed=False)
    return Check(
        "clock",
        passed=False,
        detail=f"{off.total_seconds():.0f} s from the exchange's: set this machine's clock (a simulator's may stand)",
        needed=False,
    )
