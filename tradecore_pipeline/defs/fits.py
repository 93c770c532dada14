"""A month's models: fitted on its training window, kept in the registry, and read back for prediction."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tradecore_pipeline.defs import feature_days
from tradecore_pipeline.defs.days import require_days
from tradecore_pipeline.defs.own_days import own_columns, own_names
from tradecore_pipeline.defs.resources import Adapters
from tradecore_pipeline.defs.windows import training_bars
from tradecore_pipeline.domain.errors import (
    InvalidDataError,
    MissingInputError,
    ModelFitError,
    NotEnoughHistoryError,
    TradecoreError,
)
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.tables import BARS
from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.features.month import frame_digest
from tradecore_pipeline.features.registry import FEATURE_NAMES
from tradecore_pipeline.features.tuned import IndicatorParameters, tuned_columns, tuned_warm_up_bars
from tradecore_pipeline.model_registry import HMM, LoggedModel, ModelKind, StoredModel, Verdict
from tradecore_pipeline.models.inputs import FEATURES, RETURN_VARIANCE
from tradecore_pipeline.serving.tuned_sources import tuned_sources
from tradecore_pipeline.storage.own_features import own_features_table

if TYPE_CHECKING:
    from tradecore_pipeline.models.lstm import LstmForecaster
    from tradecore_pipeline.models.pool_members import HarFamily
    from tradecore_pipeline.models.regimes import RegimeModel

HAR: ModelKind = "har"
LSTM: ModelKind = "lstm"
INDICATORS: ModelKind = "indicator_params"

_EXAMPLE_BARS = 200
"""The window's last bars, which every model's page in MLflow shows as an example; a week of hours and some."""
_NO_RIVAL = "The newest month's version of its kind; no score is published that it could be held against."


@dataclass(frozen=True)
class Month:
    """One month of one instrument and timeframe: what every fit and load needs to know."""

    adapters: Adapters
    instrument: Instrument
    timeframe: Timeframe
    month: date

    def __str__(self) -> str:
        return f"{self.instrument} {self.timeframe} {self.month:%Y-%m}"

    @contextmanager
    def named(self, role: str = "") -> Generator[None]:
        """Let errors from below, which know numbers only, say which month they are about."""
        try:
            yield
        except TradecoreError as error:
            if str(self.instrument) in str(error):
                raise
            raise type(error)(f"{self}{role and f', {role}'}: {error}") from error

    def window(self) -> pd.DataFrame:
        """The bars the month's models may see."""
        return training_bars(self.adapters, self.instrument, self.month, timeframe=self.timeframe)

    @property
    def hmm_features(self) -> tuple[str, ...]:
        """What the settings' regime model looks at beside returns and their variance."""
        settings = self.adapters.settings
        return () if settings.hmm_emission == RETURN_VARIANCE else settings.hmm_features

    def columns(self, bars: pd.DataFrame, features: Sequence[str]) -> pd.DataFrame | None:
        """The feature columns that a regime model of ``features`` needs; None where it computes all of them itself.

        Raises:
            MissingInputError: features of some days are not stored.
            InvalidDataError: a value is infinite; the message names the column and the bar.
        """
        wanted = [name for name in features if name not in FEATURES]
        if not wanted:
            return None
        rows = self._stored_columns(bars, wanted)
        for name in wanted:
            infinite = rows.index[np.isinf(rows[name].to_numpy(dtype=np.float64))]
            if len(infinite):
                raise InvalidDataError(
                    f"{self}: feature {name} is infinite at {infinite[0]:%Y-%m-%d %H:%M}: materialize features of that "
                    "day again"
                )
        return rows.loc[:, wanted]

    def _stored_columns(self, bars: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
        """Columns of the features table and of the user's own features, on the index of ``bars``."""
        ours, own = [name for name in names if name in FEATURE_NAMES], own_names(names)
        days = sorted({moment.date() for moment in bars.index})
        parts = [self._pipeline_columns(bars, days, ours)] if ours else []
        if own:
            table = own_features_table(())
            feature_days.require_computed(self.adapters, table, self.instrument, days, timeframe=self.timeframe)
            parts.append(own_columns(self.adapters, self.instrument, bars.index, own, timeframe=self.timeframe))
        return pd.concat(parts, axis=1)

    def _pipeline_columns(self, bars: pd.DataFrame, days: Sequence[date], names: Sequence[str]) -> pd.DataFrame:
        table, instrument = feature_days.FEATURES, self.instrument
        require_days(self.adapters, table, instrument, days, timeframe=self.timeframe)
        start, end = bars.index[0].to_pydatetime(), bars.index[-1].to_pydatetime() + self.timeframe.duration
        rows = self.adapters.lake.read(table, instrument, start, end, timeframe=self.timeframe, columns=list(names))
        return rows.reindex(bars.index)

    def with_columns(
        self, inputs: pd.DataFrame | None, bars: pd.DataFrame, features: Sequence[str]
    ) -> pd.DataFrame | None:
        """``inputs``, on the index of ``bars``, and the stored columns ``features`` beside; raises as ``columns``."""
        parts = [part for part in (inputs, self.columns(bars, features)) if part is not None]
        return pd.concat(parts, axis=1) if parts else None

    def training_columns(self, bars: pd.DataFrame) -> pd.DataFrame | None:
        """The feature columns that the settings' regime model is fitted on, over the window ``bars``.

        A value may be missing (a warm-up, a source without rows): the fit leaves such bars out.

        Raises:
            MissingInputError: as in ``columns``.
            NotEnoughHistoryError: no bar has all of them; the message names the emptiest.
            InvalidDataError: as in ``columns``.
            ModelFitError: a column never changes; the message names it.
        """
        columns = self.columns(bars, self.hmm_features)
        if columns is None:
            return None
        whole, rarest = columns.dropna(), str(columns.count().idxmin())
        if whole.empty:
            raise NotEnoughHistoryError(
                f"{self}: feature {rarest} has {columns[rarest].count()} values in the window of {len(bars)} bars, and "
                "no bar has all features: train a later month, or leave it out of hmm_features"
            )
        for name in columns.columns:
            values = whole[name].to_numpy(dtype=np.float64)
            if (values == values[0]).all():
                raise ModelFitError(
                    f"{self}: feature {name} is {values[0]:g} in the whole training window, which tells no "
                    "regimes apart: leave it out of hmm_features"
                )
        return columns

    def tuned(self, bars: pd.DataFrame) -> pd.DataFrame:
        """The month's tuned indicators of ``bars``.

        Raises:
            MissingInputError: the month has not been tuned.
        """
        document = self.adapters.lake.get_document(INDICATORS, self.instrument, self.month, timeframe=self.timeframe)
        if document is None:
            raise self._missing("indicator parameters", "tuning")
        parameters = IndicatorParameters.from_dict(document["parameters"])
        sources = tuned_sources(self.adapters.lake, self.instrument, self.with_warm_up(bars), timeframe=self.timeframe)
        return tuned_columns(sources, parameters).loc[bars.index]

    def with_warm_up(self, bars: pd.DataFrame) -> pd.DataFrame:
        """``bars`` and those before them that tuned indicators reach back to, where there are any."""
        end = bars.index[-1].to_pydatetime() + self.timeframe.duration
        start = bars.index[0].to_pydatetime() - tuned_warm_up_bars() * self.timeframe.duration
        return self.adapters.lake.read(BARS, self.instrument, start, end, timeframe=self.timeframe)

    def stored(self, kind: ModelKind) -> StoredModel:
        """The month's model of ``kind``.

        Raises:
            MissingInputError: it has not been trained.
        """
        model = self.adapters.registry.load(kind, self.instrument, timeframe=self.timeframe, month=self.month)
        if model is None:
            raise self._missing(f"{kind} model", "training")
        return model

    def require_same_regimes(self, hmm: StoredModel, lstm: StoredModel) -> None:
        """Check that a network reads the regimes it was trained on.

        Raises:
            MissingInputError: the regime model was trained anew since.
        """
        trained_on = lstm.config.get("hmm_run_id", hmm.run_id)
        if trained_on != hmm.run_id:
            raise MissingInputError(
                f"{self}: the {LSTM} model was trained on regimes of run {trained_on}, the month's are of {hmm.run_id}"
                f": materialize training, or run `{self._command}`"
            )

    @property
    def _command(self) -> str:
        month = f"{self.month:%Y-%m}"
        return f"tradecore train {self.instrument} --timeframe {self.timeframe} --from {month} --to {month}"

    def _missing(self, what: str, stage: str) -> MissingInputError:
        return MissingInputError(
            f"{self.instrument} has no {self.timeframe} {what} for {self.month:%Y-%m}: materialize {stage}, or run "
            f"`{self._command}`"
        )

    def log(  # noqa: PLR0913 (each is one part of what a fit leaves behind)
        self,
        kind: ModelKind,
        bars: pd.DataFrame,
        run_id: str,
        *,
        config: dict[str, Any],
        arrays: dict[str, Any],
        parameters: dict[str, Any],
        metrics: dict[str, float],
        tensors: dict[str, Any] | None = None,
        series: dict[str, list[float]] | None = None,
        figures: dict[str, bytes] | None = None,
        inputs: pd.DataFrame | None = None,
        verdict: Verdict | None = None,
    ) -> LoggedModel:
        """Keep a fit as a run and a model version, with the data window it saw.

        ``inputs``: what the model reads beside the bars, for its example. ``verdict``: on being the champion, which
        without one it is.
        """
        read = bars if inputs is None else bars.join(inputs)
        return self.adapters.registry.log_fit(
            kind=kind,
            instrument=self.instrument,
            timeframe=self.timeframe,
            month=self.month,
            parameters={
                name: ", ".join(map(str, value)) if isinstance(value, tuple) else value
                for name, value in parameters.items()
            },
            metrics=metrics,
            series=series or {},
            arrays=arrays,
            tensors=tensors,
            config=config,
            tags={
                "data_first_ts_open": str(bars.index[0]),
                "data_last_ts_open": str(bars.index[-1]),
                "data_bars": str(len(bars)),
                "data_sha256": frame_digest(bars),
                "dagster_run_id": run_id,
                "mlflow.note.content": f"{kind}, {self.instrument}, {self.timeframe}, in force in {self.month:%Y-%m}, "
                f"trained on bars from {bars.index[0]:%Y-%m-%d %H:%M} to {bars.index[-1]:%Y-%m-%d %H:%M} UTC. "
                f"{self.adapters.dagster_link(run_id)}",
            },
            figures=figures or {},
            example=read.tail(_EXAMPLE_BARS),
            verdict=verdict or Verdict(champion=True, evidence=_NO_RIVAL),
        )


def load_regime_model(month: Month) -> tuple["RegimeModel", StoredModel]:
    """The month's regime model and where it is stored."""
    from tradecore_pipeline.models.regimes import RegimeModel  # noqa: PLC0415 (heavy, and only runs need it)

    stored = month.stored(HMM)
    return RegimeModel.from_parts(stored.config, stored.arrays), stored


def load_har_family(month: Month) -> tuple["HarFamily", StoredModel]:
    """The month's t-HAR and switching HAR, and where they are stored."""
    from tradecore_pipeline.models.pool_members import HarFamily  # noqa: PLC0415 (as above)

    stored = month.stored(HAR)
    return HarFamily.from_parts(stored.config, stored.arrays), stored


def load_forecaster(month: Month) -> tuple["LstmForecaster", StoredModel]:
    """The month's LSTM forecaster and where it is stored."""
    from tradecore_pipeline.models.lstm import LstmForecaster  # noqa: PLC0415 (as above)

    stored = month.stored(LSTM)
    return LstmForecaster.from_parts(stored.config, stored.arrays, weights=stored.tensors or {}), stored
