"""What a month's forecast is worth on bars of its window that it was not fitted on, beside simple forecasts."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.models.bootstrap import block_length, interval, resampled_sums
from tradecore_pipeline.models.density import Floats, StudentMixture
from tradecore_pipeline.models.pool import BASELINE, NETWORK, PoolStart, gain_t, pooled
from tradecore_pipeline.models.returns import next_open, next_percent_returns, percent_returns
from tradecore_pipeline.models.ticks import next_log_scores

POOL = "pool"
PIT_BINS = 20
_MOMENTUM_BARS = 24
_RIDGE_LAGS = 24
_RIDGE_PENALTY = 1.0
"""Of standardised inputs, per row: it halves what uncorrelated inputs would get."""
_LEAST_ROWS = 60


@dataclass(frozen=True, slots=True)
class Evidence:
    """One forecast on the held-out bars; what cannot be told is NaN."""

    name: str
    bars: int
    log_score: float
    """Mean log density in nats that it gave to the next return in percent."""
    gain: float
    """Log score less t-HAR's."""
    gain_t: float
    """HAC t of the gain."""
    direction: float
    """Share of the bars whose return has the sign of its mean."""
    direction_interval: tuple[float, float]
    """95%, from resampled blocks."""
    rank_ic: float
    """Rank correlation of its mean with the return."""
    rank_ic_interval: tuple[float, float]
    """95%, from resampled blocks."""
    r2: float
    """1 - squared errors of its mean over squared returns: above 0 it is better than forecasting zero."""

    def to_json(self) -> dict[str, Any]:
        """The same with None for NaN."""
        return {key: _plain(value) for key, value in asdict(self).items()}


@dataclass(frozen=True, slots=True)
class Ablation:
    """The LSTM with some of its inputs, on the held-out bars; what cannot be told is NaN."""

    name: str
    """``pool.NETWORK`` with all of them, or what is left out."""
    bars: int
    gain: float
    """Log score in nats a bar less t-HAR's."""
    gain_t: float
    """HAC t of the gain."""
    worth: float
    """What is left out adds so much: the log score with all inputs less this one."""
    worth_t: float
    """HAC t of the worth."""

    def to_json(self) -> dict[str, Any]:
        """The same with None for NaN."""
        return {key: _plain(value) for key, value in asdict(self).items()}


@dataclass(frozen=True, slots=True)
class HeldOutReport:
    """Everything that the held-out bars of a window say."""

    table: tuple[Evidence, ...]
    """The pool first, then its members, then the simple forecasts."""
    pit_shares: Floats
    """Shares of the pool's probability integral transforms in ``PIT_BINS`` equal bins: alike if it is calibrated."""
    first: datetime
    """``ts_open`` of the first bar that was scored."""
    last: datetime
    """``ts_open`` of the last bar that was scored."""

    def to_json(self) -> dict[str, Any]:
        """Everything as JSON values."""
        return {
            "first": self.first.isoformat(),
            "last": self.last.isoformat(),
            "table": [row.to_json() for row in self.table],
            "pit_shares": self.pit_shares.tolist(),
        }


def held_out_report(
    bars: pd.DataFrame,
    forecasts: Mapping[str, StudentMixture],
    scores: Mapping[str, Floats],
    *,
    timeframe: Timeframe,
    tick: float,
    seed: int,
) -> HeldOutReport | None:
    """Members fitted on a window's first part, their pool and simple forecasts, on the rest; None without enough rows.

    The pool starts from equal weights of all members, so that no choice made on these bars flatters it. A simple
    forecast of the mean has t-HAR's spread: its score then says what its mean is worth.

    Args:
        bars: the whole window.
        forecasts: densities by member over ``bars``; t-HAR's among them.
        scores: their log scores in nats, NaN where the bar after was fitted on or is missing.
        timeframe: the length of the bars.
        tick: the market's price step as the first part showed it.
        seed: of the resampled blocks.
    """
    if BASELINE not in scores:
        return None
    whole = np.isfinite(np.column_stack(list(scores.values()))).all(axis=1)
    rows = np.flatnonzero(whole)
    if len(rows) < _LEAST_ROWS:
        return None
    start = PoolStart(dict.fromkeys((BASELINE, *(name for name in forecasts if name != BASELINE)), 0.0), {})
    pool, _ = pooled(forecasts, scores, start=start, since=int(rows[0]))
    har = forecasts[BASELINE]
    densities = {POOL: pool, **forecasts}
    for name, mean in _simple_means(bars, timeframe, first=int(rows[0]), scale=har.scales[:, 0]).items():
        densities[name] = StudentMixture.single(mean, har.scales[:, 0], har.dfs[:, 0])
    returns = next_percent_returns(bars, timeframe)[rows]
    baseline = scores[BASELINE][rows]
    table = [
        _evidence(
            name,
            mean=density.mean[rows],
            scores=next_log_scores(density, bars, timeframe=timeframe, tick=tick)[rows],
            returns=returns,
            baseline=baseline,
            lags=block_length(timeframe),
            seed=seed,
        )
        for name, density in densities.items()
    ]
    transforms = pool.rows(rows).cdf(returns)
    shares = np.histogram(transforms, bins=PIT_BINS, range=(0.0, 1.0))[0] / len(rows)
    scored = next_open(bars, timeframe)[rows].to_pydatetime().tolist()
    return HeldOutReport(tuple(table), shares, scored[0], scored[-1])


