"""The user's own features by day: which version computed which, and their columns for models."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date

import pandas as pd

from tradecore_pipeline.defs.resources import Adapters, missing_days
from tradecore_pipeline.domain.errors import MissingInputError, TradecoreError, UsageError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.tables import Table
from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.features.own import source_digest
from tradecore_pipeline.features.registry import FEATURE_NAMES
from tradecore_pipeline.model_registry import StoredModel
from tradecore_pipeline.models.inputs import FEATURES
from tradecore_pipeline.settings import Settings
from tradecore_pipeline.storage.own_features import (
    OWN_FEATURES,
    OwnColumn,
    OwnDefinition,
    own_features_table,
    stored_definitions,
)

OWN_VERSION = "own_features"
"""In a model's config: the version of the user's files whose features it was trained on."""
LSTM_FEATURES = "lstm_features"
"""In the config of a network: the stored features that it reads beside its usual inputs."""
_EMPTY = ("",)
"""The version of a day without rows: no version computes other ones."""


def is_own(table: Table) -> bool:
    """Whether it is the table of own features."""
    return table.name == OWN_FEATURES


def own_definition(adapters: Adapters) -> OwnDefinition:
    """What the user's files are now.

    Raises:
        UsageError: one of them is wrong.
    """
    own = adapters.own_features
    columns = tuple(OwnColumn(one.name, one.unit, one.meaning) for one in own.features)
    return OwnDefinition(own.definition, own.files, columns)


def outdated_days(
    adapters: Adapters, instrument: Instrument, days: Sequence[date], *, timeframe: Timeframe
) -> dict[date, str]:
    """Those of ``days`` (sorted) that another version of the files computed, and which; runs the files."""
    now = adapters.own_features.definition
    found = stored_definitions(adapters.lake, instrument, days, timeframe=timeframe)
    return {day: version for day, version in found.items() if version not in (now, *_EMPTY)}


def edited_days(adapters: Adapters, instrument: Instrument, *, timeframe: Timeframe) -> list[date]:
    """The stored days that another version of the files computed, as far as their bytes tell; runs nothing.

    Raises:
        UsageError: a file cannot be read.
    """
    now = source_digest(adapters.settings.feature_files)
    days = adapters.lake.days(own_features_table(()), instrument, timeframe=timeframe)
    found = stored_definitions(adapters.lake, instrument, days, timeframe=timeframe)
    return [day for day, version in found.items() if version.partition("-")[0] not in (now, *_EMPTY)]


def edits(adapters: Adapters, timeframe: Timeframe) -> list[str]:
    """Which days wait for being computed again because the files were edited, a line per instrument; runs nothing."""
    told: list[str] = []
    names = ", ".join(path.name for path in adapters.settings.feature_files)
    for instrument in adapters.settings.parsed_instruments:
        try:
            days = edited_days(adapters, instrument, timeframe=timeframe)
        except UsageError as error:
            return [str(error)]
        except TradecoreError as error:
            told.append(f"{instrument} {timeframe}: {error}")
            continue
        if days:
            told.append(
                f"{len(days)} days of own features of {instrument} {timeframe} ({days[0]} to {days[-1]}) are of "
                f"another version of {names}: `tradecore features` over them, or materialize own_features"
            )
    return told


def why_again(versions: Mapping[date, str], definition: str, files: Sequence[str]) -> dict[date, str]:
    """Per day what a person should know of why it was computed again."""
    names = ", ".join(files)
    return {
        day: f"{names} changed: version {version} computed this day before, {definition} now"
        for day, version in versions.items()
    }


def own_columns(
    adapters: Adapters, instrument: Instrument, index: pd.Index, names: Sequence[str], *, timeframe: Timeframe
) -> pd.DataFrame:
    """The columns ``names`` at the bars of ``index``, all by the version that the files are now; NaN on other days.

    Raises:
        UsageError: a file is wrong, or holds no such feature.
        MissingInputError: another version computed a day.
    """
    own, days = adapters.own_features, sorted({moment.date() for moment in index})
    own.require(names, "hmm_features or lstm_features")
    table = own_features_table(own_definition(adapters).columns)
    if outdated := sorted(outdated_days(adapters, instrument, days, timeframe=timeframe)):
        what, remedy = f"{timeframe} own features of the present", "materialize own_features for those days first"
        raise missing_days(f"{what} {', '.join(own.files)}", instrument, outdated, remedy)
    start, end = index[0].to_pydatetime(), index[-1].to_pydatetime() + timeframe.duration
    rows = adapters.lake.read(table, instrument, start, end, timeframe=timeframe, columns=list(names))
    return rows.reindex(index).loc[:, list(names)]


def own_names(features: Iterable[str]) -> list[str]:
    """Those of ``features`` that are of the user's own files."""
    return [name for name in features if name not in FEATURES and name not in FEATURE_NAMES]


def own_version(adapters: Adapters, features: Iterable[str]) -> dict[str, str]:
    """What a model that reads ``features`` keeps of the user's files in its config; nothing if it reads none."""
    return {OWN_VERSION: adapters.own_features.definition} if own_names(features) else {}


def require_same_files(adapters: Adapters, stored: StoredModel, month: str) -> None:
    """Check that the model of ``month`` reads the own features it was trained on.

    Raises:
        MissingInputError: the files were edited since, or are named no longer.
    """
    trained_on = stored.config.get(OWN_VERSION)
    if trained_on is None:
        return
    own = adapters.own_features
    if trained_on != own.definition:
        now = f"{', '.join(own.files)} now gives {own.definition}" if own.files else "feature_files names none now"
        raise MissingInputError(
            f"{month}: the {stored.kind} model was trained on version {trained_on} of own features, and {now}: train "
            "the month again"
        )


def has_own(settings: Settings) -> bool:
    """Whether there is a table of own features."""
    return bool(settings.feature_files)
