"""The tables of a backtest's page."""

from collections.abc import Mapping, Sequence
from html import escape
from itertools import groupby
from typing import Any

import numpy as np

from tradecore_pipeline.backtest.breakdown import MonthRow, RegimeRow
from tradecore_pipeline.backtest.metrics import Figures
from tradecore_pipeline.serving.backtest_charts import why
from tradecore_pipeline.serving.backtest_earnings import Earnings
from tradecore_pipeline.serving.backtest_run import BENCHMARK_NAMES, Reported
from tradecore_pipeline.serving.backtest_series import column
from tradecore_pipeline.serving.backtest_words import NO_FIGURE, number, percent, source_name
from tradecore_pipeline.strategies.schema import StrategyConfig
from tradecore_pipeline.validation.scoreboard import DETECTABLE_ERRORS

_STRONGEST = 0.6
"""Opacity of the darkest cell of the months' table."""
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_FIGURES: Sequence[tuple[str, str, str]] = (
    ("total return", "total_return", "+%"), ("a year", "annual_return", "+%"),
    ("volatility a year", "annual_volatility", "%"), ("Sharpe ratio", "sharpe", "2"),
    ("Sortino ratio", "sortino", "2"), ("Calmar ratio", "calmar", "2"), ("deepest drawdown", "max_drawdown", "%"),
    ("days from its high and back", "max_drawdown_days", "0"),
    ("longest time under water, days", "longest_under_water_days", "0"),
    ("value at risk (day, 5%)", "value_at_risk", "2%"),
    ("expected shortfall (day, 5%)", "expected_shortfall", "2%"), ("exposure", "exposure", "%"),
    ("mean position, multiples of equity", "mean_leverage", "2"), ("turnover a year", "turnover", "1"),
    ("fees", "fees", "0"), ("slippage", "slippage", "0"), ("funding paid", "funding", "0"),
    ("liquidations", "liquidations", "0"), ("final equity", "final_equity", "0"),
)  # fmt: skip
"""Word, field of ``Figures``, form: percent with sign or digits, or digits alone."""


def grid(head: Sequence[str], rows: Sequence[Sequence[str]], *, bold: Sequence[bool] = ()) -> str:
    """A table of cells that are HTML already; ``bold`` marks rows."""
    top = "".join(f"<th>{cell}</th>" for cell in head)
    marks = [' class="told"' if mark else "" for mark in bold] or [""] * len(rows)
    body = "".join(
        f"<tr{mark}>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for mark, row in zip(marks, rows, strict=True)
    )
    return f'<div class="wide"><table><tr>{top}</tr>{body}</table></div>'


def figures_table(columns: Mapping[str, Figures]) -> str:
    """Runs side by side, by name."""
    names = ["", *(escape(BENCHMARK_NAMES.get(name, name)) for name in columns)]
    rows = [[word, *(formed(getattr(own, field), form) for own in columns.values())] for word, field, form in _FIGURES]
    return grid(names, rows)


def formed(value: float, form: str) -> str:
    """A figure as its form says."""
    if form.endswith("%"):
        return percent(value, int(form[:-1]) if form[:-1].isdigit() else 1, sign=form[0] == "+")
    return number(value, int(form))


def months_table(months: Sequence[MonthRow]) -> str:
    """Years down, months across, the darker the larger: green gains, red losses."""
    largest = max((abs(row.total_return) for row in months), default=0.0) or 1.0
    rows: list[str] = []
    for year, own in groupby(months, key=lambda row: row.month[:4]):
        by_month = {int(row.month[5:]): row for row in own}
        cells = "".join(_month(by_month.get(number_), largest) for number_ in range(1, 13))
        whole = float(np.prod([1 + row.total_return for row in by_month.values()]) - 1)
        rows.append(f"<tr><td>{year}</td>{cells}<td><b>{percent(whole, sign=True)}</b></td></tr>")
    head = "".join(f"<th>{name}</th>" for name in ("", *_MONTHS, "year"))
    return f'<div class="wide months"><table><tr>{head}</tr>{"".join(rows)}</table></div>'


def shade(share: float) -> str:
    """Green for gains, red for losses; the root keeps small ones visible beside a large one."""
    colour = "46,140,90" if share > 0 else "205,55,45"
    return f"rgba({colour},{_STRONGEST * np.sqrt(min(abs(share), 1.0)):.3f})"


def _month(row: MonthRow | None, largest: float) -> str:
    if row is None:
        return "<td></td>"
    title = f"{row.trades} trades opened, drawdown {percent(row.max_drawdown)}, exposure {percent(row.exposure, 0)}"
    value = percent(row.total_return, sign=True)
    return f'<td title="{title}" style="background:{shade(row.total_return / largest)}">{value}</td>'