def ablation_table(baseline: Floats, ablations: Mapping[str, Floats], *, timeframe: Timeframe) -> tuple[Ablation, ...]:
    """The LSTM's log scores with all inputs and without some, on bars that all were scored on; empty without enough.

    Args:
        baseline: t-HAR's log scores in nats by bar, NaN where there is none.
        ablations: the LSTM's by what is left out, all inputs (``pool.NETWORK``) first.
        timeframe: the length of the bars.
    """
    if NETWORK not in ablations:
        return ()
    known = np.isfinite(np.column_stack([baseline, *ablations.values()])).all(axis=1)
    if known.sum() < _LEAST_ROWS:
        return ()
    lags, rows = block_length(timeframe), {name: scores[known] for name, scores in ablations.items()}

    def told(difference: Floats) -> tuple[float, float]:
        return float(difference.mean()), gain_t(difference, lags=lags) if difference.any() else np.nan

    return tuple(
        Ablation(
            name,
            int(known.sum()),
            *told(scores - baseline[known]),
            *((np.nan, np.nan) if name == NETWORK else told(rows[NETWORK] - scores)),
        )
        for name, scores in rows.items()
    )


def _simple_means(bars: pd.DataFrame, timeframe: Timeframe, *, first: int, scale: Floats) -> dict[str, Floats]:
    """Forecasts of the next return in percent, known at ts_close; the ridge is fitted on rows before ``first``."""
    returns = np.nan_to_num(percent_returns(bars, timeframe))
    momentum = np.asarray(pd.Series(returns).rolling(_MOMENTUM_BARS, min_periods=1).mean(), dtype=np.float64)
    means = {"zero": np.zeros(len(bars)), "persistence": returns, "momentum": momentum}
    spread = np.where(np.isfinite(scale), scale, np.nanmedian(scale))
    scaled = returns / spread
    lags = np.column_stack([np.concatenate((np.zeros(k), scaled[: len(scaled) - k])) for k in range(_RIDGE_LAGS)])
    labels = np.nan_to_num(next_percent_returns(bars, timeframe)) / spread
    fitted = slice(_RIDGE_LAGS, max(first, _RIDGE_LAGS + 1))
    x, y = lags[fitted] / lags[fitted].std(axis=0).clip(1e-12), labels[fitted]
    penalty = _RIDGE_PENALTY * len(x) * np.eye(_RIDGE_LAGS)
    slopes = np.linalg.solve(x.T @ x + penalty, x.T @ (y - y.mean())) / lags[fitted].std(axis=0).clip(1e-12)
    return means | {"ridge": (lags @ slopes + y.mean()) * spread}


def _evidence(
    name: str, *, mean: Floats, scores: Floats, returns: Floats, baseline: Floats, lags: int, seed: int
) -> Evidence:
    gain = scores - baseline
    told = (mean != 0) & (returns != 0)
    hits = np.where(told, np.sign(mean) == np.sign(returns), 0.0)
    agreement = _standardised(rankdata(mean)) * _standardised(rankdata(returns))
    columns = np.column_stack((hits, told, np.nan_to_num(agreement), np.ones(len(returns))))
    sums = resampled_sums(columns.astype(np.float64), block_bars=lags, seed=seed)
    with np.errstate(invalid="ignore", divide="ignore"):  # a forecast of zero has no sign
        direction, ranks = sums[:, 0] / sums[:, 1], sums[:, 2] / sums[:, 3]
        known = float(hits.sum() / told.sum()) if told.any() else np.nan
    constant = bool(np.isnan(agreement).any())
    nothing = (np.nan, np.nan)
    return Evidence(
        name=name,
        bars=len(returns),
        log_score=float(scores.mean()),
        gain=float(gain.mean()),
        gain_t=gain_t(gain, lags=lags) if gain.any() else np.nan,
        direction=known,
        direction_interval=_pair(interval(direction[:, None])[0]) if told.any() else nothing,
        rank_ic=np.nan if constant else float(agreement.mean()),
        rank_ic_interval=nothing if constant else _pair(interval(ranks[:, None])[0]),
        r2=float(1 - ((returns - mean) ** 2).sum() / (returns**2).sum()) if returns.any() else np.nan,
    )


def _standardised(values: Floats) -> Floats:
    spread = values.std()
    return (values - values.mean()) / spread if spread > 0 else np.full(len(values), np.nan)


def _pair(bounds: Sequence[float] | Floats) -> tuple[float, float]:
    low, high = (float(bound) for bound in bounds)
    return low, high


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
