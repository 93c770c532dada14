"""Commands that produce data and models: backfill, train, predict, and run for the whole chain."""

from datetime import date
from typing import Any

from tradecore_pipeline.cli.output import (
    FromDay,
    InstrumentArgument,
    JsonFlag,
    TimeframeOption,
    ToDay,
    note,
    print_json,
)
from tradecore_pipeline.cli.requested import (
    ArchiveOnlyFlag,
    DatasetsOption,
    FromMonth,
    ToMonth,
    check_market,
    chosen_datasets,
    load_settings,
    requested_days,
    requested_months,
)
from tradecore_pipeline.cli.session import Session
from tradecore_pipeline.domain.errors import MissingInputError, NotEnoughHistoryError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.tables import BARS, BARS_1M, MARKET_DATA
from tradecore_pipeline.domain.time import (
    Timeframe,
    add_months,
    day_range,
    month_days,
    month_of,
    month_range,
)
from tradecore_pipeline.settings import Settings
from tradecore_pipeline.storage.mending import readable_entries
from tradecore_pipeline.storage.own_features import own_features_table


def backfill(
    instrument: InstrumentArgument,
    first: FromDay,
    last: ToDay,
    datasets: DatasetsOption = "",
    *,
    archive_only: ArchiveOnlyFlag = False,
    json: JsonFlag = False,
) -> None:
    """Ingest market data by day: skips what is done, resumes what was cut."""
    settings = load_settings(archive_only=archive_only)
    which = settings.instrument(instrument)
    days = requested_days(first, last)
    names = chosen_datasets(settings, which, datasets)
    with Session(settings) as session:
        report = {name: ingest(session, which, name, days) for name in names}
        result = {"instrument": str(which), "datasets": report, "seconds": session.seconds.get("market_data", 0.0)}
    for name, row in report.items():
        waiting = f", {row['incomplete']} days not complete yet" if row["incomplete"] else ""
        note(
            f"{name}: {row['fetched']} days fetched, {row['skipped']} were done, {row['rows']} rows, "
            f"{row['missing']} missing{waiting}"
        )
        if (listed := row["first"]) is not None and listed > days[0]:
            note(f"{name}: the exchange has none before {listed}; days before it hold no rows and say why")
    if json:
        print_json(result)


def train(
    instrument: InstrumentArgument,
    first: FromMonth,
    last: ToMonth,
    timeframe: TimeframeOption,
    *,
    json: JsonFlag = False,
) -> None:
    """Tune indicators and fit the models of each month, on data that ended before it."""
    settings = Settings.load()
    which, length = settings.instrument(instrument), settings.timeframe(timeframe)
    months = requested_months(first, last)
    with Session(settings) as session:
        session.check_own_features()
        fit(session, which, length, months)
        result = {"instrument": str(which), "timeframe": str(length), "months": len(months), "seconds": session.seconds}
    note(f"{len(months)} months trained; `tradecore up` shows the runs in MLflow")
    if json:
        print_json(result)


def predict(
    instrument: InstrumentArgument, first: FromDay, last: ToDay, timeframe: TimeframeOption, *, json: JsonFlag = False
) -> None:
    """Publish regimes and forecasts by day, each by the models of its month."""
    settings = Settings.load()
    which, length = settings.instrument(instrument), settings.timeframe(timeframe)
    days = requested_days(first, last)
    with Session(settings) as session:
        session.check_own_features()
        publish(session, which, length, days)
        result = {"instrument": str(which), "timeframe": str(length), "days": len(days), "seconds": session.seconds}
    note(f"{len(days)} days published; `tradecore report` draws them, `tradecore sql` answers questions")
    if json:
        print_json(result)


def run(
    instrument: InstrumentArgument, first: FromDay, last: ToDay, timeframe: TimeframeOption, *, json: JsonFlag = False
) -> None:
    """The whole chain over these days: market data, features, tuning, models, regimes.

    Months at the start that have too little history for a model get none, and their days no regimes.
    """
    settings = Settings.load()
    which, length = settings.instrument(instrument), settings.timeframe(timeframe)
    days = requested_days(first, last)
    with Session(settings) as session:
        session.check_own_features()
        result = run_chain(session, which, length, days)
    note(f"{result['months']} months trained, {result['days']} days published")
    if json:
        print_json(result)


def run_chain(
    session: Session, instrument: Instrument, timeframe: Timeframe, days: list[date], *, last_months: int | None = None
) -> dict[str, Any]:
    """Ingest ``days``, then train and predict every month of theirs with enough history (or the last few of them)."""
    for name in chosen_datasets(session.settings, instrument, ""):
        ingest(session, instrument, name, days)
    prepare(session, instrument, timeframe, days)
    months = _trainable(session, instrument, timeframe, list(month_range(days[0], days[-1])))
    if last_months is not None:
        months = months[-last_months:]
    fit(session, instrument, timeframe, months)
    wanted = [day for day in days if month_of(day) in set(months)]
    publish(session, instrument, timeframe, wanted)
    return {
        "instrument": str(instrument),
        "timeframe": str(timeframe),
        "months": len(months),
        "days": len(wanted),
        "seconds": session.seconds,
    }


