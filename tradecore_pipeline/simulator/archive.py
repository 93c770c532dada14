"""The archive's face: keys, publication dates, zip files, checksums and S3 listings, laid out as Binance does."""

import hashlib
import re
import zipfile
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from email.utils import format_datetime
from io import BytesIO
from typing import Literal, get_args
from xml.sax.saxutils import escape

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tradecore_pipeline.domain.errors import UsageError
from tradecore_pipeline.domain.time import Clock, add_months, day_start, month_days, parse_day, parse_month
from tradecore_pipeline.simulator.backend import Backend, StoredFile
from tradecore_pipeline.simulator.parameters import Listing, Venue

Dataset = Literal["klines", "premiumIndexKlines", "metrics", "fundingRate"]

_DATASETS: dict[str, Dataset] = {name: name for name in get_args(Dataset)}

_CHECKSUM = ".CHECKSUM"
_SHA256_CHARACTERS = 64
_PAGE_KEYS = 1000
_DAILY_DELAY = timedelta(days=2)
_XML = "application/xml"
_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
_KEY = re.compile(
    r"data/(?P<venue>futures/um|spot)/(?P<rhythm>daily|monthly)/(?P<dataset>klines|premiumIndexKlines|metrics|fundingRate)"
    r"/(?P<symbol>[A-Z0-9]+)/(?:1m/)?(?P=symbol)-(?:1m|metrics|fundingRate)-(?P<period>[0-9-]+)\.zip"
)


@dataclass(frozen=True, slots=True)
class ArchiveFile:
    """What one zip of the archive holds: a dataset of one symbol, over one day or one calendar month."""

    venue: Venue
    dataset: Dataset
    symbol: str
    first_day: date
    monthly: bool

    @classmethod
    def parse(cls, key: str) -> "ArchiveFile | None":
        """The file that ``key`` names; None for keys that this pipeline has no use for, such as other intervals."""
        match = _KEY.fullmatch(key)
        if match is None:
            return None
        monthly = match["rhythm"] == "monthly"
        try:
            first_day = parse_month(match["period"]) if monthly else parse_day(match["period"])
        except UsageError:
            return None
        file = cls(
            venue="spot" if match["venue"] == "spot" else "um",
            dataset=_DATASETS[match["dataset"]],
            symbol=match["symbol"],
            first_day=first_day,
            monthly=monthly,
        )
        return file if file.key == key else None

    @property
    def key(self) -> str:
        """Its path in the archive."""
        venue = "spot" if self.venue == "spot" else "futures/um"
        folder = f"data/{venue}/{'monthly' if self.monthly else 'daily'}/{self.dataset}/{self.symbol}"
        kind = "1m" if self.dataset.endswith("lines") else self.dataset
        period = self.first_day.isoformat()[: 7 if self.monthly else 10]
        return f"{folder}/{'1m/' if kind == '1m' else ''}{self.symbol}-{kind}-{period}.zip"

    @property
    def days(self) -> tuple[date, ...]:
        """The UTC days it covers."""
        return month_days(self.first_day) if self.monthly else (self.first_day,)

    @property
    def published_at(self) -> datetime:
        """When it appears: a day two days after it began, a month on the third of the next one."""
        if self.monthly:
            return day_start(add_months(self.first_day, 1)) + timedelta(days=2)
        return day_start(self.first_day) + _DAILY_DELAY

    def belongs_to(self, listing: Listing) -> bool:
        """Whether it is a file of that symbol."""
        return (self.venue, self.symbol) == (listing.venue, listing.symbol)


def zip_bytes(name: str, content: bytes) -> bytes:
    """A zip file with one member; the same content gives the same bytes."""
    buffer = BytesIO()
    member = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    member.compress_type = zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(member, content, compresslevel=1)
    return buffer.getvalue()


def checksum_text(key: str, content: bytes) -> str:
    """The text beside an archive file, as ``sha256sum`` writes it."""
    return f"{hashlib.sha256(content).hexdigest()}  {key.rpartition('/')[2]}\n"


def listing_xml(
    keys: Sequence[str], describe: Callable[[str], StoredFile], *, prefix: str, delimiter: str, marker: str
) -> str:
    """One page of an S3 (version 1) listing of the sorted ``keys``.

    As on S3, ``NextMarker`` appears only where a delimiter was given: without one, the last key is the next marker.
    """
    contents: list[str] = []
    prefixes: list[str] = []
    last = marker
    truncated = False
    for key in keys[bisect_right(keys, max(marker, prefix[:-1])) :]:
        if not key.startswith(prefix):
            if key > prefix:
                break
            continue
        head, found, _ = key[len(prefix) :].partition(delimiter) if delimiter else ("", "", "")
        entry = prefix + head + delimiter if found else key
        if found and entry <= last:
            continue
        if len(contents) + len(prefixes) == _PAGE_KEYS:
            truncated = True
            break
        (prefixes if found else contents).append(entry)
        last = entry
    next_marker = last if truncated else None
    entries = [_entry(key, describe(key)) for key in contents]
    return _page(entries, prefixes, prefix=prefix, delimiter=delimiter, marker=marker, next_marker=next_marker)


