"""The densities that forecasts are held against: constant, EWMA, GARCH and EGARCH, each with Student-t shocks.

Each is fitted on a training window alone and then runs forward through later bars with its parameters fixed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import pandas as pd
from scipy import stats

from tradecore_pipeline.domain.errors import ModelFitError
from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.models.density import Floats, StudentMixture, mean_absolute_deviation
from tradecore_pipeline.models.har import fit_har
from tradecore_pipeline.models.returns import next_open, percent_returns
from tradecore_pipeline.models.seasonality import SeasonalScale

EWMA_DECAY = 0.94
"""RiskMetrics' decay of squared returns, the usual one."""
_LEAST_RETURNS = 100
_NORMAL_SIZE = float(np.sqrt(2 / np.pi))
"""E|z| of a standard normal: what ``arch`` centres EGARCH's sizes by, whatever the shocks' distribution."""
_LEAST_VARIANCE = 1e-6
"""Of a recursion, relative to the window's variance: a long stretch without trades decays to nothing."""


class Peer(Protocol):
    """A fitted density forecast."""

    def forecast(self, bars: pd.DataFrame) -> StudentMixture:
        """Density in percent of the bar after each of ``bars``, known at its ts_close; NaN rows where there is none."""
        ...


@dataclass(frozen=True, slots=True)
class ConstantT:
    """The same Student-t for every bar."""

    location: float
    scale: float
    df: float

    def forecast(self, bars: pd.DataFrame) -> StudentMixture:
        """See ``Peer``."""
        return StudentMixture.single(self.location, np.full(len(bars), self.scale), self.df)


@dataclass(frozen=True, slots=True)
class EwmaT:
    """A Student-t whose scale follows exponentially weighted squared returns; ``shape`` is in units of their root."""

    timeframe: Timeframe
    start: float
    """The mean that the recursion begins with, percent squared."""
    shape: ConstantT

    def forecast(self, bars: pd.DataFrame) -> StudentMixture:
        """See ``Peer``."""
        deviation = np.sqrt(self.variances(percent_returns(bars, self.timeframe)))
        return StudentMixture.single(self.shape.location * deviation, self.shape.scale * deviation, self.shape.df)

    def variances(self, returns: Floats) -> Floats:
        """The weighted mean square up to each return, that included; a missing one leaves it as it is."""

        def step(before: float, value: float) -> float:
            return before if np.isnan(value) else EWMA_DECAY * before + (1 - EWMA_DECAY) * value * value

        return np.maximum(_recursion(step, self.start, returns), _LEAST_VARIANCE * self.start)


@dataclass(frozen=True, slots=True)
class GarchT:
    """GARCH(1,1), or EGARCH(1,1) with asymmetry, with Student-t shocks on returns divided by their season.

    The variance equations are those of ``arch``: omega + alpha e^2 + beta h, and for log h of EGARCH
    omega + alpha (|z| - E|normal|) + gamma z + beta log h.
    """

    timeframe: Timeframe
    seasonal: SeasonalScale
    exponential: bool
    location: float
    omega: float
    alpha: float
    gamma: float
    beta: float
    df: float
    start: float
    """The variance that the recursion begins with, percent squared: the window's."""

    def forecast(self, bars: pd.DataFrame) -> StudentMixture:
        """See ``Peer``; give the bars from the start of the training window on."""
        own = self.seasonal.at(pd.DatetimeIndex(bars.index))
        following = self.seasonal.at(next_open(bars, self.timeframe))
        variances = self.variances(percent_returns(bars, self.timeframe) / own)
        scale = following * np.sqrt(variances) * self._unit_scale
        return StudentMixture.single(self.location * following, scale, self.df)

    def variances(self, returns: Floats) -> Floats:
        """The variance of the return after each one; a missing return counts as what was expected of it."""
        if not self.exponential:
            found = _recursion(self._step, self.start, returns - self.location)
            return np.maximum(found, _LEAST_VARIANCE * self.start)
        # Beyond these a single shock would decide for weeks (and exp overflow): never met in liquid markets.
        return np.exp(np.clip(_recursion(self._log_step, np.log(self.start), returns - self.location), -30.0, 30.0))

    @property
    def _unit_scale(self) -> float:
        """Scale of a Student-t with variance one."""
        return float(np.sqrt((self.df - 2) / self.df))

    def _step(self, variance: float, error: float) -> float:
        square = variance if np.isnan(error) else error * error
        return self.omega + self.alpha * square + self.beta * variance

    def _log_step(self, log_variance: float, error: float) -> float:
        if np.isnan(error):
            size, shock = float(mean_absolute_deviation(self._unit_scale, self.df)), 0.0
        else:
            shock = error * float(np.exp(-0.5 * min(max(log_variance, -30.0), 30.0)))
            size = abs(shock)
        return self.omega + self.alpha * (size - _NORMAL_SIZE) + self.gamma * shock + self.beta * log_variance


