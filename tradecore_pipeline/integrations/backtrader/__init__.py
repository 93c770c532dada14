"""The strategies inside Backtrader, with the engine's fills; needs the extra ``[backtrader]``, which is GPLv3.

    from tradecore_pipeline.integrations.backtrader.run import cerebro_of

    cerebro = cerebro_of(market, bars, Strategy.of(config, Registry()))
    strategy = cerebro.run()[0]
    strategy.analyzers.performance.get_analysis()      # sharpe, sortino, calmar, annual_return, win_rate ...
    strategy.analyzers.performance.backtest.trades     # the tables that ``run_plan`` leaves, from Backtrader's fills

Importing this page costs nothing; its modules import Backtrader, through ``library`` alone.

**How a bar goes.** ``next`` hands the bar that closed to the decision function's stream and moves the stops. At the
next bar ``next_open`` (Backtrader's cheat-on-open: of that bar only the open is read) pays the settlements up to the
open, lets the open fill what it has jumped over, and sends the market orders. Stop and limit orders then rest with the
broker, which holds them against the bar's high and low. Backtrader does the bookkeeping: orders, positions, cash.

**What is the broker's own** (``PerpetualBroker``), since Backtrader's has no such rule: slippage and the taker's fee on
market and stop orders only; orders that only reduce; several fills at one open, in order; settlements; liquidation at
the price where the margin is gone. Perpetuals are futures to it: cash is marked to each close and *is* the equity, and
``order_target_value`` and ``order_target_percent``, which ask for a position's cost, have no meaning.

**What it does not do.** One instrument, isolated margin, and no finer bars inside a bar (``intrabar`` must be
``"bars"``): a data feed of minutes would need a second clock. ``run_plan`` and ``run_plans`` do all of that.
"""
