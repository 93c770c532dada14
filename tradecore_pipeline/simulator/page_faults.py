"""Faults inside JSON: pages of rows that are short, doubled, shuffled or restated, and clocks that are off."""

import random
from collections.abc import Callable
from typing import Any

from tradecore_pipeline.simulator.answers import Answer
from tradecore_pipeline.simulator.asked import Exchange
from tradecore_pipeline.simulator.fault_case import Case, Effect

Rows = list[Any]

_AMOUNTS = ("fundingRate", "sumOpenInterest", "sumOpenInterestValue", "openInterest", "singleOpenInterest", "v")
_HIGH, _LOW, _CLOSE = 2, 3, 4
"""Where binance, bybit and okx have them in a candle."""
_CONFIRM = 8
"""Where okx says whether a candle has closed."""


def rows_of(exchange: Exchange, document: Any) -> Rows | None:
    """The rows inside an exchange's envelope, the very list; None where there is none."""
    rows: Any = document
    if exchange == "bybit":
        result = document.get("result") if isinstance(document, dict) else None
        rows = result.get("list") if isinstance(result, dict) else None
    elif exchange == "okx":
        rows = document.get("data") if isinstance(document, dict) else None
    return rows if isinstance(rows, list) else None


def on_rows(change: Callable[[Rows, Case], Rows | None]) -> Effect:
    """The effect that replaces a page's rows by ``change`` of them; none where that is None."""

    def effect(case: Case) -> Answer | None:
        document = case.answer.document()
        rows = rows_of(case.asked.exchange, document)
        changed = None if rows is None else change(rows, case)
        if rows is None or changed is None:
            return None
        rows[:] = changed
        if not rows and case.asked.exchange == "bybit" and "nextPageCursor" in document["result"]:
            document["result"]["nextPageCursor"] = ""
        return case.answer.with_document(document)

    return effect


def emptied(rows: Rows, case: Case) -> Rows | None:  # noqa: ARG001 (the signature of all changes)
    """No rows."""
    return [] if rows else None


def duplicated(rows: Rows, case: Case) -> Rows | None:
    """Some rows in a row twice."""
    count = min(int(case.argument), len(rows))
    first = _random(case).randint(0, len(rows) - count)
    return [*rows[: first + count], *rows[first:]] if rows else None


def repeated(rows: Rows, case: Case) -> Rows | None:  # noqa: ARG001 (the signature of all changes)
    """The whole page twice."""
    return rows * 2 if rows else None


def shuffled(rows: Rows, case: Case) -> Rows | None:
    """The rows out of order."""
    changed = rows.copy()
    _random(case).shuffle(changed)
    if changed == rows:
        changed.reverse()
    return None if changed == rows else changed


def thinned(rows: Rows, case: Case) -> Rows | None:
    """Without some rows in the middle; the first and the last stay."""
    if len(rows) < 3:
        return None
    count = min(int(case.argument), len(rows) - 2)
    first = _random(case).randint(1, len(rows) - 1 - count)
    return [*rows[:first], *rows[first + count :]]


def restated(rows: Rows, case: Case) -> Rows | None:
    """One row other than at both ends, where there is one, has values that are possible but not the true ones."""
    # Neither end: the open candle is at one of them, and is expected to change.
    order = list(range(1, len(rows) - 1))
    _random(case).shuffle(order)
    for place in order:
        changed = _restated_row(rows[place])
        if changed != rows[place]:
            return [*rows[:place], changed, *rows[place + 1 :]]
    return None


def open_as_closed(rows: Rows, case: Case) -> Rows | None:
    """OKX's open candle, marked as closed."""
    if case.asked.exchange != "okx":
        return None
    changed = [
        [*row[:_CONFIRM], "1"] if isinstance(row, list) and len(row) > _CONFIRM and row[_CONFIRM] == "0" else row
        for row in rows
    ]
    return None if changed == rows else changed


def skewed_clock(case: Case) -> Answer | None:
    """A server's time, off by the argument's seconds."""
    document = case.answer.document()
    shift_ms = int(case.argument * 1000)
    if not isinstance(document, dict):
        return None
    if "serverTime" in document:
        document["serverTime"] += shift_ms
    elif case.asked.exchange == "bybit":
        result = document["result"]
        result["timeSecond"] = str((int(result["timeNano"]) // 1_000_000 + shift_ms) // 1000)
        result["timeNano"] = str(int(result["timeNano"]) + shift_ms * 1_000_000)
        document["time"] += shift_ms
    elif case.asked.exchange == "hyperliquid":
        document["time"] += shift_ms
    else:
        document["data"][0]["ts"] = str(int(document["data"][0]["ts"]) + shift_ms)
    return case.answer.with_document(document)


def _restated_row(row: Any) -> Any:
    if isinstance(row, dict):
        return row | {name: _other_amount(row[name]) for name in _AMOUNTS if name in row}
    if isinstance(row, list) and len(row) > _CLOSE + 1:
        other = row[_LOW] if row[_CLOSE] != row[_LOW] else row[_HIGH]
        return [*row[:_CLOSE], other, *row[_CLOSE + 1 :]]
    return [row[0], *map(_other_amount, row[1:])] if isinstance(row, list) else row


def _other_amount(text: Any) -> Any:
    if not isinstance(text, str):
        return text
    decimals = len(text.partition(".")[2])
    # At least one unit in the last place, or a small value would round back to itself.
    return f"{float(text) + max(abs(float(text)) * 0.01, 10**-decimals):.{decimals}f}"


def _random(case: Case) -> random.Random:
    return random.Random(case.draw)  # noqa: S311 (reproducible on purpose)
