"""The pool's members that need no network: t-HAR and the switching HAR, and both again on the window's first part."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self, TypeVar

import numpy as np
import pandas as pd

from tradecore_pipeline.domain.errors import InvalidDataError, ModelFitError
from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.models.density import Floats, StudentMixture
from tradecore_pipeline.models.har import THar, fit_har
from tradecore_pipeline.models.pool import BASELINE
from tradecore_pipeline.models.seasonality import SeasonalScale
from tradecore_pipeline.models.switching_har import SwitchingHar, fit_switching_har
from tradecore_pipeline.models.ticks import next_log_scores

SWITCHING = "switching_har"
SWITCHING_STATES = (3, 2)
"""Tried in this order: at 5m a third state may hold too little of the window."""
SWITCHING_RESTARTS = 2
"""Starts of EM: on BTC eight give the same scores to .0001 nats a bar."""
SWITCHING_LEAST_T = -1.0
"""It is trusted until it clearly loses: the bars that follow move its weight soon enough."""
FIRST_PART = 2 / 3
"""Share of the window that the early fits see; the rest is held out from them."""
_EARLY = "early_"
_SWITCHING = "switching_"

ModelT = TypeVar("ModelT")


@dataclass(frozen=True, slots=True)
class HarPair:
    """A t-HAR and a switching HAR fitted on the same bars; None where that found no acceptable fit."""

    har: THar
    switching: SwitchingHar | None

    def forecasts(self, bars: pd.DataFrame) -> dict[str, StudentMixture]:
        """Densities in percent of the bar after each one by member, known at ts_close."""
        found = {BASELINE: self.har.forecast(bars)}
        return found if self.switching is None else found | {SWITCHING: self.switching.forecast(bars)}

    def scores(self, forecasts: Mapping[str, StudentMixture], bars: pd.DataFrame) -> dict[str, Floats]:
        """Log score in nats that row t's density gave to the bar after it, by member; by this fit's price step."""
        timeframe, tick = self.har.timeframe, self.har.tick
        return {
            name: next_log_scores(density, bars, timeframe=timeframe, tick=tick) for name, density in forecasts.items()
        }

    def to_arrays(self) -> dict[str, Floats]:
        """Everything numeric, for an npz file."""
        switching = {} if self.switching is None else self.switching.to_arrays()
        return self.har.to_arrays() | {_SWITCHING + name: value for name, value in switching.items()}

    def config(self) -> dict[str, Any]:
        """Everything that is not numeric, for a JSON file; t-HAR's own keys stand at the top."""
        return self.har.config() | {"switching": None if self.switching is None else self.switching.config()}

    @classmethod
    def from_parts(cls, config: Mapping[str, Any], arrays: Mapping[str, Floats]) -> Self:
        """The pair that ``config`` and ``to_arrays`` described."""
        switching = config.get("switching")
        return cls(
            THar.from_parts(config, arrays),
            None if switching is None else SwitchingHar.from_parts(switching, _without(arrays, _SWITCHING)),
        )


@dataclass(frozen=True, slots=True)
class HarFamily:
    """A month's pair, and the pair of the window's first part: what the rest says of it is out-of-sample."""

    whole: HarPair
    early: HarPair | None
    """None where the first part is too short, or holds too little, for a t-HAR: nothing is known of any member then."""
    held_out_from: datetime
    """``ts_open`` of the first bar after the first part, UTC."""
    window_end: datetime
    """``ts_open`` of the window's last bar: the forecast made there is the first that the fits know nothing about."""

    @property
    def har(self) -> THar:
        """The baseline."""
        return self.whole.har

    def held_out(self, window: pd.DataFrame) -> tuple[dict[str, StudentMixture], int]:
        """The early pair's densities over the window, and the first row that it was not fitted on."""
        found = {} if self.early is None else self.early.forecasts(window)
        return found, int(np.count_nonzero(window.index < self.held_out_from)) - 1

    def held_out_scores(
        self, forecasts: Mapping[str, StudentMixture], window: pd.DataFrame, first: int
    ) -> dict[str, Floats]:
        """Log scores of held-out ``forecasts`` over the whole window; NaN before row ``first``."""
        if self.early is None:
            return {}
        found = self.early.scores(forecasts, window)
        return {name: np.where(np.arange(len(window)) >= first, scores, np.nan) for name, scores in found.items()}

    def to_arrays(self) -> dict[str, Floats]:
        """Everything numeric, for an npz file."""
        early = {} if self.early is None else self.early.to_arrays()
        return self.whole.to_arrays() | {_EARLY + name: value for name, value in early.items()}

    def config(self) -> dict[str, Any]:
        """Everything that is not numeric, for a JSON file; t-HAR's own keys stand at the top."""
        return self.whole.config() | {
            "early": None if self.early is None else self.early.config(),
            "held_out_from": self.held_out_from.isoformat(),
            "window_end": self.window_end.isoformat(),
        }

    @classmethod
    def from_parts(cls, config: Mapping[str, Any], arrays: Mapping[str, Floats]) -> Self:
        """The family that ``config`` and ``to_arrays`` described.

        Raises:
            InvalidDataError: it was stored before the baseline had a family.
        """
        if "early" not in config:
            raise InvalidDataError("the har model was stored by an earlier version: train the month again")
        early = config["early"]
        return cls(
            HarPair.from_parts(config, arrays),
            None if early is None else HarPair.from_parts(early, _without(arrays, _EARLY)),
            datetime.fromisoformat(config["held_out_from"]),
            datetime.fromisoformat(config["window_end"]),
        )


def fit_har_family(bars: pd.DataFrame, *, timeframe: Timeframe, seed: int) -> HarFamily:
    """The pair of a training window and of its first part; nothing outside ``bars`` is read.

    Args:
        bars: the window, indexed by ts_open.
        timeframe: the length of the bars.
        seed: of the switching HAR's starts.

    Raises:
        ModelFitError: the window has no acceptable t-HAR.
    """
    cut = round(FIRST_PART * len(bars))
    return HarFamily(
        whole=_fit_pair(bars, timeframe, seed),
        early=_accepted(lambda: _fit_pair(bars.iloc[:cut], timeframe, seed)),
        held_out_from=bars.index[cut].to_pydatetime(),
        window_end=bars.index[-1].to_pydatetime(),
    )


def _fit_pair(bars: pd.DataFrame, timeframe: Timeframe, seed: int) -> HarPair:
    seasonal = SeasonalScale.fit(bars)

    def switching(states: int) -> SwitchingHar | None:
        return _accepted(
            lambda: fit_switching_har(
                bars, timeframe=timeframe, seasonal=seasonal, states=states, restarts=SWITCHING_RESTARTS, seed=seed
            )
        )

    found = (model for states in SWITCHING_STATES if (model := switching(states)) is not None)
    return HarPair(fit_har(bars, timeframe=timeframe, seasonal=seasonal), next(found, None))


def _accepted(fit: Callable[[], ModelT]) -> ModelT | None:
    """A member without an acceptable fit is no reason to publish nothing: the pool goes on without it."""
    try:
        return fit()
    except ModelFitError:
        return None


def _without(arrays: Mapping[str, Floats], prefix: str) -> dict[str, Floats]:
    return {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}
