"""Research pipeline for crypto perpetual futures: market data to out-of-sample regime probabilities."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tradecore_pipeline.serving.frames import load_bars, load_regimes

__all__ = ["load_bars", "load_regimes"]


def __getattr__(name: str) -> Any:
    """Import the notebook functions only when they are asked for: everything else imports this package, too."""
    if name in __all__:
        from tradecore_pipeline.serving import frames  # noqa: PLC0415 (see above)

        return getattr(frames, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
