import json
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st

from tradecore_pipeline.domain.errors import UsageError
from tradecore_pipeline.simulator.asked import Asked
from tradecore_pipeline.simulator.fault_table import FAULTS
from tradecore_pipeline.simulator.faults import FaultPlan
from tradecore_pipeline_tests.simulator.faulty import simulated, stubbed

DOCS = Path(__file__).parents[2] / "docs" / "simulator.md"


def urls(count: int) -> list[Asked]:
    return [Asked("GET", "/fapi/v1/klines", f"startTime={number}", b"") for number in range(count)]


def struck(plan: FaultPlan, asks: list[Asked]) -> set[str]:
    """Which of the requests are hit, with the number of the attempt."""
    found: set[str] = set()
    attempts: dict[str, int] = {}
    for asked in asks:
        attempts[asked.query] = attempts.get(asked.query, 0) + 1
        if plan.hits(asked):
            found.add(f"{asked.query} #{attempts[asked.query]}")
    return found


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    probability=st.floats(0, 1),
    order=st.integers(),
    choice=st.fixed_dictionaries({}, optional={"nth": st.just([2, 3]), "times": st.integers(0, 3)}),
)
def test_the_same_seed_hits_the_same_requests_in_any_order(
    seed: int, probability: float, order: int, choice: dict[str, Any]
) -> None:
    document = {"seed": seed, "rules": [{"fault": "http_500", "probability": probability, **choice}]}
    asks = urls(40) * 3
    shuffled = asks.copy()
    random.Random(order).shuffle(shuffled)
    assert struck(FaultPlan.parse(document), asks) == struck(FaultPlan.parse(document), shuffled)


def test_eight_workers_meet_the_faults_that_one_meets() -> None:
    rules = [
        {"fault": "http_500", "path": "/fapi/", "probability": 0.2},
        {"fault": "empty_page", "probability": 0.3, "times": 2},
    ]
    targets = [f"/fapi/v1/klines?symbol=BTCUSDT&startTime={number}" for number in range(60)] * 2

    def meet(url: str, target: str) -> tuple[str, int, bool]:
        answer = requests.get(url + target, timeout=10)
        return target, answer.status_code, answer.content == b"[]"

    met: list[list[tuple[str, int, bool]]] = []
    with stubbed() as stub:
        for workers in (1, 8):
            stub.plan(*rules, seed=5)
            with ThreadPoolExecutor(workers) as pool:
                met.append(sorted(pool.map(lambda target: meet(stub.url, target), targets)))
            fired = stub.fired()
    assert met[0] == met[1]
    assert fired[0] == sum(status == 500 for _, status, _ in met[0]) > 5
    assert fired[1] == sum(empty for _, _, empty in met[0]) > 20


def test_a_probability_is_a_share_of_urls_and_another_seed_picks_others() -> None:
    picked = [
        struck(FaultPlan.parse({"seed": seed, "rules": [{"fault": "stall", "probability": 0.25}]}), urls(2000))
        for seed in (1, 2)
    ]
    assert all(430 < len(found) < 570 for found in picked)
    assert len(picked[0] & picked[1]) < 200


@pytest.mark.parametrize(
    ("choice", "attempts"),
    [
        ({}, [1]),
        ({"times": 3}, [1, 2, 3]),
        ({"times": 0}, [1, 2, 3, 4, 5]),
        ({"nth": [2, 4]}, [2, 4]),
        ({"nth": [2, 4], "times": 1}, [2]),
        ({"nth": [2, 4], "times": 0}, [2, 4]),
    ],
)
def test_a_rule_hits_the_attempts_it_names(choice: dict[str, Any], attempts: list[int]) -> None:
    plan = FaultPlan.parse({"rules": [{"fault": "http_500", **choice}]})
    asked = urls(1)[0]
    assert [attempt for attempt in range(1, 6) if plan.hits(asked)] == attempts


