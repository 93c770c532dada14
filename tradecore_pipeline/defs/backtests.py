"""Stage backtests: every shipped strategy on regimes as they were published, after fees, slippage and funding.

A partition is an instrument: a run is over everything that is published for it. `multi_symbol` trades those
configured instruments that it has weights for on one account and has no partitions. Strategies that ask other
timeframes are there where those are configured.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

from tradecore_pipeline.defs import regimes
from tradecore_pipeline.defs.partitions import Partitions
from tradecore_pipeline.defs.plots import sparkline
from tradecore_pipeline.defs.resources import Adapters, guarded, report
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.settings import Settings
from tradecore_pipeline.strategies.reading import variant, variants
from tradecore_pipeline.strategies.schema import StrategyConfig

if TYPE_CHECKING:
    from tradecore_pipeline.defs.backtest_runs import Done

STAGE = "backtests"
PORTFOLIO = "multi_symbol"
"""The variant that trades several instruments on one account."""

_SHOWN = (
    ("total return", "total_return", "+.2%"),
    ("annual volatility", "annual_volatility", ".2%"),
    ("Sharpe ratio", "sharpe", "+.2f"),
    ("deepest drawdown", "max_drawdown", ".2%"),
    ("exposure", "exposure", ".1%"),
    ("fees", "fees", ",.2f"),
    ("slippage", "slippage", ",.2f"),
    ("funding paid", "funding", ",.2f"),
)


def asset_key(timeframe: Timeframe, strategy: str) -> dg.AssetKey:
    """The asset of a shipped strategy on bars of ``timeframe``."""
    return dg.AssetKey([STAGE, timeframe.name, strategy])


def build(settings: Settings, partitions: Partitions) -> dg.Definitions:
    """The strategies of every configured timeframe."""
    assets: list[dg.AssetsDefinition] = []
    for timeframe in settings.parsed_timeframes:
        for config in shipped(settings, timeframe):
            make = _portfolio if config.name == PORTFOLIO else _single
            assets.append(make(config, timeframe, partitions))
    return dg.Definitions(assets=assets)


def shipped(settings: Settings, timeframe: Timeframe) -> list[StrategyConfig]:
    """The shipped configurations on bars of ``timeframe``, as far as the timeframes that they ask are configured."""
    found: list[StrategyConfig] = []
    for name in variants():
        config = variant(name)
        others = {*config.timeframe_analysis.weights, *config.ensemble.timeframes}
        if others and (config.timeframe != timeframe.name or not others <= set(settings.timeframes)):
            continue
        found.append(config.model_copy(update={"timeframe": timeframe.name}))
    return found


def _single(config: StrategyConfig, timeframe: Timeframe, partitions: Partitions) -> dg.AssetsDefinition:
    each = dg.StaticPartitionsDefinition([str(instrument) for instrument in partitions.instruments])

    @dg.asset(
        key=asset_key(timeframe, config.name),
        partitions_def=each,
        backfill_policy=dg.BackfillPolicy.single_run(),
        group_name=STAGE,
        kinds={"mlflow", "parquet"},
        owners=["team:research"],
        deps=[regimes.asset_key(timeframe)],  # all days of the same instrument: Dagster finds the dimension itself
        description=_description(config),
    )
    def strategy(context: dg.AssetExecutionContext, adapters: dg.ResourceParam[Adapters]) -> None:
        with guarded(context, adapters):
            for key in context.partition_keys:
                report(
                    context, adapters, key, run_strategy(adapters, config, [Instrument.parse(key)], context.run.run_id)
                )

    return strategy


def _portfolio(config: StrategyConfig, timeframe: Timeframe, partitions: Partitions) -> dg.AssetsDefinition:
    @dg.asset(
        key=asset_key(timeframe, config.name),
        group_name=STAGE,
        kinds={"mlflow", "parquet"},
        owners=["team:research"],
        deps=[dg.AssetDep(regimes.asset_key(timeframe), partition_mapping=dg.AllPartitionMapping())],
        description=_description(config),
    )
    def portfolio(context: dg.AssetExecutionContext, adapters: dg.ResourceParam[Adapters]) -> None:
        with guarded(context, adapters):
            found = run_strategy(adapters, config, _weighted(config, partitions.instruments), context.run.run_id)
            context.add_asset_metadata(found)

    return portfolio


def _weighted(config: StrategyConfig, instruments: Sequence[Instrument]) -> Sequence[Instrument]:
    """Those that the configuration has rules for; all where it has none, and the strategy says what it lacks."""
    return [one for one in instruments if str(one) in config.symbol_specific_rules] or instruments


def run_strategy(
    adapters: Adapters, config: StrategyConfig, instruments: Sequence[Instrument], run_id: str
) -> dict[str, Any]:
    """The strategy over everything published, kept in the lake, in MLflow and as a page; what the UI shows of it.

    Raises:
        TradecoreError: it cannot be run; nothing was stored.
    """
    from tradecore_pipeline.defs.backtest_runs import (  # noqa: PLC0415 (heavy, and only runs need it)
        BacktestDesk,
        log_run,
        market_of,
        write_report,
    )
    from tradecore_pipeline.serving.own_mixins import own_mixins  # noqa: PLC0415 (indicators; only runs need it)

    desk = BacktestDesk(adapters, own_mixins(()), market=market_of(adapters), tried=None, notes=())
    done = desk.keep(desk.attempt(config, instruments, first=None, last=None, tuning=None))
    page = write_report(adapters, done)
    logged = log_run(adapters, done, page=page, run_id=run_id)
    return {
        "mlflow": dg.MetadataValue.url(adapters.run_url(logged)),
        "report": dg.MetadataValue.path(str(page)),
        "path": dg.MetadataValue.path(str(done.folder)),
        **_metadata(done),
    }


def _metadata(done: "Done") -> dict[str, Any]:
    from tradecore_pipeline.backtest.benchmarks import BUY_AND_HOLD  # noqa: PLC0415 (numba; only runs need it)

    performance = done.told.performance
    own, held = performance.figures, performance.benchmarks[BUY_AND_HOLD]
    rows = [f"| {title} | {getattr(own, name):{form}} | {getattr(held, name):{form}} |" for title, name, form in _SHOWN]
    table = "\n".join(("| | strategy | buy & hold |", "|---|---|---|", *rows))
    return {
        "figures": dg.MetadataValue.md(table),
        "equity": sparkline(done.told.run.equity.tolist(), "equity at each close"),
        "closed_trades": performance.trades.closed,
        "notes": "; ".join(done.document["notes"]) or "none",
    }


def _description(config: StrategyConfig) -> str:
    return (
        f"{config.description} A backtest on regimes and forecasts as they were published, by models older than each "
        "bar: filled at the next open, after fees, slippage and funding. MLflow has its report."
    )
