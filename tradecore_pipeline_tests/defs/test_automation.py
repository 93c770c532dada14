from datetime import UTC, date, datetime

import dagster as dg
import pytest
from dagster._core.test_utils import create_run_for_test

from tradecore_pipeline.defs.automation import ROLLOVER_TAG, oldest_incomplete_day, rollover_request
from tradecore_pipeline.defs.build import build_definitions
from tradecore_pipeline.domain.tables import REGIMES
from tradecore_pipeline_tests.chain import BTC, HOUR, SPOT
from tradecore_pipeline_tests.defs.schedule_world import (
    DAYS,
    DIGEST,
    FEATURES,
    FEBRUARY,
    JANUARY,
    LAST_OF_JANUARY,
    MODELS,
    ONE_DAY,
    REGIME_KEY,
    World,
    asked,
    reason,
)


def test_a_month_rolls_over_step_by_step(world: World) -> None:
    world.ingested(JANUARY, LAST_OF_JANUARY - ONE_DAY)
    world.done([FEATURES], JANUARY, LAST_OF_JANUARY - ONE_DAY)
    world.now = datetime(2025, 2, 1, 0, 30, tzinfo=UTC)
    assert "up to 2025-01-31" in reason(world.rollover())
    world.ingested(LAST_OF_JANUARY, LAST_OF_JANUARY, complete=False)
    world.done([FEATURES], LAST_OF_JANUARY)
    assert "up to 2025-01-31" in reason(world.rollover()), "the day is stored, but not whole"
    world.ingested(LAST_OF_JANUARY, LAST_OF_JANUARY)
    world.digest(JANUARY, 20)
    assert asked(world.rollover()) == ({DIGEST}, "2025-01-01", "2025-01-01"), "a digest made in mid-month is redone"
    world.done([DIGEST], JANUARY)
    assert asked(world.rollover()) == (set(MODELS), "2025-02-01", "2025-02-01")
    world.done(MODELS, FEBRUARY)
    assert "everything is there" in reason(world.rollover()), "the features of 1 February are not there yet"
    world.done([FEATURES], FEBRUARY)
    assert asked(world.rollover()) == ({REGIME_KEY}, "2025-02-01", "2025-02-01")
    world.done([REGIME_KEY], FEBRUARY)
    assert "everything is there" in reason(world.rollover())


def test_all_days_that_waited_for_the_models_are_asked_for_together(world: World) -> None:
    world.ingested(JANUARY, LAST_OF_JANUARY)
    world.done([FEATURES], JANUARY, date(2025, 2, 3))
    world.done([DIGEST], JANUARY)
    world.done(MODELS, FEBRUARY)
    world.now = datetime(2025, 2, 4, 0, 15, tzinfo=UTC)
    assert asked(world.rollover()) == ({REGIME_KEY}, "2025-02-01", "2025-02-03")


def test_the_last_day_of_the_month_before_is_published_again_once_it_is_whole(world: World) -> None:
    world.done([FEATURES], JANUARY, FEBRUARY)
    world.done([DIGEST, *MODELS], JANUARY)
    world.done(MODELS, FEBRUARY)
    world.done([REGIME_KEY], JANUARY, LAST_OF_JANUARY)
    world.file(REGIMES, LAST_OF_JANUARY)
    world.now = datetime.now(UTC) + ONE_DAY  # the file is older than what was ingested since
    world.ingested(JANUARY, LAST_OF_JANUARY)
    answer = rollover_request(world.adapters, world.instance, BTC, HOUR, FEBRUARY)
    assert asked(answer) == ({REGIME_KEY}, "2025-01-31", "2025-02-01")


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED])
def test_a_step_in_progress_is_not_asked_for_again_and_a_failed_one_is(
    world: World, status: dg.DagsterRunStatus
) -> None:
    world.ingested(JANUARY, LAST_OF_JANUARY)
    world.done([FEATURES], JANUARY, LAST_OF_JANUARY)
    world.now = datetime(2025, 2, 1, 1, 0, tzinfo=UTC)
    request = world.rollover()
    assert isinstance(request, dg.RunRequest)
    assert request.run_key is None, "with a run key Dagster would never launch the step a second time"
    run = create_run_for_test(world.instance, job_name="any", tags=dict(request.tags), status=status)
    assert "a step is running" in reason(world.rollover())
    world.instance.report_run_failed(run)
    assert asked(world.rollover()) == asked(request)


def test_the_rollover_of_one_instrument_does_not_wait_for_another(world: World) -> None:
    world.ingested(JANUARY, LAST_OF_JANUARY)
    world.done([FEATURES], JANUARY, LAST_OF_JANUARY)
    world.now = datetime(2025, 2, 1, 1, 0, tzinfo=UTC)
    tags = {ROLLOVER_TAG: f"{HOUR}|{FEBRUARY}|{SPOT}"}
    create_run_for_test(world.instance, job_name="any", tags=tags, status=dg.DagsterRunStatus.STARTED)
    assert asked(world.rollover()) == ({DIGEST}, "2025-01-01", "2025-01-01")


