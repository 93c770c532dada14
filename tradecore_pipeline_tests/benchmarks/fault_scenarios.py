"""One seeded scenario of a misbehaving exchange: what is fetched and stored under faults, judged against the truth."""

import random
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import requests

from tradecore_pipeline.defs.ingestion import days_to_repair, ingest_days, verify_days
from tradecore_pipeline.defs.resources import Adapters
from tradecore_pipeline.domain.errors import TradecoreError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.tables import FUNDING_RATES, PREMIUM_INDEX, Table
from tradecore_pipeline.domain.time import day_range
from tradecore_pipeline.exchanges.access import Access
from tradecore_pipeline.settings import Settings
from tradecore_pipeline.simulator.fault_table import FAULTS
from tradecore_pipeline.simulator.server import clock_at, create_app, running
from tradecore_pipeline.simulator.simulated import SimulatedBackend
from tradecore_pipeline.storage.ledger import LedgerEntry
from tradecore_pipeline_tests.access import local_access
from tradecore_pipeline_tests.benchmarks.truth import INSTRUMENTS, TABLES, Comparison, Truth

START, END = date(2024, 12, 20), date(2025, 2, 20)
NOW = datetime(2025, 2, 14, 15, 30, 20, tzinfo=UTC)
TODAY = NOW.date()
SEED = 7
TIMEOUT_SECONDS = 1.0
LYING = {"missing_rows", "short_csv", "empty_page"}
"""Faults that, lasting, make an exchange deny rows it has: whoever asks can only note them as missing."""
RESTATING = "restated_row"

_ARGUMENTS: Mapping[str, Sequence[float]] = {
    "http_429": (1.0,),
    "rate_limited": (1.0,),
    "http_418": (1.0,),
    "stall": (1.5,),
    "clock_skew": (3600.0, -3600.0, 200.0, 3 * 86_400.0, -2 * 86_400.0),
    "missing_rows": (1.0, 3.0, 40.0),
    "duplicated_rows": (1.0, 30.0),
    "short_csv": (1.0, 10.0),
}
"""Waits that a test can afford, and sizes."""
_RARE = {"http_403": 1, "http_451": 1, "http_418": 1, "rate_limited": 1, "stall": 1}
"""How often kinds are drawn that end a scenario at once or cost seconds."""
_USUAL = 6
"""How often the others are."""
_OF_ARCHIVES = {"wrong_checksum", "truncated_zip", "short_csv", "late_publication"}


@dataclass
class Tally:
    """What faults fired, what became of the days, and what must never be."""

    fired: Counter[str] = field(default_factory=Counter)
    lasting: int = 0
    """Of those fired, how many would have gone on for ever."""
    days: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def add(self, other: "Tally") -> None:
        """Count what ``other`` counted, too."""
        self.fired += other.fired
        self.lasting += other.lasting
        self.days += other.days
        self.errors += other.errors
        self.faults += other.faults


class _LocalAdapters(Adapters):
    """Adapters that are as impatient as tests are, and wait for no turn."""

    def __init__(self, settings: Settings, url: str, dice: random.Random) -> None:
        super().__init__(settings, clock=lambda: NOW)
        self._url, self._retries, self._workers = url, dice.randint(2, 4), dice.randint(1, 4)

    def access(self) -> Access:
        """See ``Adapters``."""
        return local_access(
            self._url,
            budgets=self.settings.home.parent / "budgets",
            clock=self.clock,
            retries=self._retries,
            workers=self._workers,
            timeout_seconds=TIMEOUT_SECONDS,
        )


@contextmanager
def faulty_exchanges() -> Generator[tuple[str, Truth]]:
    """The base URL of all four exchanges in this process, and what they really published."""
    truth = Truth(SEED, start=START, end=END, now=NOW)
    with running(create_app(SimulatedBackend(truth.market), clock_at(NOW))) as url:
        yield url, truth


