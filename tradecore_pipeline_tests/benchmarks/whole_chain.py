"""Two years of everything for one instrument, as a user runs it: `tradecore train`, then `tradecore predict`.

``BENCHMARK_CHAIN_MONTHS`` says how many months; 24 by default. The market is simulated and ingested before the clock
starts. The last month is then trained again, alone, in a home of its own, and must come out the same.
"""

import os
import resource
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from subprocess import run
from tempfile import TemporaryDirectory

import dagster as dg

from tradecore_pipeline.cli.session import Session
from tradecore_pipeline.defs.fits import HAR, HMM, INDICATORS, LSTM, Month
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.tables import REGIMES
from tradecore_pipeline.domain.time import Timeframe, add_months, day_start
from tradecore_pipeline.settings import Settings
from tradecore_pipeline_tests.benchmarks.backfills import PROGRAM, Exchanges, environment
from tradecore_pipeline_tests.benchmarks.report import print_report, say

VARIABLE = "BENCHMARK_CHAIN_MONTHS"
BAR_SECONDS = 600.0
HOUR = Timeframe("1h")
BTC = Instrument.parse("binance:BTC/USDT:USDT")
END = date(2025, 1, 1)
"""The first day after the last month."""
KINDS = (INDICATORS, HMM, HAR, LSTM)
_BEFORE = 8
"""Months of market data before the first month: its window of half a year, and the longest warm-up before that."""


@dataclass(frozen=True)
class Spent:
    """What commands took."""

    wall: float
    cpu: float
    """Seconds of processors, user and system: a busy machine lengthens the wall's."""


def command(arguments: Sequence[str], variables: dict[str, str]) -> None:
    """`tradecore <arguments>` in a process of its own; ends the benchmark where it fails."""
    done = run([sys.executable, "-c", PROGRAM, *arguments], env=variables, check=False)
    if done.returncode:
        sys.exit(f"tradecore {arguments[0]} ended with {done.returncode}")


def chain(months: Sequence[date], variables: dict[str, str], *, publish: bool) -> Spent:
    """Features, tuning and models of ``months``, and where asked for the regimes of their days."""
    first, last = months[0], add_months(months[-1], 1) - timedelta(days=1)
    began, before = time.perf_counter(), _cpu()
    which = (str(BTC), "--timeframe", HOUR.name)
    command(["train", *which, "--from", f"{first:%Y-%m}", "--to", f"{months[-1]:%Y-%m}"], variables)
    if publish:
        command(["predict", *which, "--from", str(first), "--to", str(last)], variables)
    return Spent(time.perf_counter() - began, _cpu() - before)


def stage_seconds(settings: Settings) -> dict[str, float]:
    """Wall seconds of every asset's steps in the home's Dagster runs since market data, by asset."""
    seconds: dict[str, float] = {}
    with Session(settings) as session:
        for record in session.instance.get_run_records(ascending=True):
            for log in session.instance.all_logs(record.dagster_run.run_id, of_type=dg.DagsterEventType.STEP_SUCCESS):
                event = log.get_dagster_event()
                name = (event.step_key or "").replace(f"__{HOUR.name}__", "/")
                milliseconds = event.step_success_data.duration_ms
                seconds[name] = seconds.get(name, 0.0) + milliseconds / 1000
    return {name: spent for name, spent in seconds.items() if not name.startswith("market_data")}


def digests(settings: Settings, month: date) -> dict[str, str]:
    """What the registry holds of a month, whichever runs it came from."""
    with Session(settings) as session:
        found = [Month(session.adapters, BTC, HOUR, month).stored(kind) for kind in KINDS]
    named = [{name: value for name, value in model.config.items() if not name.endswith("_run_id")} for model in found]
    return {model.kind: replace(model, config=config).digest() for model, config in zip(found, named, strict=True)}


def check_outcome(settings: Settings, months: Sequence[date]) -> int:
    """Published rows; ends the benchmark where a model or an hour is not there."""
    with Session(settings) as session:
        for month in months:
            for kind in KINDS:
                Month(session.adapters, BTC, HOUR, month).stored(kind)
        rows = session.adapters.lake.read(
            REGIMES, BTC, day_start(months[0]), day_start(END), timeframe=HOUR, columns=["log_score"]
        )
    wanted = 24 * (END - months[0]).days
    if len(rows) != wanted:
        sys.exit(f"{len(rows)} of {wanted} hours were published")
    return wanted


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _variables(home: Path, url: str) -> dict[str, str]:
    return environment(home, url, TRADECORE_INSTRUMENTS=str(BTC), TRADECORE_TIMEFRAMES=HOUR.name)


def _settings(home: Path) -> Settings:
    return Settings.load(home=home, instruments=(str(BTC),), timeframes=(HOUR.name,))


def main() -> None:
    count = int(os.environ.get(VARIABLE, "24"))
    months = [add_months(END, -k) for k in range(count, 0, -1)]
    # Whole years, since a month's regime model starts from its year's anchor.
    first = add_months(months[0].replace(month=1), -_BEFORE)
    now = datetime(END.year, END.month, END.day, 12, tzinfo=UTC)
    with TemporaryDirectory() as scratch:
        home, other = Path(scratch) / "one" / "home", Path(scratch) / "other" / "home"
        with Exchanges(seed=7, start=first, end=END, now=now) as exchanges:
            variables = _variables(home, exchanges.url)
            days = ("--from", str(first), "--to", str(END - timedelta(days=1)))
            command(["backfill", str(BTC), *days], variables)
        for folder in ("lake", "ledger"):
            shutil.copytree(home / folder, other / folder)
        spent = chain(months, variables, publish=True)
        say(f"{count} months after {spent.wall:.0f} s ({spent.cpu:.0f} s of processors)")
        hours = check_outcome(_settings(home), months)
        stages = stage_seconds(_settings(home))
        chain(months[-1:], _variables(other, exchanges.url), publish=False)
        equal = digests(_settings(home), months[-1]) == digests(_settings(other), months[-1])
    if not equal:
        sys.exit("a month trained alone is not the month of the whole chain")
    print_report(
        name="whole_chain",
        ours=spent.wall,
        peer=BAR_SECONDS,
        peer_name="ten minutes",
        unit="s",
        ratio=BAR_SECONDS / spent.wall,
        equal=equal,
        n=count,
        note=f"{count} months ({VARIABLE}) at {HOUR} from minute bars to {hours} published hours by two commands, "
        f"{_settings(home).tuning_trials} trials a month; {spent.cpu:.0f} s of processors; steps in s: "
        + ", ".join(f"{name} {seconds:.0f}" for name, seconds in stages.items() if seconds >= 1)
        + "; the last month again, alone, in a home of its own: equal digests",
    )


if __name__ == "__main__":
    main()
