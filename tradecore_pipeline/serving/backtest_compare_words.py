"""What several backtests side by side show, in words."""

from collections.abc import Sequence

import numpy as np

from tradecore_pipeline.backtest.benchmarks import BUY_AND_HOLD, VOLATILITY_MATCHED
from tradecore_pipeline.serving.backtest_run import Reported
from tradecore_pipeline.serving.backtest_words import beyond_chance, number, percent


def conclusions(told: Sequence[Reported]) -> list[str]:
    """The best of them and what that is worth, how the others did, and what was not counted."""
    return [
        _best(told),
        _earned(told),
        *_tried(told),
        *_spot(told),
        *_notes(told),
    ]


def _notes(told: Sequence[Reported]) -> list[str]:
    """Each note once, with the variants that it is about; none are named where it is about all of them."""
    about: dict[str, list[str]] = {}
    for one in told:
        for note in dict.fromkeys(one.notes):
            about.setdefault(note, []).append(one.config.name)
    return [note if len(names) == len(told) else f"{', '.join(names)}: {note}" for note, names in about.items()]


def _best(told: Sequence[Reported]) -> str:
    sharpes = np.array([one.performance.figures.sharpe for one in told])
    if not np.isfinite(sharpes).any():
        return "No variant has a Sharpe ratio: nothing was traded, or all was lost."
    best = told[int(np.nanargmax(sharpes))]
    own = best.performance.figures
    return (
        f"Highest Sharpe ratio: {best.config.name}, {number(own.sharpe)} ({percent(own.total_return, sign=True)}, at "
        f"worst {percent(own.max_drawdown)} under a high). {beyond_chance(best.performance.significance, own)}."
    )


def _earned(told: Sequence[Reported]) -> str:
    figures = [one.performance for one in told]
    gained = sum(own.figures.total_return > 0 for own in figures)
    words = [f"Of {len(told)} variants {gained} earned something after all costs"]
    for name, called in ((BUY_AND_HOLD, "buy & hold"), (VOLATILITY_MATCHED, "buy & hold at their own volatility")):
        held = [own for own in figures if name in own.benchmarks]
        if held:
            more = sum(own.figures.total_return > own.benchmarks[name].total_return for own in held)
            words.append(f"{more} of {len(held)} more than {called}")
    ruined = [one.config.name for one in told if one.performance.figures.bankrupt]
    return "; ".join(words) + "." + (f" Ruined: {', '.join(ruined)}." if ruined else "")


def _tried(told: Sequence[Reported]) -> list[str]:
    known = [one.performance.significance for one in told if one.performance.significance is not None]
    deflated = [found.deflated for found in known if found.deflated is not None]
    if not deflated:
        return [
            "Choosing the best of several flatters it, and no Sharpe ratio here is deflated: keep other months for it."
        ]
    most = max(deflated, key=lambda one: one.configurations)
    words = (
        f"Choosing the best of several flatters it: {most.configurations} configurations were tried, as many as "
        f"{most.effective:.1f} independent ones, and without any skill the best of those reaches a Sharpe ratio of "
        f"{number(most.expected_best)}."
    )
    return [words]


def _spot(told: Sequence[Reported]) -> list[str]:
    spot = list(dict.fromkeys(name for one in told for name in one.spot))
    return [f"Spot ({', '.join(spot)}): no funding, neither paid nor received."] if spot else []
