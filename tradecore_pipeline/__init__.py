"""Research pipeline for crypto perpetual futures: market data to out-of-sample regime probabilities."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tradecore_pipeline.features.own import feature
    from tradecore_pipeline.features.technical import technical_indicators
    from tradecore_pipeline.serving.backtest_results import load_equity, load_trades
    from tradecore_pipeline.serving.frames import load_bars, load_regimes
    from tradecore_pipeline.serving.online import open_filter

__all__ = [
    "feature", "load_bars", "load_equity", "load_regimes", "load_trades", "open_filter", "technical_indicators",
]  # fmt: skip

_HOMES = {
    "feature": "features.own",
    "load_bars": "serving.frames",
    "load_equity": "serving.backtest_results",
    "load_regimes": "serving.frames",
    "load_trades": "serving.backtest_results",
    "open_filter": "serving.online",
    "technical_indicators": "features.technical",
}


def __getattr__(name: str) -> Any:
    """Import what notebooks use only when it is asked for: everything else imports this package, too."""
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
