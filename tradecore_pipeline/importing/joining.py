"""One day's rows from several files: equal rows once, and no contradictions."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from tradecore_pipeline.domain.errors import InvalidDataError
from tradecore_pipeline.domain.tables import Table
from tradecore_pipeline.importing.read import ImportedFile
from tradecore_pipeline.quality.gaps import epoch_ms

pc: Any = pyarrow.compute  # its functions are made at import, where no type checker sees them


@dataclass(frozen=True, slots=True)
class Joined:
    """Rows sorted by unique keys, and the files that gave any of them."""

    rows: pa.Table
    files: tuple[ImportedFile, ...]


Part = tuple[ImportedFile, pa.Table]
"""Rows of a file, sorted by unique keys."""


def join(parts: Sequence[Part], table: Table) -> Joined:
    """The rows of all parts. A value that one file has and another lacks (null) is no contradiction.

    Raises:
        InvalidDataError: two files say different things about one key; the message names both and the key.
    """
    first, whole = parts[0]
    files = [first]
    for number, (file, rows) in enumerate(parts[1:], start=1):
        keys, added_keys = epoch_ms(whole.column(table.key)), epoch_ms(rows.column(table.key))
        shared = np.isin(added_keys, keys)
        old = whole.take(pa.array(np.searchsorted(keys, added_keys[shared])))
        new = rows.filter(pa.array(shared))
        _check_equal(old, new, parts[:number], file, table)
        filled = _coalesced(old, new)
        if filled.equals(old) and shared.all():
            continue
        kept = whole.filter(pa.array(~np.isin(keys, added_keys)))
        whole = pa.concat_tables([kept, filled, rows.filter(pa.array(~shared))]).sort_by(table.key)
        files.append(file)
    return Joined(whole, tuple(files))


def _coalesced(old: pa.Table, new: pa.Table) -> pa.Table:
    columns = [pc.coalesce(old.column(name), new.column(name)) for name in old.column_names]
    return pa.Table.from_arrays(columns, schema=old.schema)


def _check_equal(old: pa.Table, new: pa.Table, before: Sequence[Part], file: ImportedFile, table: Table) -> None:
    for name in old.column_names:
        unlike = pc.fill_null(pc.not_equal(old.column(name), new.column(name)), fill_value=False)
        if not pc.any(unlike).as_py():
            continue
        index = int(np.flatnonzero(unlike.to_numpy())[0])
        key = int(epoch_ms(new.column(table.key))[index])
        stamp = datetime.fromtimestamp(key / 1000, UTC).isoformat().replace("+00:00", "Z")
        other = next(part for part, rows in before if key in epoch_ms(rows.column(table.key)))
        values = f"{name} is {old.column(name)[index].as_py()} and {new.column(name)[index].as_py()}"
        raise InvalidDataError(
            f"{other.name} and {file.name} differ in the row of {stamp} ({values}): import one of them"
        )
