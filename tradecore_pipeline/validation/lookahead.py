"""The look-ahead detector: it takes the future away, or scrambles it, and names each column whose past then changed."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tradecore_pipeline.validation.differences import ABSENT, THERE, first_changes, median_sizes, scrambled

Frames = Mapping[str, pd.DataFrame]
"""Rows by the name of their source, in time order."""

REMOVED, SCRAMBLED = "future removed", "future scrambled"
STAMPED = "stamped otherwise"
"""The row bears another moment than the one at which it is known."""
SHORTENED = "history shortened"
"""Without bars before its declared warm-up the row is another: no look-ahead, but it reads more than it says."""
UNCLOSED = "(row)"
"""In place of a column: the row itself is there too early, or not there when it should be."""

_EARLY_SHARE = 5
"""One cut in so many falls into the warm-up, where filling backward shows and nowhere else."""
_FIRST_CUT_ROWS = 2


@dataclass(frozen=True, slots=True)
class Source:
    """Rows that claims are computed from."""

    rows: pd.DataFrame
    known_after: timedelta
    """How long after its index a row is known: the length of a bar; nothing for what happens at a moment."""


Sources = Mapping[str, Source]


@dataclass(frozen=True, slots=True)
class Claim:
    """Something that says when its rows are known; under test is whether that is true."""

    stage: str
    compute: Callable[[Frames], pd.DataFrame]
    """From all sources to rows with unique, sorted times as index; numbers, flags, words, or lists of numbers."""
    known: timedelta | datetime
    """How long after its index a row is said to be known; or one moment for all rows (what a fit leaves behind)."""
    cuts: Sequence[datetime]
    """The moments at which the future is taken away."""
    tolerance: float
    """Differences up to this share of a column's median size are rounding; 0 for bit-identical."""
    reach: timedelta | None = None
    """How far before its index a row says that it reads; None where that is not under test."""

    def moments(self, index: pd.DatetimeIndex) -> pd.DatetimeIndex:
        """When rows with this index are said to be known."""
        if isinstance(self.known, datetime):
            return pd.DatetimeIndex([self.known] * len(index))
        return index + self.known


@dataclass(frozen=True, slots=True)
class Finding:
    """A column that knew of its future, by the first of its rows that did."""

    stage: str
    column: str
    row: datetime
    """Index of the first row that changed."""
    cut: datetime
    """Where the future was taken away as it changed."""
    done: str
    """``REMOVED``, ``SCRAMBLED``, ``STAMPED`` or ``SHORTENED``."""
    before: Any
    """The row's value with its real future."""
    after: Any
    cuts_caught: int
    """At how many cuts a row of the column changed."""

    @property
    def size(self) -> float:
        """By how much the value changed; infinite where it appeared, went away or is no number."""
        try:
            size = abs(float(self.after) - float(self.before))
        except (TypeError, ValueError):
            return float("inf")
        return float("inf") if np.isnan(size) else size


@dataclass(frozen=True, slots=True)
class StageResult:
    """What the experiments on one claim found."""

    stage: str
    columns: tuple[str, ...]
    rows: int
    cuts: tuple[datetime, ...]
    caught: tuple[datetime, ...]
    """Those of the cuts at which a row changed."""
    findings: tuple[Finding, ...]

    @property
    def looked_ahead(self) -> tuple[Finding, ...]:
        """The findings that are about the future."""
        return tuple(finding for finding in self.findings if finding.done != SHORTENED)


