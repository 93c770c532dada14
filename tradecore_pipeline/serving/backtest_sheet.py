"""A backtest on one sheet, as a PNG: what MLflow shows beside its metrics."""

import io
import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np

from tradecore_pipeline.backtest.account import Account
from tradecore_pipeline.domain.market_data import REAL_MARKET
from tradecore_pipeline.serving.backtest_earnings import earnings
from tradecore_pipeline.serving.backtest_run import BENCHMARK_NAMES, Reported, state_names
from tradecore_pipeline.serving.backtest_series import bands, histogram
from tradecore_pipeline.serving.backtest_words import headline, number, percent
from tradecore_pipeline.serving.market_words import market_words
from tradecore_pipeline.serving.palette import REGIME_COLOURS
from tradecore_pipeline.serving.svg import FAINT, GRID, INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_INCHES, _DPI = (10.0, 12.6), 100
_LINES = ("#8a8f98", "#00897b", "#c2a300")
_WON, _LOST = "#2e7d4f", "#c62828"
_WRAP = 118
_LEGEND = 0.16
"""Room above the lines, a share of what they need."""
_MONTHS = "JFMAMJJASOND"
_LEAST_REASONS = 4
"""Room for so many at least: bars are else as thick as the chart."""
_SENTENCES = 3
"""Of the headline: what was earned, by what, and whether it is beyond chance."""


def tear_sheet(told: Reported, *, market: str) -> bytes:
    """The sheet as PNG: figures, equity over regimes, drawdown, months and trades; ``market`` is the home's."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 (slow to import)
    from matplotlib.figure import Figure  # noqa: PLC0415 (as above)

    figure = Figure(figsize=_INCHES, dpi=_DPI, facecolor="white")
    figure.set_layout_engine("constrained", w_pad=0.14, h_pad=0.08)
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(5, 2, height_ratios=(2.3, 3.2, 1.7, 0.5 + 0.3 * _years(told), 2.2))
    _words(figure.add_subplot(grid[0, :]), told, market)
    account = figure.add_subplot(grid[1, :])
    _equity(account, told)
    _drawdown(figure.add_subplot(grid[2, :], sharex=account), told)
    _months(figure.add_subplot(grid[3, :]), told)
    _results(figure.add_subplot(grid[4, 0]), told)
    _reasons(figure.add_subplot(grid[4, 1]), told)
    written = io.BytesIO()
    figure.savefig(written, format="png", metadata={"Software": None})
    return written.getvalue()


def _years(told: Reported) -> int:
    return len({row.month[:4] for row in told.performance.months})


def _words(axes: "Axes", told: Reported, market: str) -> None:
    axes.axis("off")
    own, trades = told.performance.figures, told.performance.trades
    timeframe = next(iter(told.markets.values())).timeframe
    simulated = "SIMULATED   " if market != REAL_MARKET else ""
    title = f"{simulated}{told.config.name}: {told.instruments}, {timeframe}"
    axes.text(0, 1.0, _plain(textwrap.shorten(title, 90)), fontsize=14, fontweight="bold", va="top", color=INK)
    when = f"{own.first:%Y-%m-%d} to {own.last:%Y-%m-%d}, {own.bars:,} bars, {market_words(market)}"
    axes.text(0, 0.88, _plain(when), fontsize=9, va="top", color=FAINT)
    cells = (
        ("return", percent(own.total_return, sign=True)), ("a year", percent(own.annual_return, sign=True)),
        ("Sharpe", number(own.sharpe)), ("Calmar", number(own.calmar)), ("drawdown", percent(own.max_drawdown)),
        ("exposure", percent(own.exposure, 0)), ("trades", f"{len(told.run.trades):,}"),
        ("won", percent(trades.win_rate, 0)), ("costs", percent(own.costs_of_capital)),
    )  # fmt: skip
    for place, (word, value) in enumerate(cells):
        axes.text(place / len(cells), 0.74, word, fontsize=8, va="top", color=FAINT)
        axes.text(place / len(cells), 0.66, value, fontsize=12, fontweight="bold", va="top", color=INK)
    sentences = headline(told, earnings(told))[:_SENTENCES]
    wrapped = "\n".join(textwrap.fill(sentence, _WRAP) for sentence in sentences)
    axes.text(0, 0.5, _plain(wrapped), fontsize=8.5, va="top", color=INK, linespacing=1.35)


def _equity(axes: "Axes", told: Reported) -> None:
    times = _times(told.account)
    axes.plot(times, told.account.value, color=INK, linewidth=1.4, label=told.config.name, zorder=3)
    for (name, run), colour in zip(told.benchmarks.items(), _LINES, strict=False):
        held = Account.of(run)
        axes.plot(_times(held), held.value, color=colour, linewidth=1, label=BENCHMARK_NAMES.get(name, name), zorder=2)
    _regimes(axes, told, named=True)
    _dressed(axes, f"equity, {told.quote}")
    axes.yaxis.set_major_formatter("{x:,.0f}")
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + _LEGEND * (high - low))
    axes.legend(loc="upper left", fontsize=8, ncols=3, framealpha=0.8, edgecolor="none")
    axes.tick_params(labelbottom=False)


def _drawdown(axes: "Axes", told: Reported) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter  # noqa: PLC0415 (slow to import)

    value = told.account.value
    under = 100 * (value / np.maximum.accumulate(np.maximum(value, told.account.capital)) - 1)
    axes.fill_between(_times(told.account), under, 0, color=_LOST, alpha=0.35, linewidth=0, zorder=3)
    _regimes(axes, told, named=False)
    axes.set_ylim(min(1.05 * float(under.min()), -0.1), 0)
    axes.set_xlim(*_times(told.account)[[0, -1]])
    locator = AutoDateLocator(maxticks=12)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    _dressed(axes, "drawdown, %")


def _regimes(axes: "Axes", told: Reported, *, named: bool) -> None:
    """Bands of one instrument's volatility regimes."""
    if len(told.markets) != 1:
        return
    _, market, ledger = next(told.parts)
    found, names = bands(market, ledger.bars), state_names(market)
    edges = found.edges.tz_localize(None).to_numpy()
    for k, name in enumerate(names):
        own = np.flatnonzero(found.states == k)
        spans: Any = [(edges[i], edges[i + 1] - edges[i]) for i in own.tolist()]
        if spans:
            axes.broken_barh(
                spans, (0, 1), transform=axes.get_xaxis_transform(), alpha=0.18, linewidth=0, zorder=1,
                facecolor=REGIME_COLOURS[k % len(REGIME_COLOURS)], label=name if named else None,
            )  # fmt: skip