def regime_table(rows: Sequence[RegimeRow], what: str) -> str:
    """What was earned in each regime that was known when the bar opened."""
    head = (
        what, "share of bars", "log return", "Sharpe ratio", "volatility", "exposure", "trades", "won", "profit factor",
        "result", "a trade",
    )  # fmt: skip
    cells = [
        [
            escape(row.regime), percent(row.share_of_bars), percent(row.log_return, sign=True), number(row.sharpe),
            percent(row.annual_volatility, 0), percent(row.exposure, 0), f"{row.trades:,}", percent(row.win_rate, 0),
            number(row.profit_factor), number(row.pnl, 0, sign=True), number(row.expectancy, 0, sign=True),
        ]
        for row in rows
    ]  # fmt: skip
    return grid(head, cells)


def earnings_table(found: Earnings) -> str:
    """The parts of the result; bold where they can be told from none."""
    sources = [source for source in found.sources if found.told_apart or source.key != "direction"]
    rows = [
        [
            escape(source_name(source, found)),
            percent(source.earned, 2, sign=True),
            number(source.t_statistic, 1, sign=True),
        ]
        for source in sources
    ]
    bold = [abs(source.t_statistic) > DETECTABLE_ERRORS for source in sources]
    rows.append(["<b>all bars' returns added up</b>", f"<b>{percent(found.total, 2, sign=True)}</b>", ""])
    return grid(("what earned it", "of equity", "HAC t"), rows, bold=[*bold, False])


def trades_table(told: Reported) -> str:
    """Closed trades in numbers."""
    own = told.performance.trades
    quote = escape(told.quote)
    rows = [
        ("closed", f"{own.closed:,}"), ("open at the end", f"{own.still_open:,}"),
        ("won", percent(own.win_rate)), ("profit factor", number(own.profit_factor)),
        (f"a trade, {quote}", number(own.expectancy, 2, sign=True)),
        ("a trade, of the value entered", percent(own.expectancy_fraction, 3, sign=True)),
        (f"mean win, {quote}", number(own.mean_win, 2, sign=True)),
        (f"mean loss, {quote}", number(own.mean_loss, 2, sign=True)),
        ("wins in a row", f"{own.consecutive_wins:,}"), ("losses in a row", f"{own.consecutive_losses:,}"),
        ("mean holding, bars", number(own.mean_holding_bars, 1)),
        ("median holding, bars", number(own.median_holding_bars, 1)),
        ("worst in between, winners' mean", percent(own.mae.get("of_wins", np.nan), 2, sign=True)),
        ("best in between, losers' mean", percent(own.mfe.get("of_losses", np.nan), 2, sign=True)),
    ]  # fmt: skip
    return grid(("trades", ""), rows)


def reasons_table(told: Reported) -> str:
    """Closed trades by what ended them."""
    reasons, pnl = np.asarray(told.closed["reason"], dtype=str), column(told.closed, "pnl")
    rows: list[list[str]] = []
    for reason, count in sorted(told.performance.trades.reasons.items(), key=lambda pair: -pair[1]):
        own = pnl[reasons == reason]
        money = [number(float(own.sum()), 0, sign=True), number(float(own.mean()), 2, sign=True)]
        rows.append([escape(why(reason)), f"{count:,}", percent(float((own > 0).mean()), 0), *money])
    return grid(("ended by", "trades", "won", "result", "a trade"), rows or [["no trade was closed", "", "", "", ""]])


def costs_table(told: Reported) -> str:
    """From the result before costs to the one after them."""
    own = told.performance.figures
    trades = max(len(told.run.trades), 1)
    net = own.final_equity - own.capital
    gross = net + own.fees + own.slippage + own.funding
    lines = [
        ("result before costs", gross), ("fees", -own.fees), ("slippage", -own.slippage),
        ("funding", -own.funding), ("result", net),
    ]  # fmt: skip
    rows = [
        [
            word,
            number(value, 0, sign=True),
            percent(value / own.capital, 2, sign=True),
            number(value / trades, 2, sign=True),
        ]
        for word, value in lines
    ]
    return grid(("costs", escape(told.quote), "of capital", "a trade"), rows, bold=[True, *[False] * 3, True])


def settings_table(config: StrategyConfig) -> str:
    """Every key of the configuration; those in bold differ from what is used without them."""
    usual = dict(_flat(StrategyConfig(name=config.name).model_dump(mode="json"), ""))
    own = dict(_flat(config.model_dump(mode="json"), ""))
    rows = [[escape(key), escape(_value(value))] for key, value in own.items()]
    return grid(("setting", "value"), rows, bold=[value != usual.get(key, _Missing) for key, value in own.items()])


def facts_table(facts: Mapping[str, str]) -> str:
    """Data and models."""
    rows = [[escape(key), escape(value)] for key, value in facts.items()]
    return f'<div class="settings">{grid(("data and models", ""), rows)}</div>'


class _Missing:
    """Equal to no setting."""


def _flat(values: Mapping[str, Any], before: str) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            found += _flat(value, f"{before}{key}.")
        else:
            found.append((f"{before}{key}", value))
    return found


def _value(value: Any) -> str:
    if value is None or value in ({}, []):
        return NO_FIGURE
    return ", ".join(str(part) for part in value) if isinstance(value, list) else str(value)
