"""Damaged notes of a home on the way to being healed: what repairs, updates and backfills do before anything else."""

from collections.abc import Iterable
from datetime import date

from tradecore_pipeline.defs.resources import Adapters
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.tables import Table
from tradecore_pipeline.storage.mending import mend_day, mend_gaps


def mend_days(adapters: Adapters, table: Table, instrument: Instrument, days: Iterable[date]) -> None:
    """Make those of ``days`` whose ledger entry is damaged into days that are not complete: they are fetched again.

    Gap tables that cannot be read are written anew, those of other days as well: one of them stops every query.
    """
    lake, ledger = adapters.lake, adapters.ledger
    noted = set(ledger.days(table.name, instrument))
    for day in days:
        if day in noted:
            mend_day(lake, ledger, table, instrument, day, now=adapters.clock())
    mend_gaps(lake, ledger, table, instrument, lost=False)


def mend_all(adapters: Adapters, table: Table, instrument: Instrument) -> None:
    """The same for every stored day of a dataset; gap tables that were lost come back, too."""
    mend_days(adapters, table, instrument, adapters.ledger.days(table.name, instrument))
    mend_gaps(adapters.lake, adapters.ledger, table, instrument, lost=True)
