"""Backtrader's broker with the engine's costs: perpetual futures, orders that only reduce, settlements, liquidation."""

from dataclasses import dataclass
from typing import Any

from tradecore_pipeline.integrations.backtrader.library import bt
from tradecore_pipeline.strategies.reasons import Reason


@dataclass(frozen=True, slots=True)
class Fill:
    """One fill; ``slippage`` is what it cost, ``held`` what there was after it; quote currency and coins."""

    bar: int
    at_open: bool
    reason: Reason
    units: float
    price: float
    fee: float
    slippage: float
    held: float


@dataclass(frozen=True, slots=True)
class Payment:
    """A settlement that was paid (below zero: received); ``fills`` is how many there had been before it."""

    fills: int
    amount: float


class PerpetualTerms(bt.CommInfoBase):
    """A perpetual future: nothing is paid for a position, its gains and losses are cash, fees are set by fill."""

    params = (("stocklike", False), ("commtype", bt.CommInfoBase.COMM_PERC), ("percabs", True))

    rate = 0.0
    """Fee of the fill at hand, a fraction of the traded value."""

    def getoperationcost(self, size: float, price: float) -> float:  # noqa: ARG002 (Backtrader's signature)
        """Nothing: margin is not taken out of cash."""
        return 0.0

    getvaluesize = getvalue = getoperationcost

    def _getcommission(self, size: float, price: float, pseudoexec: bool) -> float:  # noqa: ARG002, FBT001 (as above)
        return abs(size) * price * self.rate


class PerpetualBroker(bt.brokers.BackBroker):
    """Fills as ``tradecore_pipeline.backtest`` says, of market, stop and limit orders.

    Orders know more than Backtrader's by keywords of ``buy`` and ``sell``: ``reason``; ``reduce_only`` (never more than
    closes the position); on stops ``bankrupt``, the price at which the margin is gone, and ``liquidation``, at which
    what is left is lost.
    """

    params = (("costs", None), ("payments", None), ("checksubmit", False))

    def init(self) -> None:
        """Begins anew, as Backtrader asks at the start of each run."""
        super().init()
        self.fills: list[Fill] = []
        self.paid: list[Payment] = []
        self.p.filler = self._fillable
        self._opening = False
        self._settled = 0

    def worth(self, data: Any, price: float) -> float:
        """Equity with the position in ``data`` at ``price``: cash is marked to the last close or fill."""
        held = self.positions[data]
        return self.cash + (held.size * (price - held.adjbase) if held.size else 0.0)

    def settle(self, data: Any, until: int) -> None:
        """Pays what is settled up to ``until`` (``Payments.when``: twice the bar, one more after its open).

        Straight from cash: ``add_cash`` would be a withdrawal, which Backtrader's fund value does not count as a loss.
        """
        when, paid = self.p.payments
        while when[self._settled] <= until:
            amount = float(self.positions[data].size * paid[self._settled])
            self._settled += 1
            if amount:
                self.cash -= amount
                self.paid.append(Payment(len(self.fills), amount))

    def auction(self) -> None:
        """Fills at the open, in their order, what waits: market orders, and levels that the open has jumped over."""
        self._opening = True
        for _ in range(len(self.pending)):
            order = self.pending.popleft()
            if order.active():
                self._try_exec(order)
            if order.alive():
                self.pending.append(order)
        self._opening = False

    def _fillable(self, order: Any, price: float, ago: int) -> float:  # noqa: ARG002 (Backtrader's signature)
        left, held = abs(order.executed.remsize), self.positions[order.data].size
        if not order.info.get("reduce_only"):
            return left
        return min(left, max(held if order.issell() else -held, 0.0))

    def _try_exec(self, order: Any) -> None:
        """An order against the bar's range; in the auction against its open alone."""
        data = order.data
        opened = data.open[0]
        high, low = (opened, opened) if self._opening else (data.high[0], data.low[0])
        if order.exectype == bt.Order.Market:
            slip = self.p.costs.slippage
            price = opened * (1.0 + slip) if order.isbuy() else opened * (1.0 - slip)
            self._fill(order, raw=opened, price=price, rate=self.p.costs.taker, at_open=True)
        elif order.exectype == bt.Order.Limit:
            self._try_limit(order, opened, high, low)
        elif order.exectype == bt.Order.Stop:
            self._try_stop(order, opened, high, low)
        elif not self._opening:
            super()._try_exec(order)

    def _try_limit(self, order: Any, opened: float, high: float, low: float) -> None:
        side = 1.0 if order.issell() else -1.0
        level, best = side * order.created.price, side * (high if order.issell() else low)
        if best >= level:
            price = side * max(level, side * opened)
            at_open = self._opening or side * opened >= level
            self._fill(order, raw=price, price=price, rate=self.p.costs.maker, at_open=at_open)

    def _try_stop(self, order: Any, opened: float, high: float, low: float) -> None:
        """A gap beyond fills at the open; no fill is worse than bankruptcy, and beyond liquidation nothing is left."""
        side, infinite = (1.0 if order.issell() else -1.0), float("inf")
        level, worst = side * order.created.price, side * (low if order.issell() else high)
        if worst > level:
            return
        at_open = self._opening or side * opened <= level
        liquidation = side * order.info.get("liquidation", -side * infinite)
        bankrupt = side * order.info.get("bankrupt", -side * infinite)
        if liquidation >= level or side * opened <= liquidation:
            order.addinfo(reason=Reason.LIQUIDATION)
            self._fill(order, raw=side * bankrupt, price=side * bankrupt, rate=0.0, at_open=at_open)
            return
        raw = side * min(level, side * opened)
        price = side * max(side * (raw * (1.0 - side * self.p.costs.slippage)), bankrupt)
        self._fill(order, raw=raw, price=price, rate=self.p.costs.taker, at_open=at_open)

    def _fill(self, order: Any, *, raw: float, price: float, rate: float, at_open: bool) -> None:
        if not self._fillable(order, price, 0):
            return
        terms, parts = self.getcommissioninfo(order.data), len(order.executed.exbits)
        terms.rate = rate
        self._execute(order, ago=0, price=price)
        terms.rate = self.p.costs.taker
        if len(order.executed.exbits) == parts:
            return
        units, held = float(order.executed.exbits[-1].size), float(self.positions[order.data].size)
        reason = order.info.get("reason", Reason.OTHER_RULE)
        size = abs(units)
        self.fills.append(
            Fill(len(order.data) - 1, at_open, reason, units, price, size * price * rate, size * abs(price - raw), held)
        )