def draw_cuts(known: pd.DatetimeIndex, *, count: int, early_rows: int, seed: int) -> tuple[datetime, ...]:
    """At most ``count`` moments of ``known``, sorted, none of them the last.

    One in five lies within the first ``early_rows``, ever farther apart from the second on; the others anywhere.
    """
    last = len(known) - 1
    if last < _FIRST_CUT_ROWS:
        return ()
    within = min(max(early_rows, _FIRST_CUT_ROWS), last)
    early = np.geomspace(_FIRST_CUT_ROWS, within, max(1, count // _EARLY_SHARE)).astype(np.int64) - 1
    free = np.setdiff1d(np.arange(_FIRST_CUT_ROWS, last), early)
    wanted = min(len(free), count - len(np.unique(early)))
    chosen = np.random.default_rng(seed).choice(free, wanted, replace=False)
    moments: list[Any] = list(known[np.unique(np.concatenate((early, chosen)))])
    return tuple(moments)


def remove_future(sources: Sources, cut: datetime) -> dict[str, pd.DataFrame]:
    """Each source's rows that are known at ``cut``."""
    return {name: source.rows.iloc[: _known_rows(source, cut)] for name, source in sources.items()}


def scramble_future(sources: Sources, cut: datetime, *, seed: int) -> dict[str, pd.DataFrame]:
    """All rows, but what is not known at ``cut`` shuffled and scaled; times stay as they are."""
    random = np.random.default_rng([seed, _nanoseconds(cut)])
    return {name: scrambled(source.rows, _known_rows(source, cut), random) for name, source in sources.items()}


def examine(claim: Claim, sources: Sources, *, seed: int, done: Callable[[str], object]) -> StageResult:
    """Every experiment on one claim; ``done`` is called with its name after each cut.

    At each cut the claim is computed with the future removed and with it scrambled (and, where it says how far back it
    reads, without what lies before that), and its rows that were known at the cut are compared with those computed
    from everything.
    """
    whole = claim.compute({name: source.rows for name, source in sources.items()})
    run = _Run(claim, whole, {name: claim.tolerance * size for name, size in median_sizes(whole).items()})
    found = run.stamps()
    for cut in claim.cuts:
        past = remove_future(sources, cut)
        known = claim.compute(past)
        found += run.differences(known, cut, REMOVED)
        found += run.differences(claim.compute(scramble_future(sources, cut, seed=seed)), cut, SCRAMBLED)
        if claim.reach is not None:
            found += run.unsettled(known, past, cut, claim.reach)
        done(claim.stage)
    columns = tuple(str(name) for name in whole.columns)
    caught = tuple(sorted({finding.cut for finding in found if finding.cuts_caught}))
    return StageResult(claim.stage, columns, len(whole), tuple(claim.cuts), caught, _first_of_each(found))


def find_lookahead(
    claims: Iterable[Claim], sources: Sources, *, seed: int, done: Callable[[str], object]
) -> list[StageResult]:
    """``examine`` for each claim, in order."""
    return [examine(claim, sources, seed=seed, done=done) for claim in claims]


def closed_late(stage: str, rows: pd.DataFrame, *, length: timedelta, now: datetime) -> tuple[Finding, ...]:
    """The first bar that is no closed one: stamped with another ``ts_close`` than its own, or with one to come."""
    stamped = pd.DatetimeIndex(rows["ts_close"])
    own = pd.DatetimeIndex(rows.index) + length
    return tuple(_first_stamp(stage, rows.index, stamped, own, wrong=np.asarray((stamped != own) | (own > now))))


@dataclass(frozen=True, slots=True)
class _Run:
    """A claim, what it says of everything, and by how much each column may differ from that."""

    claim: Claim
    whole: pd.DataFrame
    allowed: Mapping[str, float]

    def stamps(self) -> list[Finding]:
        """The first row whose own ``ts_close`` is not the moment at which the claim is tested."""
        if "ts_close" not in self.whole:
            return []
        stamped, own = pd.DatetimeIndex(self.whole["ts_close"]), self.claim.moments(pd.DatetimeIndex(self.whole.index))
        return _first_stamp(self.claim.stage, self.whole.index, stamped, own, wrong=np.asarray(stamped != own))

    def differences(self, got: pd.DataFrame, cut: datetime, done: str) -> list[Finding]:
        """What was known at the cut and is another in ``got``."""
        expected = self._known(self.whole, cut)
        # Noise keeps its times, so that rows beyond the cut are due there; without a future there can be none.
        given = got if done == REMOVED else self._known(got, cut)
        odd = expected.index.symmetric_difference(given.index)
        if len(odd):
            values = (ABSENT, THERE) if odd[0] in given.index else (THERE, ABSENT)
            return [Finding(self.claim.stage, UNCLOSED, odd[0], cut, done, *values, cuts_caught=1)]
        return self._compared(expected, given, cut, done)

    def unsettled(self, known: pd.DataFrame, past: Frames, cut: datetime, reach: timedelta) -> list[Finding]:
        """Whether the last row at the cut is another without what lies farther back than it says it reads.

        It is compared with ``known``, computed from all that was known at the cut: only the past is under test.
        """
        expected = self._known(known, cut).iloc[-1:]
        if expected.empty:
            return []
        first = expected.index[0] - reach
        got = self.claim.compute({name: rows.loc[rows.index >= first] for name, rows in past.items()})
        return self._compared(expected, got.reindex(expected.index), cut, SHORTENED)

    def _known(self, rows: pd.DataFrame, cut: datetime) -> pd.DataFrame:
        return rows.loc[self.claim.moments(pd.DatetimeIndex(rows.index)) <= cut]

    def _compared(self, expected: pd.DataFrame, got: pd.DataFrame, cut: datetime, done: str) -> list[Finding]:
        return [
            Finding(
                self.claim.stage, change.column, expected.index[change.row], cut, done, change.before, change.after,
                cuts_caught=1,
            )
            for change in first_changes(expected, got, allowed=self.allowed)
        ]  # fmt: skip


def _first_stamp(
    stage: str, index: pd.Index, stamped: pd.DatetimeIndex, own: pd.DatetimeIndex, *, wrong: NDArray[np.bool_]
) -> list[Finding]:
    if not wrong.any():
        return []
    first = int(np.argmax(wrong))
    opened, closes, told = index[first], list(own)[first], stamped[first]
    return [Finding(stage, "ts_close", opened, closes, STAMPED, closes, told, cuts_caught=0)]


def _known_rows(source: Source, cut: datetime) -> int:
    times = pd.DatetimeIndex(source.rows.index).as_unit("ns").asi8
    return int(np.searchsorted(times, _nanoseconds(cut - source.known_after), side="right"))


def _nanoseconds(moment: datetime) -> int:
    return int(pd.DatetimeIndex([moment]).as_unit("ns").asi8[0])


def _first_of_each(found: Collection[Finding]) -> tuple[Finding, ...]:
    """Per column the finding with the earliest row, one with a size before one without, and how many cuts had one."""
    kinds = dict.fromkeys((finding.column, finding.done == SHORTENED) for finding in found)
    merged: list[Finding] = []
    for column, shortened in kinds:
        own = [finding for finding in found if (finding.column, finding.done == SHORTENED) == (column, shortened)]
        first = min(own, key=lambda finding: (finding.row, finding.cut, np.isinf(finding.size)))
        caught = len({finding.cut for finding in own if finding.cuts_caught})
        merged.append(replace(first, cuts_caught=caught))
    return tuple(merged)
