"""A strategy's parameters, chosen anew for each month on the bars before it, and applied to that month alone.

What is reported of such a run was never chosen on: a month's choice is known when the month begins.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from datetime import date
from typing import Any

import numpy as np
import pandas as pd

from tradecore_pipeline.backtest.account import Account
from tradecore_pipeline.backtest.bars import BarArrays, Funding
from tradecore_pipeline.backtest.ratios import sharpe
from tradecore_pipeline.backtest.strategies import Planned, lots_of, run_plan, run_plans
from tradecore_pipeline.domain.errors import NotEnoughHistoryError, UsageError
from tradecore_pipeline.domain.time import day_start, month_range
from tradecore_pipeline.strategies.contracts import Exits, Plan
from tradecore_pipeline.strategies.decision import Strategy
from tradecore_pipeline.strategies.market import Market
from tradecore_pipeline.strategies.registry import Registry
from tradecore_pipeline.strategies.schema import StrategyConfig

_RUIN = -1e6
"""The worth of an account that was lost."""


@dataclass(frozen=True, slots=True)
class Knob:
    """One number of a configuration, and where it is looked for."""

    section: str
    key: str
    low: float
    high: float
    log: bool

    @property
    def name(self) -> str:
        """As it stands in the file."""
        return f"{self.section}.{self.key}"


_KNOBS: Mapping[str, tuple[Knob, ...]] = {
    "HMMLSTMEntryMixin": (
        Knob("entry_criteria", "prediction_threshold", 0.0005, 0.05, log=True),
        Knob("entry_criteria", "regime_confidence_threshold", 0.4, 0.95, log=False),
    ),
    "HMMLSTMExitMixin": (
        Knob("risk_management", "stop_loss", 0.004, 0.08, log=True),
        Knob("risk_management", "profit_target", 0.004, 0.16, log=True),
        Knob("exit_criteria", "prediction_reversal_threshold", 0.0005, 0.05, log=True),
    ),
}
"""What is tuned, by mixin."""


@dataclass(frozen=True, slots=True)
class TuningPlan:
    """How much is tried for each month."""

    bars: int
    """Bars before the month that a choice is judged on."""
    trials: int
    """Choices, the configuration's own among them."""
    seed: int
    threads: int
    """Choices judged at a time; no figure depends on it."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen for one month."""

    month: date
    chosen: Mapping[str, float]
    """By knob; empty where the bars before the month were too few, and the configuration's own stand."""
    sharpe: float
    """Annual, on the bars before the month: the best of all trials, so that it flatters."""
    own_sharpe: float
    """The same of the configuration's own values."""


def knobs_of(config: StrategyConfig) -> tuple[Knob, ...]:
    """What can be tuned of a configuration.

    Raises:
        UsageError: nothing can.
    """
    found = (*_KNOBS.get(config.entry_logic.name, ()), *_KNOBS.get(config.exit_logic.name, ()))
    if not found:
        raise UsageError(
            f"{config.name}: nothing of {config.entry_logic.name} with {config.exit_logic.name} is tuned: choose a "
            f"strategy with {' or '.join(_KNOBS)}"
        )
    return found


def with_values(config: StrategyConfig, values: Mapping[str, float]) -> StrategyConfig:
    """The configuration with these values by ``Knob.name``."""
    sections: dict[str, dict[str, float]] = {}
    for name, value in values.items():
        section, _, key = name.partition(".")
        sections.setdefault(section, {})[key] = value
    return config.model_copy(
        update={section: getattr(config, section).model_copy(update=own) for section, own in sections.items()}
    )


def best_values(
    objective: Callable[[Mapping[str, float]], float], knobs: Sequence[Knob], own: Mapping[str, float], plan: TuningPlan
) -> tuple[Mapping[str, float], float, float]:
    """The values of the best of ``plan.trials`` choices, its worth, and that of ``own``, which is the first of them.

    The same objective, knobs and seed give the same choice, however many threads judge them.
    """
    asked = _drawn(knobs, own, plan)
    with ThreadPoolExecutor(plan.threads, thread_name_prefix="tune") as pool:
        worths = list(pool.map(objective, asked))
    best = int(np.argmax(worths))
    return asked[best], worths[best], worths[0]


def choices_of(config: StrategyConfig, plan: TuningPlan) -> list[Mapping[str, float]]:
    """The values by ``Knob.name`` that are judged for a month, the same for each; raises as ``knobs_of``."""
    knobs = knobs_of(config)
    return _drawn(knobs, _own_values(config, knobs), plan)


def _own_values(config: StrategyConfig, knobs: Sequence[Knob]) -> dict[str, float]:
    """The configuration's own, as near as the space has them."""

    def own(knob: Knob) -> float:
        value = getattr(getattr(config, knob.section), knob.key)
        return float(np.clip(knob.high if value is None else value, knob.low, knob.high))

    return {knob.name: own(knob) for knob in knobs}


def _drawn(knobs: Sequence[Knob], own: Mapping[str, float], plan: TuningPlan) -> list[Mapping[str, float]]:
    """``own``, and as many choices at random as make ``plan.trials``.

    None depends on another's worth: on so noisy a worth a sampler that follows it gains little.
    """
    import optuna  # noqa: PLC0415 (definitions must load without it)

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=plan.seed))
    study.enqueue_trial(dict(own))
    space: dict[str, optuna.distributions.BaseDistribution] = {
        knob.name: optuna.distributions.FloatDistribution(knob.low, knob.high, log=knob.log) for knob in knobs
    }
    return [study.ask(space).params for _ in range(plan.trials)]


