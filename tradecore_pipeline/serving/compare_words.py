"""What a comparison lets one conclude, in words, and what it does not."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tradecore_pipeline.serving.compare import Evaluated
from tradecore_pipeline.validation.comparison import Comparison, compare, least_t_of_many, quasi_likelihood

SURE = 0.05
"""A p-value below this counts as evidence."""


@dataclass(frozen=True, slots=True)
class Measure:
    """One way of scoring the same forecasts."""

    key: str
    """For JSON."""
    title: str
    unit: str
    scores: pd.DataFrame
    """Larger is better; a column per variant, on the same rows."""
    comparison: Comparison
    without: tuple[str, ...]
    """Variants that say nothing about it."""


def measures(
    found: Evaluated, *, baseline: str, lags: int, level: float, repetitions: int, seed: int
) -> tuple[Measure, ...]:
    """The log score first, then QLIKE of the next bar's and of the next 24 hours' realized variance.

    QLIKE comes with its sign turned, so that more is better everywhere. Variants without a forecast of a variance are
    left out of that measure; it is left out itself where the baseline, or every other variant, has none.

    Raises:
        NotEnoughHistoryError: too few bars were scored by every variant.
    """
    losses = {
        "next_bar_qlike": ("Variance of the next bar", found.variances, "bar"),
        "day_qlike": ("Variance of the next 24 hours", found.day_variances, "day"),
    }
    tables = [("log_score", "Density of the next bar", "log score, nats a bar", found.log_scores)]
    for key, (title, variances, span) in losses.items():
        realized = found.realized[span].to_numpy(dtype=np.float64)
        columns = {
            str(name): -quasi_likelihood(realized, variances[name].to_numpy(dtype=np.float64)) for name in variances
        }
        tables.append((key, title, "QLIKE, sign turned", pd.DataFrame(columns, index=variances.index)))
    told: list[Measure] = []
    for key, title, unit, scores in tables:
        empty = tuple(str(name) for name in scores if bool(scores[name].isna().all()))
        rest = scores.drop(columns=list(empty))
        if baseline in empty or rest.shape[1] < 2:
            continue
        compared = compare(rest, baseline=baseline, lags=lags, level=level, repetitions=repetitions, seed=seed)
        told.append(Measure(key, title, unit, rest, compared, empty))
    return tuple(told)


def conclusions(comparison: Comparison) -> list[str]:
    """What this sample shows about the forecasts: on the baseline, on who may be the best, on single differences."""
    own, others = comparison.challenger.standing, len(comparison.verdicts) - 1
    gain = f"{own.model}, {own.difference:+.4f} against {comparison.baseline}"
    chance = f"SPA p\u00a0{p_text(comparison.best_p_value)}"
    among = "the only one tried" if others == 1 else f"the best of {others} tried"
    if comparison.best_p_value < SURE and own.difference > 0:
        first = f"{comparison.baseline} is beaten: {gain}, {among}, is more than luck explains ({chance})."
    elif own.difference > 0:
        first = f"Nothing is shown to beat {comparison.baseline}: {gain}, {among}, may be luck ({chance})."
    else:
        first = f"Nothing did better than {comparison.baseline} here: next is {gain} ({chance})."
    return [first, _set_sentence(comparison), *_single(comparison)]


def caveats(comparison: Comparison, months: int) -> list[str]:
    """What no figure of this comparison can say."""
    others = len(comparison.verdicts) - 1
    least = [verdict.standing.smallest_detectable for verdict in comparison.verdicts]
    finest = np.nanmin(least) if np.isfinite(least).any() else np.nan
    told: list[str] = []
    if others > 1:
        told.append(
            f"{others} differences are looked at together: read alone, one needs |HAC t| above "
            f"{least_t_of_many(others, level=SURE):.1f}, not 2, to count as found."
        )
    told.append(
        f"One instrument over {months} month{'s' if months != 1 else ''}: another market, or another era, may rank "
        "them otherwise, and a difference in score is not a profit."
    )
    told.append(
        "Each further variant tried on the same months makes the luckiest one look better. The tests count those in "
        "this table, not the ones tried and dropped: name all of them, and keep other months for what you choose."
    )
    if np.isfinite(finest):
        told.append(
            "Not told apart is not the same as equal: even the sharpest of these comparisons sees nothing below "
            f"{finest:.4f}."
        )
    return told


def _set_sentence(comparison: Comparison) -> str:
    sure = f"{1 - comparison.level:.0%}"
    inside, outside = comparison.in_set, [v.standing.model for v in comparison.verdicts if not v.in_set]
    if not outside:
        return f"None can be ruled out as the best of them with {sure} confidence: {_listed(inside)} all remain."
    if len(inside) == 1:
        return f"With {sure} confidence {inside[0]} is the best of them."
    return f"With {sure} confidence the best of them is one of {_listed(inside)}; {_listed(outside)} can be ruled out."


def _single(comparison: Comparison) -> list[str]:
    """A sentence for each kind of difference to the baseline: better or worse, too small to tell, none at all."""
    others = [v.standing for v in comparison.verdicts if v.standing.model != comparison.baseline]
    same = [one.model for one in others if one.difference == 0 and np.isnan(one.t_statistic)]
    worse = [one.model for one in others if one.difference < -one.smallest_detectable]
    unclear = [one.model for one in others if abs(one.difference) < one.smallest_detectable]
    better = [one.model for one in others if one.difference > one.smallest_detectable]
    told: list[str] = []
    if better:
        told.append(f"Better than {comparison.baseline} by more than two HAC standard errors: {_listed(better)}.")
    if worse:
        told.append(f"Worse than {comparison.baseline} by more than two HAC standard errors: {_listed(worse)}.")
    if unclear:
        told.append(f"Not told apart from {comparison.baseline} in this sample: {_listed(unclear)}.")
    if same:
        told.append(f"The same forecasts as {comparison.baseline}, bar for bar: {_listed(same)}.")
    return told


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def p_text(value: float) -> str:
    """A p-value as text, to follow the letter p."""
    return "below .001" if value < 0.001 else f"{value:.3f}".lstrip("0") if value < 1 else "1"
