"""A user's own features: a Python file that he names is run, what it marks with ``feature`` is checked and computed.

The file is the user's own code and may do whatever he may: it is run only because he named it.
"""

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd

from tradecore_pipeline.domain.errors import UsageError
from tradecore_pipeline.domain.tables import BARS, FUNDING_RATES, OPEN_INTEREST
from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.features.bars import milliseconds, moments_index
from tradecore_pipeline.features.prices import Sources
from tradecore_pipeline.features.registry import FEATURE_NAMES, Feature, Floats
from tradecore_pipeline.features.technical import TECHNICAL_NAMES
from tradecore_pipeline.features.tuned_indicators import INDICATORS
from tradecore_pipeline.features.windows import rows_since

Computed = Callable[[Sources], Any]

INPUTS = (BARS.name, FUNDING_RATES.name, OPEN_INTEREST.name)
"""What a feature may read."""
MOST_WARM_UP_BARS = 100_000

_NAME = re.compile("[a-z][a-z0-9_]{0,62}")
_TUNED = {name for indicator in INDICATORS for name in indicator.columns}
_OURS = {*FEATURE_NAMES, *TECHNICAL_NAMES, *_TUNED, *(column.name for column in BARS.columns), "instrument"}


@dataclass(frozen=True, slots=True)
class OwnFeature:
    """A function marked by ``feature``, with what it declares."""

    compute: Computed
    inputs: tuple[str, ...]
    warm_up_bars: int
    unit: str
    meaning: str


def feature(
    *, warm_up_bars: int, unit: str, meaning: str, inputs: Sequence[str] = (BARS.name,)
) -> Callable[[Computed], OwnFeature]:
    """Mark a function as a feature of its own name, one number per bar, known at the bar's ``ts_close``.

    The function takes ``Sources`` (``bars``, ``funding``, ``open_interest``, ``timeframe``; None for what it does not
    declare) and returns a Series on the bars' index or an array as long. NaN means that there is no value.

    Args:
        warm_up_bars: bars before a row that its value reads; rows with fewer before them have no value.
        unit: of the values.
        meaning: one line for people.
        inputs: ``bars``, ``funding_rates`` and ``open_interest``, as far as they are read.
    """

    def marked(compute: Computed) -> OwnFeature:
        read = (inputs,) if isinstance(inputs, str) else tuple(inputs)
        return OwnFeature(compute, read, warm_up_bars, unit, meaning)

    return marked


def load_features(paths: Sequence[Path], *, taken: Collection[str]) -> tuple[Feature, ...]:
    """Run each file and return what it marks, in the order of the files and of the marks in them.

    Args:
        paths: the user's files.
        taken: names that exist beside those of the stored, technical and tuned features and of the bars' columns.

    Raises:
        UsageError: a file cannot be read or run, marks nothing, or marks a feature that cannot be one; the message
            names the file and says what to change.
    """
    origins: dict[str, Path] = {}
    found: list[Feature] = []
    for path in paths:
        for name, own in _marked(path).items():
            _check(path, name, own)
            if name in _OURS or name in taken:
                raise UsageError(f"{path}: {name} is a name of the pipeline's own: choose another one for the feature")
            if name in origins:
                raise UsageError(f"{path}: {name} is already a feature of {origins[name]}: choose another name")
            origins[name] = path
            found.append(_feature(path, name, own))
    return tuple(found)


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


def _marked(path: Path) -> dict[str, OwnFeature]:
    """The file's features by name; nothing of it is kept anywhere, so that a changed file is read anew."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text in UTF-8"
        raise UsageError(f"{path} cannot be read ({reason}): name a Python file with features in it") from error
    module = ModuleType(path.stem)
    module.__file__ = str(path)
    try:
        exec(compile(text, str(path), "exec"), module.__dict__)  # noqa: S102 (the user's own code, which he named)
    except (Exception, SystemExit) as error:
        raise UsageError(f"{path} cannot be run: {_told(error, path)}") from error
    own = {name: value for name, value in vars(module).items() if isinstance(value, OwnFeature)}
    if not own:
        raise UsageError(f"{path} has no features: mark a function with @feature(...), as docs/lookahead.md shows")
    return own


def _check(path: Path, name: str, own: OwnFeature) -> None:
    where = f"{path}: feature {name}"
    if _NAME.fullmatch(name) is None:
        raise UsageError(f"{where}: a name is small letters, digits and underscores, and begins with a letter")
    steps: Any = own.warm_up_bars
    if not isinstance(steps, int) or isinstance(steps, bool) or not 0 <= steps <= MOST_WARM_UP_BARS:
        raise UsageError(f"{where}: warm_up_bars is {steps!r}: give a whole number from 0 to {MOST_WARM_UP_BARS}")
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
    except (Exception, SystemExit) as error:
        raise UsageError(f"{where} failed on {len(bars)} bars: {_told(error, path)}") from error
    if isinstance(result, pd.Series):
        if not result.index.equals(bars.index):
            raise UsageError(f"{where} returned a Series on another index: return one value per bar, on bars.index")
        result = result.array
    return _as_floats(where, result, len(bars))


def _copied(rows: pd.DataFrame | None, declared: bool) -> pd.DataFrame | None:  # noqa: FBT001 (of the table beside it)
    return rows.copy() if declared and rows is not None else None


def _as_floats(where: str, result: Any, rows: int) -> Floats:
    array = np.asarray(result)
    if array.ndim != 1 or len(array) != rows:
        shape = " x ".join(map(str, array.shape)) or "one value"
        raise UsageError(f"{where} returned {shape} for {rows} bars: return one number per bar")
    if array.dtype.kind not in "fiub":
        raise UsageError(f"{where} returned {array.dtype} instead of numbers: return floats, NaN where there is none")
    values = array.astype(np.float64)
    if (infinite := np.flatnonzero(np.isinf(values))).size:
        raise UsageError(f"{where} is infinite in row {infinite[0]} of {rows}: return NaN where there is no value")
    return values


def _told(error: BaseException, path: Path) -> str:
    """The error in one line, with the line of the user's file where there is one."""
    line = error.lineno if isinstance(error, SyntaxError) else None
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            line = trace.tb_lineno
        trace = trace.tb_next
    words = " ".join(str(error.msg if isinstance(error, SyntaxError) else error).split()) or "no message"
    return f"{type(error).__name__} ({words})" + ("" if line is None else f" in line {line}")
