"""Backfills of four exchanges into one home, each killed again and again at random moments until all are whole.

``BENCHMARK_KILLS`` says how many SIGKILLs are dealt out; some of them hit the exchange instead. Right after each one,
every file that a reader lists must be one of an unbroken backfill's; in the end all of them must be there.
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock

import duckdb

from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.time import day_range
from tradecore_pipeline.storage.lake import Lake
from tradecore_pipeline.storage.layout import Layout
from tradecore_pipeline.storage.ledger import Ledger, LedgerEntry
from tradecore_pipeline_tests.benchmarks.backfills import Exchanges, contents, environment, last_line, launch, litter
from tradecore_pipeline_tests.benchmarks.report import print_report, say
from tradecore_pipeline_tests.benchmarks.truth import INSTRUMENTS, TABLES, Truth

VARIABLE = "BENCHMARK_KILLS"
"""How many kills; 5 by default."""
SEED = 7
START, END = date(2025, 2, 4), date(2025, 2, 20)
NOW = datetime(2025, 2, 14, 15, 30, 20, tzinfo=UTC)
FIRST, LAST = date(2025, 2, 9), NOW.date()
"""Up to the present, unfinished day; an outage and the end of HyperLiquid's memory lie between."""
MOST_EACH = 8
"""So many kills later a backfill may finish, so that several homes are compared."""


class Battlefield:
    """One market, the exchanges over it, and what the kills have done so far."""

    def __init__(self, scratch: Path, exchanges: Exchanges, *, instruments: Sequence[Instrument], kills: int) -> None:
        self.scratch, self.exchanges, self.instruments = scratch, exchanges, instruments
        self.truth = Truth(SEED, start=START, end=END, now=NOW)
        self.moments: Counter[str] = Counter()
        self.faults: list[str] = []
        self.failures: Counter[str] = Counter()
        self.homes = 0
        self.seconds: dict[Instrument, float] = {}
        self.unbroken: dict[str, str] = {}
        self.entries: list[tuple[object, ...]] = []
        self.lock = Lock()
        self._left = kills

    @property
    def kills(self) -> int:
        return self.moments.total()

    def may_kill(self) -> bool:
        """Whether another kill is to be dealt out; the caller then owes it."""
        with self.lock:
            self._left -= 1
            return self._left >= 0

    def settle(self, moment: str | None) -> None:
        """Count an owed kill; None: its victim had ended before."""
        with self.lock:
            if moment is None:
                self._left += 1
            else:
                self.moments[moment] += 1

    def accuse(self, faults: Sequence[str]) -> None:
        """Say and keep what must not be."""
        with self.lock:
            self.faults += faults
        for fault in faults:
            say(f"FAULT: {fault}")

    def run_unbroken(self) -> None:
        """The backfills that all others are compared with."""
        home = self.scratch / "unbroken" / "home"
        victims = [Victim(self, home, instrument, random.Random(SEED)) for instrument in self.instruments]
        with ThreadPoolExecutor(len(victims)) as threads:
            self.seconds = dict(zip(self.instruments, threads.map(Victim.live_in_peace, victims), strict=True))
        self.unbroken, self.entries = contents(home), described(home, self.instruments)
        self.accuse(against_truth(home, self.instruments, self.truth))

    def run_killed(self) -> None:
        """The same backfills in a new home, killed."""
        home = self.scratch / f"killed{self.homes}" / "home"
        victims = [Victim(self, home, i, random.Random(f"{SEED} {self.homes} {i}")) for i in self.instruments]
        with ThreadPoolExecutor(len(victims)) as threads:
            list(threads.map(Victim.live, victims))
        self.homes += 1
        self.accuse([f"{name} was lost" for name in sorted(set(self.unbroken) - set(contents(home)))])
        self.accuse([f"{name} was left behind" for name in litter(home)])
        told = zip(self.entries, described(home, self.instruments), strict=False)
        self.accuse([f"the ledger says {new} instead of {old}" for old, new in told if old != new])
        self.accuse(against_truth(home, self.instruments, self.truth))
        say(f"{self.homes} homes, {self.kills} kills, {len(self.faults)} faults")


