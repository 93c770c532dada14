import socket

import pytest

from tradecore_pipeline.cli.demo import DEMO_MARKET
from tradecore_pipeline.cli.services import simulator_process, stop
from tradecore_pipeline.domain.errors import TradecoreError


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_a_simulator_that_says_more_than_a_pipe_holds_answers_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONVERBOSE", "1")  # a line for every import: far more than 64 KiB
    process = simulator_process(port=free_port(), **DEMO_MARKET)
    assert process.poll() is None
    stop(process)
    assert process.returncode is not None


def test_a_simulator_that_does_not_start_says_why() -> None:
    with pytest.raises(TradecoreError, match=r"the simulator did not start: tradecore: .* seed >= 0"):
        simulator_process(port=free_port(), **DEMO_MARKET | {"seed": -1})
