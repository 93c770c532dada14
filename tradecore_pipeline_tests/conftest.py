"""What the tests of the whole share: a simulated exchange and one small chain run over it, read by all."""

import os
from collections.abc import Iterator

import pytest

from tradecore_pipeline_tests.chain import END, NOW, SEED, START, TODAY, Chain


@pytest.fixture(autouse=True, scope="session")
def _no_settings_from_outside() -> None:
    """The variables of whoever runs the tests must not change what they see."""
    for name in [name for name in os.environ if name.startswith(("TRADECORE_", "DAGSTER_", "MLFLOW_"))]:
        del os.environ[name]


@pytest.fixture(scope="session")
def simulator_url() -> Iterator[str]:
    from tradecore_pipeline.simulator.parameters import demo_parameters  # noqa: PLC0415 (only some tests need it)
    from tradecore_pipeline.simulator.server import build_simulated, running  # noqa: PLC0415 (likewise)

    with running(build_simulated(demo_parameters(), SEED, start=START, end=END, now=NOW)) as url:
        yield url


@pytest.fixture(scope="session")
def chain(simulator_url: str, tmp_path_factory: pytest.TempPathFactory) -> Chain:
    from tradecore_pipeline_tests.chain import run_small_chain  # noqa: PLC0415 (as above)

    return run_small_chain(tmp_path_factory.mktemp("chain"), simulator_url, TODAY)
