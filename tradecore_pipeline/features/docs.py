"""The page docs/features.md, written from the registry so that it cannot disagree with the code."""

import sys

from tradecore_pipeline.domain.time import TIMEFRAME_MINUTES, Timeframe
from tradecore_pipeline.features.registry import FEATURES, WILDER_SETTLED, WILDER_WARM_UP, warm_up_bars
from tradecore_pipeline.features.technical import TECHNICAL, TECHNICAL_WARM_UP_BARS
from tradecore_pipeline.features.tuned import (
    DEFAULT_PARAMETERS,
    INDICATORS,
    PARAMETER_RANGES,
    tuned_settled_bars,
    tuned_warm_up_bars,
)

_INTRODUCTION = f"""# Features

This page is written from the code (`python -m tradecore_pipeline.features.docs > docs/features.md`); a test holds it.

A feature is a number per bar that was known at the bar's `ts_close`. A day is computed from its own bars and a warm-up
before it, and equals what the whole history gives within 1e-9. A value is null where too few bars exist before it
(after the listing, or in a long outage) and where its source has no rows; it is never filled. Wilder-smoothed features
read {WILDER_WARM_UP} times their length back and are null until {WILDER_SETTLED} times their length exist. A settlement
or snapshot stamped exactly at a bar's close counts for the next bar.

Features of your own become columns of a table beside these: [how to add one](lookahead.md#add-a-feature-in-15-lines).
"""


def features_page() -> str:
    """The whole page as Markdown."""
    rows = [
        f"| `{feature.name}` | {', '.join(feature.inputs)} | {feature.unit} | "
        f"{_reach(feature.warm_up_bars, feature.warm_up_hours)} | {feature.needed_bars} | {feature.meaning} |"
        for feature in FEATURES
    ]
    reach = ", ".join(f"{name}: {warm_up_bars(Timeframe.parse(name))}" for name in TIMEFRAME_MINUTES)
    tuned = [
        f"| `{indicator.parameter}` | {PARAMETER_RANGES[indicator.parameter][0]} to "
        f"{PARAMETER_RANGES[indicator.parameter][1]} | {DEFAULT_PARAMETERS.to_dict()[indicator.parameter]} | "
        f"{', '.join(f'`{name}`' for name in indicator.columns)} |"
        for indicator in INDICATORS
    ]
    about = (
        "Lengths in bars, chosen every month by a study inside the training window; not stored, computed where they "
        f"are used from {tuned_warm_up_bars()} bars back. {tuned_settled_bars()} bars give every choice a value."
    )
    lines = [
        _INTRODUCTION,
        "## Stored features",
        "",
        "| name | inputs | unit | reads back | bars needed | meaning |",
        "|---|---|---|---|---|---|",
        *rows,
        "",
        f"Bars read before a day, by timeframe: {reach}.",
        "",
        "## Tuned features",
        "",
        about,
        "",
        "| parameter | range | default | columns |",
        "|---|---|---|---|",
        *tuned,
        "",
        *_technical(),
        "",
    ]
    return "\n".join(lines)


def _technical() -> list[str]:
    rows = [
        f"| {', '.join(f'`{name}`' for name in indicator.columns)} | {indicator.unit} | {indicator.needed_bars} | "
        f"{indicator.meaning} |"
        for indicator in TECHNICAL
    ]
    return [
        "## Technical indicators on bars of any length",
        "",
        "Not stored and not tuned: ten indicators everybody knows, on 1-minute bars or any others, in a notebook:",
        "",
        "    from tradecore_pipeline import load_bars",
        "    from tradecore_pipeline.features.technical import technical_indicators",
        '    minutes = load_bars("binance:BTC/USDT:USDT", "1m", start="2024-06-01")',
        "    frame = technical_indicators(minutes, bar_minutes=1)    # indexed by ts_open, known at ts_close",
        "",
        f"They read {TECHNICAL_WARM_UP_BARS} bar lengths back and are null where too few bars exist in those.",
        "",
        "| columns | unit | bars needed | meaning |",
        "|---|---|---|---|",
        *rows,
    ]


def _reach(bars: int, hours: int) -> str:
    texts = [f"{bars} bars"] * bool(bars) + [f"{hours} h"] * bool(hours)
    return ", ".join(texts) or "nothing"


if __name__ == "__main__":
    sys.stdout.write(features_page())
