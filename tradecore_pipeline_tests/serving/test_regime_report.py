import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tradecore_pipeline.domain.errors import MissingInputError
from tradecore_pipeline.domain.market_data import REAL_MARKET
from tradecore_pipeline.domain.tables import BARS, REGIMES
from tradecore_pipeline.domain.time import day_start
from tradecore_pipeline.serving.regime_report import report_page, write_report
from tradecore_pipeline_tests.chain import BTC, FEBRUARY, FIRST, HOUR, MARCH, Chain


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002 (the base's)
        self.found += [value or "" for name, value in attrs if name in {"src", "href"}]


@pytest.fixture(scope="module")
def page(chain: Chain, tmp_path_factory: pytest.TempPathFactory) -> str:
    target = tmp_path_factory.mktemp("reports") / "page.html"
    layout = chain.adapters.layout
    written = write_report(layout, BTC, HOUR, start=day_start(FEBRUARY), end=day_start(MARCH), path=target)
    assert written == target
    return target.read_text(encoding="utf-8")


def test_the_page_of_a_simulated_home_says_so(page: str) -> None:
    assert '<span class="simulated">SIMULATED</span>' in page
    assert "a simulated:seed11-2024-12-20 market" in page


def test_the_page_of_a_real_market_does_not_say_simulated(chain: Chain) -> None:
    lake, span = chain.adapters.lake, (day_start(FEBRUARY), day_start(MARCH))
    bars, regimes = (lake.read(table, BTC, *span, timeframe=HOUR) for table in (BARS, REGIMES))
    assert "SIMULATED" not in report_page(bars, regimes, BTC, HOUR, market=REAL_MARKET)


def test_the_page_names_the_regimes_and_scores_every_month(page: str) -> None:
    for name in ("Calm", "Normal", "Turbulent"):
        assert f"</span>{name}</td>" in page
    assert {"Bear", "Chop", "Bull"} == {name for name in ("Bear", "Chop", "Bull") if f"<td>{name}</td>" in page}
    assert "<td>2025-02</td>" in page
    assert "<td>all</td>" in page


def test_the_page_opens_offline_with_plotly_inside(page: str) -> None:
    links = _Links()
    links.feed(page)
    assert [link for link in links.found if re.match(r"(https?:)?//", link)] == []
    assert len(page) > 3_000_000
    assert "Plotly.newPlot(" in page


def test_a_span_without_regimes_is_refused_and_no_file_is_left(chain: Chain, tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match="run `tradecore predict` first"):
        write_report(
            chain.adapters.layout, BTC, HOUR, start=day_start(FIRST), end=day_start(FEBRUARY), path=tmp_path / "a.html"
        )
    assert list(tmp_path.iterdir()) == []