def _months(axes: "Axes", told: Reported) -> None:
    from matplotlib.colors import LinearSegmentedColormap  # noqa: PLC0415 (slow to import)

    rows = told.performance.months
    years = sorted({row.month[:4] for row in rows})
    values = np.full((len(years), 12), np.nan)
    for row in rows:
        values[years.index(row.month[:4]), int(row.month[5:]) - 1] = 100 * row.total_return
    most = float(np.nanmax(np.abs(values))) or 1.0
    shown = np.sign(values) * np.sqrt(np.abs(values) / most)
    shades = LinearSegmentedColormap.from_list("months", [_LOST, "#ffffff", _WON])
    axes.imshow(shown, cmap=shades, vmin=-1.6, vmax=1.6, aspect="auto")
    for (year, month), value in np.ndenumerate(values):
        if np.isfinite(value):
            axes.text(month, year, f"{value:+.1f}", ha="center", va="center", fontsize=8, color=INK)
    axes.set_xticks(range(12), list(_MONTHS))
    axes.set_yticks(range(len(years)), years)
    axes.tick_params(length=0, labelsize=8)
    axes.set_title("monthly returns, %", fontsize=9, loc="left", color=FAINT)
    axes.spines[:].set_visible(False)


def _results(axes: "Axes", told: Reported) -> None:
    results = 100 * told.results
    if len(results):
        edges, counts = histogram(results)
        colours = np.where(edges[:-1] >= 0, _WON, _LOST).tolist()
        axes.bar(edges[:-1], counts, width=0.96 * np.diff(edges), align="edge", color=colours)
        axes.axvline(float(results.mean()), color=INK, linewidth=1, linestyle="--")
    _dressed(axes, "results of trades, % of the value entered (dashed: mean)")


def _reasons(axes: "Axes", told: Reported) -> None:
    reasons = told.performance.trades.reasons
    named = sorted(reasons, key=lambda name: reasons[name])
    axes.barh([name.replace("_", " ") for name in named], [reasons[name] for name in named], color="#9db4d6")
    axes.set_ylim(-0.6, max(len(named), _LEAST_REASONS) - 0.4)
    _dressed(axes, "trades by what ended them")


def _dressed(axes: "Axes", title: str) -> None:
    axes.set_title(_plain(title), fontsize=9, loc="left", color=FAINT)
    axes.grid(visible=True, color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8, length=0)
    axes.spines[:].set_visible(False)


def _times(account: Account) -> "np.ndarray[Any, Any]":
    return account.ts_close.astype("datetime64[ns]")


def _plain(text: str) -> str:
    """Text without the marks of matplotlib's formulas."""
    return text.replace("$", r"\$")
