"""How long the windows were that a home's models were trained on: settings may ask for others by now."""

from collections.abc import Iterable, Mapping
from datetime import date

from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.model_registry import HMM, ModelRegistry


def trained_windows(
    registry: ModelRegistry, instrument: Instrument, timeframe: Timeframe, months: Iterable[date]
) -> dict[date, int]:
    """Bars of the training window of each of ``months``, for those whose regime model is registered and says so."""
    found: dict[date, int] = {}
    for month in months:
        config = registry.config(HMM, instrument, timeframe=timeframe, month=month)
        if config is not None and "window_bars" in config:
            found[month] = int(config["window_bars"])
    return found


def window_notes(trained_on: Mapping[date, int], *, window_bars: int, consequence: str) -> list[str]:
    """A sentence for each length that is not the settings' ``window_bars``, with what follows from it."""
    notes: list[str] = []
    for bars in sorted(set(trained_on.values()) - {window_bars}):
        months = sorted(month for month, length in trained_on.items() if length == bars)
        last = f" to {months[-1]:%Y-%m}, {len(months)} months," if len(months) > 1 else ""
        notes.append(
            f"the models of {months[0]:%Y-%m}{last} were trained on {bars:,} bars, and the settings ask for "
            f"{window_bars:,} by now: {consequence}"
        )
    return notes
