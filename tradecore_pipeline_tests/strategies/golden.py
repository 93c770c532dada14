"""What each shipped configuration trades on one fixed simulated market. This writes ``golden.json`` anew:

python -m tradecore_pipeline_tests.strategies.golden
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from tradecore_pipeline.backtest.bars import BarArrays, Funding
from tradecore_pipeline.backtest.metrics import figures
from tradecore_pipeline.backtest.results import Backtest
from tradecore_pipeline.backtest.strategies import lots_of, run_plan
from tradecore_pipeline.strategies.decision import Strategy
from tradecore_pipeline.strategies.reading import variant, variants
from tradecore_pipeline.strategies.registry import Registry
from tradecore_pipeline_tests.strategies.worlds import HOUR, seen, world

FILE = Path(__file__).with_suffix(".json")
SEED, HOURS = 2024, 2000
_METRICS = ("total_return", "sharpe", "max_drawdown", "exposure", "turnover", "fees", "slippage", "funding")


def golden() -> dict[str, dict[str, Any]]:
    """By configuration: how many trades, a digest of their list, and metrics to six digits."""
    return {name: _told(traded(name)) for name in variants()}


def traded(name: str) -> Backtest:
    """The configuration as it is shipped on one instrument, which pays .01% of funding every eight hours."""
    markets = world(SEED, HOURS, gaps=0.002, holes=0.05)
    settled = markets[HOUR].bars.index[8::8]
    funding = Funding.of(settled, [1e-4 * (1 - 2 * (row % 5 == 0)) for row in range(len(settled))], None)
    strategy, market = Strategy.of(variant(name), Registry()), seen(markets)
    bars = BarArrays.of(market.bars, funding=funding, inner=None)
    return run_plan(bars, strategy.plan(market), strategy.config, lots=lots_of(strategy.config))


def _told(result: Backtest) -> dict[str, Any]:
    lines = [
        f"{row.entry_time:%Y-%m-%dT%H:%M} {row.exit_time:%Y-%m-%dT%H:%M} {row.side} {row.reason} {row.units:.5g}"
        for row in result.trades.itertuples()
    ]
    found = figures(result)
    metrics = {name: float(f"{getattr(found, name):.6g}") for name in _METRICS}
    return {"trades": len(lines), "trade_list": hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]} | metrics


def main() -> None:
    FILE.write_text(json.dumps(golden(), indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
