"""One HTML page of a backtest: what was earned and by what, whether it is beyond chance, and every picture of it.

The doors, for whoever ran something (nothing here reads a home or the settings):

    from tradecore_pipeline.serving.backtest_report import backtest_report, write_backtest_report
    from tradecore_pipeline.serving.backtest_run import Reported
    from tradecore_pipeline.serving.backtest_compare import backtest_compare, write_backtest_compare
    from tradecore_pipeline.serving.backtest_sheet import tear_sheet

    told = Reported(
        config=config,            # strategies.schema.StrategyConfig
        markets=markets,          # Mapping[str, strategies.market.Market], in the order of the run's ledgers
        run=run,                  # backtest.results.Backtest | backtest.portfolio.PortfolioBacktest
        performance=performance,  # backtest.metrics.Performance of it
        benchmarks=benchmarks,    # Mapping[str, Backtest | PortfolioBacktest]: the runs that performance() was given
        facts=facts,              # Mapping[str, str]: rows of the table "Data and models" (window, MLflow run ids ...)
        notes=notes,              # Sequence[str]: what else has to be said, a sentence each; often empty
    )
    backtest_report(told, market=market) -> str                            # the page; market is the home's
    write_backtest_report(told, market=market, path=path) -> Path
    backtest_compare([told, ...], market=market) -> str                    # variants side by side, one account each
    write_backtest_compare([told, ...], market=market, path=path) -> Path
    tear_sheet(told, market=market) -> bytes                               # PNG
"""

from collections.abc import Sequence
from html import escape
from pathlib import Path

from tradecore_pipeline.domain.market_data import REAL_MARKET
from tradecore_pipeline.serving.backtest_charts import (
    MOST_PANELS,
    account_chart,
    cost_chart,
    excursion_chart,
    result_chart,
    trades_chart,
)
from tradecore_pipeline.serving.backtest_earnings import Earnings, earnings
from tradecore_pipeline.serving.backtest_marks import MOST_TRADES
from tradecore_pipeline.serving.backtest_page import BADGE, Pictures, page, write_page
from tradecore_pipeline.serving.backtest_run import Reported
from tradecore_pipeline.serving.backtest_tables import (
    costs_table,
    earnings_table,
    facts_table,
    figures_table,
    months_table,
    reasons_table,
    regime_table,
    settings_table,
    trades_table,
)
from tradecore_pipeline.serving.backtest_words import NO_FIGURE, headline, number, percent
from tradecore_pipeline.serving.compare_words import p_text
from tradecore_pipeline.serving.market_words import market_words

_LEAST_SPREAD = 5
"""Closed trades below which there is no spread to draw."""
_NAMINGS = {"volatility_regime": "volatility regime", "regime": "name by direction"}


def write_backtest_report(told: Reported, *, market: str, path: Path) -> Path:
    """Write the page to ``path`` and return it; ``market`` is the home's."""
    return write_page(backtest_report(told, market=market), path)


def backtest_report(told: Reported, *, market: str) -> str:
    """The page as text; plotly.js is inside, so that it opens offline."""
    own, found, pictures = told.performance.figures, earnings(told), Pictures()
    timeframe = next(iter(told.markets.values())).timeframe
    body = [
        _cards(told), _items(headline(told, found)),
        "<h2>Account</h2>", pictures.place("account", account_chart(told)),
        "<h2>Month by month</h2>", months_table(told.performance.months),
        "<h2>What earned it</h2>", _earned(told, found),
        "<h2>By regime</h2>", _regimes(told),
        "<h2>Trades</h2>", *_trades(told, pictures),
        "<h2>Costs</h2>", f'<div class="side"><div>{costs_table(told)}</div>',
        pictures.place("costs", cost_chart(told, found)) if len(told.run.trades) else "", "</div>",
        "<h2>Figures</h2>", figures_table({told.config.name: own, **told.performance.benchmarks}),
        f"<p>{escape(_figures_explained(told))}</p>",
        f"<h2>Data and models</h2>{facts_table(told.facts)}" if told.facts else "",
        f'<details class="settings"><summary>Settings</summary>{settings_table(told.config)}</details>',
    ]  # fmt: skip
    parts = {
        "title": escape(f"{told.config.name}: {told.instruments}, {timeframe}"),
        "badge": BADGE if market != REAL_MARKET else "",
        "subtitle": escape(
            f"{told.config.description} {own.first:%Y-%m-%d} to {own.last:%Y-%m-%d %H:%M}, {own.bars:,} bars, "
            f"{market_words(market)}.".strip()
        ),
        "body": "\n".join(body),
    }
    return page(parts, pictures)


def _items(texts: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(text)}</li>' for text in texts)}</ul>"


