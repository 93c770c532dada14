"""A Backtrader run of a configuration, put together."""

from typing import Any

from tradecore_pipeline.backtest.bars import BarArrays
from tradecore_pipeline.backtest.strategies import costs_of, lots_of, rules_of
from tradecore_pipeline.integrations.backtrader.analyzers import PerformanceAnalyzer
from tradecore_pipeline.integrations.backtrader.broker import PerpetualBroker, PerpetualTerms
from tradecore_pipeline.integrations.backtrader.feed import feed_of
from tradecore_pipeline.integrations.backtrader.library import bt
from tradecore_pipeline.integrations.backtrader.strategy import HMMLSTMStrategy
from tradecore_pipeline.strategies.decision import Strategy
from tradecore_pipeline.strategies.market import Market


def cerebro_of(market: Market, bars: BarArrays, strategy: Strategy) -> Any:
    """A ``Cerebro`` that trades ``strategy`` with the configuration's capital, costs and rules.

    It has the analyzer ``performance``; add others and observers as in any other run. ``bars`` are those of
    ``market``, with the settlements that are paid.

    Raises:
        UsageError: bars that do not belong to the market or have finer ones inside, or capital, costs or rules that
            cannot be carried out.
    """
    config = strategy.config
    capital = config.backtesting_parameters.initial_capital
    rules_of(config, lots_of(config), rebalance=False).check_capital(capital, float(bars.open[0]))
    cerebro: Any = bt.Cerebro(stdstats=False, cheat_on_open=True)
    cerebro.adddata(feed_of(market, bars))
    cerebro.broker = PerpetualBroker(cash=capital, costs=costs_of(config), payments=bars.payments)
    cerebro.broker.addcommissioninfo(PerpetualTerms())
    cerebro.addstrategy(HMMLSTMStrategy, logic=strategy)
    cerebro.addanalyzer(PerformanceAnalyzer, _name="performance")
    return cerebro
