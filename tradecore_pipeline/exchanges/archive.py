"""File archives with S3 listings: zip files beside their checksums, verified before anyone reads them."""

import hashlib
import io
import struct
import xml.etree.ElementTree as ET
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import cast

from isal import isal_zlib

from tradecore_pipeline.domain.errors import ChecksumError, InvalidDataError, SourceUnavailableError
from tradecore_pipeline.exchanges.http import Endpoint, HttpClient, Reply

MAX_LISTING_BYTES = 8 * 1024 * 1024
MAX_LISTING_PAGES = 200
MAX_CSV_BYTES = 512 * 1024 * 1024
"""A month of 1-minute bars is 6 MB; a member beyond this is not market data."""
_HEADER_BYTES = 30
"""Of a zip member, before its name and its extra field."""
_LENGTHS_AT = 26
"""Where in that header the lengths of those two are."""
_ISAL_ERROR = cast("type[Exception]", isal_zlib.error)  # its stubs call the class an instance
_FIRST_KEYS = 100
"""Entries of a first page: enough to tell when a series begins, and a tenth of what the server would send."""


@dataclass(frozen=True, slots=True)
class Listing:
    """The zip files under one prefix by key, and when each was last written, where the listing tells."""

    keys: Mapping[str, datetime | None]
    host: str
    market: str


@dataclass(frozen=True, slots=True)
class ArchiveFile:
    """The one CSV inside a verified zip."""

    url: str
    sha256: str
    csv: bytes
    host: str
    market: str


class Archive:
    """One archive: ``objects`` serves files by key, ``listing`` answers ``?prefix=`` requests."""

    def __init__(self, *, http: HttpClient, objects: Endpoint, listing: Endpoint) -> None:
        self._http = http
        self._objects = objects
        self._listing = listing

    def list_keys(self, prefix: str, *, after: str = "") -> Listing:
        """All zip files whose keys begin with ``prefix``, lie directly under its last slash and follow ``after``.

        Raises:
            SourceUnavailableError: the listing does not answer.
            InvalidDataError: a page is not an S3 listing, pages do not advance, or a folder that exists has nothing.
        """
        return self._listed(self._twice(prefix, after) if after else self._folder(prefix))

    def server_time(self) -> datetime | None:
        """The listing host's clock, as its answer is dated; None where it does not say.

        Raises:
            SourceUnavailableError: the listing does not answer.
        """
        reply = self._http.get(self._listing, "", {"delimiter": "/", "prefix": "data/", "max-keys": "1"})
        return None if reply is None else reply.date

    def first_keys(self, prefix: str) -> Listing:
        """The first few of ``list_keys``."""
        page = next(self._pages(prefix, "", most=_FIRST_KEYS))
        return self._listed([page] if page.entries else self._folder(prefix))

    def folders(self, prefix: str) -> tuple[str, ...]:
        """The names of the folders directly under ``prefix``, sorted."""
        found = {folder for page in self._twice(prefix, "") for folder in page.folders}
        return tuple(sorted(folder.removeprefix(prefix).strip("/") for folder in found))

    def url(self, key: str) -> str:
        """Where a file is served."""
        return f"{self._objects.url}/{key}"

    def checksum(self, key: str) -> str:
        """The published SHA-256 of a listed zip.

        Raises:
            SourceUnavailableError: the host does not answer, or does not serve what it lists.
            ChecksumError: what it serves is no checksum.
        """
        return _parse_checksum(self._get(f"{key}.CHECKSUM"))

    def _listed(self, pages: Sequence["_Page"]) -> Listing:
        keys = {key: at for page in pages for key, at in page.zips.items()}
        return Listing(keys, self._listing.host, pages[-1].market)

    def _folder(self, prefix: str) -> list["_Page"]:
        """All pages under ``prefix``; that there are no files at all is believed where no such folder is listed."""
        pages = self._twice(prefix, "")
        parent, _, name = prefix.rstrip("/").rpartition("/")
        if not any(page.entries for page in pages) and name in self.folders(f"{parent}/"):
            raise InvalidDataError(
                f"{self._listing.url} contradicts itself: {parent}/ has a folder {name}, which has nothing: "
                "try again later"
            )
        return pages

    def _twice(self, prefix: str, marker: str) -> list["_Page"]:
        """All pages; asked for once more where there is nothing: one empty answer is no proof."""
        pages = list(self._pages(prefix, marker, most=None))
        return pages if any(page.entries for page in pages) else list(self._pages(prefix, marker, most=None))

    def _pages(self, prefix: str, marker: str, *, most: int | None) -> Iterator["_Page"]:
        """The pages from ``marker`` on, of at most ``most`` entries each (None: as many as the server likes)."""
        sized = {} if most is None else {"max-keys": str(most)}
        for _ in range(MAX_LISTING_PAGES):
            reply = self._http.get(self._listing, "", {"delimiter": "/", "prefix": prefix, "marker": marker} | sized)
            if reply is None:
                raise SourceUnavailableError(
                    f"{self._listing.host} has no listing (HTTP 404): check {self._listing.setting} "
                    f"(now {self._listing.url})"
                )
            page = _parse_listing(reply)
            yield page
            if page.following is None:
                return
            if page.following <= marker:
                raise InvalidDataError(f"{reply.url}: the listing does not advance beyond {marker}")
            marker = page.following
        raise InvalidDataError(f"{self._listing.url}: more than {MAX_LISTING_PAGES} pages under {prefix}")

    def fetch(self, key: str) -> ArchiveFile:
        """The CSV of a listed zip, checked against its published SHA-256; a mismatch is downloaded once more.

        Raises:
            SourceUnavailableError: the host does not answer, or does not serve what it lists.
            ChecksumError: the file is not the one its checksum describes, twice.
            InvalidDataError: not a zip with exactly one CSV, or with another file's.
        """
        try:
            return self._fetch_once(key)
        except ChecksumError:
            # A file is rewritten together with its checksum: both are asked for again.
            return self._fetch_once(key)

    def _fetch_once(self, key: str) -> ArchiveFile:
        expected = self.checksum(key)
        reply = self._get(key)
        actual = hashlib.sha256(reply.body).hexdigest()
        if actual != expected:
            raise ChecksumError(
                f"{reply.url} does not match its checksum (sha256 {actual[:12]}..., published {expected[:12]}...): "
                "the archive is being rewritten or the download is damaged; try again later"
            )
        csv = unzip(reply, named=key.rpartition("/")[2].removesuffix(".zip") + ".csv")
        return ArchiveFile(reply.url, actual, csv, self._objects.host, reply.market)

    def _get(self, key: str) -> Reply:
        reply = self._http.get(self._objects, f"/{key}")
        if reply is None:
            raise SourceUnavailableError(
                f"{self._objects.host} lists {key.removesuffix('.CHECKSUM')} but does not serve {key} (HTTP 404): "
                f"try again later, or check {self._objects.setting}"
            )
        return reply


