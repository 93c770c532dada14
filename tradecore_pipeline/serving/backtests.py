"""A strategy run on a home's published regimes, judged, and put together for reports and storage."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

import pandas as pd

from tradecore_pipeline.backtest.account import Account
from tradecore_pipeline.backtest.benchmarks import BUY_AND_HOLD, VOLATILITY_MATCHED, buy_and_hold, volatility_matched
from tradecore_pipeline.backtest.metrics import performance, sharpe_of
from tradecore_pipeline.backtest.permutation import permutation_null
from tradecore_pipeline.backtest.plain import plain
from tradecore_pipeline.backtest.portfolio import PortfolioBacktest
from tradecore_pipeline.backtest.ratios import drawdown, volatility
from tradecore_pipeline.backtest.results import Backtest
from tradecore_pipeline.backtest.significance import Permutation, Significance, significance
from tradecore_pipeline.backtest.strategies import Planned, holdings_of, lots_of, run_plan, run_plans
from tradecore_pipeline.domain.errors import NotEnoughHistoryError
from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.serving.backtest_run import Reported, labels_by_volatility
from tradecore_pipeline.serving.own_mixins import Mixins
from tradecore_pipeline.serving.strategy_markets import Gathered
from tradecore_pipeline.storage.strategy_ledger import Trial, configuration_digest
from tradecore_pipeline.strategies.decision import Strategy
from tradecore_pipeline.strategies.market import NO_STATE, Market
from tradecore_pipeline.strategies.schema import StrategyConfig
from tradecore_pipeline.tuning.strategies import Choice, Rolling, TuningPlan

Run = Backtest | PortfolioBacktest

LEAST_SHIFT_DAYS = 7
"""Labels are moved at least so far for the permutation null: longer than a regime usually lasts."""


@dataclass(frozen=True, slots=True)
class Judging:
    """How thoroughly chance is looked into."""

    permutations: int
    repetitions: int
    """Resamples of the intervals."""
    seed: int


def simulate(strategy: Strategy, markets: Mapping[str, Market], gathered: Sequence[Gathered]) -> Run:
    """The strategy on ``markets``, filled on the bars of ``gathered``: several instruments share one account.

    Raises:
        UsageError: capital, costs or rules that cannot be carried out.
        InvalidDataError: the strategy's limits are impossible somewhere.
    """
    return carried_out(_planned(strategy, markets, gathered), strategy.config)


def carried_out(planned: Mapping[str, Planned], config: StrategyConfig) -> Run:
    """The plans on one account; raises as ``simulate``."""
    lots = lots_of(config)
    if len(planned) > 1:
        return run_plans(planned, config, lots=lots)
    (one,) = planned.values()
    return run_plan(one.bars, one.plan, config, lots=lots)


@dataclass(frozen=True, slots=True)
class Attempt:
    """A strategy that was run, and is not judged yet."""

    strategy: Strategy
    gathered: tuple[Gathered, ...]
    run: Run
    tuning: Mapping[str, Any] | None
    """How its parameters were chosen month by month, and what was chosen; None where they stand in the file."""
    sources: Mapping[str, str]
    """Digests of the user's own code that decides, by mixin (``Mixins.used``); empty where all of it is ours."""

    @classmethod
    def of(cls, strategy: Strategy, gathered: Sequence[Gathered], *, sources: Mapping[str, str]) -> Self:
        """The run on what was gathered; raises as ``simulate``."""
        own = tuple(gathered)
        return cls(strategy, own, simulate(strategy, _markets(own), own), tuning=None, sources=sources)

    @classmethod
    def tuned(
        cls,
        strategy: Strategy,
        gathered: Sequence[Gathered],
        plan: TuningPlan,
        *,
        mixins: Mixins,
        done: Callable[[str], None],
    ) -> Self:
        """The run with parameters that are chosen for each month on the bars before it; raises as ``Rolling.run``."""
        own = tuple(gathered)
        funding = {str(one.instrument): one.bars.funding for one in own}
        rolling = Rolling(strategy.config, mixins.registry, _markets(own), funding, plan)
        plans, choices = rolling.run(done=done)
        planned = {str(one.instrument): Planned(one.bars, plans[str(one.instrument)]) for one in own}
        config = strategy.config.model_copy(update={"name": f"{strategy.config.name}_tuned"})
        told = {"bars": plan.bars, "trials": plan.trials, "seed": plan.seed, "months": [_told(one) for one in choices]}
        run, sources = carried_out(planned, config), mixins.used(config)
        return cls(Strategy(config, strategy.entry, strategy.exit), own, run, tuning=told, sources=sources)

    @property
    def markets(self) -> dict[str, Market]:
        """By instrument, in the order of the run's ledgers."""
        return _markets(self.gathered)

    @property
    def digest(self) -> str:
        """Of everything that decides a trade."""
        asked = {} if self.tuning is None else {"tuning": {key: self.tuning[key] for key in ("bars", "trials", "seed")}}
        # A key of its own only where there is own code: what was recorded without any keeps its digest.
        code = {"sources": dict(self.sources)} if self.sources else {}
        return configuration_digest(self.strategy.config.model_dump(mode="json") | asked | code)

    def trial(self, now: datetime) -> Trial:
        """The run as the ledger of everything that was tried counts it."""
        config = self.strategy.config
        return Trial.of(
            self.digest,
            Account.of(self.run).daily,
            name=config.name,
            instruments=list(self.markets),
            sharpe=sharpe_of(self.run),
            at=now,
        )


