"""What a backtest shows, in words: what was earned, by what, whether chance explains it, and what was not counted."""

import math
from collections.abc import Sequence

import numpy as np

from tradecore_pipeline.backtest.metrics import Figures
from tradecore_pipeline.backtest.significance import Significance
from tradecore_pipeline.serving.backtest_earnings import Earnings, Source
from tradecore_pipeline.serving.backtest_run import BENCHMARK_NAMES, Reported
from tradecore_pipeline.serving.compare_words import SURE, p_text

NO_FIGURE = "-"
SOURCE_NAMES = {
    "always": "the mean position, held throughout",
    "volatility": "more or less of it by volatility regime",
    "direction": "names of direction (Bear, Bull ...) on top",
    "finer": "changes within regimes (forecasts, entries, exits)",
    "inside": "fills inside bars (stops, targets) and gaps",
    "fees": "fees",
    "slippage": "slippage",
    "funding": "funding",
}
EITHER_NAME = "more or less of it by regime (both names say the same here)"
_PROBABLE = 0.95
_OVER_A_YEAR = 1.1
"""Shorter runs are not put per year in the headline."""


def percent(value: float, digits: int = 1, *, sign: bool = False) -> str:
    """A fraction in percent; a dash where there is no figure."""
    if not math.isfinite(value):
        return NO_FIGURE
    rounded = round(100 * value, digits) + 0.0
    return f"{rounded:{'+' if sign else ''},.{digits}f}%"


def number(value: float, digits: int = 2, *, sign: bool = False) -> str:
    """A number; a dash where there is none."""
    if math.isinf(value):
        return "infinite"
    if math.isnan(value):
        return NO_FIGURE
    rounded = round(value, digits) + 0.0
    return f"{rounded:{'+' if sign else ''},.{digits}f}"


def source_name(source: Source, found: Earnings) -> str:
    """What a part of the result is called."""
    return EITHER_NAME if source.key == "volatility" and not found.told_apart else SOURCE_NAMES[source.key]


def headline(told: Reported, found: Earnings) -> list[str]:
    """The sentences at the top of the page."""
    own = told.performance.figures
    return [
        _result(told, own),
        *_earned(told, found),
        *chance(told.performance.significance, own),
        *_names(told),
        _funding(told, own),
        *_hindered(own),
        *told.notes,
    ]


def _result(told: Reported, own: Figures) -> str:
    if own.bankrupt:
        when = "" if own.bankrupt_at is None else f" on {own.bankrupt_at:%Y-%m-%d %H:%M}"
        first = f"Ruined{when}: all {own.capital:,.0f} {told.quote} were lost"
    elif not len(told.run.trades):
        first = f"Nothing was traded: {own.capital:,.0f} {told.quote} stayed as they were"
    else:
        yearly = f", {percent(own.annual_return, sign=True)} a year" if own.years >= _OVER_A_YEAR else ""
        first = (
            f"{own.capital:,.0f} {told.quote} became {own.final_equity:,.0f} "
            f"({percent(own.total_return, sign=True)}{yearly}) after all costs, at worst "
            f"{percent(own.max_drawdown)} under a high"
        )
    others = [
        f"{BENCHMARK_NAMES.get(name, name)} made {percent(other.total_return, sign=True)} "
        f"(at worst {percent(other.max_drawdown)})"
        for name, other in told.performance.benchmarks.items()
    ]
    return first + (f"; {' and '.join(others)}." if others else ".")


def _earned(told: Reported, found: Earnings) -> list[str]:
    if not len(told.run.trades) or told.performance.figures.bankrupt:
        return []
    costs = found.fees.earned + found.slippage.earned + found.funding.earned
    regimes = _earned_by(found.volatility, "volatility regimes" if found.told_apart else "regimes")
    if found.told_apart:
        regimes += f", {_earned_by(found.direction, 'names of direction on top of them')}"
    else:
        regimes += " (volatility and direction name the same states all through, so the two cannot be told apart)"
    inside = _earned_by(found.inside, "stops and targets inside bars")
    words = (
        f"Of {percent(found.total, sign=True)} in all (bars' returns added up), the mean position held throughout "
        f"would have earned {percent(found.always.earned, sign=True)}. Changing it earned: {regimes}, "
        f"{_earned_by(found.finer, 'changes within regimes')}, {inside}. Costs took {percent(-costs)}."
    )
    return [words]


def _earned_by(source: Source, name: str) -> str:
    t = f" (t {source.t_statistic:+.1f})" if np.isfinite(source.t_statistic) else ""
    return f"{name} {percent(source.earned, sign=True)}{t}"