def _parse_checksum(reply: Reply) -> str:
    words = reply.body[:1024].decode("ascii", "replace").split()
    if not words or len(words[0]) != 64 or not set(words[0].lower()) <= set("0123456789abcdef"):
        raise ChecksumError(f"{reply.url} is not a SHA-256 checksum")
    return words[0].lower()


@dataclass(frozen=True, slots=True)
class _Page:
    """One page of a listing."""

    zips: Mapping[str, datetime | None]
    folders: tuple[str, ...]
    following: str | None
    """The marker of the next page, if there is one."""
    market: str
    entries: int
    """Files of any kind, and folders."""


def _parse_listing(reply: Reply) -> _Page:
    if len(reply.body) > MAX_LISTING_BYTES or b"<!DOCTYPE" in reply.body or b"<!ENTITY" in reply.body:
        raise InvalidDataError(f"{reply.url} is not an S3 listing (too large, or it declares entities)")
    try:
        root = ET.fromstring(reply.body)  # noqa: S314 (bounded, and no entities: checked above)
    except ET.ParseError as error:
        raise InvalidDataError(f"{reply.url} is not an S3 listing: {error}") from error
    if root.tag.rpartition("}")[2] != "ListBucketResult":
        raise InvalidDataError(f"{reply.url} is not an S3 listing: its root is {root.tag!r}")
    contents = {e.findtext("{*}Key") or "": e.findtext("{*}LastModified") for e in root.findall("{*}Contents")}
    folders = tuple(element.text or "" for element in root.findall("{*}CommonPrefixes/{*}Prefix"))
    following = None
    if (root.findtext("{*}IsTruncated") or "false").strip() == "true":
        following = root.findtext("{*}NextMarker") or max((*contents, *folders), default="")
    zips = {key: _moment(text, reply.url) for key, text in contents.items() if key.endswith(".zip")}
    return _Page(zips, folders, following, reply.market, len(contents) + len(folders))


def _moment(text: str | None, url: str) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise InvalidDataError(f"{url}: {text!r} is not a time") from error
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def unzip(reply: Reply, *, named: str | None) -> bytes:
    """The one CSV inside a zip, which checks its content itself.

    Args:
        reply: the zip.
        named: what the CSV must be called; None where that is not known.

    Raises:
        InvalidDataError: damaged, encrypted, too large, not exactly one CSV, or one of another name.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(reply.body)) as archive:
            members = archive.infolist()
            if len(members) != 1 or not members[0].filename.endswith(".csv"):
                raise InvalidDataError(f"{reply.url} does not hold exactly one CSV file")
            found = members[0].filename.rpartition("/")[2]
            if named is not None and found != named:
                # The rows would say so too, but not of which symbol they are.
                raise InvalidDataError(f"{reply.url} holds {found[:80]!r} instead of {named}: it is another file's zip")
            if members[0].file_size > MAX_CSV_BYTES:
                raise InvalidDataError(f"{reply.url} unpacks to more than {MAX_CSV_BYTES} bytes")
            # Opening compares both headers, and refuses what is encrypted.
            with archive.open(members[0]) as member:
                stored = members[0].compress_type == zipfile.ZIP_STORED
                return member.read() if stored else _inflated(reply.body, members[0])
    # What is raised for a damaged member, an encrypted one (RuntimeError), one of a later format, and false offsets.
    except (zipfile.BadZipFile, _ISAL_ERROR, NotImplementedError, RuntimeError, EOFError, ValueError) as error:
        raise InvalidDataError(f"{reply.url} is not a readable zip: {error}") from error


def _inflated(body: bytes, member: zipfile.ZipInfo) -> bytes:
    """What ``zipfile`` makes of a deflated member, in a third of its time."""
    if member.compress_type != zipfile.ZIP_DEFLATED:
        raise zipfile.BadZipFile(f"{member.filename} is compressed by another method ({member.compress_type})")
    lengths = struct.unpack_from("<HH", body, member.header_offset + _LENGTHS_AT)
    start = member.header_offset + _HEADER_BYTES + sum(lengths)
    inflater = isal_zlib.decompressobj(-isal_zlib.MAX_WBITS)
    content = inflater.decompress(memoryview(body)[start : start + member.compress_size], member.file_size + 1)
    if not inflater.eof or len(content) != member.file_size or isal_zlib.crc32(content) != member.CRC:
        raise zipfile.BadZipFile(f"the content of {member.filename} is damaged")
    return content
