"""OKX's funding at short intervals: what is missing is asked for again, looked for in files, and else recorded."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from tradecore_pipeline.domain.market_data import FetchedDay, Gap
from tradecore_pipeline.domain.tables import FUNDING_RATES, TIMESTAMP
from tradecore_pipeline.exchanges.okx.funding import FundingRoute
from tradecore_pipeline.exchanges.okx.listing import Subject
from tradecore_pipeline.exchanges.okx.paging import Series, Server
from tradecore_pipeline.exchanges.okx.parse import Swap
from tradecore_pipeline.exchanges.payloads import rows_of
from tradecore_pipeline.exchanges.pieces import Piece
from tradecore_pipeline.exchanges.rest import Page
from tradecore_pipeline_tests.exchanges.okx_market import BITCOIN

HOUR = timedelta(hours=1)
DAY = date(2024, 5, 10)
NOON = datetime(2024, 5, 10, 12, tzinfo=UTC)
NOW = datetime(2024, 5, 20, 1, tzinfo=UTC)
SWAP = Swap(BITCOIN, "BTC-USDT-SWAP", "BTC-USDT", Decimal("0.01"), None, None)
SUBJECT = Subject(SWAP, Server(NOW, "okx", "real"), NOON - timedelta(days=300))


def settled(stamps: list[datetime]) -> pa.Table:
    columns = {"ts_settle": pa.array(stamps, TIMESTAMP), "funding_rate": pa.array([0.0001] * len(stamps))}
    return rows_of(FUNDING_RATES, columns, name="test")


class Okx:
    """REST that leaves ``lost`` out of its first answers, and one file that may have it."""

    def __init__(self, hours: int, lost: datetime, *, lies: int, in_file: bool) -> None:
        first = NOON - timedelta(days=30)
        self.stamps = [first + n * hours * HOUR for n in range((NOW - first) // (hours * HOUR) + 1)]
        self.lost, self.lies, self.in_file = lost, lies, in_file

    def funding(self, swap: Swap, server: Server) -> Series:
        assert swap == SWAP

        def ask(end: datetime, limit: int) -> Page[pa.Table]:
            shown = [stamp for stamp in self.stamps if stamp < end][-limit:]
            if self.lost in shown and self.lies > 0:
                self.lies -= 1
                shown.remove(self.lost)
            return Page(settled(shown), "https://okx/funding", "real")

        return Series(FUNDING_RATES, server, 400, HOUR, ask)

    def piece(self, *_: Any) -> Piece | None:
        if not self.in_file:
            return None
        return Piece(settled(self.stamps), "archive-monthly", "static", "real", ())


def fetched(okx: Okx, day: date = DAY) -> FetchedDay:
    api: Any = okx
    (found,) = FundingRoute(api=api, files=api).fetch(SUBJECT, [day])
    return found


@pytest.mark.parametrize("hours", [1, 2, 4])
def test_a_settlement_missing_for_good_is_recorded_at_every_interval(hours: int) -> None:
    day = fetched(Okx(hours, NOON, lies=99, in_file=False))
    assert (day.gaps, day.complete, day.rows.num_rows) == ((Gap(NOON, NOON, 1),), True, 24 // hours - 1)


@pytest.mark.parametrize("hours", [1, 2, 4])
def test_a_settlement_that_one_page_left_out_is_asked_for_again(hours: int) -> None:
    day = fetched(Okx(hours, NOON, lies=1, in_file=False))
    assert (day.gaps, day.rows.num_rows, day.source) == ((), 24 // hours, "rest")


@pytest.mark.parametrize("hours", [1, 2, 4])
def test_a_settlement_that_rest_lacks_comes_from_the_file(hours: int) -> None:
    day = fetched(Okx(hours, NOON, lies=99, in_file=True))
    assert (day.gaps, day.rows.num_rows, day.source) == ((), 24 // hours, "rest+archive-monthly")


def test_a_day_whose_last_settlement_may_be_missing_stays_open_until_the_next_interval_tells() -> None:
    lost = NOW.replace(hour=0) - 4 * HOUR
    day = fetched(Okx(4, lost, lies=99, in_file=False), lost.date())
    assert (day.complete, day.reason) == (False, "no later settlement yet (halted or delayed)")
