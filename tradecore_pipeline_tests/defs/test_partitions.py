from collections.abc import Iterable
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path

import dagster as dg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradecore_pipeline.defs import feature_days, features, ingestion, regimes, training, tuning
from tradecore_pipeline.defs.anchors import MOST_MONTHS_BACK
from tradecore_pipeline.defs.build import build_definitions
from tradecore_pipeline.defs.partitions import (
    FIRST_MONTH,
    make_partitions,
    months_that_hold,
    split_keys,
    stretches,
)
from tradecore_pipeline.defs.regimes import month_stretches
from tradecore_pipeline.defs.resources import Adapters
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.tables import BARS, BARS_1M, OPEN_INTEREST
from tradecore_pipeline.domain.time import add_months, day_range, month_days, month_of, month_range, utc_now
from tradecore_pipeline.settings import Settings
from tradecore_pipeline_tests.chain import BTC, HOUR, SPOT

DIGEST = features.asset_key(HOUR, feature_days.FEATURE_MONTH)
NINE_DAYS = list(day_range(date(2022, 1, 1), date(2022, 1, 9)))
DAYS = st.sets(st.integers(0, 900).map(lambda n: date(2022, 1, 1) + timedelta(days=n)))


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    home: Path = tmp_path_factory.mktemp("home")
    return Settings.load(home=home, instruments=(str(BTC), str(SPOT)))


@pytest.fixture(scope="module")
def definitions(settings: Settings) -> dg.Definitions:
    return build_definitions(settings, Adapters(settings))


def needs(definitions: dg.Definitions, asset: dg.AssetKey, on: dg.AssetKey, key: str) -> set[str]:
    """The partitions of ``on`` that partition ``key`` of ``asset`` depends on."""
    graph = definitions.resolve_asset_graph()
    own, other = graph.get(asset).partitions_def, graph.get(on).partitions_def
    assert own is not None
    assert other is not None
    with dg._core.definitions.partitions.context.partition_loading_context(utc_now(), None):
        result = graph.get_partition_mapping(asset, on).get_upstream_mapped_partitions_result_for_partitions(
            own.subset_with_partition_keys([key]), own, other
        )
    return set(result.partitions_subset.get_partition_keys())


def keyed(instrument: Instrument, dates: Iterable[date]) -> set[str]:
    return {f"{day}|{instrument}" for day in dates}


@pytest.mark.parametrize("asset", [tuning.asset_key(HOUR), *training.asset_keys(HOUR)], ids=lambda key: key.path[-1])
def test_a_month_depends_on_its_window_months_and_never_on_its_own_or_later(
    definitions: dg.Definitions, settings: Settings, asset: dg.AssetKey
) -> None:
    month = date(2022, 5, 1)
    window = [add_months(month, -k) for k in range(1, feature_days.window_months(settings, HOUR) + 1)]
    assert len(window) == 8, "4320 bars and the 945 bars of warm-up of tuned indicators"
    if asset == training.asset_key(HOUR, "hmm"):  # its year's anchor may have ended eleven months earlier
        window += [add_months(window[-1], -k) for k in range(1, MOST_MONTHS_BACK + 1)]
    assert needs(definitions, asset, DIGEST, f"{month}|{BTC}") == keyed(BTC, window)


def test_a_months_window_is_cut_where_partitions_begin(definitions: dg.Definitions) -> None:
    month = add_months(FIRST_MONTH, 2)
    expected = keyed(BTC, [FIRST_MONTH, add_months(FIRST_MONTH, 1)])
    assert needs(definitions, tuning.asset_key(HOUR), DIGEST, f"{month}|{BTC}") == expected


def test_a_digest_depends_on_all_days_of_its_month_and_no_other(definitions: dg.Definitions) -> None:
    found = needs(definitions, DIGEST, features.asset_key(HOUR, BARS.name), f"2022-02-01|{SPOT}")
    assert found == keyed(SPOT, month_days(date(2022, 2, 1)))


