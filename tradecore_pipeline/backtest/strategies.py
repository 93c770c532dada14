"""Strategies' plans carried out by the engine: their orders, costs and rules, and the limits of their account."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

import numpy as np

from tradecore_pipeline.backtest.bars import BarArrays
from tradecore_pipeline.backtest.engine import run_backtest
from tradecore_pipeline.backtest.orders import Costs, Distance, Orders, Rules, Sizing
from tradecore_pipeline.backtest.portfolio import Holding, Likeness, PortfolioBacktest, run_portfolio
from tradecore_pipeline.backtest.results import Backtest
from tradecore_pipeline.backtest.state import Floats
from tradecore_pipeline.domain.errors import UsageError
from tradecore_pipeline.strategies.contracts import Plan
from tradecore_pipeline.strategies.reasons import Reason
from tradecore_pipeline.strategies.schema import StrategyConfig

CORRELATION_BARS = 168
"""Returns that the correlation of two positions is judged by: a week of hours."""


@dataclass(frozen=True, slots=True)
class Lots:
    """What the exchange lets one trade: sizes in whole ``lot`` coins, orders of at least ``minimum_notional`` quote."""

    lot: float
    minimum_notional: float


def run_plan(bars: BarArrays, plan: Plan, config: StrategyConfig, *, lots: Lots) -> Backtest:
    """Fills, trades and equity of one instrument's plan, whose rows are those of ``bars``.

    With ``portfolio_max_drawdown`` everything is closed at the open after the close at which equity is that far below
    its highest, and nothing is opened afterwards.

    Raises:
        UsageError: rows that differ in number, or capital, costs or rules that cannot be carried out.
    """
    if len(plan.side) != len(bars):
        raise UsageError(f"the plan has {len(plan.side)} rows for {len(bars)} bars: plan on the same bars")
    orders, rules = orders_of(plan, config, bars), rules_of(config, lots, rebalance=plan.rebalance)

    def run(orders: Orders) -> Backtest:
        capital = config.backtesting_parameters.initial_capital
        return run_backtest(bars, orders, costs=costs_of(config), rules=rules, capital=capital)

    found = run(orders)
    row = drawdown_row(found.equity, config)
    # Nothing before that row depends on what follows it, so that the second run is the first up to there.
    return found if row is None else run(stopped(orders, row))


@dataclass(frozen=True, slots=True)
class Planned:
    """One instrument's bars and what its strategy decided at the close of each."""

    bars: BarArrays
    plan: Plan


def run_plans(planned: Mapping[str, Planned], config: StrategyConfig, *, lots: Lots) -> PortfolioBacktest:
    """Fills, trades and equity of several instruments' plans on one account, with the configuration's limits for it.

    ``max_total_positions`` and ``total_capital_allocation`` limit what is opened and added to. Of both limits of
    correlation (``position_correlation_limit``, and ``correlation_threshold`` where
    ``require_portfolio_diversification`` is set) the lower one holds. ``portfolio_max_drawdown`` is that of the
    account, as in ``run_plan``.

    Raises:
        UsageError: as ``run_plan``, by instrument.
    """
    for name, one in planned.items():
        if len(one.plan.side) != len(one.bars):
            raise UsageError(f"{name}: the plan has {len(one.plan.side)} rows for {len(one.bars)} bars")
    together, most = config.portfolio_management, correlation_limit(config)
    holdings = holdings_of(planned, config, lots=lots)

    def run(holdings: Mapping[str, Holding]) -> PortfolioBacktest:
        return run_portfolio(
            holdings,
            capital=config.backtesting_parameters.initial_capital,
            maximum_positions=together.max_total_positions,
            allocation=together.total_capital_allocation,
            likeness=None if most >= 1 else Likeness(most=most, bars=CORRELATION_BARS),
        )

    found = run(holdings)
    row = drawdown_row(found.equity, config)
    if row is None:
        return found
    moment = found.ts_open[row]

    def ended(one: Holding) -> Holding:
        own = int(np.searchsorted(one.bars.ts_open, moment, side="right")) - 1
        return replace(one, orders=stopped(one.orders, max(own, 0)))

    return run({name: ended(one) for name, one in holdings.items()})