def test_hourly_asks_for_days_from_the_oldest_that_is_not_complete(world: World) -> None:
    assert "launch a first backfill" in reason(world.hourly())
    world.ingested(date(2025, 1, 20), date(2025, 1, 29))
    world.ingested(date(2025, 1, 27), date(2025, 1, 27), complete=False)
    assert asked(world.hourly()) == (set(DAYS), "2025-01-27", "2025-01-31")
    world.ingested(date(2025, 1, 27), date(2025, 1, 31))
    assert oldest_incomplete_day(world.adapters, BTC, LAST_OF_JANUARY) == LAST_OF_JANUARY
    assert asked(world.hourly()) == (set(DAYS), "2025-01-31", "2025-01-31")


def test_hourly_publishes_regimes_only_where_every_month_has_models(world: World) -> None:
    world.ingested(JANUARY, date(2025, 1, 30))
    world.done(MODELS[:-1], JANUARY)
    assert REGIME_KEY not in asked(world.hourly())[0], "the forecaster is missing"
    world.done(MODELS, JANUARY)
    assert asked(world.hourly()) == ({*DAYS, REGIME_KEY}, "2025-01-31", "2025-01-31")
    world.now = datetime(2025, 2, 1, 0, 5, tzinfo=UTC)
    assert asked(world.hourly()) == (set(DAYS), "2025-01-31", "2025-02-01")
    world.now = datetime(2025, 3, 2, 0, 5, tzinfo=UTC)
    world.done(MODELS, date(2025, 3, 1))
    assert asked(world.hourly()) == (set(DAYS), "2025-01-31", "2025-03-02"), "February has no models"
    world.done(MODELS, FEBRUARY)
    assert asked(world.hourly())[0] == {*DAYS, REGIME_KEY}


def test_hourly_catches_up_one_run_at_a_time(world: World) -> None:
    world.ingested(date(2023, 6, 1), date(2023, 6, 1), complete=False)
    last = date(2023, 6, 1) + (world.settings.days_per_run - 1) * ONE_DAY
    assert asked(world.hourly()) == (set(DAYS), "2023-06-01", str(last))


def test_an_update_in_progress_is_not_asked_for_again(world: World) -> None:
    world.ingested(JANUARY, date(2025, 1, 30))
    request = world.hourly()
    assert isinstance(request, dg.RunRequest)
    run = create_run_for_test(
        world.instance, job_name="any", tags=dict(request.tags), status=dg.DagsterRunStatus.STARTED
    )
    assert "an update is running" in reason(world.hourly())
    world.instance.report_run_failed(run)
    assert asked(world.hourly()) == asked(request)


def test_hourly_goes_back_to_a_day_that_only_another_dataset_lacks(world: World) -> None:
    world.ingested(JANUARY, date(2025, 1, 30))
    world.ingested(JANUARY, date(2025, 1, 30), dataset="open_interest")
    world.ingested(date(2025, 1, 28), date(2025, 1, 28), dataset="open_interest", complete=False)
    assert asked(world.hourly()) == (set(DAYS), "2025-01-28", "2025-01-31")


def test_a_machine_that_was_off_for_months_catches_up_from_the_oldest_month(world: World) -> None:
    world.done(MODELS, JANUARY)
    world.ingested(JANUARY, date(2025, 3, 31))
    world.done([FEATURES], JANUARY, date(2025, 3, 31))
    world.now = datetime(2025, 4, 17, 9, 0, tzinfo=UTC)
    for month in (FEBRUARY, date(2025, 3, 1), date(2025, 4, 1)):
        before = (month - ONE_DAY).replace(day=1)
        assert asked(world.rollover()) == ({DIGEST}, str(before), str(before))
        world.done([DIGEST], before)
        assert asked(world.rollover()) == (set(MODELS), str(month), str(month))
        world.done(MODELS, month)


def tick(world: World, name: str) -> tuple[list[dg.RunRequest], str]:
    """What the schedule called ``name`` answers: its requests and its reason to skip."""
    definitions = build_definitions(world.settings, world.adapters)
    schedule = next(s for s in definitions.schedules or [] if s.name == name)
    assert isinstance(schedule, dg.ScheduleDefinition)
    with dg.build_schedule_context(
        instance=world.instance, scheduled_execution_time=world.now, repository_def=definitions.get_repository_def()
    ) as context:
        answer = schedule.evaluate_tick(context)
    return list(answer.run_requests or []), answer.skip_message or ""


def test_a_tick_asks_for_the_instrument_that_can_go_on_and_is_not_held_up_by_the_other(world: World) -> None:
    world.ingested(JANUARY, LAST_OF_JANUARY)
    world.done([FEATURES], JANUARY, LAST_OF_JANUARY)
    world.now = datetime(2025, 2, 1, 0, 30, tzinfo=UTC)
    for name, expected in {
        "monthly": ({DIGEST}, "2025-01-01", "2025-01-01"),
        "hourly": (set(DAYS), "2025-02-01", "2025-02-01"),
    }.items():
        requests, skipped = tick(world, name)
        assert [asked(request) for request in requests] == [expected]
        assert skipped == ""


def test_a_tick_without_anything_to_do_says_why_for_every_instrument(world: World) -> None:
    for name, text in {"monthly": "up to 2024-12-31", "hourly": "launch a first backfill"}.items():
        requests, skipped = tick(world, name)
        assert requests == []
        assert skipped.count(text) == 2
