"""One HTML page of several backtests side by side: figures, equity, months, and what the best is worth."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from tradecore_pipeline.backtest.account import Account
from tradecore_pipeline.backtest.benchmarks import BUY_AND_HOLD
from tradecore_pipeline.backtest.metrics import Figures
from tradecore_pipeline.domain.errors import UsageError
from tradecore_pipeline.domain.market_data import REAL_MARKET
from tradecore_pipeline.serving.backtest_charts import BENCHMARK_COLOURS, laid_out, under_water
from tradecore_pipeline.serving.backtest_compare_words import conclusions
from tradecore_pipeline.serving.backtest_earnings import Earnings, earnings
from tradecore_pipeline.serving.backtest_page import BADGE, Pictures, page, write_page
from tradecore_pipeline.serving.backtest_run import BENCHMARK_NAMES, Reported, opens
from tradecore_pipeline.serving.backtest_series import MOST_POINTS, clock, groups, last_of, lasts
from tradecore_pipeline.serving.backtest_tables import facts_table, formed, grid, shade
from tradecore_pipeline.serving.backtest_words import NO_FIGURE, number, percent
from tradecore_pipeline.serving.compare_words import p_text
from tradecore_pipeline.serving.market_words import market_words

VARIANT_COLOURS = (
    "#2b7bba", "#e0701c", "#2e9d5f", "#d81b60", "#8e5bd0", "#b8960c", "#00a3b5", "#9e6b52", "#6f86ff", "#c62828",
    "#7cb342", "#ff8fa3",
)  # fmt: skip
"""In the variants' order; seen on light and dark."""
_COLUMNS = (
    ("total", "total_return", "+%"), ("a year", "annual_return", "+%"), ("volatility", "annual_volatility", "%"),
    ("Sharpe", "sharpe", "2"), ("Sortino", "sortino", "2"), ("Calmar", "calmar", "2"),
    ("drawdown", "max_drawdown", "%"), ("exposure", "exposure", "%"), ("turnover", "turnover", "1"),
    ("costs", "costs_of_capital", "%"),
)  # fmt: skip
_FIGURES_EXPLAINED = (
    "Costs: fees, slippage and funding over the capital. p: share of runs with moved regimes that did as well. "
    "Deflated: how often luck alone would do less well, given all configurations ever tried, not only these."
)
_EARNED_EXPLAINED = (
    "Parts of all bars' returns, added up. Mean positions, overall and by the regime known at the bar's open, are "
    "those of the whole run."
)


def write_backtest_compare(told: Sequence[Reported], *, market: str, path: Path) -> Path:
    """Write the page to ``path`` and return it; ``market`` is the home's."""
    return write_page(backtest_compare(told, market=market), path)


def backtest_compare(told: Sequence[Reported], *, market: str) -> str:
    """The page as text; plotly.js is inside.

    Benchmarks are the first variant's where all trade the same instruments, and left out elsewhere.

    Raises:
        UsageError: there is nothing to compare.
    """
    if not told:
        raise UsageError("backtests: there is none to compare")
    pictures = Pictures()
    first, found = told[0], [earnings(one) for one in told]
    facts = dict(pair for one in told for pair in one.facts.items())
    body = [
        f"<ul>{''.join(f'<li>{escape(text)}</li>' for text in conclusions(told))}</ul>",
        "<h2>Side by side</h2>", _figures(told), f"<p>{_FIGURES_EXPLAINED}</p>",
        "<h2>Accounts</h2>", pictures.place("accounts", _accounts(told)),
        "<h2>Month by month</h2>", _months(told),
        "<h2>What earned it</h2>", _earned(told, found),
        f"<p>{_EARNED_EXPLAINED}</p>",
        f"<h2>Data and models</h2>{facts_table(facts)}" if facts else "",
    ]  # fmt: skip
    own = first.performance.figures
    instruments = ", ".join(dict.fromkeys(name for one in told for name in one.markets))
    parts = {
        "title": escape(f"{instruments}, {next(iter(first.markets.values())).timeframe}: variants compared"),
        "badge": BADGE if market != REAL_MARKET else "",
        "subtitle": escape(
            f"{own.first:%Y-%m-%d} to {own.last:%Y-%m-%d %H:%M}, {own.bars:,} bars, {market_words(market)}."
        ),
        "body": "\n".join(body),
    }
    return page(parts, pictures)


def _shared(told: Sequence[Reported]) -> dict[str, tuple[Figures, Account]]:
    """Benchmarks that hold for all; those at a strategy's own volatility do not."""
    if any(list(one.markets) != list(told[0].markets) for one in told):
        return {}
    own = told[0].performance.benchmarks
    return {
        BENCHMARK_NAMES[name]: (own[name], Account.of(run))
        for name, run in told[0].benchmarks.items()
        if name == BUY_AND_HOLD
    }