def holdings_of(planned: Mapping[str, Planned], config: StrategyConfig, *, lots: Lots) -> dict[str, Holding]:
    """The plans as the engine's orders, with their bars, costs and rules."""
    costs = costs_of(config)
    return {
        name: Holding(
            bars=one.bars,
            orders=orders_of(one.plan, config, one.bars),
            costs=costs,
            rules=rules_of(config, lots, rebalance=one.plan.rebalance),
        )
        for name, one in planned.items()
    }


def correlation_limit(config: StrategyConfig) -> float:
    """Most correlation that an entry may have with an open position; 1 is no limit."""
    limit = config.risk_management.position_correlation_limit
    if config.entry_criteria.require_portfolio_diversification:
        limit = min(limit, config.portfolio_management.correlation_threshold)
    return limit


def orders_of(plan: Plan, config: StrategyConfig, bars: BarArrays) -> Orders:
    """The plan as the engine's columns.

    A plan that rebalances says its target every ``rebalance_frequency`` bars and where its side changes; one that does
    not says it wherever it would open.
    """
    target: Floats = plan.side * plan.size
    if plan.rebalance:
        width = int(np.median(bars.ts_close - bars.ts_open))
        turn = (bars.ts_close // width) % config.portfolio_management.rebalance_frequency == 0
        turned = np.concatenate(([True], np.sign(target[1:]) != np.sign(target[:-1])))
        target = np.where(turn | turned, target, np.nan)
    else:
        target = np.where(plan.size > 0, target, np.nan)
    columns = {field.name: getattr(plan.exits, field.name) for field in fields(plan.exits)}
    return Orders.of(target, **columns)


def lots_of(config: StrategyConfig) -> Lots:
    """Lot and least order of the configuration."""
    costs = config.backtesting_parameters
    return Lots(costs.lot_size, costs.minimum_notional)


def costs_of(config: StrategyConfig) -> Costs:
    """Fees and slippage of the configuration."""
    costs = config.backtesting_parameters
    maker = costs.commission if costs.maker_commission is None else costs.maker_commission
    return Costs(maker=maker, taker=costs.commission, slippage=costs.slippage)


def rules_of(config: StrategyConfig, lots: Lots, *, rebalance: bool) -> Rules:
    """How the configuration's orders are carried out: isolated margin, sizes in multiples of equity."""
    parameters = config.backtesting_parameters
    return Rules(
        sizing=Sizing.EQUITY,
        distance=Distance.FRACTION,
        stop_first=parameters.stop_first,
        leverage=parameters.leverage,
        maintenance_margin=parameters.maintenance_margin,
        isolated=True,
        lot=lots.lot,
        minimum_notional=lots.minimum_notional,
        resize_step=parameters.rebalance_band if rebalance else np.inf,
        trail_by_bar=False,
    )


def drawdown_row(equity: Floats, config: StrategyConfig) -> int | None:
    """The first bar at whose close equity is ``portfolio_max_drawdown`` below its highest; None without one."""
    limit = config.risk_management.portfolio_max_drawdown
    if limit is None:
        return None
    highest = np.maximum.accumulate(np.maximum(equity, config.backtesting_parameters.initial_capital))
    beyond = np.flatnonzero(equity < (1 - limit) * highest)
    return int(beyond[0]) if len(beyond) else None


def stopped(orders: Orders, row: int) -> Orders:
    """``orders`` that close everything at bar ``row``'s close and open nothing from there on."""
    columns = {name: np.array(getattr(orders, name)) for name in ("target", "exit_long", "exit_short")}
    columns["target"][row:] = np.nan
    for name in ("exit_long", "exit_short"):
        columns[name][row] = int(Reason.RISK_LIMIT)
    return replace(orders, **columns)
