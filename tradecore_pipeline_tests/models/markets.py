"""Small simulated markets whose true states are known."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class SimulatedMarket:
    bars: pd.DataFrame
    states: NDArray[np.int64]
    returns: Floats
    """Percent, one per bar."""
    transmat: Floats
    scales: Floats
    df: float


def sticky(states: int, stay: float) -> Floats:
    transmat = np.full((states, states), (1 - stay) / (states - 1))
    np.fill_diagonal(transmat, stay)
    return transmat


def simulate(
    rows: int, *, scales: tuple[float, ...], stay: float, df: float, seed: int, frequency: str, minutes: int
) -> SimulatedMarket:
    """Hourly-style bars from Student-t returns whose scale switches; 60 sub-steps make the realized variance."""
    random = np.random.default_rng(seed)
    transmat, levels = sticky(len(scales), stay), np.array(scales)
    states = np.zeros(rows, dtype=np.int64)
    for t in range(1, rows):
        states[t] = random.choice(len(scales), p=transmat[states[t - 1]])
    shock = np.sqrt(df / random.chisquare(df, rows))
    steps = random.normal(size=(rows, 60)) * (levels[states] * shock / np.sqrt(60))[:, None] / 100
    paths = np.cumsum(steps.ravel()).reshape(rows, 60)
    before = np.concatenate(([0.0], paths[:-1, -1]))
    index = pd.date_range("2022-01-03", periods=rows, freq=frequency, tz="UTC", name="ts_open", unit="ms")
    bars = pd.DataFrame(
        {
            "open": 20_000 * np.exp(before),
            "high": 20_000 * np.exp(np.maximum(before, paths.max(axis=1))),
            "low": 20_000 * np.exp(np.minimum(before, paths.min(axis=1))),
            "close": 20_000 * np.exp(paths[:, -1]),
            "volume": random.lognormal(size=rows),
            "realized_variance": (steps**2).sum(axis=1),
            "minutes": float(minutes),
        },
        index=index,
    )
    return SimulatedMarket(bars, states, 100 * steps.sum(axis=1), transmat, levels, df)
