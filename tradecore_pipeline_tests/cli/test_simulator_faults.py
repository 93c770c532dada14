import json
from pathlib import Path
from typing import Any

import pytest
import requests

from tradecore_pipeline.cli import services
from tradecore_pipeline.domain.errors import UsageError
from tradecore_pipeline.simulator import server


def test_the_simulator_starts_with_the_plan_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[Any] = []
    monkeypatch.setattr(server, "serve", lambda app, **_: served.append(app))
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps({"seed": 9, "rules": [{"fault": "http_503", "path": "/fapi/v1/ping"}]}))
    services.simulator(port=services.any_free_port(), start="2025-01-01", end="2025-01-03", faults=plan)
    with server.running(served[0]) as url:
        assert [requests.get(f"{url}/fapi/v1/ping", timeout=10).status_code for _ in range(2)] == [503, 200]
        assert requests.get(f"{url}/_ctl", timeout=10).json()["seed"] == 9


def test_a_bad_plan_stops_the_command_with_one_line(tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    plan.write_text('{"rules": [{"fault": "gremlins"}]}')
    with pytest.raises(UsageError, match="unknown fault 'gremlins': the known ones are http_429, rate_limited"):
        services.simulator(faults=plan)
