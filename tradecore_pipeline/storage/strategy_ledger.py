"""Every strategy configuration that was ever tried on a timeframe, with its daily returns: nothing is taken out again.

A line of ``trials.jsonl`` is a trial; its returns lie in a Parquet file beside it that was complete before the line was
written. A process killed in between leaves a file without a line, or a line without an end, which is no line.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tradecore_pipeline.domain.errors import InvalidDataError
from tradecore_pipeline.storage.atomic import create_bytes, exclusive, make_directory
from tradecore_pipeline.storage.layout import PARQUET

_WITHOUT_EFFECT = ("name", "description", "instruments", "monitoring", "retraining_triggers")
"""Keys of a configuration that change no trade; instruments are counted beside it."""
_DAY = "day"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One configuration, run on some instruments over some days."""

    configuration: str
    """Its digest (``configuration_digest``)."""
    name: str
    instruments: tuple[str, ...]
    first: date
    last: date
    """Both of the period, included."""
    sharpe: float | None
    """Annual; None where nothing was traded, or all was lost."""
    at: datetime
    """When it was run."""
    returns: str
    """Digest of its daily returns."""
    days: int
    file: str = ""
    """Where they lie; empty until it is recorded."""
    daily: pd.Series | None = field(default=None, compare=False, repr=False)
    """Simple returns by UTC day; None in what is read back, ``StrategyLedger.returns`` has them."""

    @classmethod
    def of(
        cls, configuration: str, daily: pd.Series, *, name: str, instruments: Sequence[str], sharpe: float, at: datetime
    ) -> "Trial":
        """The trial whose run had these ``daily`` returns (as ``Account.daily``)."""
        first, last = (pd.Timestamp(daily.index[at]).strftime("%Y-%m-%d") for at in (0, -1))
        return cls(
            configuration=configuration,
            name=name,
            instruments=tuple(sorted(instruments)),
            first=date.fromisoformat(first),
            last=date.fromisoformat(last),
            sharpe=float(sharpe) if np.isfinite(sharpe) else None,
            at=at,
            returns=_returns_digest(daily),
            days=len(daily),
            daily=daily,
        )

    @property
    def key(self) -> tuple[str, tuple[str, ...]]:
        """What makes it distinct: the same settings on the same instruments are one configuration."""
        return self.configuration, self.instruments


