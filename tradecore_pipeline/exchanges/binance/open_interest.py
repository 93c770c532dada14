"""Open interest by day: the daily ``metrics`` file, REST for the last four weeks, and nothing beyond those.

Day D holds the snapshots of [D 00:00, D+1 00:00). Files run either from 00:00 to 23:55 or from 00:05 to 00:00 of the
next day; whichever way, a row belongs to the day its stamp lies in, so the first snapshot of a day may come from the
file of the day before.
"""

from datetime import date, datetime, timedelta
from functools import partial

import pyarrow as pa

from tradecore_pipeline.domain.errors import SourceUnavailableError
from tradecore_pipeline.domain.market_data import FetchedDay, Gap
from tradecore_pipeline.domain.tables import OPEN_INTEREST
from tradecore_pipeline.domain.time import day_start
from tradecore_pipeline.exchanges.binance import forward
from tradecore_pipeline.exchanges.binance.files import DAILY, BinanceFiles
from tradecore_pipeline.exchanges.binance.parse import metrics_csv
from tradecore_pipeline.exchanges.binance.rest import BinanceRest, NotListedError
from tradecore_pipeline.exchanges.binance.symbols import Listed
from tradecore_pipeline.exchanges.once import Once
from tradecore_pipeline.exchanges.pieces import (
    ONE_DAY,
    Asked,
    Piece,
    Verdict,
    assemble,
    cut,
    judge,
    merge,
    nothing,
    split_gaps,
)
from tradecore_pipeline.quality.gaps import find_gaps

METRICS = "metrics"
REST_DEPTH = timedelta(days=29)
"""The exchange keeps 30 days and refuses older ones for good (-1130); one is left for clocks and paging."""
_STEP = timedelta(minutes=5)
_KEPT_FILES = 32
"""Parsed files that are kept for their neighbour."""
_NOT_PUBLISHED = (
    "not published: open interest older than 30 days exists only in the archive, which has no file for this day"
)


class OpenInterestRoute:
    """Where each day of open interest comes from."""

    def __init__(self, *, files: BinanceFiles, rest: BinanceRest) -> None:
        self._files = files
        self._rest = rest
        self._parsed: Once[Piece | None] = Once(keep=_KEPT_FILES)

    def fetch(self, listed: Listed, day: date, *, now: datetime) -> FetchedDay:
        """One day."""
        start = day_start(day)
        piece = self._archived(listed, day)
        recent = start >= now - REST_DEPTH
        if piece is None and not recent:
            return self._not_published(listed, day)
        failure, seen_until = "", None
        until = min(start + ONE_DAY, now + timedelta(milliseconds=1))
        if recent and (piece is None or _gaps(piece, start=start, end=until)):
            try:
                piece, seen_until = self._repair(listed, piece, start=start, until=until)
            except SourceUnavailableError as error:
                if piece is None:
                    raise
                failure = str(error)
            except NotListedError:
                if piece is None:
                    raise
        assert piece is not None  # noqa: S101 (every route that gives none returned or raised)
        gaps = _gaps(piece, start=start, end=until)
        verdict = judge(piece, OPEN_INTEREST, day=day, gaps=gaps, asked=Asked(now, seen_until, failure))
        return assemble(listed.instrument, OPEN_INTEREST, day, piece, verdict)

    def _archived(self, listed: Listed, day: date) -> Piece | None:
        """The day's own file, and its first snapshot from the file before where only that has it."""
        start = day_start(day)
        own = self._file(listed, day)
        if own is None:
            return None
        piece = cut(own, OPEN_INTEREST, start=start, end=start + ONE_DAY)
        if piece.rows.num_rows and piece.rows.column("ts_event")[0].as_py() == start:
            return piece
        before = self._file(listed, day - ONE_DAY)
        if before is None:
            return piece
        return merge(piece, cut(before, OPEN_INTEREST, start=start, end=start + _STEP), OPEN_INTEREST)

    def _file(self, listed: Listed, day: date) -> Piece | None:
        parse = partial(_parse, symbol=listed.symbol)
        key = listed.key(DAILY, METRICS, day)
        return self._parsed.get(key, lambda: self._files.piece(listed, DAILY, METRICS, day, parse))

    def _repair(
        self, listed: Listed, piece: Piece | None, *, start: datetime, until: datetime
    ) -> tuple[Piece, datetime | None]:
        """The piece with what REST adds. What stays missing is asked for twice, and a silence to the end checked."""
        whole = piece or nothing(OPEN_INTEREST, host="", market="")
        seen_until: datetime | None = None
        # Without a file every snapshot is missing, so that the first answer says which host and market it is.
        for _ in range(2):
            gaps = _gaps(whole, start=start, end=until)
            if not gaps:
                return whole, seen_until
            answer = forward.open_interest(
                self._rest, listed, start=gaps[0].first_missing, end=gaps[-1].last_missing + _STEP
            )
            whole = merge(whole, answer.piece, OPEN_INTEREST)
            seen_until = max(filter(None, (seen_until, answer.seen_until)), default=None)
        _, silence = split_gaps(_gaps(whole, start=start, end=until), whole, OPEN_INTEREST, seen_until=seen_until)
        if silence is not None and until == start + ONE_DAY:
            forward.check_silence(self._rest, listed, OPEN_INTEREST, since=silence.first_missing)
        return whole, seen_until

    def _not_published(self, listed: Listed, day: date) -> FetchedDay:
        listing = self._files.listing(listed, DAILY, METRICS)
        first = self._files.first_period(listed, DAILY, METRICS)
        reason = _NOT_PUBLISHED if first is None else f"{_NOT_PUBLISHED} (its first: {first.isoformat()})"
        piece = nothing(OPEN_INTEREST, host=listing.host, market=listing.market)
        return assemble(listed.instrument, OPEN_INTEREST, day, piece, Verdict((), complete=True, reason=reason))


def _parse(csv: bytes, name: str, *, symbol: str) -> pa.Table:
    return metrics_csv(csv, name=name, symbol=symbol)


def _gaps(piece: Piece, *, start: datetime, end: datetime) -> tuple[Gap, ...]:
    return find_gaps(piece.rows.column("ts_event"), start=start, end=end, step=_STEP)
