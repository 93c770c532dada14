from collections.abc import Iterator
from pathlib import Path

import pytest

from tradecore_pipeline.defs.instance import open_instance
from tradecore_pipeline.settings import Settings
from tradecore_pipeline_tests.chain import Chain, copy_home
from tradecore_pipeline_tests.defs.own_cases import Deployment
from tradecore_pipeline_tests.defs.schedule_world import World


@pytest.fixture
def deployed(chain: Chain, tmp_path: Path) -> Deployment:
    return Deployment(copy_home(chain, tmp_path / "home"))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with open_instance(Settings.load(home=tmp_path)) as instance:
        yield World(tmp_path, instance)
