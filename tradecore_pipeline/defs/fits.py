"""A month's models: fitted on its training window, kept in the registry, and read back for prediction."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

import pandas as pd

from tradecore_pipeline.defs import feature_days
from tradecore_pipeline.defs.days import require_days
from tradecore_pipeline.defs.resources import Adapters
from tradecore_pipeline.defs.windows import training_bars
from tradecore_pipeline.domain.errors import MissingInputError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.tables import BARS
from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.features.month import frame_digest
from tradecore_pipeline.features.tuned import IndicatorParameters, tuned_features, tuned_warm_up_bars
from tradecore_pipeline.model_registry import LoggedModel, ModelKind, StoredModel
from tradecore_pipeline.models.inputs import FEATURES, RETURN_VARIANCE

if TYPE_CHECKING:
    from tradecore_pipeline.models.har import THar
    from tradecore_pipeline.models.lstm import LstmForecaster
    from tradecore_pipeline.models.regimes import RegimeModel

HMM: ModelKind = "hmm"
HAR: ModelKind = "har"
LSTM: ModelKind = "lstm"
INDICATORS: ModelKind = "indicator_params"


@dataclass(frozen=True)
class Month:
    """One month of one instrument and timeframe: what every fit and load needs to know."""

    adapters: Adapters
    instrument: Instrument
    timeframe: Timeframe
    month: date

    def window(self) -> pd.DataFrame:
        """The bars the month's models may see."""
        return training_bars(self.adapters, self.instrument, self.month, timeframe=self.timeframe)

    @property
    def hmm_features(self) -> tuple[str, ...]:
        """What the settings' regime model looks at beside returns and their variance."""
        settings = self.adapters.settings
        return () if settings.hmm_emission == RETURN_VARIANCE else settings.hmm_features

    def columns(self, bars: pd.DataFrame, features: Sequence[str]) -> pd.DataFrame | None:
        """The feature columns that a regime model of ``features`` needs; None where it computes all of them itself."""
        if set(features) <= set(FEATURES):
            return None
        start, end = bars.index[0].to_pydatetime(), bars.index[-1].to_pydatetime() + self.timeframe.duration
        days = sorted({moment.date() for moment in bars.index})
        require_days(self.adapters, feature_days.FEATURES, self.instrument, days, timeframe=self.timeframe)
        rows = self.adapters.lake.read(feature_days.FEATURES, self.instrument, start, end, timeframe=self.timeframe)
        return rows.drop(columns="ts_close").reindex(bars.index)

    def tuned(self, bars: pd.DataFrame) -> pd.DataFrame:
        """The month's tuned indicators of ``bars``.

        Raises:
            MissingInputError: the month has not been tuned.
        """
        document = self.adapters.lake.get_document(INDICATORS, self.instrument, self.month, timeframe=self.timeframe)
        if document is None:
            raise self._missing("indicator parameters", "tuning")
        parameters = IndicatorParameters.from_dict(document["parameters"])
        return tuned_features(self.with_warm_up(bars), parameters, timeframe=self.timeframe).loc[bars.index]

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

    def _missing(self, what: str, stage: str) -> MissingInputError:
        month = f"{self.month:%Y-%m}"
        command = f"tradecore train {self.instrument} --timeframe {self.timeframe} --from {month} --to {month}"
        return MissingInputError(
            f"{self.instrument} has no {self.timeframe} {what} for {month}: materialize {stage}, or run `{command}`"
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
    ) -> LoggedModel:
        """Keep a fit as a run and a model version, with the data window it saw."""
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
                f"trained on bars from {bars.index[0]:%Y-%m-%d %H:%M} to {bars.index[-1]:%Y-%m-%d %H:%M} UTC.",
            },
            figures=figures or {},
        )


def load_regime_model(month: Month) -> tuple["RegimeModel", StoredModel]:
    """The month's regime model and where it is stored."""
    from tradecore_pipeline.models.regimes import RegimeModel  # noqa: PLC0415 (heavy, and only runs need it)

    stored = month.stored(HMM)
    return RegimeModel.from_parts(stored.config, stored.arrays), stored


def load_har(month: Month) -> tuple["THar", StoredModel]:
    """The month's t-HAR and where it is stored."""
    from tradecore_pipeline.models.har import THar  # noqa: PLC0415 (as above)

    stored = month.stored(HAR)
    return THar.from_parts(stored.config, stored.arrays), stored


def load_forecaster(month: Month) -> tuple["LstmForecaster", StoredModel]:
    """The month's LSTM forecaster and where it is stored."""
    from tradecore_pipeline.models.lstm import LstmForecaster  # noqa: PLC0415 (as above)

    stored = month.stored(LSTM)
    return LstmForecaster.from_parts(stored.config, stored.arrays, weights=stored.tensors or {}), stored
