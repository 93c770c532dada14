"""A nightly run: one instrument of each exchange was up to date a day ago; `tradecore update` gets the rest."""

import json
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from tradecore_pipeline.domain.time import utc_now
from tradecore_pipeline.storage.lake import Lake
from tradecore_pipeline.storage.layout import Layout
from tradecore_pipeline_tests.benchmarks.backfills import PROGRAM, Exchanges, environment, last_line, launch
from tradecore_pipeline_tests.benchmarks.report import print_report
from tradecore_pipeline_tests.benchmarks.truth import INSTRUMENTS, TABLES, Truth

BAR_SECONDS = 15
HELD_DAYS = 30
SEED = 7
_MARKET_DAYS = 40


def main() -> None:
    # `tradecore update` goes by this machine's clock: the simulated exchanges' stood still a day ago, then now.
    now = utc_now().replace(microsecond=0)
    before, end = now - timedelta(days=1), now.date() + timedelta(days=3)
    start = now.date() - timedelta(days=_MARKET_DAYS)
    with (
        TemporaryDirectory() as scratch,
        Exchanges(seed=SEED, start=start, end=end, now=before) as exchanges,
    ):
        home = Path(scratch) / "home"
        variables = environment(home, exchanges.url)
        first = before.date() - timedelta(days=HELD_DAYS)
        for instrument in INSTRUMENTS:
            command = ("backfill", str(instrument), "--from", str(first), "--to", str(before.date()))
            said = Path(scratch) / "said"
            if launch(command, variables, said).wait():
                sys.exit(f"the backfill failed: {last_line(said)}")
        exchanges.stop()
        exchanges.start(now=now)
        # After a night nothing is left of what was asked of the exchanges the day before.
        variables["TRADECORE_BUDGET_DIR"] = str(Path(scratch) / "budgets of the night")
        del variables["TRADECORE_REQUEST_SHARE"]  # the default, as at a newcomer's
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, "update", "--json"],
            check=False,
            env=variables,
            capture_output=True,
            text=True,
        )
        seconds = time.perf_counter() - began
        if done.returncode:
            sys.exit(f"the update failed: {done.stderr.strip().splitlines()[-1]}")
        told = json.loads(done.stdout.splitlines()[-1])
        days = {name: row["fetched"] for name, row in told["instruments"].items()}
        equal = _equal(home, Truth(SEED, start=start, end=end, now=now))
    print_report(
        name="nightly",
        ours=seconds,
        peer=BAR_SECONDS,
        peer_name="the bar",
        unit="s",
        ratio=BAR_SECONDS / seconds,
        equal=equal,
        n=sum(days.values()),
        note=f"`tradecore update` of {len(INSTRUMENTS)} instruments, one of each exchange, three datasets, yesterday "
        f"and today: {days} days fetched, {told['seconds']} s of it the runs; {HELD_DAYS} days held before; real "
        "request limits, local servers",
    )


def _equal(home: Path, truth: Truth) -> bool:
    """Whether yesterday and today hold what the exchanges published of them by now."""
    lake = Lake(Layout(home))
    return all(
        truth.compare(table, instrument, day, lake.rows(table, instrument, day)).equal
        for table in TABLES
        for instrument in INSTRUMENTS
        for day in (truth.now.date() - timedelta(days=1), truth.now.date())
        # HyperLiquid keeps no open interest: yesterday's is what was recorded yesterday.
        if (table.name, instrument.exchange, day < truth.now.date()) != ("open_interest", "hyperliquid", True)
    )


if __name__ == "__main__":
    main()