@pytest.mark.parametrize("kind", training.asset_keys(HOUR), ids=lambda key: key.path[-1])
@pytest.mark.parametrize("day", [date(2022, 5, 1), date(2022, 5, 17), date(2022, 5, 31)])
def test_a_days_regimes_depend_on_the_models_of_its_month(
    definitions: dg.Definitions, kind: dg.AssetKey, day: date
) -> None:
    assert needs(definitions, regimes.asset_key(HOUR), kind, f"{day}|{BTC}") == {f"{month_of(day)}|{BTC}"}


def test_a_days_regimes_and_features_read_no_later_day(definitions: dg.Definitions) -> None:
    day = date(2022, 5, 17)
    bars = features.asset_key(HOUR, BARS.name)
    month_so_far = set(day_range(date(2022, 5, 1), day))
    for asset in (regimes.asset_key(HOUR), features.asset_key(HOUR, feature_days.FEATURES.name)):
        found = split_keys(needs(definitions, asset, bars, f"{day}|{BTC}"))
        assert set(found) == {BTC}
        assert max(found[BTC]) == day
        if asset.path[0] == "regimes":
            assert month_so_far <= set(found[BTC])
    minutes = needs(definitions, bars, ingestion.asset_key(BARS_1M.name), f"{day}|{BTC}")
    assert minutes == keyed(BTC, [day - timedelta(days=1), day])


def test_the_features_of_spot_depend_on_no_open_interest(definitions: dg.Definitions) -> None:
    asset, source = features.asset_key(HOUR, feature_days.FEATURES.name), ingestion.asset_key(OPEN_INTEREST.name)
    assert needs(definitions, asset, source, f"2022-05-17|{SPOT}") == set()
    assert f"2022-05-17|{BTC}" in needs(definitions, asset, source, f"2022-05-17|{BTC}")


def test_today_and_the_month_in_force_exist() -> None:
    partitions, today = make_partitions([BTC]), utc_now().date()
    assert f"{today}|{BTC}" in partitions.days.get_partition_keys()
    assert f"{month_of(today)}|{BTC}" in partitions.months.get_partition_keys()
    assert f"{today + timedelta(days=1)}|{BTC}" not in partitions.days.get_partition_keys()
    assert set(make_partitions([SPOT]).datasets) == {BARS_1M.name}


@given(DAYS)
def test_stretches_hold_exactly_the_days_asked_for(days: set[date]) -> None:
    found = stretches(sorted(days), monthly=False)
    assert [day for first, last in found for day in day_range(first, last)] == sorted(days)
    assert all(right[0] - left[1] > timedelta(days=1) for left, right in pairwise(found))


@given(st.sets(st.integers(-30, 60).map(lambda n: add_months(date(2022, 1, 1), n))))
def test_stretches_of_months_hold_exactly_the_months_asked_for(months: set[date]) -> None:
    found = stretches(sorted(months), monthly=True)
    assert [month for first, last in found for month in month_range(first, last)] == sorted(months)


@given(DAYS)
def test_month_stretches_never_leave_their_month(days: set[date]) -> None:
    found = month_stretches(sorted(days))
    assert [day for first, last in found for day in day_range(first, last)] == sorted(days)
    assert all(month_of(first) == month_of(last) for first, last in found)


@given(st.permutations([*(f"{day}|{BTC}" for day in NINE_DAYS), f"2021-05-01|{SPOT}"]))
def test_split_keys_sorts_whatever_dagster_hands_over(keys: list[str]) -> None:
    expected = {BTC: NINE_DAYS, SPOT: [date(2021, 5, 1)]}
    assert split_keys(keys) == expected


@given(st.integers(1, 800))
def test_months_that_hold_some_days_do_so_from_any_month_on(days: int) -> None:
    count = months_that_hold(days)
    starts = [add_months(date(2020, 1, 1), k) for k in range(96)]
    lengths = {n: min((add_months(s, n) - s).days for s in starts) for n in (count - 1, count)}
    assert lengths[count] >= days > lengths[count - 1]
