"""Tables of published regimes: what came after each label, how long it lasted, and how the forecasts scored."""

from collections.abc import Sequence
from html import escape

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tradecore_pipeline.models.returns import follows, next_percent_returns
from tradecore_pipeline.models.statistics import mean_interval
from tradecore_pipeline.serving.palette import REGIME_COLOURS
from tradecore_pipeline.serving.regime_rows import RegimeRows
from tradecore_pipeline.validation.scoreboard import hac_lags

_NO_FIGURE = "-"
_HEAD = (
    "regime", "by mean return", "bars", "share", "bars in a row", "next bar: mean return, bps [95%]",
    "next bar: volatility, %",
)  # fmt: skip


def statistics_table(rows: RegimeRows) -> str:
    """Per regime shown: its share, how long it lasted, and the bar after each of its bars."""
    returns = pd.Series(next_percent_returns(rows.bars, rows.timeframe), index=rows.bars.index)
    following = returns.reindex(rows.regimes.index).to_numpy(dtype=np.float64)
    cells = [_state_cells(rows, k, following) for k in range(len(rows.names))]
    return _table(_HEAD, [_row(own) for own in cells])


def _state_cells(rows: RegimeRows, state: int, following: NDArray[np.float64]) -> tuple[str, ...]:
    own = rows.held == state
    known = ~np.isnan(following)
    mean, low, high = mean_interval(
        100 * following[known], own[known].astype(np.float64), lags=hac_lags(rows.timeframe)
    )  # basis points of returns in percent
    stretches = int((own & ~np.concatenate(([False], own[:-1]))).sum())
    seen = following[own & known]
    return (
        f"{_key(state)}{escape(rows.names[state])}",
        escape(_directions(rows.regimes, own)),
        f"{own.sum()}",
        f"{own.mean():.1%}",
        f"{own.sum() / stretches:.1f}" if stretches else _NO_FIGURE,
        f"{mean:+.2f} [{low:+.2f}, {high:+.2f}]" if not np.isnan(mean) else _NO_FIGURE,
        f"{seen.std():.3f}" if len(seen) > 1 else _NO_FIGURE,
    )


def _directions(regimes: pd.DataFrame, own: NDArray[np.bool_]) -> str:
    """The names by mean return that a regime had, with what they are worth."""
    if not own.any():
        return ""
    names = ", ".join(sorted(set(regimes["regime"].to_numpy(dtype=str)[own])))
    share = float(regimes["direction_significant"].to_numpy(dtype=np.float64)[own].mean())
    return f"{names} ({'not significant' if share == 0 else f'significant in {share:.0%} of its bars'})"


def direction_note(regimes: pd.DataFrame) -> str:
    """What the names by mean return are worth over the whole span, as a sentence."""
    share = float(regimes["direction_significant"].to_numpy(dtype=np.float64).mean())
    if share == 0:
        return (
            "The names by mean return (Bear, Chop, Bull) only order the training means: before none of these months "
            "did the states' mean returns differ significantly out-of-sample."
        )
    return f"Before the months of {share:.0%} of the bars the states' mean returns had differed out-of-sample."


def transitions_table(rows: RegimeRows) -> str:
    """How often each label shown was followed by each, bar to bar; gaps are not counted over."""
    after = follows(rows.regimes, rows.timeframe)[1:]
    counts = np.zeros((len(rows.names), len(rows.names)))
    np.add.at(counts, (rows.held[:-1][after], rows.held[1:][after]), 1)
    table: list[str] = []
    for k, name in enumerate(rows.names):
        total = counts[k].sum()
        cells = [f"{count / total:.4f}" if total else _NO_FIGURE for count in counts[k]]
        table.append(_row((f"{_key(k)}{escape(name)}", *cells, f"{counts[k].sum() - counts[k, k]:.0f}")))
    return _table(("from", *(f"to {name}" for name in rows.names), "times changed"), table)


def scores_table(regimes: pd.DataFrame) -> str:
    """Mean log scores of the published forecast and of its baseline, by month."""
    scores = regimes[["log_score", "har_log_score"]].to_numpy(dtype=np.float64)
    months = np.array([f"{moment:%Y-%m}" for moment in regimes.index])
    known = ~np.isnan(scores).any(axis=1)
    rows: list[str] = []
    for month in [*sorted(set(months)), "all"]:
        chosen = known & ((months == month) | (month == "all"))
        figures = [_NO_FIGURE] * 3
        if chosen.any():
            own, har = scores[chosen].mean(axis=0)
            figures = [f"{own:.4f}", f"{har:.4f}", f"{own - har:+.4f}"]
        rows.append(_row((escape(month), *figures)))
    return _table(("month", "published forecast", "t-HAR alone", "difference (nats a bar)"), rows)


def _key(state: int) -> str:
    return f'<span class="key" style="background:{REGIME_COLOURS[state]}"></span>'


def _row(cells: Sequence[str]) -> str:
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _table(head: Sequence[str], rows: Sequence[str]) -> str:
    return f"<table><tr>{''.join(f'<th>{escape(name)}</th>' for name in head)}</tr>{''.join(rows)}</table>"
