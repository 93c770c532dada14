"""Faults of an archive: checksums that are wrong, files that are short, and files published late."""

import json
import random
import re
import zipfile
from io import BytesIO
from typing import Any
from urllib.parse import urlsplit

from tradecore_pipeline.simulator.answers import Answer, json_answer
from tradecore_pipeline.simulator.archive import checksum_text, zip_bytes
from tradecore_pipeline.simulator.asked import CHECKSUM
from tradecore_pipeline.simulator.fault_case import Case

_ENTRY = re.compile(r"<Contents><Key>([^<]*)</Key>.*?</Contents>", re.DOTALL)
_DIGEST = re.compile(rb"[0-9a-f]{64}")


def wrong_checksum(case: Case) -> Answer | None:
    """A checksum of the right form that is not the file's."""
    digest = _DIGEST.match(case.answer.body)
    if case.answer.status != 200 or digest is None:
        return None
    wrong = digest[0][::-1] if digest[0][::-1] != digest[0] else b"0" * 64
    return case.answer.with_body(wrong + case.answer.body[64:], media_type=case.answer.media_type)


def truncated_zip(case: Case) -> Answer | None:
    """The first half of a file, with the half's length as Content-Length."""
    if case.answer.status != 200:
        return None
    half = case.answer.body[: len(case.answer.body) // 2]
    return case.answer.with_body(half, media_type=case.answer.media_type)


def short_csv(case: Case) -> Answer | None:
    """A sound file whose CSV lacks rows in its middle, and the checksum of that very file."""
    if case.answer.status != 200:
        return None
    content = _without_rows(case.answer.body, case)
    if content is None:
        return None
    if case.asked.kind == "checksum":
        text = checksum_text(case.asked.path.removesuffix(CHECKSUM), content)
        return case.answer.with_body(text.encode(), media_type="binary/octet-stream")
    return case.answer.with_body(content, media_type=case.answer.media_type)


def late_publication(case: Case) -> Answer | None:
    """A file that cannot be had yet, neither it nor its checksum nor its line in a listing."""
    if case.answer.status != 200:
        return None
    if case.asked.kind != "listing":
        hidden = case.hides(case.asked.path.removesuffix(CHECKSUM))
        return _not_found(case) if hidden else None
    if case.asked.exchange == "okx":
        return _without_links(case)
    page = case.answer.body.decode()
    keys = dict.fromkeys(match[1].removesuffix(CHECKSUM) for match in _ENTRY.finditer(page))
    hidden_keys = {key for key in keys if case.hides(f"/{key}")}
    if not hidden_keys:
        return None
    kept = _ENTRY.sub(lambda match: "" if match[1].removesuffix(CHECKSUM) in hidden_keys else match[0], page)
    return case.answer.with_body(kept.encode(), media_type=case.answer.media_type)


def _without_rows(content: bytes, case: Case) -> bytes | None:
    with zipfile.ZipFile(BytesIO(content)) as archive:
        member = archive.namelist()[0]
        lines = archive.read(member).splitlines(keepends=True)
    # The first line may be a header and the second the first row: both stay, as the last does.
    if len(lines) < 4:
        return None
    count = min(int(case.argument), len(lines) - 3)
    first = random.Random(case.draw).randint(2, len(lines) - 1 - count)  # noqa: S311 (reproducible on purpose)
    return zip_bytes(member, b"".join([*lines[:first], *lines[first + count :]]))


def _not_found(case: Case) -> Answer:
    if case.asked.exchange == "okx":
        return json_answer({"code": "404", "msg": "Not Found"}, status=404)
    body = (
        '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>NoSuchKey</Code>'
        f"<Message>The specified key does not exist.</Message><Key>{case.asked.path[1:]}</Key></Error>"
    )
    return Answer(404, (("content-type", "application/xml"),), body.encode())


def _without_links(case: Case) -> Answer | None:
    document = case.answer.document()
    before = json.dumps(document)
    _drop_links(document, case)
    return None if json.dumps(document) == before else case.answer.with_document(document)


def _drop_links(node: Any, case: Case) -> None:
    if isinstance(node, dict):
        for child in node.values():
            _drop_links(child, case)
    elif isinstance(node, list):
        node[:] = [child for child in node if not (_is_link(child) and case.hides(urlsplit(child["url"]).path))]
        for child in node:
            _drop_links(child, case)


def _is_link(node: Any) -> bool:
    return isinstance(node, dict) and isinstance(node.get("url"), str)
