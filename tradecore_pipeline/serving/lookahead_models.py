"""The models of one month as the pipeline fits them, from rows that may know too much: what the detector compares."""

import tempfile
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tradecore_pipeline.domain.errors import NotEnoughHistoryError
from tradecore_pipeline.domain.tables import BARS, FUNDING_RATES, OPEN_INTEREST
from tradecore_pipeline.domain.time import Timeframe, day_start, month_of, month_range
from tradecore_pipeline.features.own import compute_own
from tradecore_pipeline.features.prices import Sources as FeatureSources
from tradecore_pipeline.features.registry import Feature, compute_features
from tradecore_pipeline.features.tuned import IndicatorParameters, tuned_columns, tuned_warm_up_bars
from tradecore_pipeline.models.inputs import FEATURES, RETURN_VARIANCE
from tradecore_pipeline.models.lstm_shape import DEFAULT_SHAPE
from tradecore_pipeline.settings import Settings
from tradecore_pipeline.validation.lookahead import Frames
from tradecore_pipeline.validation.walk_forward import LABEL_HORIZON_BARS, training_window

if TYPE_CHECKING:
    from tradecore_pipeline.models.direction import DirectionEvidence
    from tradecore_pipeline.models.lstm import LstmForecaster
    from tradecore_pipeline.models.lstm_training import Recipe
    from tradecore_pipeline.models.regimes import RegimeModel

MOST_EPOCHS, MOST_TRIALS = 3, 4
"""Passes and trials in the detector's fits: more of them repeat the same reads."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Whose models are fitted, and with what."""

    settings: Settings
    timeframe: Timeframe
    month: date
    own: tuple[Feature, ...]
    """The user's own features, which models may read."""

    @property
    def window(self) -> tuple[datetime, datetime]:
        """First and last moment (exclusive, by ts_open) of the month's training window."""
        return self.window_of(self.month)

    def window_of(self, month: date) -> tuple[datetime, datetime]:
        """The same, of another month."""
        return training_window(month, bars=self.settings.window_bars(self.timeframe), timeframe=self.timeframe)

    @property
    def regime_choices(self) -> dict[str, Any]:
        """What ``fit_regimes`` takes beside bars."""
        settings = self.settings
        return {
            "timeframe": self.timeframe,
            "states": settings.hmm_states,
            "restarts": settings.hmm_restarts,
            "emission": settings.hmm_emission,
            "features": settings.hmm_features,
            "carry_bars": settings.hmm_carry_bars,
            "seed": settings.random_seed,
        }

    @property
    def reads_features(self) -> bool:
        """Whether the regime model looks at columns of the features table."""
        settings = self.settings
        return settings.hmm_emission != RETURN_VARIANCE and not set(settings.hmm_features) <= set(FEATURES)


@dataclass(frozen=True, slots=True)
class MonthModels:
    """Everything that is fitted for one month."""

    anchor: "RegimeModel"
    regimes: "RegimeModel"
    direction: "DirectionEvidence"
    parameters: IndicatorParameters
    forecaster: "LstmForecaster"

    def rows(self, window_end: datetime) -> pd.DataFrame:
        """Every fitted number in one row, by model and name; scalers and seasonal scales are among them."""
        parts: dict[str, dict[str, Any]] = {
            "HAR family": self.forecaster.family.to_arrays(),
            "HMM anchor": self.anchor.to_arrays(),
            "HMM": self.regimes.to_arrays(),
            "tuned lengths": dict(self.parameters.to_dict()),
            "LSTM": {"centre": self.forecaster.corrector.centre, "spread": self.forecaster.corrector.spread}
            | {f"weights of {name}": values for name, values in self.forecaster.weights.items()},
            "pool": {f"log weight of {name}": value for name, value in self.forecaster.start.log_weights.items()},
            "direction": {
                name: float(value)
                for name, value in self.direction.to_json().items()
                if isinstance(value, int | float) and not isinstance(value, bool)
            },
        }
        named = {f"{model}: {name}": value for model, values in parts.items() for name, value in values.items()}
        cells = {name: [np.atleast_1d(np.asarray(value, dtype=np.float64))] for name, value in named.items()}
        columns = {name: pd.Series(value, dtype=object, index=[window_end]) for name, value in cells.items()}
        return pd.DataFrame(columns)