def chance(found: Significance | None, own: Figures) -> list[str]:
    """Whether chance explains the result: the verdict, then what it rests on."""
    evidence = "Take no figure here for skill." if found is None else " ".join(_evidence(found))
    return [f"{beyond_chance(found, own)}. {evidence}"]


def beyond_chance(found: Significance | None, own: Figures) -> str:
    """The verdict; "beyond" only where every test was made and passed."""
    if found is None:
        return "Whether chance explains this was not looked into"
    failed = [name for name, good in _passed(found).items() if not good]
    if own.bankrupt or not own.total_return > 0:
        return "Nothing was earned that could be beyond chance"
    if failed:
        return f"Not beyond chance: {_listed(failed)} would be needed"
    if None in (found.deflated, found.permutation, found.intervals):
        return "Beyond chance as far as was looked, which is not far enough to say so"
    return "Beyond what chance explains, by every test here"


def _passed(found: Significance) -> dict[str, bool]:
    """By test, whether it finds skill; those that were not made are missing."""
    tests: dict[str, bool] = {}
    if found.intervals is not None:
        tests["an interval of the Sharpe ratio above 0"] = bool(found.intervals.sharpe[0] > 0)
    if found.permutation is not None:
        tests[f"a permutation p below {SURE:.0%}"] = bool(found.permutation.p_value < SURE)
    if found.deflated is not None:
        tests[f"a deflated Sharpe ratio above {_PROBABLE:.0%}"] = bool(found.deflated.probability > _PROBABLE)
    return tests


def _evidence(found: Significance) -> list[str]:
    told: list[str] = []
    moved = found.permutation
    if moved is None:
        told.append("No run with moved regimes was made: there is no p-value.")
    elif math.isnan(moved.p_value):
        told.append("There is no p-value: it never traded.")
    else:
        told.append(
            f"With regimes and forecasts moved in time the same strategy did as well: p\u00a0"
            f"{p_text(moved.p_value)} ({moved.runs} runs; Sharpe {number(moved.observed)}, theirs "
            f"{number(moved.null_median)} in the middle)."
        )
    deflated = found.deflated
    if deflated is None:
        told.append("What else was tried was not recorded: the Sharpe ratio is not deflated.")
    else:
        tried = f"{deflated.configurations} configuration{'s' if deflated.configurations != 1 else ''}"
        told.append(
            f"Deflated Sharpe ratio {percent(deflated.probability, 0)}: how often luck alone would do less well than "
            f"this after {tried} tried (as many as {deflated.effective:.1f} independent ones, the best of which "
            f"reaches {number(deflated.expected_best)} by luck)."
        )
    within = found.intervals
    if within is None:
        told.append(f"{found.days} days are too few for an interval.")
        return told
    told.append(
        f"95% of resampled histories: Sharpe {number(within.sharpe[0])} to {number(within.sharpe[1])}, "
        f"{percent(within.annual_return[0], 0, sign=True)} to {percent(within.annual_return[1], 0, sign=True)} a year."
    )
    return told


def _names(told: Reported) -> list[str]:
    """Whether names of direction had earned it, out of sample."""
    known = np.concatenate([market.known for market in told.markets.values()])
    if not known.any():
        return ["No bar has a published regime: what follows says nothing about regimes."]
    sure = np.concatenate([market.direction_significant for market in told.markets.values()])[known].mean()
    share = "none" if sure == 0 else percent(float(sure), 0)
    words = (
        f"Names of direction (Bear, Chop, Bull) rank states by their mean return; on {share} of the bars had those "
        "means been told apart out of sample before. Volatility regimes do not depend on it."
    )
    return [words]


def _funding(told: Reported, own: Figures) -> str:
    spot = told.spot
    if len(spot) < len(told.markets):
        whose = f" ({_listed(spot)}: spot, none)" if spot else ""
        if own.funding == 0:
            return f"Funding: none was due{whose}."
        verb = "paid" if own.funding > 0 else "received"
        return f"Funding {verb}: {abs(own.funding):,.0f} {told.quote}{whose}, in every figure here."
    shorts = bool((told.run.trades["side"] < 0).any())
    borrowed = " Short positions would have to be borrowed there, which nothing here pays for." if shorts else ""
    return f"Spot: no funding, neither paid nor received.{borrowed}"


def _hindered(own: Figures) -> Sequence[str]:
    told: list[str] = []
    if own.liquidations:
        told.append(f"Positions liquidated: {own.liquidations:,}.")
    if own.capped_orders:
        told.append(f"Orders cut down, or left undone, for lack of free equity: {own.capped_orders:,}.")
    if own.small_orders:
        told.append(f"Orders left undone, being below the least order: {own.small_orders:,}.")
    return told


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