def _figures(told: Sequence[Reported]) -> str:
    head = ["variant", *(word for word, _, _ in _COLUMNS), "95% Sharpe", "p", "deflated", "trades", "won"]
    rows: list[list[str]] = []
    for place, one in enumerate(told):
        cells = [formed(getattr(one.performance.figures, field), form) for _, field, form in _COLUMNS]
        rows.append([_named(one.config.name, place), *cells, *_sure(one)])
    for name, (own, _) in _shared(told).items():
        cells = [formed(getattr(own, field), form) for _, field, form in _COLUMNS]
        rows.append([escape(name), *cells, "", "", "", "", ""])
    return grid(head, rows)


def _sure(one: Reported) -> list[str]:
    found, trades = one.performance.significance, one.performance.trades
    counts = [f"{len(one.run.trades):,}", percent(trades.win_rate, 0)]
    if found is None:
        return [NO_FIGURE, NO_FIGURE, NO_FIGURE, *counts]
    low, high = (np.nan, np.nan) if found.intervals is None else found.intervals.sharpe
    moved, deflated = found.permutation, found.deflated
    return [
        NO_FIGURE if np.isnan(low) else f"{number(low, 1)} to {number(high, 1)}",
        NO_FIGURE if moved is None or np.isnan(moved.p_value) else p_text(moved.p_value),
        NO_FIGURE if deflated is None else percent(deflated.probability, 0),
        *counts,
    ]


def _accounts(told: Sequence[Reported]) -> go.Figure:
    """Growth of the capital and drawdown, a line for each."""
    figure = make_subplots(
        rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.08, row_heights=[0.62, 0.38],
        subplot_titles=("Equity in multiples of the capital", "Under the highest so far"),
    )  # fmt: skip
    lines = [(one.config.name, one.account, _colour(place), 1.8, "solid") for place, one in enumerate(told)]
    lines += [(name, account, BENCHMARK_COLOURS[0], 1.5, "dash") for name, (_, account) in _shared(told).items()]
    for name, account, colour, width, dash in lines:
        begins = groups(len(account), MOST_POINTS)
        x = clock(opens(account)[lasts(begins, len(account))])
        line = {"color": colour, "width": width, "dash": dash}
        grown = (last_of(account.value, begins) / account.capital).round(5)
        fallen = np.minimum.reduceat(under_water(account), begins).round(5)
        for row, (y, form) in enumerate(((grown, "%{y:.3f}"), (fallen, "%{y:.1%}")), start=1):
            figure.add_scatter(
                x=x, y=y, name=name, legendgroup=name, line=line, mode="lines", hovertemplate=form,
                showlegend=row == 1, row=row, col=1,
            )  # fmt: skip
    figure.update_yaxes(tickformat=".0%", row=2, col=1)
    return laid_out(figure, height=640)


def _months(told: Sequence[Reported]) -> str:
    """Months across, variants down, the darker the larger."""
    tables = [{row.month: row.total_return for row in one.performance.months} for one in told]
    months = sorted({month for table in tables for month in table})
    largest = max((abs(value) for table in tables for value in table.values()), default=0.0) or 1.0
    rows: list[str] = []
    for place, (one, table) in enumerate(zip(told, tables, strict=True)):
        cells = "".join(_cell(table.get(month), largest) for month in months)
        rows.append(f"<tr><td>{_named(one.config.name, place)}</td>{cells}</tr>")
    head = "".join(f"<th>{month}</th>" for month in ("", *months))
    return f'<div class="wide months"><table><tr>{head}</tr>{"".join(rows)}</table></div>'


def _cell(value: float | None, largest: float) -> str:
    if value is None:
        return "<td></td>"
    return f'<td style="background:{shade(value / largest)}">{percent(value, sign=True)}</td>'


def _earned(told: Sequence[Reported], found: Sequence[Earnings]) -> str:
    head = ("variant", "held throughout", "by regime", "within regimes", "inside bars", "costs", "all")
    rows = [
        [
            _named(one.config.name, place),
            *(
                NO_FIGURE if one.performance.figures.bankrupt else percent(value, sign=True)
                for value in (
                    own.always.earned, own.volatility.earned + own.direction.earned, own.finer.earned,
                    own.inside.earned, own.fees.earned + own.slippage.earned + own.funding.earned, own.total,
                )
            ),
        ]
        for place, (one, own) in enumerate(zip(told, found, strict=True))
    ]  # fmt: skip
    return grid(head, rows)


def _named(name: str, place: int) -> str:
    return f'<span class="named"><span class="key" style="background:{_colour(place)}"></span>{escape(name)}</span>'


def _colour(place: int) -> str:
    return VARIANT_COLOURS[place % len(VARIANT_COLOURS)]