def stored_features(frames: Frames, timeframe: Timeframe) -> pd.DataFrame:
    """The features table as it would be computed from ``frames``."""
    return compute_features(
        frames[BARS.name], frames.get(FUNDING_RATES.name), frames.get(OPEN_INTEREST.name), timeframe=timeframe
    )


def hmm_columns(frames: Frames, bars: pd.DataFrame, plan: Plan) -> pd.DataFrame | None:
    """The feature columns that the regime model reads for ``bars``; None where it computes all of them itself."""
    return _all_columns(frames, bars, plan) if plan.reads_features else None


def _all_columns(frames: Frames, bars: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """Every stored feature of ``bars``, the user's own among them."""
    funding, interest = frames.get(FUNDING_RATES.name), frames.get(OPEN_INTEREST.name)
    own = compute_own(plan.own, frames[BARS.name], funding, interest, timeframe=plan.timeframe)
    both = (stored_features(frames, plan.timeframe), own)
    return pd.concat([rows.drop(columns="ts_close") for rows in both], axis=1).reindex(bars.index)


def lstm_columns(frames: Frames, bars: pd.DataFrame, parameters: IndicatorParameters, plan: Plan) -> pd.DataFrame:
    """What the network reads of ``bars`` beside t-HAR's terms and regimes: tuned columns, and stored ones if told to.

    A network that was trained without the tuned ones leaves them out again.
    """
    tuned, names = tuned_rows(frames, bars, parameters, plan), list(plan.settings.lstm_features)
    return tuned.join(_all_columns(frames, bars, plan).loc[:, names]) if names else tuned


def fit_month(frames: Frames, plan: Plan) -> MonthModels:
    """The month's models from whatever ``frames`` hold, by the pipeline's own steps, with fewer passes and trials.

    Raises:
        NotEnoughHistoryError: the window holds fewer bars than the settings ask for.
    """
    from tradecore_pipeline.models.anchors import fit_anchor  # noqa: PLC0415 (heavy, and only runs need it)
    from tradecore_pipeline.models.direction import direction_evidence  # noqa: PLC0415 (as above)
    from tradecore_pipeline.models.lstm_training import fit_forecaster  # noqa: PLC0415 (as above)
    from tradecore_pipeline.models.pool_members import fit_har_family  # noqa: PLC0415 (as above)
    from tradecore_pipeline.models.regimes import fit_regimes  # noqa: PLC0415 (as above)

    settings, choices = plan.settings, plan.regime_choices
    bars = window_bars(frames, plan, plan.month)
    columns, early = hmm_columns(frames, bars, plan), anchor_bars(frames, plan)
    anchor = fit_anchor(early, hmm_columns(frames, early, plan), **choices)
    regimes = fit_regimes(bars, columns, anchor=anchor, **choices)
    parameters = _tuned(frames, plan, bars)
    family = fit_har_family(bars, timeframe=plan.timeframe, seed=settings.random_seed)
    recipe = _recipe(regimes.filter(bars, columns).frame, lstm_columns(frames, bars, parameters, plan), settings)
    return MonthModels(
        anchor=anchor,
        regimes=regimes,
        direction=direction_evidence(bars, columns, **choices),
        parameters=parameters,
        forecaster=fit_forecaster(bars, family=family, recipe=recipe, ablations=False).model,
    )


def _recipe(filtered: pd.DataFrame, columns: pd.DataFrame, settings: Settings) -> "Recipe":
    """The network's, as the settings have it; its shape is the usual one, for no yearly study is fitted here."""
    from tradecore_pipeline.models.lstm_training import Recipe  # noqa: PLC0415 (torch)

    read = columns if settings.lstm_tuned else columns.loc[:, list(settings.lstm_features)]
    return Recipe(
        filtered=filtered,
        features=None if read.empty else read,
        regimes=settings.lstm_regimes,
        shape=replace(DEFAULT_SHAPE, hidden=settings.lstm_hidden),
        epochs=min(settings.lstm_epochs, MOST_EPOCHS),
        seed=settings.random_seed,
        device="cpu",
        history=None,
    )


def window_bars(frames: Frames, plan: Plan, month: date) -> pd.DataFrame:
    """The bars of a month's training window.

    Raises:
        NotEnoughHistoryError: there are fewer than the settings ask for.
    """
    start, end = plan.window_of(month)
    bars = between(frames[BARS.name], start, end)
    if len(bars) < (least := plan.settings.minimum_bars(plan.timeframe)):
        raise NotEnoughHistoryError(
            f"{len(bars)} {plan.timeframe} bars are in the training window of {month:%Y-%m} and {least} are needed: "
            f"backfill from {start:%Y-%m-%d}, or try --simulated"
        )
    return bars


def anchor_bars(frames: Frames, plan: Plan) -> pd.DataFrame:
    """The window of the month's anchor: January's, or that of the year's first month with enough history."""
    for month in month_range(month_of(plan.month).replace(month=1), plan.month):
        start, end = plan.window_of(month)
        bars = between(frames[BARS.name], start, end)
        if len(bars) >= plan.settings.minimum_bars(plan.timeframe):
            return bars
    return window_bars(frames, plan, plan.month)


def tuned_rows(frames: Frames, bars: pd.DataFrame, parameters: IndicatorParameters, plan: Plan) -> pd.DataFrame:
    """Every tuned column of ``bars``, computed from their warm-up on."""
    start = bars.index[0] - tuned_warm_up_bars() * plan.timeframe.duration
    rows = between(frames[BARS.name], start, bars.index[-1] + plan.timeframe.duration)
    return tuned_columns(feature_sources(frames, rows, plan.timeframe), parameters).loc[bars.index]


def feature_sources(frames: Frames, bars: pd.DataFrame, timeframe: Timeframe) -> FeatureSources:
    """``bars``, and all there is of funding and open interest: more than what reads them should look at."""
    return FeatureSources(bars, frames.get(FUNDING_RATES.name), frames.get(OPEN_INTEREST.name), timeframe)


def between(rows: pd.DataFrame, start: datetime, end: datetime) -> pd.DataFrame:
    """The rows whose index lies in [start, end)."""
    return rows.loc[np.asarray((rows.index >= start) & (rows.index < end))]


def _tuned(frames: Frames, plan: Plan, window: pd.DataFrame) -> IndicatorParameters:
    from tradecore_pipeline.tuning.plan import StudyPlan  # noqa: PLC0415 (likewise)
    from tradecore_pipeline.tuning.study import tune_lengths  # noqa: PLC0415 (Optuna takes a second to import)

    settings, start = plan.settings, window.index[0].to_pydatetime()
    bars = between(frames[BARS.name], start - tuned_warm_up_bars() * plan.timeframe.duration, plan.window[1])
    study = StudyPlan(
        start=start,
        end=day_start(plan.month),
        objective=settings.tuning_objective,
        trials=min(settings.tuning_trials, MOST_TRIALS),
        seed=settings.random_seed,
        folds=settings.tuning_folds,
        purge_bars=LABEL_HORIZON_BARS,
    )
    with tempfile.TemporaryDirectory() as folder:
        sources = feature_sources(frames, bars, plan.timeframe)
        return tune_lengths(
            sources, study, study_path=Path(folder) / "study.journal", study_name="lookahead"
        ).parameters
