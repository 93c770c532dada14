"""One HTML page of published regimes: price by regime, probabilities, volatility against forecast, statistics."""

import re
from datetime import datetime
from html import escape
from importlib.resources import files
from pathlib import Path

import pandas as pd

from tradecore_pipeline.domain.errors import MissingInputError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.market_data import REAL_MARKET
from tradecore_pipeline.domain.tables import BARS, REGIMES
from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.serving.regime_chart import regime_chart
from tradecore_pipeline.serving.regime_rows import RegimeRows, regime_rows
from tradecore_pipeline.serving.regime_statistics import (
    direction_note,
    scores_table,
    statistics_table,
    transitions_table,
)
from tradecore_pipeline.storage.atomic import replacing
from tradecore_pipeline.storage.lake import Lake
from tradecore_pipeline.storage.layout import Layout
from tradecore_pipeline.storage.ledger import Ledger


def write_report(
    layout: Layout,
    instrument: Instrument,
    timeframe: Timeframe,
    *,
    start: datetime,
    end: datetime,
    label_threshold: float,
    path: Path | None,
) -> Path:
    """Write the page for [start, end) and return where it is (in the home's ``reports`` unless ``path`` says).

    Raises:
        MissingInputError: no regimes are published for that time.
        UsageError: the number of regimes changes within it.
    """
    lake = Lake(layout)
    regimes = lake.read(REGIMES, instrument, start, end, timeframe=timeframe)
    if regimes.empty:
        raise MissingInputError(
            f"{instrument} has no {timeframe} regimes from {start:%Y-%m-%d} to {end:%Y-%m-%d}: "
            "run `tradecore predict` first"
        )
    bars = lake.read(BARS, instrument, start, end, timeframe=timeframe)
    market = Ledger(layout).market() or REAL_MARKET
    page = report_page(bars, regimes, instrument, timeframe, label_threshold=label_threshold, market=market)
    target = path or layout.report(instrument, timeframe, start.date())
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target.absolute()) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return target


def report_page(
    bars: pd.DataFrame,
    regimes: pd.DataFrame,
    instrument: Instrument,
    timeframe: Timeframe,
    *,
    label_threshold: float,
    market: str,
) -> str:
    """The page as text; plotly.js is inside, so that it opens offline.

    Raises:
        UsageError: the number of regimes changes within ``regimes``.
    """
    rows = regime_rows(bars, regimes, timeframe, label_threshold=label_threshold)
    kind = "perpetual" if instrument.is_perpetual else "spot"
    simulated = market != REAL_MARKET
    parts = {
        "title": escape(f"{instrument} {kind}, {timeframe} regimes"),
        "badge": '<span class="simulated">SIMULATED</span>' if simulated else "",
        "subtitle": escape(
            f"{regimes.index[0]:%Y-%m-%d} to {regimes.index[-1]:%Y-%m-%d}, {len(regimes)} bars, "
            + (f"a {market} market" if simulated else "market data of the exchange")
        ),
        "chart": regime_chart(rows).to_html(full_html=False, include_plotlyjs=True, config={"displaylogo": False}),
        "statistics": statistics_table(rows),
        "direction": escape(direction_note(regimes)),
        "transitions": transitions_table(rows),
        "labels": escape(_labels_note(rows, label_threshold)),
        "scores": scores_table(regimes),
    }
    page = (files("tradecore_pipeline.serving") / "regime_report.html").read_text(encoding="utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda place: parts[place[1]], page)


def _labels_note(rows: RegimeRows, label_threshold: float) -> str:
    """Where the labels shown come from."""
    if not rows.computed:
        return "The labels are as published."
    return (
        f"{rows.computed} of the {len(rows.regimes)} bars were published without a label: theirs is computed here, and "
        f"changes once another regime's filtered probability exceeds {label_threshold:g}."
    )
