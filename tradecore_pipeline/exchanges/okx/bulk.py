"""OKX's bulk files: what its API says there is, and the files as parsed pieces.

Files are about days and months of UTC+8: a UTC day lies in two of them. OKX publishes no checksums; the file's own is
kept, and a zip checks its content itself.
"""

import hashlib
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import partial
from urllib.parse import urlsplit

import pyarrow as pa

from tradecore_pipeline.domain.errors import InvalidDataError, SourceUnavailableError
from tradecore_pipeline.domain.market_data import SourceFile
from tradecore_pipeline.domain.tables import BARS_1M, FUNDING_RATES, Table
from tradecore_pipeline.domain.time import add_months, day_start, month_range
from tradecore_pipeline.exchanges.archive import unzip
from tradecore_pipeline.exchanges.http import Endpoint, HttpClient
from tradecore_pipeline.exchanges.okx.listing import Subject
from tradecore_pipeline.exchanges.okx.parse import BulkFile, Swap
from tradecore_pipeline.exchanges.okx.parse_csv import candles_csv, funding_csv
from tradecore_pipeline.exchanges.okx.venue import OkxApi
from tradecore_pipeline.exchanges.once import Once
from tradecore_pipeline.exchanges.pieces import ONE_DAY, Piece
from tradecore_pipeline.quality.gaps import epoch_ms

DAILY = "daily"
MONTHLY = "monthly"
AHEAD = timedelta(hours=8)
"""How far the days that files are about run ahead of UTC."""
_PER_LISTING = 9
"""Ten days or months are listed at once, and one is asked for twice: a request that begins on the newest file's own
day has been seen to leave it out."""
_KEPT_LISTINGS = 1024
_KEPT_FILES = 8
_OKX_HOST = re.compile(r"([a-z0-9-]+\.)+okx\.com")
_PERIOD = re.compile(r"-(\d{4})-(\d{2})(?:-(\d{2}))?\.zip$")


@dataclass(frozen=True, slots=True)
class Kind:
    """One module of bulk files."""

    table: Table
    module: int
    label: str
    """What file names call it."""
    parse: Callable[[bytes, Swap, str], pa.Table]


def _bars(csv: bytes, swap: Swap, name: str) -> pa.Table:
    return candles_csv(csv, inst_id=swap.inst_id, contract_base=swap.contract_base, name=name)


def _funding(csv: bytes, swap: Swap, name: str) -> pa.Table:
    return funding_csv(csv, inst_id=swap.inst_id, name=name)


BARS = Kind(BARS_1M, 2, "candlesticks", _bars)
FUNDING = Kind(FUNDING_RATES, 3, "fundingrates", _funding)


def file_day(moment: datetime) -> date:
    """The day, as files count, that a moment lies in."""
    return (moment + AHEAD).date()


def period(rhythm: str, first: date) -> tuple[datetime, datetime]:
    """The beginning and end of a file's day or month."""
    start = day_start(first) - AHEAD
    return start, start + ONE_DAY if rhythm == DAILY else day_start(add_months(first, 1)) - AHEAD


