"""Several forecasts on the same rows: which differ from the baseline, and which may be the best of them.

Every test here resamples rows in blocks, because the scores of neighbouring bars depend on each other.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tradecore_pipeline.domain.errors import NotEnoughHistoryError, UsageError
from tradecore_pipeline.validation.scoreboard import ALL, Standing, common_rows, standard_error, standings

Floats = NDArray[np.float64]

_MOST_ROWS = 10_000
"""More are averaged over neighbours before they are resampled: their mean stays, and the tests take seconds."""
_SAME = 1e-12
"""Scores (nats) that never differ by more are one forecast under two names."""
_CONSISTENT = 1
"""Where Hansen's consistent p-value stands between the lower and the upper one."""
_BLOCKS = 3
"""Least number of blocks that a sample is resampled from."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One forecast among the others."""

    standing: Standing
    """Over all rows, against the baseline."""
    set_p_value: float
    """The level from which on the model confidence set leaves it out: small means that another one is better."""
    in_set: bool
    """Whether the set of those that may be the best holds it."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a sample says about several forecasts; see ``compare``."""

    baseline: str
    verdicts: tuple[Verdict, ...]
    """Best mean score first."""
    best_p_value: float
    """Of superior predictive ability: how often chance alone would make the best of the others look this much better
    than the baseline, where none is better. NaN where there is no other."""
    level: float
    """Of the confidence set: .1 holds the best one in nine samples of ten."""
    block_bars: int
    """Mean length in bars of the blocks that were drawn."""
    bars: int

    @property
    def best(self) -> Verdict:
        """The best mean score among all."""
        return self.verdicts[0]

    @property
    def challenger(self) -> Verdict:
        """The best of the others."""
        return next(verdict for verdict in self.verdicts if verdict.standing.model != self.baseline)

    @property
    def in_set(self) -> tuple[str, ...]:
        """Those that may be the best."""
        return tuple(verdict.standing.model for verdict in self.verdicts if verdict.in_set)


