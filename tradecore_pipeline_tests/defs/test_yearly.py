"""When the study of a year is asked for, and how January's models wait for it."""

from datetime import UTC, date, datetime

import dagster as dg
import pytest
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.remote_origin import InProcessCodeLocationOrigin, RemoteInstigatorOrigin, RemoteRepositoryOrigin
from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus, ScheduleInstigatorData
from dagster._core.test_utils import create_run_for_test
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

from tradecore_pipeline.defs import lstm_shape
from tradecore_pipeline.defs.yearly import YEARLY, YEARLY_TAG, yearly_request
from tradecore_pipeline_tests.chain import BTC, HOUR, SPOT
from tradecore_pipeline_tests.defs.schedule_world import (
    DIGEST,
    FEATURES,
    FEBRUARY,
    JANUARY,
    LAST_OF_JANUARY,
    MODELS,
    ONE_DAY,
    World,
    asked,
    reason,
)

DECEMBER, LAST_OF_DECEMBER = date(2024, 12, 1), date(2024, 12, 31)
STUDY = lstm_shape.asset_key(HOUR)
MODELS_OF_JANUARY = (set(MODELS), "2025-01-01", "2025-01-01")


def test_the_years_study_waits_for_december_and_is_asked_for_once(world: World) -> None:
    def yearly() -> dg.RunRequest | dg.SkipReason:
        return yearly_request(world.adapters, world.instance, BTC, HOUR, world.now.date())

    december, ended, key = DECEMBER, LAST_OF_DECEMBER, STUDY
    world.now = datetime(2025, 1, 1, 0, 30, tzinfo=UTC)
    world.ingested(december, ended - ONE_DAY)
    world.done([FEATURES], december, ended)
    assert "waits for the features of December, up to 2024-12-31" in reason(yearly())
    world.ingested(ended, ended)
    request = yearly()
    assert asked(request) == ({key}, "2025-01-01", "2025-01-01")
    assert isinstance(request, dg.RunRequest)
    tags = {YEARLY_TAG: request.tags[YEARLY_TAG]}
    run = create_run_for_test(world.instance, status=dg.DagsterRunStatus.STARTED, tags=tags)
    assert "the study is running" in reason(yearly())
    world.instance.report_run_failed(run)
    assert "the study failed" in reason(yearly())
    world.done([key], JANUARY)
    assert "the study is there" in reason(yearly())


def switched(world: World, status: InstigatorStatus, name: str = YEARLY) -> None:
    """Turn a schedule's switch, as the UI does."""
    place = InProcessCodeLocationOrigin(LoadableTargetOrigin(python_file="x.py"))
    origin = RemoteInstigatorOrigin(RemoteRepositoryOrigin(place, "x"), name)
    state = InstigatorState(origin, InstigatorType.SCHEDULE, status, ScheduleInstigatorData("* * * * *", 0.0))
    if world.instance.get_instigator_state(state.instigator_origin_id, state.selector_id) is None:
        world.instance.add_instigator_state(state)
    else:
        world.instance.update_instigator_state(state)


@pytest.fixture
def january(world: World) -> World:
    """The first of January, when December is all there and only models are missing."""
    world.now = datetime(2025, 1, 1, 0, 30, tzinfo=UTC)
    world.ingested(DECEMBER, LAST_OF_DECEMBER)
    world.done([FEATURES], DECEMBER, LAST_OF_DECEMBER)
    world.done([DIGEST], DECEMBER)
    return world


def running_study(world: World, instrument: object = BTC) -> dg.DagsterRun:
    tags = {YEARLY_TAG: f"{HOUR}|{JANUARY}|{instrument}"}
    return create_run_for_test(world.instance, status=dg.DagsterRunStatus.STARTED, tags=tags)


@pytest.mark.parametrize("end", ["done", "failed"])
def test_january_waits_for_the_years_study_and_goes_on_once_it_is_over(january: World, end: str) -> None:
    switched(january, InstigatorStatus.RUNNING)
    assert "1h 2025-01 of" in reason(january.rollover())
    assert "waits for the study of the LSTM's shape of 2025" in reason(january.rollover()), "it is due"
    run = running_study(january)
    assert "waits for the study of the LSTM's shape of 2025" in reason(january.rollover()), "it is running"
    if end == "done":
        january.done([STUDY], JANUARY)
        january.instance.report_dagster_event(dg.DagsterEvent("PIPELINE_SUCCESS", run.job_name), run.run_id)
    else:
        january.instance.report_run_failed(run)
    assert asked(january.rollover()) == MODELS_OF_JANUARY


def test_january_waits_for_no_study_that_nobody_will_ask_for(january: World) -> None:
    assert asked(january.rollover()) == MODELS_OF_JANUARY, "yearly was never switched on"
    switched(january, InstigatorStatus.RUNNING, name="hourly")
    assert asked(january.rollover()) == MODELS_OF_JANUARY, "another schedule is"
    switched(january, InstigatorStatus.RUNNING)
    running_study(january, SPOT)
    january.now = datetime(2025, 1, 7, 23, 45, tzinfo=UTC)
    assert "waits for the study" in reason(january.rollover())
    january.now = datetime(2025, 1, 8, tzinfo=UTC)
    assert asked(january.rollover()) == MODELS_OF_JANUARY, "its days are over"
    january.now = datetime(2025, 1, 1, 0, 30, tzinfo=UTC)
    switched(january, InstigatorStatus.STOPPED)
    assert asked(january.rollover()) == MODELS_OF_JANUARY, "it was switched off again"


def test_later_months_wait_for_a_running_study_only(january: World) -> None:
    switched(january, InstigatorStatus.RUNNING)
    january.done(MODELS, JANUARY)
    january.ingested(JANUARY, LAST_OF_JANUARY)
    january.done([FEATURES], JANUARY, LAST_OF_JANUARY)
    january.done([DIGEST], JANUARY)
    january.now = datetime(2025, 2, 1, 0, 30, tzinfo=UTC)
    models = (set(MODELS), str(FEBRUARY), str(FEBRUARY))
    assert asked(january.rollover()) == models
    run = running_study(january)
    assert "waits for the study of the LSTM's shape of 2025" in reason(january.rollover())
    january.instance.report_run_failed(run)
    assert asked(january.rollover()) == models