class BulkFiles:
    """Listings are asked for once, and the last files kept parsed for their neighbours."""

    def __init__(self, *, api: OkxApi, http: HttpClient) -> None:
        self._api = api
        self._http = http
        self._listings: Once[dict[date, BulkFile]] = Once(keep=_KEPT_LISTINGS)
        self._pieces: Once[Piece] = Once(keep=_KEPT_FILES)
        self._given_up = threading.Event()

    def reset(self) -> None:
        """Forget that the files' host was given up on, and what was listed: files may have appeared."""
        self._given_up.clear()
        self._listings = Once(keep=_KEPT_LISTINGS)

    def find(self, kind: Kind, subject: Subject, rhythm: str, first: date) -> BulkFile | None:
        """The file about that day, or the month that begins then; None where OKX lists none.

        Raises:
            SourceError: OKX does not answer, or names files that cannot be taken.
        """
        if period(rhythm, first)[1] > subject.now:
            return None
        number = first.toordinal() if rhythm == DAILY else first.year * 12 + first.month
        block = number // _PER_LISTING
        key = f"{kind.label} {subject.swap.inst_id} {rhythm} {block}"
        return self._listings.get(key, partial(self._list, kind, subject, rhythm, block)).get(first)

    def piece(self, kind: Kind, subject: Subject, rhythm: str, first: date) -> Piece | None:
        """The parsed file about that day or month; None where OKX lists none.

        Raises:
            SourceUnavailableError: the files' host does not answer.
            InvalidDataError: the file is not what its name says.
        """
        file = self.find(kind, subject, rhythm, first)
        if file is None:
            return None
        if self._given_up.is_set():
            raise SourceUnavailableError(f"the host of {file.filename} did not answer before: it is not asked again")
        return self._pieces.get(file.url, partial(self._fetch, kind, subject.swap, rhythm, first, file))

    def _list(self, kind: Kind, subject: Subject, rhythm: str, block: int) -> dict[date, BulkFile]:
        numbers = (block * _PER_LISTING - 1, (block + 1) * _PER_LISTING - 1)
        days = [date.fromordinal(n) if rhythm == DAILY else date((n - 1) // 12, (n - 1) % 12 + 1, 1) for n in numbers]
        first, last = (period(rhythm, day)[0] for day in days)
        files = self._api.bulk_files(
            subject.swap, module=kind.module, rhythm=rhythm, first=first, last=min(last, subject.now)
        )
        found: dict[date, BulkFile] = {}
        for file in files:
            about = _about(file, kind, subject.swap, rhythm)
            if about is not None:
                found[about] = file
        return found

    def _fetch(self, kind: Kind, swap: Swap, rhythm: str, first: date, file: BulkFile) -> Piece:
        endpoint, path = address(file, api_url=self._api.url)
        try:
            reply = self._http.get(endpoint, path)
        except SourceUnavailableError:
            self._given_up.set()
            raise
        if reply is None:
            raise SourceUnavailableError(f"OKX lists {file.filename}, but {endpoint.host} does not serve it (HTTP 404)")
        rows = kind.parse(unzip(reply, named=None), swap, file.filename)
        _check_period(rows, kind.table, rhythm, first, name=file.filename)
        digest = hashlib.sha256(reply.body).hexdigest()
        return Piece(rows, f"archive-{rhythm}", endpoint.host, reply.market, (SourceFile(file.url, digest),))


def address(file: BulkFile, *, api_url: str) -> tuple[Endpoint, str]:
    """The file's host and path. Only the API's own host is followed, and OKX's others over https.

    Raises:
        InvalidDataError: the file lies elsewhere.
    """
    parts = urlsplit(file.url)
    own = urlsplit(api_url)
    is_okxs = parts.scheme == "https" and _OKX_HOST.fullmatch(parts.netloc) is not None
    if (parts.scheme, parts.netloc) != (own.scheme, own.netloc) and not is_okxs:
        raise InvalidDataError(f"OKX names {file.url[:200]!r} as the address of {file.filename}: not followed")
    query = f"?{parts.query}" if parts.query else ""
    return Endpoint(f"{parts.scheme}://{parts.netloc}", "TRADECORE_OKX_REST_URL"), parts.path + query


def _about(file: BulkFile, kind: Kind, swap: Swap, rhythm: str) -> date | None:
    """The day or month that a file is about, by its name; None for files of other instruments or kinds."""
    named = _PERIOD.search(file.filename)
    if named is None or file.filename[: named.start()] != f"{swap.inst_id}-{kind.label}":
        return None
    if (named[3] is None) != (rhythm == MONTHLY):
        return None
    try:
        return date(int(named[1]), int(named[2]), int(named[3] or 1))
    except ValueError as error:
        raise InvalidDataError(f"OKX lists {file.filename!r}, whose date does not exist") from error


def _check_period(rows: pa.Table, table: Table, rhythm: str, first: date, *, name: str) -> None:
    """A day more on both sides is let pass: rows are cut by their times, whichever midnight a file keeps to."""
    start, end = period(rhythm, first)
    bounds = [round(moment.timestamp() * 1000) for moment in (start - ONE_DAY, end + ONE_DAY)]
    keys = epoch_ms(rows.column(table.key))
    if len(keys) and (keys[0] < bounds[0] or keys[-1] >= bounds[1]):
        raise InvalidDataError(f"{name} holds rows far outside its {rhythm} period")


def months(start: datetime, end: datetime) -> list[date]:
    """The first days of the months, as files count, that [start, end) touches."""
    return list(month_range(file_day(start), file_day(end - timedelta(milliseconds=1))))
