"""Which days and months of bars and features are there, which are stale, and which can be computed."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta

from tradecore_pipeline.defs.days import first_listed_day
from tradecore_pipeline.defs.own_days import has_own, is_own, outdated_days
from tradecore_pipeline.defs.partitions import months_that_hold
from tradecore_pipeline.defs.resources import Adapters, missing_days
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.tables import BARS, BARS_1M, FUNDING_RATES, OPEN_INTEREST, Table, features_table
from tradecore_pipeline.domain.time import Timeframe, day_range, month_days
from tradecore_pipeline.features.perpetuals import MEAN_DAYS
from tradecore_pipeline.features.registry import FEATURE_NAMES, warm_up_bars
from tradecore_pipeline.features.tuned import tuned_warm_up_bars
from tradecore_pipeline.settings import Settings
from tradecore_pipeline.storage.own_features import OWN_FEATURES
from tradecore_pipeline.validation.walk_forward import LABEL_HORIZON_BARS

FEATURES = features_table(FEATURE_NAMES)
FEATURE_MONTH = "feature_month"

_ONE_DAY = timedelta(days=1)


def tables(settings: Settings) -> list[str]:
    """The daily tables that are computed from market data, in order."""
    return [BARS.name, FEATURES.name, *([OWN_FEATURES] if has_own(settings) else [])]


def warm_up_days(timeframe: Timeframe) -> int:
    """Days before a day that its features are computed from."""
    return max(timeframe.days(warm_up_bars(timeframe)), MEAN_DAYS + 1)


def window_months(settings: Settings, timeframe: Timeframe) -> int:
    """Months before a month that its training window and the warm-up of its tuned indicators reach into.

    Without the warm-up a month's models would depend on whether somebody had computed earlier bars before.
    """
    bars = settings.window_bars(timeframe) + LABEL_HORIZON_BARS + tuned_warm_up_bars()
    return months_that_hold(timeframe.days(bars))


def stale_days(
    adapters: Adapters, table: Table, instrument: Instrument, days: Sequence[date], *, timeframe: Timeframe
) -> list[date]:
    """Those of ``days`` whose rows of ``table`` are not stored, or older than market data that they are computed from.

    So are days of own features that another version of the user's files computed.
    A day that is not over is always stale. What a day is computed from reaches back over its warm-up, and a perpetual's
    features read its funding and open interest, too.
    """
    # A day's first bar also reads the day before its warm-up: its minutes' returns begin there.
    reach = reach_days(adapters, table, timeframe=timeframe) + 1
    ingested = _ingestion_moments(adapters, _sources(adapters, table, instrument), instrument)
    stored = {day: adapters.lake.stored_at(table, instrument, day, timeframe=timeframe) for day in days}
    edited = outdated_days(adapters, instrument, days, timeframe=timeframe) if is_own(table) else {}
    return [
        day
        for day, moment in stored.items()
        if moment is None or day in edited or _is_older(moment, day, ingested, reach)
    ]


def reach_days(adapters: Adapters, table: Table, *, timeframe: Timeframe) -> int:
    """Days of bars before a day that its rows of ``table`` are computed from."""
    if table.name == BARS.name:
        return 0
    return timeframe.days(adapters.own_features.warm_up_bars) if is_own(table) else warm_up_days(timeframe)


def _sources(adapters: Adapters, table: Table, instrument: Instrument) -> list[Table]:
    """The market data that ``table`` is computed from."""
    if table.name == BARS.name or not instrument.is_perpetual:
        return [BARS_1M]
    more = [FUNDING_RATES, OPEN_INTEREST]
    read = adapters.own_features.inputs if is_own(table) else {one.name for one in more}
    return [BARS_1M, *(one for one in more if one.name in read)]


def _ingestion_moments(
    adapters: Adapters, sources: Sequence[Table], instrument: Instrument
) -> dict[date, datetime | None]:
    """When each day was last ingested from any source; None for a day whose minutes are not complete."""
    moments: dict[date, datetime | None] = {}
    for source in sources:
        for entry in adapters.ledger.entries(source.name, instrument):
            known = moments.get(entry.day, entry.ingested_at)
            if known is None or (source is BARS_1M and not entry.complete):
                moments[entry.day] = None
            else:
                moments[entry.day] = max(known, entry.ingested_at)
    return moments


def _is_older(stored: datetime, day: date, ingested: Mapping[date, datetime | None], reach: int) -> bool:
    if day in ingested and ingested[day] is None:
        return True
    moments = [ingested[d] for d in day_range(day - reach * _ONE_DAY, day) if d in ingested]
    return any(moment is not None and moment > stored for moment in moments)


def ready_days(
    adapters: Adapters, table: Table, instrument: Instrument, days: Sequence[date], *, timeframe: Timeframe
) -> list[date]:
    """Those of ``days`` whose rows of ``table`` can be computed: bars reach back over its warm-up, or the listing."""
    held = set(adapters.lake.days(BARS, instrument, timeframe=timeframe))
    listed, reach = first_listed_day(adapters, instrument), reach_days(adapters, table, timeframe=timeframe)
    return [d for d in days if all(b in held for b in day_range(max(listed, d - reach * _ONE_DAY), d))]


def require_computed(
    adapters: Adapters, table: Table, instrument: Instrument, days: Sequence[date], *, timeframe: Timeframe
) -> None:
    """Check that rows of ``table`` are stored for ``days``, but for those whose warm-up begins before what is stored.

    Raises:
        MissingInputError: a day could be computed and was not; the message names it.
    """
    held = set(adapters.lake.days(table, instrument, timeframe=timeframe))
    absent = [day for day in days if day not in held]
    if absent := ready_days(adapters, table, instrument, absent, timeframe=timeframe):
        what = f"{timeframe} {table.name.replace('_', ' ')}"
        raise missing_days(what, instrument, absent, f"materialize {table.name} for those days first")


def is_whole_month(adapters: Adapters, instrument: Instrument, month: date, *, timeframe: Timeframe) -> bool:
    """Whether a month has features from some day on to its end, or to today."""
    computed, absent = month_coverage(adapters, instrument, month, timeframe=timeframe)
    return bool(computed) and not absent


def is_digested(adapters: Adapters, instrument: Instrument, month: date, *, timeframe: Timeframe) -> bool:
    """Whether a month's digest covers all of its days that have features: one made in mid-month does not."""
    document = adapters.lake.get_document(FEATURE_MONTH, instrument, month, timeframe=timeframe)
    computed, _ = month_coverage(adapters, instrument, month, timeframe=timeframe)
    return document is not None and document["days"] == len(computed)


def month_coverage(
    adapters: Adapters, instrument: Instrument, month: date, *, timeframe: Timeframe
) -> tuple[list[date], list[date]]:
    """The month's days that have features, and those after the first of them (or all) that have none."""
    days = [d for d in month_days(month) if d <= adapters.clock().date()]
    stored = set(adapters.lake.days(FEATURES, instrument, timeframe=timeframe))
    computed = [d for d in days if d in stored]
    return computed, [d for d in days if d not in stored and (not computed or d > computed[0])]
