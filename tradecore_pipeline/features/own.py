"""A user's own features: a Python file that he names is run, what it marks with ``feature`` is checked and computed.

The file is the user's own code and may do whatever he may: it is run only because he named it.
"""

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tradecore_pipeline.domain.errors import UsageError
from tradecore_pipeline.domain.own_code import FAILURES, read_source, run_source, told
from tradecore_pipeline.domain.tables import BARS, FUNDING_RATES, OPEN_INTEREST
from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.features.bars import milliseconds, moments_index
from tradecore_pipeline.features.prices import Sources
from tradecore_pipeline.features.registry import FEATURE_NAMES, OWN_NAME, Feature, Floats
from tradecore_pipeline.features.technical import TECHNICAL_NAMES
from tradecore_pipeline.features.tuned_indicators import INDICATORS
from tradecore_pipeline.features.windows import rows_since

Computed = Callable[[Sources], Any]

INPUTS = (BARS.name, FUNDING_RATES.name, OPEN_INTEREST.name)
"""What a feature may read."""
MOST_WARM_UP_BARS = 100_000

_TUNED = {name for indicator in INDICATORS for name in indicator.columns}
_KEYS = {"instrument", "timeframe", "definition"}
_OURS = {*FEATURE_NAMES, *TECHNICAL_NAMES, *_TUNED, *(column.name for column in BARS.columns), *_KEYS}
_DIGEST_LETTERS = 16
_HELD = "features"


@dataclass(frozen=True, slots=True)
class OwnFeature:
    """A function marked by ``feature``, with what it declares."""

    compute: Computed
    inputs: tuple[str, ...]
    warm_up_bars: int
    unit: str
    meaning: str
    nullable: bool


@dataclass(frozen=True)
class OwnFeatures:
    """What a user's files hold, in the order of the files and of the marks in them."""

    features: tuple[Feature, ...]
    paths: Mapping[str, Path]
    """By the feature's name, the file it is from."""
    nullable: frozenset[str]
    """Those that may have no value beyond their warm-up."""
    source_digest: str
    """Of the bytes of all files."""

    @property
    def names(self) -> tuple[str, ...]:
        """The columns, in order."""
        return tuple(own.name for own in self.features)

    @property
    def warm_up_bars(self) -> int:
        """How many bars before a row all of them together read."""
        return max((own.warm_up_bars for own in self.features), default=0)

    @property
    def inputs(self) -> frozenset[str]:
        """The tables that any of them reads."""
        return frozenset(name for own in self.features for name in own.inputs)

    @property
    def files(self) -> tuple[str, ...]:
        """The names of the files."""
        return tuple(path.name for path in dict.fromkeys(self.paths.values()))

    @cached_property
    def definition(self) -> str:
        """Which version this is: a digest of the files' bytes, a hyphen, one of what they declare."""
        declared = [(own.name, own.inputs, own.warm_up_bars, own.name in self.nullable) for own in self.features]
        return f"{self.source_digest}-{_digest([json.dumps(declared).encode()])}"

    def require(self, names: Iterable[str], setting: str) -> None:
        """Check that all of ``names``, which ``setting`` asks for, are features of the pipeline or of these files.

        Raises:
            UsageError: one is not; the message has the names nearest to it.
        """
        known = [*FEATURE_NAMES, *self.names]
        for name in names:
            if name not in known:
                near = get_close_matches(name, known, n=3)
                hint = f"did you mean {' or '.join(near)}?" if near else f"choose from {', '.join(known)}"
                raise UsageError(f"setting {setting}: unknown feature {name!r}: {hint}")


def feature(
    *, warm_up_bars: int, unit: str, meaning: str, inputs: Sequence[str] = (BARS.name,), nullable: bool = False
) -> Callable[[Computed], OwnFeature]:
    """Mark a function as a feature of its own name, one number per bar, known at the bar's ``ts_close``.

    The function takes ``Sources`` (``bars``, ``funding``, ``open_interest``, ``timeframe``; None for what it does not
    declare) and returns a Series on the bars' index or an array as long. NaN means that there is no value.

    Args:
        warm_up_bars: bars before a row that its value reads; rows with fewer before them have no value.
        unit: of the values.
        meaning: one line for people.
        inputs: ``bars``, ``funding_rates`` and ``open_interest``, as far as they are read.
        nullable: whether there may be no value beyond the warm-up; else NaN there is taken for a mistake.
    """

    def marked(compute: Computed) -> OwnFeature:
        read = (inputs,) if isinstance(inputs, str) else tuple(inputs)
        return OwnFeature(compute, read, warm_up_bars, unit, meaning, nullable)

    return marked


def load_features(paths: Sequence[Path], *, taken: Collection[str]) -> OwnFeatures:
    """Run each file and return what it marks.

    Args:
        paths: the user's files.
        taken: names that exist beside those of the stored, technical and tuned features and of the bars' columns.

    Raises:
        UsageError: a file cannot be read or run, marks nothing, or marks a feature that cannot be one; the message
            names the file and says what to change.
    """
    origins: dict[str, Path] = {}
    found: list[Feature] = []
    nullable: set[str] = set()
    sources = [read_source(path, holds=_HELD) for path in paths]
    for path, source in zip(paths, sources, strict=True):
        for name, own in _marked(path, source).items():
            _check(path, name, own)
            if name in _OURS or name in taken:
                raise UsageError(f"{path}: {name} is a name of the pipeline's own: choose another one for the feature")
            if name in origins:
                raise UsageError(f"{path}: {name} is already a feature of {origins[name]}: choose another name")
            origins[name] = path
            found.append(_feature(path, name, own))
            if own.nullable:
                nullable.add(name)
    return OwnFeatures(tuple(found), origins, frozenset(nullable), _digest(sources))


