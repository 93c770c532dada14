"""What earned a backtest's result: holding at all, volatility regimes, names of direction, or what is finer."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from tradecore_pipeline.backtest.results import Ledger
from tradecore_pipeline.backtest.state import F_BAR, F_FEE, F_OPEN, F_PRICE, F_SLIPPAGE, F_UNITS, Floats
from tradecore_pipeline.serving.backtest_run import Reported, labels_by_volatility
from tradecore_pipeline.strategies.market import Market
from tradecore_pipeline.validation.scoreboard import hac_lags, standard_error


@dataclass(frozen=True, slots=True)
class Source:
    """One part of the result."""

    key: str
    earned: float
    """Sum over all bars of its part of the bar's return, a fraction; costs are negative."""
    t_statistic: float
    """Of its mean over the bars, robust to autocorrelation (HAC); NaN for costs, and where it cannot be told."""


@dataclass(frozen=True, slots=True)
class Earnings:
    """The sum of all bars' returns in parts that add up to it."""

    always: Source
    """What the mean position would have earned, held throughout."""
    volatility: Source
    """What holding more or less by the volatility regime that was known added."""
    direction: Source
    """What the names of direction (Bear, Bull ...) added within each volatility regime."""
    told_apart: bool
    """Whether a volatility regime went by several names of direction; else ``direction`` is 0 and ``volatility`` stands
    for both, which say the same."""
    finer: Source
    """What changing the position within regimes added: forecasts, entries, exits, sizes by volatility."""
    inside: Source
    """Fills away from the open (stops, targets) and gaps between bars."""
    fees: Source
    slippage: Source
    funding: Source
    total: float
    """Sum of the bars' returns: not compounded."""
    cumulated_costs: dict[str, Floats]
    """Fees, slippage and funding (positive: paid) so far, in quote currency, at each bar's close."""

    @property
    def sources(self) -> tuple[Source, ...]:
        """All parts."""
        return (
            self.always, self.volatility, self.direction, self.finer, self.inside, self.fees, self.slippage,
            self.funding,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Part:
    """One instrument's money by bar, before costs."""

    at: Any
    """Its bars among the account's."""
    opened: Floats
    """Value of what was held after the open's fills, quote currency."""
    moved: Floats
    """The price's move from open to close, a fraction."""
    gross: Floats
    """All that it earned, quote currency."""
    fees: Floats
    slippage: Floats


def earnings(told: Reported) -> Earnings:
    """The result of ``told`` in parts.

    A bar's position is that after its open's fills, and its regime the one known then. The mean position, overall and
    by regime, is taken over the whole run: this tells what earned the result, not what could have been known. Nothing
    is counted from ruin on.
    """
    account, before = told.account, told.before
    bars = len(account)
    parts = {
        name: np.zeros(bars) for name in ("always", "volatility", "direction", "finer", "gross", "fees", "slippage")
    }
    for _, market, ledger in told.parts:
        _add(parts, _part(ledger, account.ts_open), market, before)
    equity = np.diff(account.equity, prepend=account.capital)
    funding = parts["gross"] - parts["slippage"] - parts["fees"] - equity
    money = {"fees": parts["fees"], "slippage": parts["slippage"], "funding": funding}

    def share(values: Floats) -> Floats:
        return np.divide(values, before, out=np.zeros(bars), where=before > 0)

    timed = {name: share(parts[name]) for name in ("always", "volatility", "direction", "finer")}
    inside = account.returns - sum(timed.values()) + sum(share(values) for values in money.values())
    lags = hac_lags(next(iter(told.markets.values())).timeframe)
    return Earnings(
        **{name: _source(name, values, lags) for name, values in timed.items()},
        told_apart=any(_several_names(market) for market in told.markets.values()),
        inside=_source("inside", inside, lags),
        **{name: Source(name, -float(share(values).sum()), float("nan")) for name, values in money.items()},
        total=float(account.returns.sum()),
        cumulated_costs={name: np.cumsum(values) for name, values in money.items()},
    )


def _part(ledger: Ledger, times: Any) -> _Part:
    bars, rows, position = ledger.bars, ledger.fill_rows, ledger.position
    held = np.concatenate(([0.0], position[:-1]))
    at_open = rows[:, F_OPEN] > 0
    close_before = np.concatenate((bars.open[:1], bars.close[:-1]))
    filled = rows[:, F_BAR].astype(np.intp)

    def by_bar(values: Floats) -> Floats:
        return np.bincount(filled, weights=values, minlength=len(bars)).astype(np.float64)

    slippage = by_bar(rows[:, F_SLIPPAGE])
    from_fills = by_bar(rows[:, F_UNITS] * (bars.close[filled] - rows[:, F_PRICE]))
    # With inner bars an order's open is the outer one; what fills at a later inner open lies inside the bar.
    opens = at_open & (ledger.fill_times == bars.ts_open[filled])
    return _Part(
        at=np.searchsorted(times, bars.ts_open),
        opened=(held + by_bar(np.where(opens, rows[:, F_UNITS], 0.0))) * bars.open,
        moved=bars.close / bars.open - 1,
        gross=held * (bars.close - close_before) + from_fills + slippage,
        fees=by_bar(rows[:, F_FEE]),
        slippage=slippage,
    )


def _add(parts: dict[str, Floats], part: _Part, market: Market, before: Floats) -> None:
    """Adds one instrument's money by bar to each part's."""
    value = before[part.at]
    alive = value > 0
    weight = np.divide(part.opened, value, out=np.zeros(len(value)), where=alive)
    by_scale = _known(labels_by_volatility(market))
    by_both = np.char.add(np.char.add(by_scale, "|"), _known(market.regime))
    always = np.full(len(weight), weight[alive].mean() if alive.any() else 0.0)
    scale, both = _mean_by(weight, by_scale, alive), _mean_by(weight, by_both, alive)
    money = value * part.moved
    for name, own in (
        ("always", always), ("volatility", scale - always), ("direction", both - scale), ("finer", weight - both),
    ):  # fmt: skip
        parts[name][part.at] += np.where(alive, own * money, 0.0)
    for name in ("gross", "fees", "slippage"):
        parts[name][part.at] += getattr(part, name)


def _several_names(market: Market) -> bool:
    scale = labels_by_volatility(market)
    return len(np.unique(np.char.add(np.char.add(scale, "|"), market.regime))) > len(np.unique(scale))


def _known(labels: Any) -> Any:
    """What was known when each bar opened: the row before."""
    return np.concatenate(([""], np.asarray(labels, dtype=str)[:-1]))


def _mean_by(values: Floats, labels: Any, alive: Any) -> Floats:
    _, group = np.unique(labels, return_inverse=True)
    count = np.maximum(np.bincount(group, weights=alive), 1)
    return (np.bincount(group, weights=np.where(alive, values, 0.0)) / count)[group]


def _source(key: str, values: Floats, lags: int) -> Source:
    error = standard_error(values, lags=lags) if np.ptp(values) > 0 else float("nan")
    return Source(key, float(values.sum()), float(values.mean()) / error if error > 0 else float("nan"))