def fit_constant_t(bars: pd.DataFrame, timeframe: Timeframe) -> ConstantT:
    """The constant Student-t of greatest likelihood of a training window.

    Raises:
        ModelFitError: too few returns, or returns that do not vary.
    """
    return _student_t(_known(percent_returns(bars, timeframe)))


def fit_ewma_t(bars: pd.DataFrame, timeframe: Timeframe) -> EwmaT:
    """EWMA with the usual decay, its scale factor, location and degrees of freedom fitted to a training window.

    Raises:
        ModelFitError: too few returns, or returns that do not vary.
    """
    returns = percent_returns(bars, timeframe)
    plain = EwmaT(timeframe, float(np.mean(_known(returns) ** 2)), ConstantT(0.0, 1.0, np.inf))
    deviation = np.sqrt(plain.variances(returns))
    return replace(plain, shape=_student_t(_known(returns[1:] / deviation[:-1])))


def fit_garch_t(bars: pd.DataFrame, timeframe: Timeframe, *, seasonal: SeasonalScale, exponential: bool) -> GarchT:
    """GARCH(1,1)-t or EGARCH(1,1)-t of a training window by ``arch``.

    Args:
        bars: the window.
        timeframe: the length of the bars.
        seasonal: what returns are divided by; one of zeros leaves them as they are.
        exponential: EGARCH (with asymmetry) instead of GARCH.

    Raises:
        ModelFitError: too few returns, returns that do not vary, or no convergence.
    """
    from arch import arch_model  # noqa: PLC0415 (a second to import, and only scores need it)

    returns = _known(percent_returns(bars, timeframe) / seasonal.at(pd.DatetimeIndex(bars.index)))
    model = arch_model(
        returns, mean="Constant", vol="EGARCH" if exponential else "GARCH", o=int(exponential), dist="t", rescale=False
    )
    # The flag below says what the warnings would; a search that gave up is taken up once more where it stopped.
    result = model.fit(disp="off", show_warning=False)
    if result.convergence_flag:
        result = model.fit(disp="off", show_warning=False, starting_values=result.params, options={"maxiter": 1_000})
    found = {str(name): float(value) for name, value in result.params.items()}
    if result.convergence_flag or not np.isfinite(list(found.values())).all():
        raise ModelFitError(f"{'EGARCH' if exponential else 'GARCH'} did not converge on a window of {len(bars)} bars")
    return GarchT(
        timeframe=timeframe,
        seasonal=seasonal,
        exponential=exponential,
        location=found["mu"],
        omega=found["omega"],
        alpha=found["alpha[1]"],
        gamma=found.get("gamma[1]", 0.0),
        beta=found["beta[1]"],
        df=found["nu"],
        start=float(returns.var()),
    )


PeerFit = Callable[[pd.DataFrame, Timeframe], Peer]

PEER_FITS: Mapping[str, PeerFit] = {
    "constant t": fit_constant_t,
    "EWMA-t": fit_ewma_t,
    "GARCH-t": lambda bars, timeframe: fit_garch_t(
        bars, timeframe, seasonal=SeasonalScale.fit(bars), exponential=False
    ),
    "EGARCH-t": lambda bars, timeframe: fit_garch_t(
        bars, timeframe, seasonal=SeasonalScale.fit(bars), exponential=True
    ),
}
"""The peers by the names they are shown under, weakest first; t-HAR, the strongest, is ``fit_baseline``."""


def fit_baseline(bars: pd.DataFrame, timeframe: Timeframe) -> Peer:
    """t-HAR of a training window, as it is published."""
    return fit_har(bars, timeframe=timeframe, seasonal=SeasonalScale.fit(bars))


def _known(returns: Floats) -> Floats:
    known = returns[~np.isnan(returns)]
    if len(known) < _LEAST_RETURNS:
        raise ModelFitError(f"{len(known)} returns are too few for a density: {_LEAST_RETURNS} are needed")
    if known.std() == 0:
        raise ModelFitError("every return of the training window is the same: this market does not move")
    return known


def _student_t(values: Floats) -> ConstantT:
    df, location, scale = stats.t.fit(values)
    return ConstantT(float(location), float(scale), float(df))


def _recursion(step: Callable[[float, float], float], start: float, values: Floats) -> Floats:
    """``step`` run over ``values`` from ``start``: what it has come to after each."""
    results = np.empty(len(values))
    state = start
    for t, value in enumerate(values.tolist()):
        state = results[t] = step(state, value)
    return results
