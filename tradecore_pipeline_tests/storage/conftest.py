"""Homes in a temporary directory, and days to put in them."""

from pathlib import Path

import pytest

from tradecore_pipeline.storage.lake import Lake
from tradecore_pipeline.storage.layout import Layout
from tradecore_pipeline.storage.ledger import Ledger


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "home")


@pytest.fixture
def lake(layout: Layout) -> Lake:
    return Lake(layout)


@pytest.fixture
def ledger(layout: Layout) -> Ledger:
    return Ledger(layout)
