from collections.abc import Callable
from datetime import date, datetime, timedelta

import pytest

from tradecore_pipeline.domain.errors import UsageError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.market_data import FetchedDay
from tradecore_pipeline.domain.tables import LONG_SHORT_RATIOS
from tradecore_pipeline.domain.time import day_start
from tradecore_pipeline.exchanges.binance.client import BinanceExchange
from tradecore_pipeline_tests.exchanges.fake import METRICS_HEADER, FakeBinance, minutes, snapshots

Connect = Callable[..., BinanceExchange]
BTC = Instrument.parse("binance:BTC/USDT:USDT")
OLD = date(2024, 3, 5)
STEP = timedelta(minutes=5)


def fetch(exchange: BinanceExchange, *days: date) -> list[FetchedDay]:
    return list(exchange.fetch_days("long_short_ratios", BTC, days))


def moments(day: FetchedDay) -> list[datetime]:
    return day.rows.column("ts_event").to_pylist()


def test_the_four_ratios_come_from_the_metrics_file(fake: FakeBinance, connect: Connect) -> None:
    fake.put_metrics(OLD, snapshots(day_start(OLD), 288))
    (day,) = fetch(connect(), OLD)
    assert (day.rows.schema, moments(day)) == (LONG_SHORT_RATIOS.schema, snapshots(day_start(OLD), 288))
    row = day.rows.slice(1, 1).to_pylist()[0]
    assert (row["top_account_ratio"], row["top_position_ratio"], row["account_ratio"]) == (1.1, 1.2, 1.3)
    assert row["taker_volume_ratio"] == 0.55
    assert (day.source, day.complete, day.gaps) == ("archive-daily", True, ())


def test_a_ratio_that_was_not_published_is_null_and_a_row_without_any_is_a_gap(
    fake: FakeBinance, connect: Connect
) -> None:
    lines = [METRICS_HEADER]
    for moment in snapshots(day_start(OLD), 288):
        ratios = {7: ",,,", 8: "1,,,2"}.get(moment.hour, "1,1,1,1")
        lines.append(f"{moment:%Y-%m-%d %H:%M:%S},BTCUSDT,5,10,{ratios}")
    fake.put(f"data/futures/um/daily/metrics/BTCUSDT/BTCUSDT-metrics-{OLD}.zip", "\n".join(lines).encode())
    (day,) = fetch(connect(), OLD)
    assert [gap.missing for gap in day.gaps] == [12]
    assert day.rows.column("account_ratio").null_count == 12
    assert day.complete


def test_a_midnight_row_in_the_file_before_belongs_to_this_day(fake: FakeBinance, connect: Connect) -> None:
    days = [OLD, OLD + timedelta(days=1)]
    for day in days:
        fake.put_metrics(day, snapshots(day_start(day) + STEP, 288))
    assert moments(fetch(connect(), *days)[1]) == snapshots(day_start(days[1]), 288)


def test_what_is_not_in_the_archive_yet_is_not_complete_and_later_it_is_final(
    fake: FakeBinance, connect: Connect
) -> None:
    fake.put_metrics(OLD, snapshots(day_start(OLD), 288))
    lost, recent, today = fetch(connect(), OLD + timedelta(days=9), date(2024, 6, 18), fake.now.date())
    assert (lost.complete, lost.forgotten, lost.rows.num_rows) == (True, True, 0)
    assert lost.reason.startswith("not published: long short ratios exists only in the archive")
    assert (recent.complete, recent.forgotten) == (False, True)
    assert recent.reason == "not in the archive yet, and only archives have it"
    assert (today.complete, today.reason) == (False, "day not over")


def test_days_before_listing_say_so(fake: FakeBinance, connect: Connect) -> None:
    fake.bars.update(minutes(OLD, 600))
    (day,) = fetch(connect(), OLD - timedelta(days=1))
    assert (day.reason, day.complete) == ("before listing (first bar 2024-03-05 10:00 UTC)", True)


def test_spot_has_none(connect: Connect) -> None:
    with pytest.raises(UsageError, match="has no long_short_ratios"):
        connect().fetch_days("long_short_ratios", Instrument.parse("binance:BTC/USDT"), [OLD])