@dataclass(frozen=True)
class Rolling:
    """A configuration on some instruments, to be tuned month by month."""

    config: StrategyConfig
    registry: Registry
    markets: Mapping[str, Market]
    funding: Mapping[str, Funding]
    plan: TuningPlan

    def run(self, *, done: Callable[[str], None]) -> tuple[dict[str, Plan], list[Choice]]:
        """Each instrument's decisions with each month's own values, and what was chosen.

        Raises:
            UsageError: nothing of the configuration is tuned.
            NotEnoughHistoryError: no month has enough bars before it.
        """
        own = knobs_of(self.config)
        choices: list[Choice] = []
        for month in self._months():
            choices.append(self._chosen(month, own))
            done(f"{month:%Y-%m}")
        if all(choice.chosen == {} for choice in choices):
            raise NotEnoughHistoryError(
                f"no month has {self.plan.bars} bars with regimes before it: tune on fewer, or over a longer period"
            )
        return {name: self._stitched(market, choices) for name, market in self.markets.items()}, choices

    def _months(self) -> list[date]:
        first = min(market.bars.index[0] for market in self.markets.values()).date()
        last = max(market.bars.index[-1] for market in self.markets.values()).date()
        return list(month_range(first, last))

    def _chosen(self, month: date, knobs: Sequence[Knob]) -> Choice:
        windows = {name: self._window(market, month) for name, market in self.markets.items()}
        if any(begin < 0 for begin, _ in windows.values()):
            return Choice(month, {}, float("nan"), float("nan"))
        own, judged = _own_values(self.config, knobs), self.objective(windows)
        values, sharpe, own_sharpe = best_values(judged, knobs, own, self.plan)
        return Choice(month, values, sharpe, own_sharpe)

    def _window(self, market: Market, month: date) -> tuple[int, int]:
        """First row of the bars before the month, below 0 where they are too few, and the row after the last."""
        end = _rows_before(market, month)
        known = np.flatnonzero(market.known)
        first = int(known[0]) if len(known) else len(market)
        return (end - self.plan.bars if end - self.plan.bars >= first else -1), end

    def objective(self, windows: Mapping[str, tuple[int, int]]) -> Callable[[Mapping[str, float]], float]:
        """The annual Sharpe ratio on the windows, net of all costs; 0 where nothing is traded."""
        parts = {name: market.rows(*windows[name]) for name, market in self.markets.items()}
        bars = {name: BarArrays.of(part.bars, funding=self.funding[name], inner=None) for name, part in parts.items()}
        judged = self._without_warm_up()
        # Computed once, before several threads ask for it.
        _ = [one.payments for one in bars.values()]

        def worth(values: Mapping[str, float]) -> float:
            config = with_values(judged, values)
            strategy = Strategy.of(config, self.registry)
            planned = {name: Planned(bars[name], strategy.plan(part)) for name, part in parts.items()}
            if len(planned) > 1:
                return _sharpe(Account.of(run_plans(planned, config, lots=lots_of(config))))
            (one,) = planned.values()
            return _sharpe(Account.of(run_plan(one.bars, one.plan, config, lots=lots_of(config))))

        return worth

    def _without_warm_up(self) -> StrategyConfig:
        parameters = self.config.backtesting_parameters.model_copy(update={"warmup": 0})
        return self.config.model_copy(update={"backtesting_parameters": parameters})

    def _stitched(self, market: Market, choices: Sequence[Choice]) -> Plan:
        """Each month's rows by that month's values; the last close before a month decides by the month before."""
        plans = [Strategy.of(with_values(self.config, one.chosen), self.registry).plan(market) for one in choices]
        return joined_plans(plans, [0, *(_rows_before(market, one.month) for one in choices[1:]), len(market)])


def _rows_before(market: Market, month: date) -> int:
    """How many bars have closed when the month begins."""
    closed = pd.DatetimeIndex(market.bars["ts_close"]) <= day_start(month)
    return int(np.count_nonzero(closed))


def _sharpe(account: Account) -> float:
    """Annual; 0 where nothing was traded, the worst there is where all was lost."""
    if account.ruined_at is not None:
        return _RUIN
    found = sharpe(account.returns, periods_per_year=account.periods_per_year)
    return found if np.isfinite(found) else 0.0


def joined_plans(plans: Sequence[Plan], bounds: Sequence[int]) -> Plan:
    """Rows from ``bounds[i]`` up to ``bounds[i + 1]`` of each plan i."""

    def joined(values: Sequence[Any]) -> Any:
        return np.concatenate([own[a:b] for own, a, b in zip(values, bounds[:-1], bounds[1:], strict=True)])

    exits = Exits(**{
        field.name: joined([getattr(plan.exits, field.name) for plan in plans]) for field in fields(Exits)
    })  # fmt: skip
    return replace(
        plans[0], side=joined([plan.side for plan in plans]), size=joined([plan.size for plan in plans]), exits=exits
    )
