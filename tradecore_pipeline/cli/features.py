"""The command that computes bars and features, your own included, of days whose market data is stored."""

from collections.abc import Sequence
from datetime import date, timedelta

from tradecore_pipeline.cli.output import (
    FromDay,
    InstrumentArgument,
    JsonFlag,
    TimeframeOption,
    ToDay,
    note,
    print_json,
)
from tradecore_pipeline.cli.requested import requested_days
from tradecore_pipeline.cli.session import Session
from tradecore_pipeline.cli.work import prepare
from tradecore_pipeline.domain.errors import MissingInputError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.tables import BARS_1M
from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.settings import Settings
from tradecore_pipeline.storage.own_features import own_features_table

_ONE_DAY = timedelta(days=1)


def features(
    instrument: InstrumentArgument, first: FromDay, last: ToDay, timeframe: TimeframeOption, *, json: JsonFlag = False
) -> None:
    """Bars and features by day, those of your own files included: what is new, or older than what it comes from."""
    settings = Settings.load()
    which, length = settings.instrument(instrument), settings.timeframe(timeframe)
    days = requested_days(first, last)
    with Session(settings) as session:
        session.check_own_features()
        stored = set(session.adapters.lake.days(BARS_1M, which))
        wanted = [day for day in days if day in stored]
        if not wanted:
            raise MissingInputError(f"{which} has no minutes from {first} to {last}: tradecore backfill fetches them")
        prepare(session, which, length, wanted)
        own = list(session.adapters.own_features.names)
        lacking = _without_warm_up(session, which, length, wanted) if own else []
        result = {
            "instrument": str(which),
            "timeframe": str(length),
            "days": len(wanted),
            "own_features": own,
            "own_features_without_warm_up": len(lacking),
            "seconds": session.seconds,
        }
    told = f", {', '.join(own)} among them (table own_features)" if own else ""
    note(f"features of {len(wanted)} days are up to date{told}")
    if lacking:
        note(
            f"but {len(lacking)} of these days ({lacking[0]} to {lacking[-1]}) have no own features: bars of their "
            "warm-up are not stored"
        )
    if json:
        print_json(result)


def _without_warm_up(
    session: Session, instrument: Instrument, timeframe: Timeframe, days: Sequence[date]
) -> list[date]:
    """Those of ``days`` that own features cannot be computed for, since bars before them are not stored.

    Raises:
        MissingInputError: that is all of them.
    """
    from tradecore_pipeline.defs import feature_days  # noqa: PLC0415 (Dagster takes a second to import)

    adapters, table = session.adapters, own_features_table(())
    ready = set(feature_days.ready_days(adapters, table, instrument, days, timeframe=timeframe))
    if not ready:
        own = adapters.own_features
        longest = max(own.features, key=lambda one: one.warm_up_bars)
        first = days[-1] - feature_days.reach_days(adapters, table, timeframe=timeframe) * _ONE_DAY
        raise MissingInputError(
            f"{own.paths[longest.name]}: feature {longest.name} has a warm-up of {longest.warm_up_bars} bars, and bars "
            f"of {instrument} at {timeframe} are not stored back to {first} without a hole: backfill earlier days, "
            "ask for later ones, or lower warm_up_bars"
        )
    return [day for day in days if day not in ready]
