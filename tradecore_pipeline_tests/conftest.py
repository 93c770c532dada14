"""What the tests of the whole share: a simulated exchange and one small chain run over it, read by all."""

import os
import sys
from collections.abc import Iterator

import pytest

from tradecore_pipeline.domain.time import day_start
from tradecore_pipeline_tests.chain import CUT, END, NOW, ONE_DAY, SEED, START, TODAY, Chain, run_small_chain

_EXIT_STATUS = pytest.StashKey[int]()


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    session.config.stash[_EXIT_STATUS] = int(exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave as the command does: torch's and DuckDB's bindings report a page of leaks at the interpreter's teardown."""
    sys.stdout.flush()
    sys.stderr.flush()
    if _EXIT_STATUS in config.stash:
        os._exit(config.stash[_EXIT_STATUS])


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
    return run_small_chain(tmp_path_factory.mktemp("chain"), simulator_url, TODAY)


@pytest.fixture(scope="session")
def past_chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """The same chain on an exchange that has seen nothing from ``CUT`` on but the two days its archive is late."""
    from tradecore_pipeline.simulator.parameters import demo_parameters  # noqa: PLC0415 (as above)
    from tradecore_pipeline.simulator.server import build_simulated, running  # noqa: PLC0415 (as above)

    now = day_start(CUT) + 2 * ONE_DAY
    with running(build_simulated(demo_parameters(), SEED, start=START, end=END, now=now)) as url:
        yield run_small_chain(tmp_path_factory.mktemp("past"), url, CUT - ONE_DAY)
