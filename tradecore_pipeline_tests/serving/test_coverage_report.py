"""The page of what is stored: opens offline, says whose market it is, and draws every day once, in its state."""

import itertools
import json
import re
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from tradecore_pipeline.domain.errors import MissingInputError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.market_data import REAL_MARKET
from tradecore_pipeline.domain.tables import BARS_1M
from tradecore_pipeline.serving.coverage_report import (
    COLOURS,
    Panel,
    coverage_page,
    coverage_panels,
    write_coverage_report,
)
from tradecore_pipeline.storage.coverage import DayState, State
from tradecore_pipeline.storage.failures import Failures
from tradecore_pipeline.storage.layout import Layout
from tradecore_pipeline.storage.ledger import Ledger, LedgerEntry

BTC = Instrument.parse("binance:BTC/USDT:USDT")
SPOT = Instrument.parse("binance:BTC/USDT")
FIRST = date(2023, 12, 30)
NOW = datetime(2024, 2, 1, 9, 30, tzinfo=UTC)
NASTY = "HTTP 503 </script><script>alert(1)</script> {{plotly}}"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path / "home")
    entry = LedgerEntry(
        instrument=BTC, dataset="bars_1m", day=FIRST, rows=1440, missing=0, gaps=(), source="archive-daily",
        host="h", market="simulated:seed-7", files=(), sha256="", complete=True, reason="", ingested_at=NOW,
        seconds=0.0, launch="a",
    )  # fmt: skip
    for offset in (0, 1, 2, 4):
        Ledger(layout).record(replace(entry, day=FIRST + timedelta(days=offset)))
    Failures(layout).record("bars_1m", BTC, FIRST + timedelta(days=5), reason=NASTY, at=NOW)
    Ledger(layout).record(replace(entry, dataset="funding_rates", day=FIRST + timedelta(days=1), rows=3))
    return layout


@pytest.fixture
def page(layout: Layout) -> str:
    return write_coverage_report(layout, [BTC, SPOT], generated_at=NOW, path=None).read_text(encoding="utf-8")


class _Scripts(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.scripts = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value or "" for name, value in attrs if name in {"src", "href"}]
        self.scripts += tag == "script"


def _document(page: str) -> dict[str, object]:
    found = re.search(r'<script id="coverage" type="application/json">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def test_the_page_lies_in_the_home_and_opens_offline(layout: Layout, page: str) -> None:
    assert layout.coverage_report().exists()
    parsed = _Scripts()
    parsed.feed(page)
    assert (parsed.links, parsed.scripts) == ([], 3)
    assert "Plotly.newPlot(" in page
    assert len(page) > 3_000_000


def test_the_page_says_when_it_was_made_and_whose_market_it_shows(page: str, layout: Layout) -> None:
    assert '<span class="simulated">SIMULATED</span>' in page
    assert "A simulated:seed-7 market, as it stood on 2024-02-01 09:30 UTC" in page
    real = coverage_page(coverage_panels(layout, [BTC]), generated_at=NOW, market=REAL_MARKET)
    assert "SIMULATED" not in real
    assert "Market data of the exchanges, as it stood" in real


def test_every_day_of_every_dataset_is_drawn_once_in_its_state(page: str) -> None:
    document = _document(page)
    names = [state["name"] for state in document["states"]]
    drawn = {
        panel["id"]: (panel["first"], [names[state] for state, days, *_ in panel["runs"] for _ in range(days)])
        for panel in document["panels"]
    }
    assert drawn == {
        "panel-0": ("2023-12-30", ["done", "done", "done", "missing", "done", "failed"]),
        "panel-1": ("2023-12-30", ["missing", "done", "missing", "missing", "missing", "missing"]),
    }
    state, days, rows, missing, reason, source = document["panels"][0]["runs"][0]
    assert (names[state], days, rows, missing) == ("done", 3, 1440, 0)
    assert (document["texts"][reason], document["texts"][source]) == ("", "archive-daily")


def test_a_reason_stays_text_whatever_a_server_said(page: str) -> None:
    assert NASTY in _document(page)["texts"]
    assert "</script><script>alert" not in page


def test_the_totals_count_days_by_state_and_datasets_without_days_are_named(page: str) -> None:
    cells = re.search(r"<tr><td>binance:BTC/USDT:USDT</td><td>bars_1m</td>(.*?)</tr>", page)
    assert cells is not None
    figures = [int(figure.replace(",", "")) for figure in re.findall(r">([\d,]+)</td>", cells[1])]
    assert figures == [4 * 1440, 0, 4, 0, 0, 0, 0, 1, 1, 0, 0]
    named = re.search(r"Nothing stored yet: (.*)\.</p>", page)
    assert named is not None
    assert len(named[1].split(", ")) == 4
    assert re.search(r"</span>done<b>5</b>", page)
    assert re.search(r"disabled>[^>]*></span>restated<b>0</b>", page)


def test_a_home_without_days_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match="run `tradecore backfill` first"):
        write_coverage_report(Layout(tmp_path), [BTC], generated_at=NOW, path=tmp_path / "a.html")
    assert not (tmp_path / "a.html").exists()


def test_seven_years_of_twenty_datasets_add_little_to_the_page() -> None:
    days = [
        DayState(FIRST + timedelta(days=k), State.DONE, 1440 - k % 3, k % 3, "", "archive-daily") for k in range(2630)
    ]
    small, large = (
        len(coverage_page([Panel(BTC, BARS_1M, days)] * count, generated_at=NOW, market=REAL_MARKET))
        for count in (1, 20)
    )
    assert large - small < 2_000_000


_VISION = {
    "ordinary": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}
"""Linear RGB as people see it (Machado, Oliveira and Fernandes 2009, full severity)."""


def _seen(colour: str, vision: str) -> np.ndarray:
    """A colour in CIELAB, where distances are those that the eye sees; about 2 is just noticeable."""
    coded = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    linear = np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4)
    rgb = np.clip(np.asarray(_VISION[vision]) @ linear, 0, 1)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = to_xyz @ rgb / [0.9505, 1.0, 1.089]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("vision", list(_VISION))
def test_colour_blind_readers_tell_every_pair_of_states_apart(vision: str) -> None:
    assert set(COLOURS) == set(State)
    for one, other in itertools.combinations(COLOURS.values(), 2):
        assert np.linalg.norm(_seen(one, vision) - _seen(other, vision)) >= 20
