"""A strategy's run over a home: its inputs read once, its results kept in the lake and, where asked for, in MLflow."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

from tradecore_pipeline.defs.older_models import older_opinions
from tradecore_pipeline.defs.resources import Adapters
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.market_data import REAL_MARKET
from tradecore_pipeline.serving.backtest_choices import tried_choices
from tradecore_pipeline.serving.backtest_home import backtest_home
from tradecore_pipeline.serving.backtest_report import write_backtest_report
from tradecore_pipeline.serving.backtest_results import place_of, store_backtest
from tradecore_pipeline.serving.backtest_run import Reported
from tradecore_pipeline.serving.backtest_sheet import tear_sheet
from tradecore_pipeline.serving.backtests import Attempt, Judging, judged, result_document
from tradecore_pipeline.serving.own_mixins import Mixins
from tradecore_pipeline.serving.strategy_markets import Gathered, gather, what_is_read
from tradecore_pipeline.storage.strategy_ledger import StrategyLedger
from tradecore_pipeline.strategies.decision import Strategy
from tradecore_pipeline.strategies.schema import StrategyConfig
from tradecore_pipeline.tuning.strategies import TuningPlan

PERMUTATIONS, REPETITIONS = 200, 1_000
"""Runs with regimes moved in time, and resamples of the intervals: p-values are good to half a hundredth."""

_METRICS = (
    "total_return", "annual_return", "annual_volatility", "sharpe", "sortino", "calmar", "max_drawdown", "exposure",
    "turnover", "fees", "slippage", "funding", "liquidations",
)  # fmt: skip


def market_of(adapters: Adapters) -> str:
    """Whose days the home holds."""
    return adapters.ledger.market() or REAL_MARKET


@dataclass(frozen=True)
class Done:
    """A run, kept."""

    told: Reported
    document: Mapping[str, Any]
    folder: Path


class BacktestDesk:
    """Runs strategies over one home; what several of them read alike is read once."""

    def __init__(
        self, adapters: Adapters, mixins: Mixins, *, market: str, tried: Path | None, notes: tuple[str, ...]
    ) -> None:
        """Ready to run.

        Args:
            adapters: of the home.
            mixins: the mixins that configurations may name.
            market: whose days the home holds.
            tried: the ledger's folder; None for that of the timeframe.
            notes: what has to be said of every run.
        """
        self._notes = notes
        self.market = market
        self._tried = tried
        self._adapters = adapters
        self._mixins = mixins
        self._home = backtest_home(
            adapters.lake,
            adapters.registry,
            recall=lambda *asked: older_opinions(adapters, *asked),
            label_threshold=adapters.settings.label_threshold,
        )
        self._gathered: dict[str, Gathered] = {}

    def attempt(
        self,
        config: StrategyConfig,
        instruments: Sequence[Instrument],
        *,
        first: date | None,
        last: date | None,
        tuning: TuningPlan | None,
    ) -> Attempt:
        """The strategy on these instruments with one account, over days some of which are published.

        It is counted, and so is every choice of a tuning.

        Raises:
            TradecoreError: it cannot be run; nothing was stored.
        """
        mixins, now = self._mixins, self._adapters.clock()
        strategy, ledger = Strategy.of(config, mixins.registry), self._ledger(config)
        gathered = [self._gather(config, instrument, first, last) for instrument in instruments]
        if tuning is None:
            found = Attempt.of(strategy, gathered, sources=mixins.used(config))
            ledger.record([found.trial(now)])
        else:
            found = Attempt.tuned(strategy, gathered, tuning, mixins=mixins, done=self._adapters.done)
            tried = tried_choices(found, tuning, registry=mixins.registry, now=now)
            ledger.record([found.trial(now), *tried])
        return found

    def keep(self, attempt: Attempt) -> Done:
        """The attempt judged in the light of everything that was tried, and kept in the lake."""
        adapters = self._adapters
        judging = Judging(PERMUTATIONS, REPETITIONS, adapters.settings.random_seed)
        trials = self._ledger(attempt.strategy.config).returns()
        told = judged(attempt, market=self.market, trials=trials, judging=judging)
        told = replace(told, notes=(*self._notes, *told.notes))
        document = result_document(attempt, told, market=self.market)
        return Done(told, document, store_backtest(adapters.layout, told, document))

    def _ledger(self, config: StrategyConfig) -> StrategyLedger:
        length = self._adapters.settings.timeframe(config.timeframe)
        return StrategyLedger(self._tried or self._adapters.layout.tried_strategies(length))

    def _gather(
        self, config: StrategyConfig, instrument: Instrument, first: date | None, last: date | None
    ) -> Gathered:
        key = f"{instrument} {first} {last} {what_is_read(config)}"
        if key not in self._gathered:
            self._gathered[key] = gather(self._home, instrument, config, first=first, last=last)
        return self._gathered[key]


def write_report(adapters: Adapters, done: Done) -> Path:
    """The run's page among the home's reports."""
    place = place_of(done.told)
    path = adapters.layout.backtest_report(place.timeframe, place.strategy, place.instruments)
    return write_backtest_report(done.told, market=str(done.document["market"]), path=path)


def log_run(adapters: Adapters, done: Done, *, page: Path, run_id: str) -> str:
    """Record the run in MLflow, with the ``page`` of it that was written and its configuration; the id."""
    config, figures, trades = done.told.config, done.told.performance.figures, done.told.performance.trades
    judged = done.told.performance.significance
    metrics = {name: float(getattr(figures, name)) for name in _METRICS} | {"closed_trades": float(trades.closed)}
    if judged is not None and judged.permutation is not None:
        metrics["p_value"] = judged.permutation.p_value
    if judged is not None and judged.deflated is not None:
        metrics["deflated_sharpe"] = judged.deflated.probability
    instruments = ", ".join(done.told.markets)
    return adapters.registry.log_backtest(
        f"{config.name} {instruments}",
        timeframe=place_of(done.told).timeframe,
        parameters={
            "strategy": config.name,
            "instruments": instruments,
            "entry": config.entry_logic.name,
            "exit": config.exit_logic.name,
            "first": figures.first,
            "last": figures.last,
            "configuration": done.document["configuration"],
        },
        metrics={name: value for name, value in metrics.items() if value == value},  # noqa: PLR0124 (NaN differs)
        tags={"dagster_run_id": run_id, "mlflow.note.content": f"{config.description} {adapters.dagster_link(run_id)}"},
        figures={
            "report.html": page.read_bytes(),
            "tear_sheet.png": tear_sheet(done.told, market=str(done.document["market"])),
            "config.json": json.dumps(config.model_dump(mode="json"), indent=1).encode(),
            "result.json": json.dumps(done.document, indent=1).encode(),
        },
    )