def judged(attempt: Attempt, *, market: str, trials: pd.DataFrame | None, judging: Judging) -> Reported:
    """The run with everything that is said of it.

    Args:
        attempt: the run.
        market: whose days the home holds.
        trials: daily returns of everything that was tried on the timeframe, this run among it
            (``StrategyLedger.returns``); None to judge it alone.
        judging: how thoroughly.
    """
    config, markets = attempt.strategy.config, attempt.markets
    compared, notes = _benchmarks(attempt), [note for one in attempt.gathered for note in one.notes]
    if attempt.tuning is not None:
        notes.append(
            f"the same {attempt.tuning['trials']} choices of parameters were judged for each month: each counts as a "
            "configuration that was tried, by its run over the whole period"
        )
    chance = _significance(attempt, trials, judging, notes)
    names = {
        "volatility_regime": [labels_by_volatility(one) for one in markets.values()],
        "regime": [one.regime for one in markets.values()],
    }
    return Reported(
        config=config,
        markets=markets,
        run=attempt.run,
        performance=performance(attempt.run, regimes=names, benchmarks=compared, significance=chance),
        benchmarks=compared,
        facts=_facts(config, attempt.gathered, market),
        notes=(*notes, *_beyond_limits(config, attempt.run)),
    )


def result_document(attempt: Attempt, told: Reported, *, market: str) -> dict[str, Any]:
    """The run as JSON values, without its trades and equity."""
    return {
        "strategy": told.config.name,
        "timeframe": told.config.timeframe,
        "instruments": list(told.markets),
        "market": market,
        "configuration": attempt.digest,
        "config": told.config.model_dump(mode="json"),
        "tuning": attempt.tuning,
        "performance": told.performance.to_json(),
        "facts": dict(told.facts),
        "notes": [*told.notes, *spoken_notes(told)],
    }


def _planned(strategy: Strategy, markets: Mapping[str, Market], gathered: Sequence[Gathered]) -> dict[str, Planned]:
    return {str(one.instrument): Planned(one.bars, strategy.plan(markets[str(one.instrument)])) for one in gathered}


def _told(choice: Choice) -> dict[str, Any]:
    return plain({
        "month": f"{choice.month:%Y-%m}", "chosen": dict(choice.chosen), "sharpe_before": choice.sharpe,
        "own_sharpe_before": choice.own_sharpe,
    })  # fmt: skip


def _markets(gathered: Sequence[Gathered]) -> dict[str, Market]:
    return {str(one.instrument): one.market for one in gathered}


