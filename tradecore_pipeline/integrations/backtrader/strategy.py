"""A Backtrader strategy around the decision function."""

import math
from dataclasses import dataclass
from typing import Any

from tradecore_pipeline.backtest.engine import RUINED
from tradecore_pipeline.backtest.orders import Rules
from tradecore_pipeline.backtest.strategies import costs_of, lots_of, rules_of
from tradecore_pipeline.domain.errors import UsageError
from tradecore_pipeline.integrations.backtrader.broker import PerpetualBroker
from tradecore_pipeline.integrations.backtrader.levels import Levels, Resting, whole_lots
from tradecore_pipeline.integrations.backtrader.library import bt
from tradecore_pipeline.strategies.contracts import Exits, Plan
from tradecore_pipeline.strategies.decision import StrategyStream
from tradecore_pipeline.strategies.reasons import Reason


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided at a close, for the next open."""

    target: float
    """Multiples of equity, short below zero; NaN is no order."""
    exit_long: int
    exit_short: int
    exits: Exits
    rules: Rules

    def exit_of(self, side: float) -> int:
        """The reason for which a position of that side is closed or not opened; 0 for none."""
        return self.exit_long if side > 0 else self.exit_short


class HMMLSTMStrategy(bt.Strategy):
    """Trades what a configuration's entry and exit mixins decide, bar by bar, with real Backtrader orders.

    The parameter ``logic`` is a ``tradecore_pipeline.strategies.decision.Strategy``: the complete strategy
    (HMMLSTMEntryMixin with HMMLSTMExitMixin), or any entry with any exit that its configuration names. It needs
    ``PerpetualBroker``, a feed of ``feed_of`` and ``cheat_on_open``; ``run.cerebro_of`` puts them together.
    """

    params = (("logic", None),)

    def __init__(self) -> None:
        if not isinstance(self.broker, PerpetualBroker) or not self.cerebro.p.cheat_on_open:
            raise UsageError("HMMLSTMStrategy needs PerpetualBroker and cheat_on_open: begin with run.cerebro_of")
        self._config = self.p.logic.config
        self._stream = StrategyStream(self.p.logic)
        self._decision: Decision | None = None
        self._levels: Levels | None = None
        self._placed: tuple[Resting, ...] = ()
        self._waiting: list[Any] = []
        self._seen = 0
        self._wished = math.nan
        self._highest = self._config.backtesting_parameters.initial_capital
        self._halted = False
        self.capped_orders = self.small_orders = 0
        """Orders cut down, or left undone, for want of free equity; left undone below the least order."""

    @property
    def rules(self) -> Rules:
        """How orders are carried out, but for resizing, which the entry decides."""
        return rules_of(self._config, lots_of(self._config), rebalance=False)

    def prenext(self) -> None:
        """Indicators of a subclass that are not ready yet delay nothing here."""
        self.next()

    def prenext_open(self) -> None:
        """As ``prenext``."""
        self.next_open()

    def next(self) -> None:
        """The bar has closed: its row is decided on, and what rests with the broker follows it."""
        bar = len(self.data) - 1
        if self._levels is not None:
            self._follow(self._levels)
        market = self.data.p.market
        self._decision = self._decided(self._stream.update(market.rows(bar, bar + 1)), bar)

    def next_open(self) -> None:
        """The next bar has opened: settlements, levels that the open jumped over, exits, entries, and new levels."""
        bar, opened = len(self.data) - 1, self.data.open[0]
        self.broker.settle(self.data, 2 * bar)
        decision = self._decision
        if decision is not None:
            left = self._leave(decision, bar, opened)
            self._go(decision, bar, opened, left)
        self.broker.settle(self.data, 2 * bar + 1)

    # --- at the close ---

    def _follow(self, levels: Levels) -> None:
        if not self.position.size:
            self._levels = None
            self._place(())
            return
        best = self.data.high[0] if levels.side > 0 else self.data.low[0]
        levels.reached(best)
        levels.see(best)
        for fill in self.broker.fills[self._seen :]:
            levels.see(fill.price)
        self._seen = len(self.broker.fills)
        levels.follow()
        self._place(levels.resting(self.position.size, self.position.price, self.rules))

    def _decided(self, plan: Plan, bar: int) -> Decision:
        wished, before = float(plan.side[0] * plan.size[0]), self._wished
        self._wished = wished
        target = wished if wished != 0.0 else math.nan
        if plan.rebalance:
            bars, every = self.data.p.bars, self._config.portfolio_management.rebalance_frequency
            width = int(self.data.p.market.timeframe.duration.total_seconds()) * 10**9
            turn = int(bars.ts_close[bar]) // width % every == 0
            target = wished if turn or _sign(wished) != _sign(before) else math.nan
        long, short = int(plan.exits.exit_long[0]), int(plan.exits.exit_short[0])
        if self._halted:
            target = math.nan
        elif self._fallen_too_far():
            self._halted, target, long, short = True, math.nan, int(Reason.RISK_LIMIT), int(Reason.RISK_LIMIT)
        rules = rules_of(self._config, lots_of(self._config), rebalance=plan.rebalance)
        return Decision(target, long, short, plan.exits, rules)

    def _fallen_too_far(self) -> bool:
        limit, equity = self._config.risk_management.portfolio_max_drawdown, self.broker.getvalue()
        self._highest = max(self._highest, equity)
        return limit is not None and equity < (1 - limit) * self._highest

    # --- at the open ---

    def _leave(self, decision: Decision, bar: int, opened: float) -> int:
        """Closes at the open what is to be closed; the side that was."""
        levels = self._levels
        if levels is None:
            return 0
        self.broker.auction()
        levels.reached(opened)
        if self.position.size:
            reason = decision.exit_of(levels.side)
            if not reason and decision.target * levels.side <= 0:
                reason = Reason.TARGET_POSITION
            if not reason and bar >= levels.until:
                reason = Reason.MAX_HOLDING
            if not reason:
                return 0
            self._place(())
            self._send(-self.position.size, Reason(reason))
        self._levels = None
        self._place(())
        return levels.side

    def _go(self, decision: Decision, bar: int, opened: float, left: int) -> None:
        """Opens, or resizes what is held on the target's side, and renews the orders that protect it."""
        target, rules, levels = decision.target, decision.rules, self._levels
        worth = self.broker.worth(self.data, opened)
        side = _sign(target)
        ordered = 0.0
        if side and worth > self._config.backtesting_parameters.initial_capital * RUINED:
            if levels is None and side != left and not decision.exit_of(side):
                ordered = self._order(rules, opened, worth, target * worth / opened, Reason.ENTRY)
                if ordered:
                    entry, self._seen = self.position.price, len(self.broker.fills)
                    self._levels = Levels.of(decision.exits, side, entry, size=ordered, ordered=target, bar=bar)
            elif levels is not None and abs(target - levels.ordered) > rules.resize_step:
                ordered = self._order(rules, opened, worth, target * worth / opened, Reason.RESIZE)
                if ordered:
                    levels.ordered, levels.base = target, ordered
        if self._levels is not None:
            self._place(self._levels.resting(self.position.size, self.position.price, rules))

    def _order(self, rules: Rules, opened: float, worth: float, wished: float, reason: Reason) -> float:
        """A market order towards ``wished`` coins, as far as free equity, lots and the least order allow.

        Coins held after it, without sign; 0 where nothing was ordered.
        """
        side, size, held, costs = _sign(wished), abs(wished), abs(self.position.size), costs_of(self._config)
        if size == held:
            return 0.0
        free = worth - min(size, held) * self.position.price / rules.leverage
        needed = (size - held) * (opened * (1.0 + costs.slippage) * (1.0 / rules.leverage + costs.taker))
        capped = size > held and needed > free
        if capped:
            size = held + (size - held) * (max(free, 0.0) / needed)
        size = whole_lots(size, rules.lot)
        change = side * size - self.position.size
        too_small = size == 0 or abs(change) * opened < rules.minimum_notional
        self.capped_orders += capped
        if not change or too_small:
            self.small_orders += not capped
            return 0.0
        self._send(change, reason)
        return size

    def _send(self, units: float, reason: Reason) -> None:
        """A market order, filled at this open."""
        (self.buy if units > 0 else self.sell)(size=abs(units), exectype=bt.Order.Market, reason=reason)
        self.broker.auction()

    def _place(self, orders: tuple[Resting, ...]) -> None:
        """Rests ``orders`` with the broker in place of those before; the same ones stay."""
        if orders == self._placed:
            return
        for order in self._waiting:
            self.cancel(order)
        act = self.sell if self.position.size > 0 else self.buy
        self._waiting = [
            act(
                size=order.size,
                price=order.price,
                exectype=bt.Order.Limit if order.limit else bt.Order.Stop,
                reduce_only=True,
                reason=order.reason,
                liquidation=order.liquidation,
                bankrupt=order.bankrupt,
            )
            for order in orders
        ]
        self._placed = orders


def _sign(value: float) -> int:
    return int(value > 0) - int(value < 0)
