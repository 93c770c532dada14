from collections.abc import Iterator
from pathlib import Path

import pytest

from tradecore_pipeline.domain.tables import REGIMES
from tradecore_pipeline.settings import Settings
from tradecore_pipeline_tests.chain import BTC, HOUR, TODAY, Chain, copy_home, set_variables, variables


@pytest.fixture
def online_home(chain: Chain, tmp_path: Path) -> Iterator[Settings]:
    """A copy of the chain's home in which regimes end on the day before the last."""
    settings = copy_home(chain, tmp_path / "home")
    layout = Chain(settings, {}).adapters.layout
    layout.day(REGIMES.name, BTC, TODAY, timeframe=HOUR).unlink()
    with set_variables(variables(settings)):
        yield settings
