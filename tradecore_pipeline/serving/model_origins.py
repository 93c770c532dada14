"""Whether the models behind published rows are older than they: others would be tested on what they were trained on."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta

import pandas as pd

from tradecore_pipeline.domain.errors import InvalidDataError, MissingInputError, UsageError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.time import Timeframe, day_start, month_of
from tradecore_pipeline.model_registry.origins import Origin
from tradecore_pipeline.strategies.schema import ModelRequirements

FindOrigin = Callable[[str], Origin | None]
"""What a run says of the fit it holds, by its id."""

_RUNS: Mapping[str, tuple[str, str]] = {"hmm_run_id": ("hmm", "regime model"), "forecast_run_id": ("lstm", "forecast")}


@dataclass(frozen=True, slots=True)
class OriginCheck:
    """Whose rows are checked, and what a strategy asks of their models."""

    instrument: Instrument
    timeframe: Timeframe
    requirements: ModelRequirements

    def require(self, rows: pd.DataFrame, find: FindOrigin) -> None:
        """Refuse published rows, indexed by ts_open, whose models are not older than they, or too old, or others'.

        Raises:
            MissingInputError: a row's run is not in the registry: nobody can tell what it was fitted on.
            InvalidDataError: a model was fitted on bars that had not closed when a row's bar opened, or is another
                instrument's or timeframe's.
            UsageError: a model is older, or was fitted on fewer bars, than ``requirements`` allow.
        """
        for column, (kind, words) in _RUNS.items():
            for run_id, own in rows.groupby(column, sort=False):
                origin = find(str(run_id))
                if origin is None:
                    raise MissingInputError(
                        f"{self._at(own.index[0])}: the run {run_id} of the {words} is not in MLflow, so that nobody "
                        f"can tell what it was trained on: run `{self._command('train')}`, then predict"
                    )
                self._require_same(origin, kind, words, own)
                self._require_before(origin, words, own)
                self._require_fresh(origin, kind, words, own)

    def _require_same(self, origin: Origin, kind: str, words: str, rows: pd.DataFrame) -> None:
        told = (origin.kind, origin.instrument, origin.timeframe)
        if told != (kind, str(self.instrument), self.timeframe.name):
            raise InvalidDataError(
                f"{self._at(rows.index[0])}: the {words} that published it is the {origin.kind} model of "
                f"{origin.instrument} at {origin.timeframe}: run `{self._command('predict')}` again"
            )

    def _require_before(self, origin: Origin, words: str, rows: pd.DataFrame) -> None:
        first: pd.Timestamp = rows.index[0]
        ended = pd.Timestamp(origin.last_ts_open + self.timeframe.duration)
        if origin.month > month_of(first.date()) or ended > first:
            raise InvalidDataError(
                f"{self._at(first)}: the {words} that published it is in force from {origin.month:%Y-%m} and was "
                f"trained on bars up to {ended:%Y-%m-%d %H:%M}: a backtest would mix training and test; run "
                f"`{self._command('predict')}` again"
            )

    def _require_fresh(self, origin: Origin, kind: str, words: str, rows: pd.DataFrame) -> None:
        asked = self.requirements
        limits = {"max_hmm_age_days": asked.max_hmm_age_days}
        if kind == "lstm":  # a month's indicators are tuned when its forecast is fitted
            limits = {
                "max_lstm_age_days": asked.max_lstm_age_days,
                "max_indicator_age_days": asked.max_indicator_age_days,
            }
        last: pd.Timestamp = rows.index[-1]
        age = last - pd.Timestamp(day_start(origin.month))
        for name, days in limits.items():
            if age >= timedelta(days=days):
                raise UsageError(
                    f"{self._at(last)}: the {words} of {origin.month:%Y-%m} is {age.days} days old, and "
                    f"model_requirements.{name} is {days}: models are monthly, 31 takes them all; or end the backtest "
                    f"on {origin.month + timedelta(days=days - 1)}"
                )
        if origin.bars < asked.min_training_samples:
            raise UsageError(
                f"{self._at(last)}: the {words} of {origin.month:%Y-%m} was trained on {origin.bars} bars, and "
                f"model_requirements.min_training_samples is {asked.min_training_samples}: lower it, or train longer "
                "windows (TRADECORE_TRAINING_WINDOW_BARS)"
            )

    def _at(self, moment: pd.Timestamp) -> str:
        return f"{self.instrument} {self.timeframe} at {moment:%Y-%m-%d %H:%M}"

    def _command(self, verb: str) -> str:
        return f"tradecore {verb} {self.instrument} --timeframe {self.timeframe}"