def _cards(told: Reported) -> str:
    own, sure = told.performance.figures, told.performance.significance
    moved = None if sure is None else sure.permutation
    deflated = None if sure is None else sure.deflated
    p_value = NO_FIGURE if moved is None or moved.p_value != moved.p_value else p_text(moved.p_value)
    tried = f"of {deflated.configurations} tried" if deflated else "not looked into"
    within = None if sure is None else sure.intervals
    interval = f"95%: {number(within.sharpe[0])} to {number(within.sharpe[1])}" if within else "a year"
    closed = told.performance.trades
    won = f"{percent(closed.win_rate, 0)} won" if closed.closed else "none was closed"
    cards = (
        ("total return", percent(own.total_return, sign=True), f"after {percent(own.costs_of_capital)} costs"),
        ("Sharpe ratio", number(own.sharpe), interval),
        ("deepest drawdown", percent(own.max_drawdown), f"{number(own.max_drawdown_days, 0)} days"),
        ("p by moved regimes", p_value, f"{moved.runs} runs" if moved else "not looked into"),
        ("deflated Sharpe", percent(deflated.probability, 0) if deflated else NO_FIGURE, tried),
        ("trades", f"{len(told.run.trades):,}", won),
    )
    inside = "".join(
        f'<div class="card"><span>{escape(word)}</span><b>{escape(value)}</b><span>{escape(more)}</span></div>'
        for word, value, more in cards
    )
    return f'<div class="cards">{inside}</div>'


def _trades(told: Reported, pictures: Pictures) -> list[str]:
    if not len(told.run.trades):
        return ["<p>Nothing was traded.</p>", pictures.place("trades", trades_chart(told))]
    told_of = [
        pictures.place("trades", trades_chart(told)), f"<p>{escape(_trades_explained(told))}</p>",
        f'<div class="side"><div>{trades_table(told)}</div><div>{reasons_table(told)}</div></div>',
    ]  # fmt: skip
    if told.performance.trades.closed < _LEAST_SPREAD:
        return told_of
    return [
        *told_of, '<div class="side">',
        f"<div><h3>Results of trades</h3>{pictures.place('results', result_chart(told))}</div>",
        f"<div><h3>How far they went wrong (MAE)</h3>{_excursions(told, pictures, 'mae', 'worst in between')}</div>",
        f"<div><h3>How far they were right (MFE)</h3>{_excursions(told, pictures, 'mfe', 'best in between')}</div>",
        "</div>",
    ]  # fmt: skip


def _excursions(told: Reported, pictures: Pictures, column: str, title: str) -> str:
    return pictures.place(column, excursion_chart(told, column, title))


def _trades_explained(told: Reported) -> str:
    words = ["Candles are grey (hollow: up), several bars in one where there are many; behind them the regimes."]
    if any(len(ledger.trades) > MOST_TRADES for _, _, ledger in told.parts):
        words.append(f"Of an instrument's trades the {MOST_TRADES:,} with the largest results are drawn.")
    if len(told.markets) > MOST_PANELS:
        words.append(f"The first {MOST_PANELS} of {len(told.markets)} instruments are drawn.")
    return " ".join(words)


def _regimes(told: Reported) -> str:
    tables = [regime_table(rows, _NAMINGS.get(name, name)) for name, rows in told.performance.regimes.items()]
    return "".join(tables) + (
        "<p>A bar, and a trade, belongs to the regime that was known when it opened. Ratios and volatilities are per "
        "year in the regime.</p>"
    )


def _earned(told: Reported, found: Earnings) -> str:
    if told.performance.figures.bankrupt:
        return "<p>All was lost: returns on what was left before say nothing about what earned them.</p>"
    return f"{earnings_table(found)}<p>{escape(_earnings_explained(found))}</p>"


def _earnings_explained(found: Earnings) -> str:
    names = (
        "What regimes added is split in this order: volatility regimes first, then names of direction within each."
        if found.told_apart
        else "Each state had one name by volatility and one by direction all through: what regimes added cannot be "
        "split between the names."
    )
    return (
        "Mean positions, overall and by the regime known at the bar's open, are those of the whole run: this tells "
        f"what earned the result, not what could have been known. {names} HAC t: robust to autocorrelation over two "
        "days; bold above 2."
    )


def _figures_explained(told: Reported) -> str:
    words = ["Sharpe and Sortino ratios are those of bar returns, per year of 365 days, without a risk-free rate."]
    if told.performance.benchmarks:
        words.append(
            "Benchmarks trade the same bars at the same costs, funding included; that at the same volatility scales "
            "buy & hold bar by bar by what was known of volatility, to the level that the strategy came to."
        )
    return " ".join(words)
