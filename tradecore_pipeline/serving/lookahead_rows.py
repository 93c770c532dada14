"""What a month's fitted models say of each bar, in columns that the look-ahead detector can name."""

from dataclasses import dataclass

import pandas as pd

from tradecore_pipeline.domain.tables import BARS
from tradecore_pipeline.models.density import StudentMixture
from tradecore_pipeline.models.flicker import held_states
from tradecore_pipeline.models.lstm import forecast_inputs
from tradecore_pipeline.models.published import published_rows
from tradecore_pipeline.models.trend import trend_signs
from tradecore_pipeline.serving.lookahead_models import MonthModels, Plan, hmm_columns, lstm_columns
from tradecore_pipeline.validation.lookahead import Frames


@dataclass(frozen=True, slots=True)
class ModelRows:
    """One method per table; each computes from the start of the training window, as publishing does."""

    plan: Plan
    models: MonthModels

    def family(self, frames: Frames) -> pd.DataFrame:
        """The densities of the bar after each one by t-HAR and the switching HAR, where it has an acceptable fit."""
        bars = self._bars(frames)
        found = self.models.forecaster.family.whole.forecasts(bars)
        return pd.concat([_moments(density, bars).add_prefix(f"{name}_") for name, density in found.items()], axis=1)

    def regimes(self, frames: Frames) -> pd.DataFrame:
        """Filtered probabilities, the label held and the plain trend; the regimes' own forecast, where there is one."""
        bars = self._bars(frames)
        found = self.models.regimes.filter(bars, hmm_columns(frames, bars, self.plan))
        columns: dict[str, object] = {
            "filtered_probability": list(found.probabilities),
            "log_density": found.log_density,
            "held_index": held_states(found.probabilities, self.plan.settings.label_threshold),
            "trend": trend_signs(bars),
        }
        try:
            forecast = self.models.regimes.forecast(bars, found)
        except ValueError:  # a model of other features has no density for returns, and says so
            return pd.DataFrame(columns, index=bars.index)
        return pd.DataFrame(columns, index=bars.index).join(_moments(forecast, bars))

    def published(self, frames: Frames) -> pd.DataFrame:
        """The rows of the regimes table, run ids apart; the LSTM's forecast, its inputs and the pool's weights."""
        bars, models = self._bars(frames), self.models
        filtered = models.regimes.filter(bars, hmm_columns(frames, bars, self.plan))
        beside = lstm_columns(frames, bars, models.parameters, self.plan)
        inputs = forecast_inputs(bars, models.forecaster.har, filtered=filtered.frame, features=beside)
        forecast = models.forecaster.forecast(bars, inputs)
        rows = published_rows(
            bars,
            model=models.regimes,
            filtered=filtered,
            direction_significant=models.direction.significant,
            forecast=forecast.pooled,
            har=forecast.har,
            trend=trend_signs(bars),
            tick=models.forecaster.har.tick,
            label_threshold=self.plan.settings.label_threshold,
        )
        parts = (_moments(forecast.lstm, bars).add_prefix("lstm_"), inputs.add_prefix("input_"))
        return rows.join(list(parts)).join(forecast.weights.add_prefix("pool_weight_"))

    def _bars(self, frames: Frames) -> pd.DataFrame:
        bars = frames[BARS.name]
        return bars.loc[bars.index >= self.plan.window[0]]


def _moments(density: StudentMixture, bars: pd.DataFrame) -> pd.DataFrame:
    columns = {"forecast_mean_percent": density.mean, "forecast_volatility_percent": density.volatility}
    return pd.DataFrame(columns, index=bars.index)