def _benchmarks(attempt: Attempt) -> dict[str, Run]:
    """Buy and hold, and the same at the strategy's volatility where it had one."""
    config, markets, account = attempt.strategy.config, attempt.markets, Account.of(attempt.run)
    planned = _planned(attempt.strategy, markets, attempt.gathered)
    holdings, capital = (
        holdings_of(planned, config, lots=lots_of(config)),
        config.backtesting_parameters.initial_capital,
    )
    found: dict[str, Run] = {BUY_AND_HOLD: buy_and_hold(holdings, capital=capital)}
    own = volatility(account.returns, periods_per_year=account.periods_per_year)
    if account.ruined_at is None and own > 0:
        found[VOLATILITY_MATCHED] = volatility_matched(
            holdings,
            {name: market.volatility for name, market in markets.items()},
            capital=capital,
            annual_volatility=own,
            most=config.backtesting_parameters.leverage,
            band=config.backtesting_parameters.rebalance_band,
        )
    return found


def _significance(
    attempt: Attempt, trials: pd.DataFrame | None, judging: Judging, notes: list[str]
) -> Significance | None:
    """What chance explains; None, with a note, where there are too few days to tell."""
    permutation = _permutation(attempt, judging, notes)
    try:
        return significance(
            Account.of(attempt.run).daily,
            trials,
            permutation=permutation,
            repetitions=judging.repetitions,
            seed=judging.seed,
        )
    except NotEnoughHistoryError as error:
        notes.append(f"nothing is said about chance: {error}")
        return None


def _permutation(attempt: Attempt, judging: Judging, notes: list[str]) -> Permutation | None:
    if attempt.tuning is not None:
        notes.append("no permutation null: parameters that are chosen month by month would have to be chosen anew")
        return None
    timeframe, observed = Timeframe.parse(attempt.strategy.config.timeframe), sharpe_of(attempt.run)
    try:
        found = permutation_null(
            attempt.markets,
            lambda moved: simulate(attempt.strategy, moved, attempt.gathered),
            observed=observed,
            runs=judging.permutations,
            least_shift=LEAST_SHIFT_DAYS * timeframe.bars_per_day,
            seed=judging.seed,
        )
    except NotEnoughHistoryError as error:
        notes.append(f"no permutation null: {error}")
        return None
    if found.null_median == found.null_95 == observed:
        notes.append("no permutation null: the strategy trades alike whatever regimes and forecasts say")
        return None
    return found


def _facts(config: StrategyConfig, gathered: Sequence[Gathered], market: str) -> dict[str, str]:
    facts = {"market": market, "timeframe": config.timeframe}
    for one in gathered:
        index = one.market.bars.index
        facts[f"{one.instrument}, bars"] = (
            f"{index[0]:%Y-%m-%d %H:%M} to {index[-1]:%Y-%m-%d %H:%M} UTC, {len(index):,}"
        )
        for name, words in (("hmm_run_id", "regime models"), ("forecast_run_id", "forecasts")):
            facts[f"{one.instrument}, {words}"] = ", ".join(one.runs[name])
    return facts


def spoken_notes(told: Reported) -> list[str]:
    """What a report's own words say, for those who read figures without it."""
    notes: list[str] = []
    for name, market in told.markets.items():
        known = market.held != NO_STATE
        if known.any() and not market.direction_significant[known].any():
            notes.append(
                f"{name}: the states' mean returns never differed significantly out-of-sample, so that Bear, Chop and "
                "Bull are names, no forecasts of direction"
            )
    totals, bars, warmup = told.run.totals, len(told.account.ts_open), told.config.backtesting_parameters.warmup
    if not totals.trades:
        why = f": all {bars:,} bars are within the warmup of {warmup:,}" if warmup >= bars else ""
        notes.append(f"nothing was traded{why}")
    if totals.small_orders:
        notes.append(f"{totals.small_orders} orders were below one lot or the least order and were left undone")
    if totals.capped_orders:
        notes.append(f"{totals.capped_orders} orders were cut to what equity and limits allowed")
    return notes


def _beyond_limits(config: StrategyConfig, run: Run) -> list[str]:
    deepest, limit = -drawdown(Account.of(run).returns).depth, config.monitoring.max_drawdown
    if deepest <= limit:
        return []
    return [f"the drawdown of {deepest:.1%} is beyond monitoring.max_drawdown, {limit:.0%}"]


def of_timeframe(config: StrategyConfig, timeframe: Timeframe) -> StrategyConfig:
    """The same strategy on bars of another length; what it counts in bars then lasts longer or shorter."""
    return config if config.timeframe == timeframe.name else config.model_copy(update={"timeframe": timeframe.name})