def ingest(session: Session, instrument: Instrument, dataset: str, days: list[date]) -> dict[str, Any]:
    """Fetch and store those of ``days`` that are not done; counts over all of them."""
    from tradecore_pipeline.defs import ingestion, mending  # noqa: PLC0415 (Dagster takes a second to import)

    check_market(session, instrument.exchange)
    mending.mend_days(session.adapters, MARKET_DATA[dataset], instrument, days)
    ledger, key = session.adapters.ledger, ingestion.asset_key(dataset)
    intact = ingestion.intact_entries(session.adapters, MARKET_DATA[dataset], instrument, days)
    done = {entry.day for entry in intact if entry.complete}
    unmarked = session.unmarked(key, instrument, days)
    wanted = [day for day in days if day not in done or day in unmarked]
    session.stage(f"{dataset} of {instrument}", [key], instrument, wanted, config={"keep_stored": True})
    asked = set(days)
    entries = [e for e in readable_entries(ledger, dataset, instrument)[0] if e.day in asked]
    return {
        "days": len(days),
        "fetched": len([day for day in wanted if day not in done]),
        "skipped": len([day for day in days if day in done]),
        "rows": sum(e.rows for e in entries),
        "missing": sum(e.missing for e in entries),
        "incomplete": len([e for e in entries if not e.complete]),
        "first": min((e.day for e in entries if e.rows), default=None),
    }


def fit(session: Session, instrument: Instrument, timeframe: Timeframe, months: list[date]) -> None:
    """Features of the training windows, their digests, then tuning and models of ``months``."""
    from tradecore_pipeline.defs import feature_days, features, training, tuning  # noqa: PLC0415 (as above)

    before = feature_days.window_months(session.settings, timeframe)
    # Back to the window of the year's anchor, from which each month's regime model starts.
    reach = [add_months(month.replace(month=1), -before) for month in months]
    windows = sorted(
        {m for month, first in zip(months, reach, strict=True) for m in month_range(first, add_months(month, -1))}
    )
    stored = set(session.adapters.lake.days(BARS_1M, instrument))
    available = [m for m in windows if any(d in stored for d in month_days(m))]
    prepare(session, instrument, timeframe, [d for m in available for d in month_days(m) if d in stored])
    digest = features.asset_key(timeframe, feature_days.FEATURE_MONTH)
    whole = [m for m in available if feature_days.is_whole_month(session.adapters, instrument, m, timeframe=timeframe)]
    session.stage("month digests", [digest], instrument, whole, monthly=True)
    session.stage("indicators", [tuning.asset_key(timeframe)], instrument, months, monthly=True)
    session.stage("models", training.asset_keys(timeframe), instrument, months, monthly=True)


def prepare(session: Session, instrument: Instrument, timeframe: Timeframe, days: list[date]) -> None:
    """Bars and features of those of ``days`` (sorted) that are not up to date with the market data."""
    from tradecore_pipeline.defs import feature_days, features  # noqa: PLC0415 (as above)

    for table in (BARS, feature_days.FEATURES, *([own_features_table(())] if session.settings.feature_files else [])):
        key, wanted = features.asset_key(timeframe, table.name), days
        if table is not BARS:
            wanted = feature_days.ready_days(session.adapters, table, instrument, days, timeframe=timeframe)
        stale = feature_days.stale_days(session.adapters, table, instrument, wanted, timeframe=timeframe)
        todo = sorted({*stale, *session.unmarked(key, instrument, wanted)})
        session.stage(f"{timeframe} {table.name}", [key], instrument, todo)


def publish(session: Session, instrument: Instrument, timeframe: Timeframe, days: list[date]) -> None:
    """Bars and features of ``days``, then their regimes."""
    from tradecore_pipeline.defs import regimes  # noqa: PLC0415 (as above)

    # A month is filtered from its beginning, whichever of its days were asked for.
    stored = set(session.adapters.lake.days(BARS_1M, instrument))
    prepare(session, instrument, timeframe, [d for d in day_range(month_of(days[0]), days[-1]) if d in stored])
    session.stage(f"{timeframe} regimes", [regimes.asset_key(timeframe)], instrument, days)


def _trainable(session: Session, instrument: Instrument, timeframe: Timeframe, months: list[date]) -> list[date]:
    """Those of ``months`` before which enough bars are stored.

    Raises:
        NotEnoughHistoryError: there is none; the message is what the last of them lacks.
    """
    from tradecore_pipeline.defs.fits import Month  # noqa: PLC0415 (as above)
    from tradecore_pipeline.defs.tuning import require_history  # noqa: PLC0415 (as above)

    trainable: list[date] = []
    reason = ""
    for month in months:
        try:
            require_history(Month(session.adapters, instrument, timeframe, month))
        except MissingInputError as error:
            reason = str(error)
        else:
            trainable.append(month)
    if not trainable:
        raise NotEnoughHistoryError(f"no month from {months[0]:%Y-%m} to {months[-1]:%Y-%m} can be trained: {reason}")
    return trainable