class StrategyLedger:
    """The trials of one timeframe, in ``folder``. Safe to use from many processes at once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lines = folder / "trials.jsonl"

    def record(self, trials: Sequence[Trial]) -> int:
        """Add what is not there yet, in order; returns how many were added.

        Raises:
            InvalidDataError: the ledger is damaged.
        """
        make_directory(self._folder)
        with exclusive(self._folder / ".lock"):
            known = {(*trial.key, trial.returns) for trial in self.trials()}
            new = {(*trial.key, trial.returns): trial for trial in trials}
            added = [trial for key, trial in new.items() if key not in known]
            if added:
                name = self._store(added)
                self._append("".join(_line(trial, name) for trial in added).encode())
        return len(added)

    def trials(self) -> list[Trial]:
        """Every trial, in the order of their recording, repetitions over other periods among them.

        Raises:
            InvalidDataError: a line cannot be read.
        """
        try:
            whole = self._lines.read_bytes()
        except FileNotFoundError:
            return []
        lines = whole[: whole.rfind(b"\n") + 1].splitlines()
        return [self._read(line, number) for number, line in enumerate(lines, start=1)]

    def distinct(self) -> list[Trial]:
        """Each configuration once per instruments, in its longest run, the last of those."""
        best: dict[tuple[str, tuple[str, ...]], Trial] = {}
        for trial in self.trials():
            if trial.key not in best or trial.days >= best[trial.key].days:
                best[trial.key] = trial
        return list(best.values())

    def returns(self) -> pd.DataFrame:
        """Daily returns of every distinct configuration, by UTC day; NaN on days that its longest run did not cover.

        Columns are ``configuration instruments``.

        Raises:
            InvalidDataError: a file is missing or damaged.
        """
        columns: dict[str, pd.Series] = {}
        for file, trials in _by_file(self.distinct()).items():
            stored = self._load(file)
            for trial in trials:
                if trial.returns not in stored:
                    raise self._damaged(f"{file} lacks a trial's returns")
                daily: pd.Series = stored.loc[:, trial.returns]
                columns[f"{trial.configuration} {','.join(trial.instruments)}"] = daily.dropna()
        return pd.DataFrame(columns).sort_index() if columns else pd.DataFrame(index=pd.DatetimeIndex([], tz="UTC"))

    def _store(self, trials: Sequence[Trial]) -> str:
        """All returns in one file, named by what is in it."""
        import pyarrow as pa  # noqa: PLC0415 (reading a ledger's lines needs none of it)
        import pyarrow.parquet as pq  # noqa: PLC0415 (as above)

        wide = pd.DataFrame({trial.returns: trial.daily for trial in trials}).sort_index()
        # NaN stands where another trial of the file has a day and this one has not.
        columns: dict[str, Any] = {str(name): wide[name].to_numpy(dtype=np.float64) for name in wide}
        columns[_DAY] = pa.array(pd.DatetimeIndex(wide.index).as_unit("ns").asi8, pa.timestamp("ns", "UTC"))
        name = f"{hashlib.sha256(' '.join(wide.columns).encode()).hexdigest()[:32]}{PARQUET}"
        written = pa.BufferOutputStream()
        pq.write_table(pa.table(columns), written, compression="zstd")
        # Its name, too, is on disk before a line speaks of it.
        create_bytes(self._folder / name, written.getvalue().to_pybytes())
        return name

    def _append(self, lines: bytes) -> None:
        """Write ``lines`` behind the last whole line; on disk when this returns."""
        descriptor = os.open(self._lines, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            held = self._lines.read_bytes()
            end = held.rfind(b"\n") + 1
            os.ftruncate(descriptor, end)
            os.lseek(descriptor, end, os.SEEK_SET)
            rest = memoryview(lines)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _read(self, line: bytes, number: int) -> Trial:
        try:
            fields: dict[str, Any] = json.loads(line)
            fields["instruments"] = tuple(map(str, fields["instruments"]))
            fields["first"], fields["last"] = date.fromisoformat(fields["first"]), date.fromisoformat(fields["last"])
            fields["at"] = datetime.fromisoformat(fields["at"])
            return Trial(**fields)
        except (ValueError, KeyError, TypeError) as error:
            raise self._damaged(f"line {number} of trials.jsonl is no trial") from error

    def _load(self, file: str) -> pd.DataFrame:
        import pyarrow as pa  # noqa: PLC0415 (as above)
        import pyarrow.parquet as pq  # noqa: PLC0415 (as above)

        try:
            table = pq.read_table(self._folder / file)
            days = pd.DatetimeIndex(table.column(_DAY).cast(pa.int64()).to_numpy(), name=_DAY).tz_localize("UTC")
        except (OSError, KeyError, pa.ArrowInvalid) as error:
            raise self._damaged(f"{file} cannot be read") from error
        columns = {name: table.column(name).to_numpy() for name in table.column_names if name != _DAY}
        return pd.DataFrame(columns, index=days)

    def _damaged(self, what: str) -> InvalidDataError:
        return InvalidDataError(
            f"the ledger of tried strategies is damaged: {what} ({self._folder}); restore it, or move the folder away "
            "and run again what was tried: without its trials a Sharpe ratio cannot be judged"
        )


def configuration_digest(settings: Mapping[str, Any]) -> str:
    """Of what decides a trade in a strategy's ``settings`` (JSON values): names and monitoring do not."""
    decisive = {key: value for key, value in settings.items() if key not in _WITHOUT_EFFECT}
    text = json.dumps(decisive, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _returns_digest(daily: pd.Series) -> str:
    days = pd.DatetimeIndex(daily.index).as_unit("ns").asi8.astype("<i8").tobytes()
    return hashlib.sha256(days + daily.to_numpy(dtype="<f8").tobytes()).hexdigest()


def _line(trial: Trial, file: str) -> str:
    fields: dict[str, Any] = asdict(replace(trial, file=file, daily=None))
    del fields["daily"]
    for name in ("first", "last", "at"):
        fields[name] = fields[name].isoformat()
    return f"{json.dumps(fields, sort_keys=True, separators=(',', ':'), allow_nan=False)}\n"


def _by_file(trials: Sequence[Trial]) -> dict[str, list[Trial]]:
    files: dict[str, list[Trial]] = {}
    for trial in trials:
        files.setdefault(trial.file, []).append(trial)
    return files