class Victim:
    """The backfill of one instrument, in one home."""

    def __init__(self, field: Battlefield, home: Path, instrument: Instrument, dice: random.Random) -> None:
        self._field, self._home, self._instrument, self._dice = field, home, instrument, dice
        self._said = home.parent / f"said-{instrument.exchange}"
        self._launches = 0
        self._own = f"exchange={instrument.exchange}/"

    def start(self) -> "subprocess.Popen[bytes]":
        """Launch it, as after every kill: always the same command."""
        command = ("backfill", str(self._instrument), "--from", str(FIRST), "--to", str(LAST))
        # A budget of its own each time: waiting for turns would be most of every life.
        self._launches += 1
        budgets = f"{self._said}-budgets{self._launches}"
        variables = environment(self._home, self._field.exchanges.url, TRADECORE_BUDGET_DIR=budgets)
        return launch(command, variables, self._said)

    def live_in_peace(self) -> float:
        """Launch it once; the seconds it took."""
        began = time.perf_counter()
        if self.start().wait():
            sys.exit(f"the unbroken backfill failed: {last_line(self._said)}")
        return time.perf_counter() - began

    def live(self) -> None:
        """Launch and kill until it is whole."""
        kills = 0
        while True:
            process = self.start()
            if kills < MOST_EACH and self._field.may_kill():
                moment = self._kill(process)
                self._field.settle(moment)
                kills += moment is not None
            code = process.wait()
            self._check_visible()
            if code == 0:
                return
            if code > 0:
                self._note_failure(code)

    def _kill(self, process: "subprocess.Popen[bytes]") -> str | None:
        """Where it was hit; None where it was faster."""
        moment = self._dice.choices(("time", "storing", "views", "exchange"), weights=(40, 35, 15, 10))[0]
        before, patience = self._stored(), self._field.seconds[self._instrument]
        if moment == "time":
            self._wait(process, lambda: False, self._dice.uniform(0, patience))
        elif moment == "views":
            mine = f".tradecore.duckdb.{process.pid}-*"
            self._wait(process, lambda: any(self._home.glob(mine)), patience)
            time.sleep(self._dice.uniform(0, 0.03))
        else:
            wanted = before + self._dice.randint(1, 5)
            self._wait(process, lambda: self._stored() >= wanted, patience)
            time.sleep(self._dice.uniform(0, 0.02))
        if process.poll() is not None:
            return None
        if moment == "exchange":
            with self._field.lock:
                self._field.exchanges.kill()
                time.sleep(self._dice.uniform(0, 2))
                self._field.exchanges.start()
            return "the exchange"
        os.killpg(process.pid, signal.SIGKILL)
        if moment == "views":
            return "publishing views"
        return "storing days" if self._stored() > before else "before a new day"

    def _wait(self, process: "subprocess.Popen[bytes]", until: Callable[[], bool], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while process.poll() is None and time.monotonic() < deadline and not until():
            time.sleep(0.002)

    def _stored(self) -> int:
        return sum(1 for _ in (self._home / "lake").glob(f"*/{self._own}*/date=*.parquet"))

    def _note_failure(self, code: int) -> None:
        line = last_line(self._said)
        with self._field.lock:
            self._field.failures[line[:200]] += 1
        if not line.startswith("tradecore: "):
            self._field.accuse([f"exit {code} without a clear line: {line}"])

    def _check_visible(self) -> None:
        """Whatever the moment: what a reader can list is whole, and the file of views opens."""
        faults = [
            f"{name} is not the unbroken backfill's"
            for name, sha256 in contents(self._home).items()
            if self._field.unbroken.get(name) != sha256
        ]
        lake = Lake(Layout(self._home))
        for entry in ledger_entries(self._home, self._instrument):
            table = next(table for table in TABLES if table.name == entry.dataset)
            if not lake.holds(table, entry.instrument, entry.day, sha256=entry.sha256):
                faults.append(f"{entry.dataset} of {entry.instrument} on {entry.day}: in the ledger only")
        database = Layout(self._home).database
        if database.exists():
            with duckdb.connect(str(database), read_only=True) as connection:
                connection.execute("SELECT count(*) FROM bars_1m").fetchall()
        self._field.accuse(faults)


def ledger_entries(home: Path, instrument: Instrument) -> Iterator[LedgerEntry]:
    """What the ledger holds of an instrument."""
    ledger = Ledger(Layout(home))
    for table in TABLES:
        yield from ledger.entries(table.name, instrument)


def described(home: Path, instruments: Sequence[Instrument]) -> list[tuple[object, ...]]:
    """The ledger without what tells of moments and launches."""
    return [
        (e.dataset, e.instrument, e.day, e.rows, e.gaps, e.source, e.sha256, e.complete, e.reason, e.previous)
        for instrument in instruments
        for e in ledger_entries(home, instrument)
    ]


def against_truth(home: Path, instruments: Sequence[Instrument], truth: Truth) -> list[str]:
    """Days whose rows are not those that the simulated exchanges published."""
    lake = Lake(Layout(home))
    compared = {
        (table.name, instrument, day): truth.compare(table, instrument, day, lake.rows(table, instrument, day))
        for table in TABLES
        for instrument in instruments
        for day in day_range(FIRST, LAST)
    }
    return [f"{name} of {i} on {day}: {found}" for (name, i, day), found in compared.items() if not found.equal]


def main() -> None:
    kills = int(os.environ.get(VARIABLE, "5"))
    began = time.perf_counter()
    with (
        TemporaryDirectory() as scratch,
        Exchanges(seed=SEED, start=START, end=END, now=NOW) as exchanges,
    ):
        field = Battlefield(Path(scratch), exchanges, instruments=INSTRUMENTS, kills=kills)
        field.run_unbroken()
        while field.kills < kills:
            field.run_killed()
    for line, count in field.failures.most_common():
        say(f"{count} launches failed, the exchange being dead: {line}")
    hit = ", ".join(f"{count} {moment}" for moment, count in field.moments.most_common())
    print_report(
        name="kills",
        ours=len(field.faults),
        peer=0,
        peer_name="the bar: nothing lost, doubled or torn",
        unit="faults found",
        ratio=0.0 if field.faults else 1.0,
        equal=not field.faults,
        n=field.kills,
        note=f"SIGKILLs dealt out ({VARIABLE} sets how many): {hit}; {field.homes} homes, four backfills at once in "
        f"each, {len(field.unbroken)} files, killed until whole: the same bytes and the same ledger as the unbroken "
        f"ones ({max(field.seconds.values()):.0f} s), rows equal to the market's; "
        f"{time.perf_counter() - began:.0f} s in all",
    )


if __name__ == "__main__":
    main()
