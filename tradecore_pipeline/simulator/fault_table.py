"""All faults by name: what each does, where it may strike, and what its argument is."""

import math
from dataclasses import replace

from tradecore_pipeline.simulator import archive_faults, page_faults
from tradecore_pipeline.simulator.answers import Answer, banned, html_answer, json_answer, too_many, unavailable
from tradecore_pipeline.simulator.asked import Asked, Kind
from tradecore_pipeline.simulator.fault_case import Case, Effect, Fault

_API: frozenset[Kind] = frozenset({"series", "time", "rest"})
_TEXTS: frozenset[Kind] = _API | frozenset[Kind]({"checksum", "listing"})
_ANY: frozenset[Kind] = _TEXTS | frozenset[Kind]({"archive"})
_PAGES: frozenset[Kind] = frozenset({"series"})
_FILES: frozenset[Kind] = frozenset({"archive", "checksum"})
_PUBLISHED: frozenset[Kind] = frozenset({"archive", "checksum", "listing"})
_SECONDS = (0.0, 600.0)
_ROWS = (1.0, 10_000.0)
_GEO_BLOCK = {
    "code": 0,
    "msg": "Service unavailable from a restricted location according to 'b. Eligibility'. "
    "Please contact customer service if you believe you received this message in error.",
}


def _rate_limited(case: Case) -> Answer:
    """As each exchange refuses by its own rules: Bybit with HTTP 200."""
    exchange = case.asked.exchange
    if exchange == "binance":
        return too_many(exchange, status=429, retry_after=case.argument)
    return too_many(exchange, status=200 if exchange == "bybit" else 429, retry_after=None)


def _banned(case: Case) -> Answer | None:
    return banned(case.argument) if case.asked.exchange == "binance" else None


def _cut_body(case: Case) -> Answer | None:
    half = len(case.answer.body) // 2
    return replace(case.answer, sent_bytes=half) if half else None


def _truncated_body(case: Case) -> Answer | None:
    if case.answer.status != 200:
        return None
    body = case.answer.body
    return case.answer.with_body(body[: len(body) // 2], media_type=case.answer.media_type)


def _plain(effect: Effect, kinds: frozenset[Kind]) -> Fault:
    return Fault(effect, kinds, argument=0.0, bounds=(0.0, 0.0))


def _of_rows(effect: Effect, *, rows: int) -> Fault:
    return Fault(effect, _PAGES, argument=rows, bounds=_ROWS)


FAULTS: dict[str, Fault] = {
    "http_429": Fault(
        lambda case: too_many(case.asked.exchange, status=429, retry_after=case.argument), _ANY, 1.0, _SECONDS
    ),
    "rate_limited": Fault(_rate_limited, _API, 1.0, _SECONDS),
    "http_418": Fault(_banned, _API, 2.0, (0.0, 86_400.0)),
    "http_403": _plain(lambda _: html_answer(403, "ERROR: The request could not be satisfied"), _ANY),
    "http_451": _plain(lambda _: json_answer(_GEO_BLOCK, status=451), _ANY),
    "http_500": _plain(lambda _: html_answer(500, "Internal Server Error"), _ANY),
    "http_503": _plain(lambda case: unavailable(case.asked.exchange), _ANY),
    "html_200": _plain(lambda _: html_answer(200, "Sign in to the network"), _ANY),
    "truncated_body": _plain(_truncated_body, _TEXTS),
    "cut_body": _plain(_cut_body, _ANY),
    "stall": Fault(lambda case: replace(case.answer, delay_seconds=case.argument), _ANY, 30.0, _SECONDS),
    "empty_page": _plain(page_faults.on_rows(page_faults.emptied), _PAGES),
    "duplicated_rows": _of_rows(page_faults.on_rows(page_faults.duplicated), rows=3),
    "repeated_page": _plain(page_faults.on_rows(page_faults.repeated), _PAGES),
    "cursor_ignored": Fault(lambda case: case.answer, _PAGES, 0.0, (0.0, 0.0), redirect=Asked.without_window),
    "unsorted_page": _plain(page_faults.on_rows(page_faults.shuffled), _PAGES),
    "missing_rows": _of_rows(page_faults.on_rows(page_faults.thinned), rows=3),
    "restated_row": _plain(page_faults.on_rows(page_faults.restated), _PAGES),
    "open_as_closed": _plain(page_faults.on_rows(page_faults.open_as_closed), _PAGES),
    "clock_skew": Fault(page_faults.skewed_clock, frozenset({"time"}), 3600.0, (-math.inf, math.inf)),
    "wrong_checksum": _plain(archive_faults.wrong_checksum, frozenset({"checksum"})),
    "truncated_zip": _plain(archive_faults.truncated_zip, frozenset({"archive"})),
    "short_csv": Fault(archive_faults.short_csv, _FILES, 10.0, _ROWS, redirect=Asked.of_its_file, per_file=True),
    "late_publication": Fault(archive_faults.late_publication, _PUBLISHED, 0.0, (0.0, 0.0), per_file=True),
}
