"""How two versions of one day's rows differ."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from tradecore_pipeline.domain.tables import Table
from tradecore_pipeline.quality.gaps import epoch_ms

pc: Any = pyarrow.compute  # its functions are made at import, where no type checker sees them


@dataclass(frozen=True, slots=True)
class Difference:
    """What became of a day's rows; false, and nothing when printed, where they are the same."""

    added: int
    removed: int
    changed: int
    """Rows under a key that both versions have, in which some value differs."""
    first_changed_key: datetime | None
    """The first key (UTC) whose row was added, removed or changed; None where the rows are the same."""

    def __bool__(self) -> bool:
        return self.first_changed_key is not None

    def __str__(self) -> str:
        if self.first_changed_key is None:
            return ""
        counts = ((self.changed, "changed"), (self.added, "added"), (self.removed, "removed"))
        told = ", ".join(f"{count} {word}" for count, word in counts if count)
        return f"rows: {told}, the first at {self.first_changed_key:%Y-%m-%d %H:%M} UTC"


def differences(table: Table, old: pa.Table, new: pa.Table) -> Difference:
    """How ``new`` differs from ``old``: by value, so that it does not matter how either was stored.

    Both hold the columns of ``table``, in any order, their rows sorted by unique keys. Null equals null.
    """
    before, after = (rows.select(table.schema.names).cast(table.schema) for rows in (old, new))
    keys_before, keys_after = epoch_ms(before.column(table.key)), epoch_ms(after.column(table.key))
    lasting, known = np.isin(keys_before, keys_after), np.isin(keys_after, keys_before)
    changed = keys_before[lasting][differing_rows(before.filter(pa.array(lasting)), after.filter(pa.array(known)))]
    added, removed = keys_after[~known], keys_before[~lasting]
    touched = np.concatenate([added, removed, changed])
    first = datetime.fromtimestamp(int(touched.min()) / 1000, UTC) if len(touched) else None
    return Difference(len(added), len(removed), len(changed), first)


def differing_rows(left: pa.Table, right: pa.Table) -> np.ndarray:
    """Which rows of two tables, equally many with the same columns, differ in any column. Null equals null only."""
    differing = np.zeros(left.num_rows, dtype=np.bool_)
    for name in left.column_names:
        a, b = left.column(name), right.column(name)
        unequal = pc.fill_null(pc.not_equal(a, b), False)  # noqa: FBT003 (what fills the nulls)
        one_null = pc.xor(pc.is_null(a), pc.is_null(b))
        differing |= np.asarray(pc.or_(unequal, one_null).to_numpy(zero_copy_only=False), dtype=np.bool_)
    return differing