def source_digest(paths: Sequence[Path]) -> str:
    """The digest of the files' bytes, by which a version begins; runs nothing.

    Raises:
        UsageError: a file cannot be read.
    """
    return _digest([read_source(path, holds=_HELD) for path in paths])


def _digest(parts: Sequence[bytes]) -> str:
    whole = hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts))
    return whole.hexdigest()[:_DIGEST_LETTERS]


def compute_own(
    features: Sequence[Feature],
    bars: pd.DataFrame,
    funding: pd.DataFrame | None,
    open_interest: pd.DataFrame | None,
    *,
    timeframe: Timeframe,
) -> pd.DataFrame:
    """One row per bar, indexed by ``ts_open``: ``ts_close``, then each feature as known at that moment.

    Give ``bars`` as for ``compute_features``. A value is NaN where fewer bars than the feature's warm-up exist in that
    time before it.

    Raises:
        UsageError: a feature raised, or returned something else than one number per bar; the message names it.
    """
    opened = milliseconds(bars.index)
    length = timeframe.minutes * 60_000
    sources = Sources(bars, funding, open_interest, timeframe)
    columns: dict[str, object] = {"ts_close": moments_index(opened + length, "ts_close")}
    for own in features:
        before = rows_since(opened, own.warm_up_bars * length)
        columns[own.name] = np.where(before >= own.needed_bars, own.compute(sources), np.nan)
    return pd.DataFrame(columns, index=bars.index)


def _marked(path: Path, source: bytes) -> dict[str, OwnFeature]:
    """The file's features by name."""
    module = run_source(path, source, holds=_HELD)
    own = {name: value for name, value in vars(module).items() if isinstance(value, OwnFeature)}
    if not own:
        raise UsageError(f"{path} has no features: mark a function with @feature(...), as docs/lookahead.md shows")
    return own


def _check(path: Path, name: str, own: OwnFeature) -> None:
    where = f"{path}: feature {name}"
    if OWN_NAME.fullmatch(name) is None:
        raise UsageError(
            f"{where}: a name is small letters, digits and underscores, at most 63, and begins with a letter"
        )
    steps: Any = own.warm_up_bars
    if not isinstance(steps, int) or isinstance(steps, bool) or not 0 <= steps <= MOST_WARM_UP_BARS:
        raise UsageError(f"{where}: warm_up_bars is {steps!r}: give a whole number from 0 to {MOST_WARM_UP_BARS}")
    if own.nullable not in (True, False):
        raise UsageError(f"{where}: nullable is {own.nullable!r}: give True or False")
    if strange := [given for given in own.inputs if given not in INPUTS]:
        raise UsageError(f"{where}: it cannot read {', '.join(map(repr, strange))}: choose from {', '.join(INPUTS)}")
    if BARS.name not in own.inputs:
        raise UsageError(f"{where}: inputs lack {BARS.name!r}, whose index every feature is on")


def _feature(path: Path, name: str, own: OwnFeature) -> Feature:
    def compute(sources: Sources) -> Floats:
        return _values(f"{path}: feature {name}", path, own, sources)

    return Feature(name, own.inputs, own.warm_up_bars, own.warm_up_bars, 0, compute, own.unit, own.meaning)


def _values(where: str, path: Path, own: OwnFeature, sources: Sources) -> Floats:
    bars = sources.bars
    given = replace(
        sources,
        bars=bars.copy(),  # what one feature does to its rows is not seen by the next
        funding=_copied(sources.funding, FUNDING_RATES.name in own.inputs),
        open_interest=_copied(sources.open_interest, OPEN_INTEREST.name in own.inputs),
    )
    try:
        result = own.compute(given)
    except FAILURES as error:
        raise UsageError(f"{where} failed on {len(bars)} bars: {told(error, path)}") from error
    if isinstance(result, pd.Series):
        if not result.index.equals(bars.index):
            raise UsageError(f"{where} returned a Series on another index: return one value per bar, on bars.index")
        result = result.array
    return _as_floats(where, result, len(bars))


def _copied(rows: pd.DataFrame | None, declared: bool) -> pd.DataFrame | None:  # noqa: FBT001 (of the table beside it)
    return rows.copy() if declared and rows is not None else None


def _as_floats(where: str, result: Any, rows: int) -> Floats:
    try:
        array = np.asarray(result)
    except Exception as error:  # whatever a user's object says when it is asked for its values
        raise UsageError(f"{where} returned what is no row of numbers: return one number per bar") from error
    if array.ndim != 1 or len(array) != rows:
        shape = " x ".join(map(str, array.shape)) or "one value"
        raise UsageError(f"{where} returned {shape} for {rows} bars: return one number per bar")
    if array.dtype.kind not in "fiub":
        raise UsageError(f"{where} returned {array.dtype} instead of numbers: return floats, NaN where there is none")
    with np.errstate(over="ignore"):  # what is too large is infinite, and refused as such
        values = array.astype(np.float64)
    if (infinite := np.flatnonzero(np.isinf(values))).size:
        raise UsageError(f"{where} is infinite in row {infinite[0]} of {rows}: return NaN where there is no value")
    return values
