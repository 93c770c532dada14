"""Backtests that pay funding and know what happened inside a bar.

This page is the contract; importing it costs nothing.

    from tradecore_pipeline.backtest.bars import BarArrays, Funding
    from tradecore_pipeline.backtest.orders import Costs, Orders, Rules
    from tradecore_pipeline.backtest.engine import run_backtest          # compiled; `twin` says the same slowly
    from tradecore_pipeline.backtest.portfolio import Holding, run_portfolio

    bars = BarArrays.of(frame, funding=Funding.of(ts_settle, rate, mark), inner=None)
    result = run_backtest(bars, Orders.of(target, stop=atr_stop), costs=costs, rules=rules, capital=100_000.0)
    result.by_bar, result.fills, result.trades, result.totals

**What goes in.** Row i of every order column is decided at bar i's close and carried out at bar i + 1's open; the last
row never is. A column holds one row per bar, or one constant. Moments are ns since 1970, prices float64, and both are
checked once, when ``BarArrays`` is made. Bars may be missing, never out of order.

- ``target``: the position wanted from the next open on, in multiples of equity or in coins (``Rules.sizing``), short
  below zero. NaN is no order: what is held stays. 0 closes, the other sign closes and opens. The same sign resizes if
  it differs from the target *last ordered* by more than ``Rules.resize_step``; a constant target is thus bought once
  and never rebalanced. While nothing is held, any target that is neither NaN nor 0 opens: repeat it on each bar and
  the strategy goes in again after a stop; give it once, NaN after, and it does not.
- ``exit_long``, ``exit_short``: the ``Reason`` for which a position of that side is closed at the next open (0: none).
  The same row opens no position of that side.
- ``stop``, ``profit``, ``trail``, ``trail_activation``, ``breakeven``, ``breakeven_offset``, ``partial_distance`` and
  ``partial_fraction``, ``max_holding_bars``: read in the row that opens the position; positive distances from its fill
  price, in quote currency or as a fraction of it (``Rules.distance``). Resizing leaves them where they are.

**What happens in a bar, in this order.**

1. Settlements up to its open, on what was held before it: a position closed at that open pays, one opened at it does
   not. Longs pay positive rates: units x mark x rate.
2. Resting orders that the open has jumped over fill at the open.
3. What closes a position at the open; the first reason counts: exit flag, target of 0 or of the other side, holding
   time (a position opened at bar b is closed at the open of b + ``max_holding_bars``). What was closed in 2 or 3 is
   not opened again on the same side at this open.
4. Opening and resizing: a market order at the open. Equity is what it is worth at this open. What margin and fee the
   free equity does not carry is cut off (``capped_orders``); below one lot or the least notional nothing is done
   (``small_orders``).
5. Settlements inside the bar, on what is held now.
6. Stop, liquidation, partial exits and profit target against the bar's high and low. If both directions were reached,
   the stop fills (``Rules.stop_first``), else first the targets. Touching a level fills it.
7. The bar has closed: trailing (``trail`` behind the best price since the entry, once that is ``trail_activation``
   ahead) and breakeven (to entry + ``breakeven_offset``, once the best price is ``breakeven`` ahead) move the stop,
   never away from the price. They act from the next bar on: never a bar's high before its low.

With ``inner`` bars 1 (from the second on), 2, 5, 6 and 7 go through them one by one; orders still wait for the outer
open.

**Costs.** Market orders and stops pay ``taker`` and are filled ``slippage`` worse; targets pay ``maker`` at their
price, or the open's where that is better. Equity = cash + position x close at each close; margin is not taken out of
cash.

**Leverage.** Margin is what was paid for the position over the leverage. Isolated: at the price where the margin has
fallen to ``maintenance_margin`` of the notional it is lost whole and nothing more, whatever the gap; a stop never
fills worse than that. Cross: all equity stands behind the position and is lost. Traded prices stand for mark prices.
Funding is paid from cash, so isolated liquidation does not move with it.

**What comes out.** ``Backtest``: ``equity``, ``cash``, ``position``, ``margin`` (bars,) and ``by_bar``; ``fills``;
``trades``, one row from flat to flat: ``entry_time exit_time entry_bar exit_bar side units entry_price exit_price``
(averages of all fills that add or reduce; ``units`` is all that was added) ``reason open fees slippage funding pnl mae
mfe``. ``pnl`` is net of fees, slippage and funding (positive = paid). ``mae`` and ``mfe`` are fractions of the first
fill's price, signed by side; of the bar that ends the trade only the fill counts. A position that is open at the end
stays so: ``open``, marked at the last close without costs. So capital + the sum of ``pnl`` = final equity. ``totals``
sums it up. Fills inside a bar bear the close by which they had happened.

**Rules that need the position or the equity** are a numba-compiled ``decide(i, view, params, plan)``, called at each
close, that writes row i of ``plan``'s columns (begin with ``Orders.blank``); ``view`` has the places ``V_...`` of
``state``. It is compiled once per process, so what can be written as columns should be.

**Portfolios.** ``run_portfolio`` shares cash among instruments on the union of their bars; decisions wait for the
instrument's own next bar. At each moment all instruments do 1 to 3, then all are sized on the same equity (those
without a bar at their last close), then 4 to 7. When places (``maximum_positions``) are short the larger target goes
first; when equity is, all increases are cut in the same proportion. Isolated margin only.
"""