def run_scenarios(seeds: Sequence[int]) -> Tally:
    """The scenarios of these seeds, one after the other."""
    whole = Tally()
    with faulty_exchanges() as (url, truth):
        for seed in seeds:
            with TemporaryDirectory() as scratch:
                whole.add(Scenario(seed, url, truth, Path(scratch)).run())
    return whole


class Scenario:
    """Days of one dataset ingested under a fault plan into a new home, then looked at, then healed."""

    def __init__(self, seed: int, url: str, truth: Truth, scratch: Path) -> None:
        dice = random.Random(seed)
        self._seed, self._url, self._truth, self._scratch = seed, url, truth, scratch
        self._dice = dice
        self.instrument: Instrument = INSTRUMENTS[seed % len(INSTRUMENTS)]
        tables: tuple[Table, ...] = (*TABLES, PREMIUM_INDEX) if self.instrument.exchange == "binance" else TABLES
        self.table = tables[seed // len(INSTRUMENTS) % len(tables)]
        last = TODAY if dice.random() < 0.7 else date(2025, 1, dice.randint(8, 31))
        self.days = list(day_range(last - timedelta(days=dice.randint(0, 6)), last))
        self.rules = [self._rule() for _ in range(dice.randint(1, 3))]
        self.kinds = {str(rule["fault"]) for rule in self.rules}
        self._tally = Tally()

    def run(self) -> Tally:
        """What happened."""
        self._plan(self.rules)
        self._ingest(self._adapters("home"))
        report = requests.get(f"{self._url}/_ctl", timeout=10).json()["rules"]
        for rule in report:
            self._tally.fired[rule["fault"]] += rule["fired"]
            self._tally.lasting += rule["fired"] if rule["times"] == 0 else 0
        requests.delete(f"{self._url}/_ctl", timeout=10).raise_for_status()
        adapters = self._adapters("home")
        found = {entry.day: self._judge(adapters, entry) for entry in self._entries(adapters)}
        self._count_absent(adapters, found)
        self._heal(adapters, found)
        return self._tally

    def _rule(self) -> dict[str, Any]:
        of_archives = self.instrument.exchange in {"binance", "okx"}
        names = [name for name in FAULTS if of_archives or name not in _OF_ARCHIVES]
        names = [name for name in names if name != "open_as_closed" or self.instrument.exchange == "okx"]
        fault = self._dice.choices(names, weights=[_RARE.get(name, _USUAL) for name in names])[0]
        rule: dict[str, Any] = {
            "fault": fault,
            "probability": self._dice.choice((0.2, 0.5, 1.0)),
            "times": self._dice.choices((1, 2, 0), weights=(70, 10, 20))[0],
        }
        if fault in _ARGUMENTS:
            rule["argument"] = self._dice.choice(_ARGUMENTS[fault])
        return rule

    def _plan(self, rules: Sequence[Mapping[str, Any]]) -> None:
        answer = requests.post(f"{self._url}/_ctl", json={"seed": self._seed, "rules": list(rules)}, timeout=10)
        answer.raise_for_status()

    def _adapters(self, home: str) -> Adapters:
        settings = Settings.load(home=self._scratch / home, instruments=(str(self.instrument),))
        return _LocalAdapters(settings, self._url, self._dice)

    def _ingest(self, adapters: Adapters) -> None:
        """As the assets do; every error must be one of ours, on one line."""
        try:
            for _ in ingest_days(
                adapters, self.table, self.instrument, self.days, launch="faults", keep=lambda entry: entry.complete
            ):
                pass
        except TradecoreError as error:
            self._tally.errors[type(error).__name__] += 1
            if "\n" in str(error) or not str(error):
                self._accuse(f"an error that is not one line: {str(error)!r}")
        except Exception as error:  # noqa: BLE001 (whatever it is, it is a finding)
            self._accuse(f"{type(error).__name__} came through: {error}")
        finally:
            adapters.exchange(self.instrument.exchange).close()

    def _entries(self, adapters: Adapters) -> list[LedgerEntry]:
        return adapters.ledger.entries(self.table.name, self.instrument)

    def _judge(self, adapters: Adapters, entry: LedgerEntry) -> Comparison:
        """A stored day beside the truth."""
        rows = adapters.lake.rows(self.table, self.instrument, entry.day)
        found = self._truth.compare(self.table, self.instrument, entry.day, rows)
        lied = self.kinds & LYING
        if not adapters.lake.holds(self.table, self.instrument, entry.day, sha256=entry.sha256):
            self._accuse(f"{entry.day}: the ledger's hash is not the file's")
        # Where a settlement was denied twice, the one after it has a longer interval.
        excused = RESTATING in self.kinds or (lied and self.table is FUNDING_RATES)
        if found.foreign or (found.wrong and not excused):
            self._accuse(f"{entry.day}: {found} (complete: {entry.complete})")
        elif found.missing and entry.complete and (entry.missing < found.missing or not lied or not entry.rows):
            self._accuse(f"{entry.day}: complete with {entry.rows} rows, {found}, {entry.gaps} ({entry.reason})")
        elif found.missing and not entry.complete and not entry.reason:
            self._accuse(f"{entry.day}: not complete, and does not say why")
        self._tally.days[self._kind(entry, found)] += 1
        return found

    def _kind(self, entry: LedgerEntry, found: Comparison) -> str:
        if found.equal:
            return "true" if entry.complete or entry.day == TODAY else "true, but not final"
        if found.wrong:
            return "restated"
        return "complete with gaps noted" if entry.complete else "not complete, with a reason"

    def _count_absent(self, adapters: Adapters, found: Mapping[date, Comparison]) -> None:
        """Days that were not stored must have failed, or the run must have said why it stopped."""
        failed = {failure.day: failure.reason for failure in adapters.failures.list(self.table.name, self.instrument)}
        for day in self.days:
            if day in found:
                continue
            self._tally.days["failed, with a reason" if failed.get(day) else "not tried after an error"] += 1
            if not failed.get(day) and not self._tally.errors:
                self._accuse(f"{day} was neither stored nor did it fail")

    def _heal(self, adapters: Adapters, found: Mapping[date, Comparison]) -> None:
        """Once the faults are over, repair and verify find what is not as it should be, and a new launch mends it."""
        entries = {entry.day: entry for entry in self._entries(adapters)}
        repaired = days_to_repair(adapters, self.table, self.instrument, TODAY)
        differing = {
            one.entry.day
            for one in verify_days(adapters, self.table, self.instrument, list(entries))
            if one.difference is not None
        }
        for day, comparison in found.items():
            if not comparison.equal and day < TODAY and day not in repaired and day not in differing:
                self._accuse(f"{day}: {comparison}, found by neither repair nor verify")
        for entry in ingest_days(
            adapters, self.table, self.instrument, self.days, launch="healing", keep=lambda _: False
        ):
            rows = adapters.lake.rows(self.table, self.instrument, entry.day)
            after = self._truth.compare(self.table, self.instrument, entry.day, rows)
            final = entry.complete or entry.day == TODAY
            # A row of a day that the exchange no longer serves whole is kept as it was first recorded.
            kept = RESTATING in self.kinds and entry.reason.startswith("not published: ") and not after.missing
            if not (final and (after.equal or kept)):
                self._accuse(f"{entry.day}: not mended by another launch: {after}, complete: {entry.complete}")
        adapters.exchange(self.instrument.exchange).close()

    def _accuse(self, what: str) -> None:
        rules = ", ".join(f"{r['fault']} x{r['times']} p{r['probability']} {r.get('argument', '')}" for r in self.rules)
        self._tally.faults.append(f"seed {self._seed}: {self.table.name} of {self.instrument}: {what} [{rules}]")
