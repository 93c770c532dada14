"""A small deployment for tests: a short simulated market, settings that fit it, and the whole chain run over it."""

import contextlib
import io
import json
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from tradecore_pipeline.cli import run
from tradecore_pipeline.defs.resources import Adapters
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.exchanges.base import Exchange
from tradecore_pipeline.settings import Settings

BTC = Instrument.parse("binance:BTC/USDT:USDT")
SPOT = Instrument.parse("binance:BTC/USDT")
HOUR = Timeframe("1h")
SEED = 11
START, END = date(2024, 12, 20), date(2025, 3, 20)
NOW = datetime(2025, 3, 5, 10, 30, 30, tzinfo=UTC)
TODAY = NOW.date()
FIRST = START - timedelta(days=2)
FEBRUARY, MARCH = date(2025, 2, 1), date(2025, 3, 1)
ONE_DAY = timedelta(days=1)
CUT = date(2025, 2, 14)
"""The first day that tests of causality take away."""

ADDRESSES = (
    "binance_archive_url",
    "binance_rest_url",
    "binance_spot_rest_url",
    "bybit_rest_url",
    "okx_rest_url",
    "hyperliquid_rest_url",
)
SMALL: dict[str, Any] = {
    "training_window_bars": {"1h": 480},
    "hmm_restarts": 2,
    "tuning_trials": 4,
    "tuning_folds": 2,
    "lstm_epochs": 2,
    "lstm_hidden": 8,
    "http_retries": 1,
}


def small_settings(home: Path, url: str, **more: Any) -> Settings:
    """Settings under which a month is trained in a second, over the exchange at ``url``."""
    own = {"home": home, "budget_dir": home.parent / "budgets", "request_share": 1.0}
    return Settings.load(**{**own, **dict.fromkeys(ADDRESSES, url), **SMALL, **more})


def variables(settings: Settings) -> dict[str, str]:
    """The same settings as environment variables, for commands."""
    names = (*ADDRESSES, "home", "budget_dir", "request_share", "mlflow_tracking_uri", "simulator_port", *SMALL)
    values = {name: value for name in names if (value := getattr(settings, name)) is not None}
    texts = {name: json.dumps(v) if isinstance(v, dict) else str(v) for name, v in values.items()}
    lists = {"instruments": ",".join(settings.instruments), "timeframes": ",".join(settings.timeframes)}
    return {f"TRADECORE_{name.upper()}": text for name, text in (texts | lists).items()}


@dataclass(frozen=True)
class Chain:
    """A home after `tradecore run` from two days before the market began to the exchange's present day."""

    settings: Settings
    result: dict[str, Any]

    @property
    def adapters(self) -> Adapters:
        """Adapters of their own over the chain's home, with the exchange's clock."""
        return Adapters(self.settings, clock=lambda: NOW)


@dataclass(frozen=True)
class Outcome:
    """What a command left behind on its way out."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The object on the last line of stdout."""
        return json.loads(self.out.splitlines()[-1])


def tradecore(settings: Settings, *arguments: str, cwd: Path | None = None) -> Outcome:
    """`tradecore <arguments>` in this process, under these settings, in the folder that holds the home."""
    out, err, before = io.StringIO(), io.StringIO(), sys.argv
    sys.argv = ["tradecore", *arguments]
    try:
        with (
            set_variables(variables(settings)),
            contextlib.chdir(cwd or settings.home.parent),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            code = run()
    finally:
        sys.argv = before
    return Outcome(code, out.getvalue(), err.getvalue())


def run_small_chain(home: Path, url: str, last: date) -> Chain:
    """`tradecore run` in a new home, from two days before the market began up to ``last``."""
    settings = small_settings(home, url)
    outcome = tradecore(settings, "run", str(BTC), *span(FIRST, last), "--timeframe", "1h", "--json")
    assert outcome.code == 0, outcome.err
    return Chain(settings, outcome.json)


def span(first: date, last: date) -> tuple[str, ...]:
    """Days as options."""
    return "--from", str(first), "--to", str(last)


def copy_home(chain: Chain, home: Path) -> Settings:
    """Settings of a copy of the chain's home; the models are read where they are."""
    shutil.copytree(chain.settings.home, home, ignore=shutil.ignore_patterns("mlartifacts", "mlflow.db*"))
    return chain.settings.model_copy(update={"home": home, "mlflow_tracking_uri": chain.settings.mlflow_uri})


def lake_files(home: Path, table: str = "") -> dict[str, bytes]:
    """Every file of a home's lake (or of one of its tables) by its path there."""
    root = home / "lake"
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted((root / table).rglob("*")) if p.is_file()}


@contextlib.contextmanager
def set_variables(values: dict[str, str]) -> Iterator[None]:
    """These environment variables, and afterwards those from before."""
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


class WrappedExchange:
    """An exchange that counts the days asked for and fails on one of them."""

    def __init__(self, exchange: Exchange, fails_on: date | None, error: Exception) -> None:
        self._exchange = exchange
        self._fails_on = fails_on
        self._error = error
        self.asked: list[date] = []

    def fetch_days(self, dataset: str, instrument: Instrument, days: Sequence[date]) -> Iterator[Any]:
        self.asked += days
        for fetched in self._exchange.fetch_days(dataset, instrument, days):
            if fetched.day == self._fails_on:
                raise self._error
            yield fetched


class BreakingAdapters(Adapters):
    """Adapters whose exchange fails on one day."""

    def __init__(self, settings: Settings, fails_on: date | None = None, error: Exception | None = None) -> None:
        super().__init__(settings)
        self._fails_on = fails_on
        self._error = error or RuntimeError("the process is going down")
        self.wrapped: WrappedExchange | None = None

    def exchange(self, name: str) -> Any:
        if self.wrapped is None:
            self.wrapped = WrappedExchange(super().exchange(name), self._fails_on, self._error)
        return self.wrapped
