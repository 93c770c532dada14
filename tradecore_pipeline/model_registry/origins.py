"""Where a published row's model came from, as its run says: what it was fitted on, and when it is in force."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Self

from tradecore_pipeline.domain.time import parse_month
from tradecore_pipeline.model_registry.runs import INSTRUMENT, KIND, MONTH, TIMEFRAME

DATA_LAST = "data_last_ts_open"
DATA_BARS = "data_bars"


@dataclass(frozen=True, slots=True)
class Origin:
    """One fit, by the tags of its run."""

    run_id: str
    kind: str
    instrument: str
    timeframe: str
    month: date
    """The first day of the month that it is in force."""
    last_ts_open: datetime
    """Open of the last bar that it was fitted on, UTC."""
    bars: int
    """How many it was fitted on."""

    @classmethod
    def of(cls, run_id: str, tags: Mapping[str, str]) -> Self | None:
        """What a run's tags say; None where they do not say all of it."""
        try:
            return cls(
                run_id=run_id,
                kind=tags[KIND],
                instrument=tags[INSTRUMENT],
                timeframe=tags[TIMEFRAME],
                month=parse_month(tags[MONTH].removeprefix("month-")),
                last_ts_open=datetime.fromisoformat(tags[DATA_LAST]),
                bars=int(tags[DATA_BARS]),
            )
        except (KeyError, ValueError):
            return None
