import pytest

from tradecore_pipeline.settings import Settings
from tradecore_pipeline_tests.write_docs import DOCS, PAGES, _meanings


@pytest.mark.parametrize("name", PAGES)
def test_the_committed_page_is_the_one_the_code_writes(name: str) -> None:
    assert (DOCS / name).read_text() == PAGES[name](), "run: make docs"


def test_every_setting_says_what_it_means() -> None:
    assert set(_meanings()) == set(Settings.model_fields)
