"""The archive as a careful client reads it, without any of our own."""

import io
import re
import zipfile
from pathlib import Path

import requests


def csv_of(content: bytes) -> str:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        (name,) = archive.namelist()
        assert Path(name).suffix == ".csv"
        return archive.read(name).decode()


def fetch(base_url: str, key: str) -> str:
    response = requests.get(f"{base_url}/{key}", timeout=10)
    assert response.status_code == 200, response.text
    return csv_of(response.content)


def listed(base_url: str, path: str, **query: str) -> list[str]:
    """Keys of all pages, as a careful S3 client reads them."""
    keys: list[str] = []
    marker = ""
    while True:
        page = requests.get(f"{base_url}/{path}", params=query | {"marker": marker}, timeout=10).text
        found = re.findall("<Key>(.*?)</Key>", page)
        keys += found
        if "<IsTruncated>true" not in page:
            return keys
        assert len(found) == 1000
        marker = found[-1]