def compare(scores: pd.DataFrame, *, baseline: str, lags: int, level: float, repetitions: int, seed: int) -> Comparison:
    """Hansen's test of superior predictive ability and the model confidence set, beside each difference's HAC t.

    Both tests draw the same rows for all forecasts by the stationary bootstrap; the mean length of a block is the
    longest that Politis and White's rule asks for by any difference, and no shorter than the HAC errors reach.
    Differences are divided by those errors before the best is looked for, so that a noisy one does not hide the others.

    Args:
        scores: larger is better; a column per forecast, a row per bar in time order. Rows with a NaN are left out.
        baseline: the column that the others are held against.
        lags: of the HAC errors.
        level: of the confidence set.
        repetitions: samples drawn.
        seed: of the draws.

    Raises:
        UsageError: the baseline is no column, or there is nothing to hold against it.
        NotEnoughHistoryError: too few rows have a score of every forecast.
    """
    names = [str(name) for name in scores.columns]
    if baseline not in names or len(names) < 2:
        raise UsageError(f"comparing takes {baseline!r} and at least one more forecast: there is {', '.join(names)}")
    whole = common_rows(scores)
    if len(whole) < _BLOCKS * lags:
        raise NotEnoughHistoryError(
            f"{len(whole)} bars are too few to compare forecasts ({_BLOCKS * lags} are needed): take more months"
        )
    table = [one for one in standings(whole, baseline=baseline, lags=lags) if one.era == ALL]
    grouped, group = _grouped(whole.to_numpy(dtype=np.float64))
    gains = np.delete(grouped - grouped[:, [names.index(baseline)]], names.index(baseline), axis=1)
    reach = max(1, lags // group)
    block = _block_length(gains, reach)
    p_value = _superior(gains, reach, block=block, repetitions=repetitions, seed=seed)
    kept = _confidence_set(grouped, block=block, repetitions=repetitions, seed=seed)
    verdicts = tuple(Verdict(one, kept[names.index(one.model)], kept[names.index(one.model)] > level) for one in table)
    return Comparison(baseline, verdicts, p_value, level, block * group, len(whole))


def quasi_likelihood(realized: Floats, forecast: Floats) -> Floats:
    """QLIKE of variance forecasts: x - log x - 1 with x = realized / forecast; 0 is exact, and units cancel.

    NaN where either is missing or not positive: a bar without trades has no logarithm.
    """
    usable = (realized > 0) & (forecast > 0)
    ratio = np.where(usable, realized, 1.0) / np.where(usable, forecast, 1.0)
    return np.where(usable, ratio - np.log(ratio) - 1.0, np.nan)


def least_t_of_many(count: int, *, level: float) -> float:
    """The |t| that one of ``count`` differences must exceed, for all together to be wrong at ``level`` (Bonferroni)."""
    from scipy.stats import norm  # noqa: PLC0415 (only comparisons need it)

    return float(norm.ppf(1 - level / 2 / max(count, 1)))


def _grouped(values: Floats) -> tuple[Floats, int]:
    """Means of so many rows in a row that at most ``_MOST_ROWS`` are left, and how many; a rest is left out."""
    group = -(-len(values) // _MOST_ROWS)
    whole = len(values) // group * group
    return values[:whole].reshape(-1, group, values.shape[1]).mean(axis=1), group


def _block_length(gains: Floats, lags: int) -> int:
    """Mean block length in rows: the longest that a difference asks for, at most a third of the sample.

    At least half of ``lags``: blocks of that mean length count as much dependence as the HAC errors do, or a tail of
    small autocorrelations, which the choice by Politis and White passes over, would make the tests surer than those.
    """
    from arch.bootstrap import optimal_block_length  # noqa: PLC0415 (a second to import)

    least = -(-lags // 2)
    varied = gains[:, _varied(gains)]
    if varied.shape[1]:
        lengths: Floats = optimal_block_length(varied)["stationary"].to_numpy(dtype=np.float64)
        least = max(least, int(np.ceil(np.nanmax(lengths))))
    return max(1, min(least, len(gains) // _BLOCKS))


def _superior(gains: Floats, lags: int, *, block: int, repetitions: int, seed: int) -> float:
    """The consistent p-value that no column is better than nothing, on average."""
    from arch.bootstrap import SPA  # noqa: PLC0415 (a second to import)

    varied = gains[:, _varied(gains)]
    if not varied.shape[1]:
        return 1.0
    errors = np.array([standard_error(column, lags=lags) for column in varied.T])
    # The library compares plain means, whatever it is told about studentizing: it is given studentized columns.
    losses = -varied / errors
    test = SPA(
        np.zeros(len(losses)), losses, block_size=block, reps=repetitions, bootstrap="stationary", nested=True,
        seed=seed,
    )  # fmt: skip
    test.compute()
    return float(test.pvalues.to_numpy(dtype=np.float64)[_CONSISTENT])


def _confidence_set(scores: Floats, *, block: int, repetitions: int, seed: int) -> list[float]:
    """Each column's p-value of membership; columns that are the same share theirs."""
    from arch.bootstrap import MCS  # noqa: PLC0415 (a second to import)

    representative = _representatives(scores)
    distinct = sorted(set(representative))
    if len(distinct) == 1:
        return [1.0] * scores.shape[1]
    test = MCS(-scores[:, distinct], 0.1, reps=repetitions, block_size=block, bootstrap="stationary", seed=seed)
    test.compute()
    found = dict(zip(test.pvalues.index, test.pvalues["Pvalue"].to_numpy(dtype=np.float64), strict=True))
    return [float(found[distinct.index(column)]) for column in representative]


def _representatives(scores: Floats) -> list[int]:
    """For each column the first one that it equals: two names of one forecast have no difference to divide by."""
    chosen: list[int] = []
    for k in range(scores.shape[1]):
        twins = [j for j in dict.fromkeys(chosen) if np.abs(scores[:, j] - scores[:, k]).max() <= _SAME]
        chosen.append(twins[0] if twins else k)
    return chosen


def _varied(columns: Floats) -> NDArray[np.bool_]:
    return np.asarray(np.abs(columns).max(axis=0) > _SAME)