class ArchiveFace:
    """Serves a back end's archive: objects, checksums and listings, as they are at the clock's moment."""

    def __init__(self, backend: Backend, clock: Clock) -> None:
        self._backend = backend
        self._clock = clock

    def routes(self) -> list[Route]:
        """Objects under ``/data/``; listings at the root and under the bucket's name."""
        return [
            Route("/data/{path:path}", self._object),
            Route("/", self._listing),
            Route("/data.binance.vision", self._listing),
            Route("/data.binance.vision/", self._listing),
        ]

    async def _object(self, request: Request) -> Response:
        key = "data/" + request.path_params["path"]
        wants_checksum = key.endswith(_CHECKSUM)
        file_key = key.removesuffix(_CHECKSUM)
        content = self._backend.archive_object(file_key, self._clock())
        if content is None:
            return Response(_no_such_key(key), status_code=404, media_type=_XML)
        if wants_checksum:
            content = self._backend.archive_checksum(file_key) or checksum_text(file_key, content).encode()
        entry = self._describe(key)
        kind = "binary/octet-stream" if wants_checksum else "application/zip"
        modified = format_datetime(entry.modified, usegmt=True)
        return Response(content, media_type=kind, headers={"ETag": f'"{entry.etag}"', "Last-Modified": modified})

    async def _listing(self, request: Request) -> Response:
        keys = [name for key in self._backend.archive_keys(self._clock()) for name in (key, key + _CHECKSUM)]
        given = request.query_params
        page = listing_xml(
            keys,
            self._describe,
            prefix=given.get("prefix", ""),
            delimiter=given.get("delimiter", ""),
            marker=given.get("marker", ""),
        )
        return Response(page, media_type=_XML)

    def _describe(self, key: str) -> StoredFile:
        """What is said of a file, or of the checksum beside it, which changes when the file does."""
        file_key = key.removesuffix(_CHECKSUM)
        entry = self._backend.archive_entry(file_key)
        if file_key == key:
            return entry
        size = _SHA256_CHARACTERS + 2 + len(file_key.rpartition("/")[2]) + 1
        return StoredFile(entry.modified, etag_of(f"{entry.etag}{_CHECKSUM}"), size)


def etag_of(text: str) -> str:
    """An ETag that stands for ``text``."""
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def published_at(key: str) -> datetime:
    """When the file under ``key`` first appears; the beginning of time for files this pipeline has no use for."""
    file = ArchiveFile.parse(key)
    return datetime(1970, 1, 1, tzinfo=UTC) if file is None else file.published_at


def _entry(key: str, entry: StoredFile) -> str:
    return (
        f"<Contents><Key>{escape(key)}</Key><LastModified>{entry.modified:%Y-%m-%dT%H:%M:%S}.000Z</LastModified>"
        f"<ETag>&quot;{entry.etag}&quot;</ETag><Size>{entry.size}</Size>"
        "<StorageClass>STANDARD</StorageClass></Contents>"
    )


def _page(
    entries: list[str], prefixes: list[str], *, prefix: str, delimiter: str, marker: str, next_marker: str | None
) -> str:
    head = [
        f"<Name>data.binance.vision</Name><Prefix>{escape(prefix)}</Prefix><Marker>{escape(marker)}</Marker>",
        f"<MaxKeys>{_PAGE_KEYS}</MaxKeys>",
        f"<Delimiter>{escape(delimiter)}</Delimiter>" if delimiter else "",
        f"<IsTruncated>{'false' if next_marker is None else 'true'}</IsTruncated>",
        f"<NextMarker>{escape(next_marker)}</NextMarker>" if delimiter and next_marker is not None else "",
    ]
    groups = [f"<CommonPrefixes><Prefix>{escape(entry)}</Prefix></CommonPrefixes>" for entry in prefixes]
    body = "".join([*head, *entries, *groups])
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="{_NAMESPACE}">{body}</ListBucketResult>'


def _no_such_key(key: str) -> str:
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>NoSuchKey</Code>'
        f"<Message>The specified key does not exist.</Message><Key>{escape(key)}</Key></Error>"
    )
