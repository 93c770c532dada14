"""Seven years of monthly regime models and t-HARs of one instrument, by one backfill through Dagster's daemon.

``BENCHMARK_WALK_FORWARD_MONTHS`` says how many months; 84 by default. Some of them are then fitted again in a home of
their own, in the reverse order, and must come out the same.
"""

import os
import sys
import time
import warnings
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import dagster as dg

from tradecore_pipeline.cli.session import Session
from tradecore_pipeline.defs import training
from tradecore_pipeline.defs.fits import HAR, HMM, Month
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.tables import BARS
from tradecore_pipeline.domain.time import Timeframe, add_months, day_start
from tradecore_pipeline.settings import Settings
from tradecore_pipeline.storage.lake import Lake
from tradecore_pipeline.storage.layout import Layout
from tradecore_pipeline_tests.benchmarks.backfills import environment
from tradecore_pipeline_tests.benchmarks.local_exchange import unused_port
from tradecore_pipeline_tests.benchmarks.report import print_report, say
from tradecore_pipeline_tests.benchmarks.ui_backfill import Backfill, Dagster, launch_and_wait
from tradecore_pipeline_tests.models.markets import simulate

VARIABLE = "BENCHMARK_WALK_FORWARD_MONTHS"
BAR_SECONDS = 240.0
HOUR = Timeframe("1h")
BTC = Instrument.parse("binance:BTC/USDT:USDT")
FIRST, LAST = date(2019, 9, 8), date(2026, 10, 31)
LAST_MONTH = date(2026, 11, 1)
FRACTION = 0.45
"""Of the window is there for the very first month: 84 months have to fit between 2019-09 and today."""
AGAIN = 6


def fill(home: Path) -> None:
    """Hourly bars of a simulated market, as the features stage would have stored them."""
    days = (LAST - FIRST).days + 1
    market = simulate(24 * days, scales=(0.4, 0.75, 1.45), stay=0.986, df=4.0, seed=5, frequency="1h", minutes=60)
    bars = market.bars
    bars.index = bars.index + (day_start(FIRST) - bars.index[0])
    rows = bars.assign(ts_close=bars.index + HOUR.duration, minutes=bars["minutes"].astype("int32"))
    for column in BARS.columns:
        if column.nullable:
            rows[column.name] = None
    lake = Lake(Layout(home))
    for offset in range(days):
        day = FIRST + timedelta(days=offset)
        lake.publish(BARS, BTC, day, rows.iloc[24 * offset : 24 * (offset + 1)], timeframe=HOUR)


def digests(settings: Settings, months: Sequence[date]) -> dict[tuple[date, str], str]:
    """What the registry holds of each month."""
    with Session(settings) as session:
        found = {
            (month, kind): Month(session.adapters, BTC, HOUR, month).stored(kind)
            for month in months
            for kind in (HMM, HAR)
        }
    return {key: model.digest() for key, model in found.items()}


def backfill(home: Path, months: Sequence[date]) -> Backfill:
    """One backfill of both models through the daemon."""
    ports = {f"TRADECORE_{name}_PORT": str(unused_port()) for name in ("DAGSTER", "MLFLOW")}
    history = {"TRADECORE_MINIMUM_HISTORY_FRACTION": str(FRACTION), "TRADECORE_INSTRUMENTS": str(BTC)}
    dagster = Dagster(environment(home, "http://127.0.0.1:9", **ports, **history))
    try:
        while not dagster.answers():
            time.sleep(0.2)
        assets = [training.asset_key(HOUR, kind).path for kind in (HMM, HAR)]
        keys = [f"{month}|{BTC}" for month in months]
        return launch_and_wait(dagster, assets, keys, look=lambda: f"{len(months)} months")
    finally:
        dagster.stop()


def reversed_order(home: Path, months: Sequence[date]) -> None:
    """The same months one by one, the newest first, in this process."""
    with Session(_settings(home)) as session:
        for month in sorted(months, reverse=True):
            keys = [training.asset_key(HOUR, kind) for kind in (HAR, HMM)]
            session.stage("models", keys, BTC, [month], monthly=True)


def _settings(home: Path) -> Settings:
    return Settings.load(home=home, minimum_history_fraction=FRACTION, instruments=(str(BTC),))


def main() -> None:
    # Dagster's own notices about its interfaces, once per asset of each session.
    warnings.filterwarnings("ignore", category=dg.BetaWarning)
    count = int(os.environ.get(VARIABLE, "84"))
    months = [add_months(LAST_MONTH, -k) for k in reversed(range(count))]
    with TemporaryDirectory() as scratch:
        home, other = Path(scratch) / "home", Path(scratch) / "other"
        for own in (home, other):
            fill(own)
        done = backfill(home, months)
        say(f"{count} months after {done.seconds:.0f} s in {done.runs} runs")
        some = months[:: max(1, count // AGAIN)]
        reversed_order(other, some)
        equal = digests(_settings(home), some) == digests(_settings(other), some)
    if not equal:
        sys.exit("a month fitted alone is not the month of the backfill")
    print_report(
        name="walk_forward",
        ours=done.seconds,
        peer=BAR_SECONDS,
        peer_name="four minutes",
        unit="s",
        ratio=BAR_SECONDS / done.seconds,
        equal=equal,
        n=count,
        note=f"{count} months ({VARIABLE}) of regime model and t-HAR at {HOUR}, logged in MLflow, by one backfill "
        f"of {done.runs} runs through the daemon; {len(some)} of them again in a home of their own, newest first: "
        "equal digests",
    )


if __name__ == "__main__":
    main()
