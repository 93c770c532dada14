"""A backtest as it is told: the run with all that belongs to it, and what of it pictures and tables share."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from tradecore_pipeline.backtest.account import Account
from tradecore_pipeline.backtest.benchmarks import BUY_AND_HOLD, VOLATILITY_MATCHED
from tradecore_pipeline.backtest.metrics import Performance
from tradecore_pipeline.backtest.portfolio import PortfolioBacktest
from tradecore_pipeline.backtest.results import Backtest, Ledger, utc
from tradecore_pipeline.backtest.state import Floats
from tradecore_pipeline.domain.errors import UsageError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.models.direction import legend_names, volatility_labels
from tradecore_pipeline.serving.backtest_series import chosen, column
from tradecore_pipeline.strategies.market import NO_STATE, Market
from tradecore_pipeline.strategies.schema import StrategyConfig

BENCHMARK_NAMES = {BUY_AND_HOLD: "buy & hold", VOLATILITY_MATCHED: "buy & hold at the same volatility"}


@dataclass(frozen=True, kw_only=True)
class Reported:
    """One run and what is said of it."""

    config: StrategyConfig
    markets: Mapping[str, Market]
    """By instrument, in the order of the run's ledgers; each has the rows of its ledger's bars."""
    run: Backtest | PortfolioBacktest
    performance: Performance
    benchmarks: Mapping[str, Backtest | PortfolioBacktest]
    """The runs that ``performance`` was given."""
    facts: Mapping[str, str]
    """On data and models, as a table: the window, MLflow run ids and what else there is to know."""
    notes: Sequence[str]
    """What else has to be said, a sentence each."""

    def __post_init__(self) -> None:
        """Refuses markets that are not those of the run.

        Raises:
            UsageError: another number of instruments, or of bars.
        """
        ledgers = list(self.account.ledgers.values())
        if [len(market) for market in self.markets.values()] != [len(ledger.bars) for ledger in ledgers]:
            raise UsageError("backtest report: give the markets that the run traded, in its order and on its bars")

    @cached_property
    def account(self) -> Account:
        """Equity, fills and trades, whether of one instrument or several."""
        return Account.of(self.run)

    @property
    def parts(self) -> Iterator[tuple[str, Market, Ledger]]:
        """Each instrument with its market, fills and trades."""
        for (name, market), ledger in zip(self.markets.items(), self.account.ledgers.values(), strict=True):
            yield name, market, ledger

    @property
    def instruments(self) -> str:
        """What was traded, in words."""
        return ", ".join(self.markets)

    @property
    def quote(self) -> str:
        """Currency of the account."""
        return Instrument.parse(next(iter(self.markets))).symbol.partition("/")[2].partition(":")[0]

    @property
    def spot(self) -> list[str]:
        """The instruments that settle no funding."""
        return [name for name in self.markets if not Instrument.parse(name).is_perpetual]

    @cached_property
    def ts_open(self) -> pd.DatetimeIndex:
        """Of the account's bars."""
        return opens(self.account)

    @cached_property
    def closed(self) -> pd.DataFrame:
        """The trades that were closed."""
        return chosen(self.run.trades, ~self.run.trades["open"])

    @cached_property
    def results(self) -> Floats:
        """Net result of each closed trade over the value that it entered."""
        return column(self.closed, "pnl") / (column(self.closed, "units") * column(self.closed, "entry_price"))

    @cached_property
    def before(self) -> Floats:
        """What the account was worth before each bar."""
        return np.concatenate(([self.account.capital], self.account.value[:-1]))


def opens(account: Account) -> pd.DatetimeIndex:
    """When the bars of ``account`` open."""
    return utc(account.ts_open)


def state_names(market: Market) -> tuple[str, ...]:
    """Names of the states by volatility, calmest first."""
    return legend_names(market.equal_states[market.held != NO_STATE], states=market.probabilities.shape[1])


def labels_by_volatility(market: Market) -> "np.ndarray":
    """The name by volatility of each bar's state, known at its close; empty where there is none."""
    return volatility_labels(market.held, market.equal_states, states=market.probabilities.shape[1])