def test_a_plan_is_switched_while_the_server_runs() -> None:
    with simulated() as server:
        for _ in range(2):
            server.plan({"fault": "http_503", "times": 0})
            assert server.get("/fapi/v1/ping").status_code == 503
            shown = server.get("/_ctl").json()
            assert shown["rules"][0] | {"probability": 1.0, "fired": 1} == shown["rules"][0]
            server.clear()
            assert server.get("/fapi/v1/ping").status_code == 200
            assert server.get("/_ctl").json() == {"seed": 0, "limits": False, "refused": 0, "rules": []}


@pytest.mark.parametrize(
    ("document", "line"),
    [
        ([], "a fault plan must be a JSON object"),
        ({"speed": 1}, "unknown key 'speed' in a fault plan: the known ones are limits, rules, seed"),
        ({"seed": "x"}, "seed must be a whole number"),
        ({"rules": {}}, "rules must be a list"),
        ({"limits": 1}, "limits must be true or false"),
        ({"rules": [{"fault": "http_777"}]}, "unknown fault 'http_777': the known ones are http_429, "),
        ({"rules": [{}]}, "unknown fault None"),
        ({"rules": [{"fault": "stall", "often": 1}]}, "unknown key 'often' in a rule"),
        ({"rules": [{"fault": "stall", "path": "("}]}, "path must be a prefix or a regular expression"),
        ({"rules": [{"fault": "stall", "probability": 2}]}, "probability must lie between 0 and 1"),
        ({"rules": [{"fault": "stall", "probability": True}]}, "probability must be a number"),
        ({"rules": [{"fault": "stall", "nth": [0]}]}, "nth must be a list of attempts"),
        ({"rules": [{"fault": "stall", "times": -1}]}, "times must be a whole number"),
        ({"rules": [{"fault": "stall", "argument": 1e9}]}, "argument must lie between 0 and 600"),
        ({"rules": [{"fault": "http_403", "argument": 1}]}, "argument means nothing to this fault"),
    ],
)
def test_what_is_no_plan_is_refused_in_one_line(tmp_path: Path, document: object, line: str) -> None:
    file = tmp_path / "plan.json"
    file.write_text(json.dumps(document))
    with pytest.raises(UsageError) as refusal:
        FaultPlan.load(file)
    assert line in str(refusal.value)
    assert str(refusal.value).startswith(f"the fault plan {file} is not one: ")
    assert "\n" not in str(refusal.value)


def test_the_control_port_refuses_likewise_and_keeps_the_plan_in_force() -> None:
    with stubbed() as stub:
        before = stub.plan({"fault": "http_503"})
        for body, line in ((b"{", "is not JSON"), (b'{"rules":[{"fault":"x"}]}', "unknown fault 'x'")):
            answer = requests.post(f"{stub.url}/_ctl", data=body, timeout=10)
            assert answer.status_code == 400
            assert line in answer.json()["error"]
        assert stub.get("/_ctl").json() == before


def test_a_file_that_is_no_json_or_not_there_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_bytes(b"\xff{")
    with pytest.raises(UsageError, match="is not JSON"):
        FaultPlan.load(tmp_path / "plan.json")
    with pytest.raises(UsageError, match=r"cannot read the fault plan .*No such file"):
        FaultPlan.load(tmp_path / "none.json")


def test_the_documentation_names_every_fault() -> None:
    page = DOCS.read_text()
    assert [name for name in FAULTS if f"| `{name}` |" not in page] == []


def test_a_report_can_be_posted_again() -> None:
    plan = FaultPlan.parse({"seed": 3, "rules": [{"fault": "stall", "argument": 2, "nth": [2]}]})
    report = plan.report()
    rules = [{key: value for key, value in rule.items() if key != "fired"} for rule in report["rules"]]
    again = FaultPlan.parse({"seed": report["seed"], "limits": report["limits"], "rules": rules})
    assert again.report() == report
