"""When an instrument's data begins: the archive's first file and the first bar that REST knows."""

from dataclasses import dataclass
from datetime import UTC, date, datetime

from tradecore_pipeline.domain.errors import SourceError
from tradecore_pipeline.domain.market_data import FetchedDay
from tradecore_pipeline.domain.tables import Table
from tradecore_pipeline.exchanges.base import SPOT
from tradecore_pipeline.exchanges.binance.files import DAILY, MONTHLY, BinanceFiles
from tradecore_pipeline.exchanges.binance.parse import klines_json
from tradecore_pipeline.exchanges.binance.rest import BinanceRest
from tradecore_pipeline.exchanges.binance.symbols import Listed
from tradecore_pipeline.exchanges.once import Once
from tradecore_pipeline.exchanges.pieces import Piece, Verdict, assemble, nothing

_KEPT = 4096


@dataclass(frozen=True, slots=True)
class FirstBar:
    """The first bar's opening, and which market the exchange said so of."""

    moment: datetime
    market: str


class Beginnings:
    """Remembered answers to "since when"."""

    def __init__(self, *, files: BinanceFiles, rest: BinanceRest) -> None:
        self._files = files
        self._rest = rest
        self._first_bars: Once[FirstBar] = Once(keep=_KEPT)

    def first_file(self, listed: Listed, kind: str, *rhythms: str) -> date | None:
        """The first day that a file of ``kind`` is about; a monthly file counts from the first of its month."""
        periods = [self._files.first_period(listed, rhythm, kind) for rhythm in rhythms]
        return min((period for period in periods if period is not None), default=None)

    def first_bar_file(self, listed: Listed) -> date | None:
        """The first day with bars in the archive."""
        return self.first_file(listed, "klines", DAILY, MONTHLY)

    def first_bar(self, listed: Listed) -> FirstBar:
        """The first bar that REST knows.

        Raises:
            SourceError: REST does not answer, or knows no bar.
        """
        return self._first_bars.get(str(listed.instrument), lambda: self._ask(listed))

    def first_day(self, listed: Listed) -> date:
        """The first day with bars, in the archive or over REST."""
        first = self.first_bar(listed).moment.date()
        archived = self._files.first_period(listed, DAILY, "klines")
        return first if archived is None else min(first, archived)

    def before_listing(self, listed: Listed, table: Table, day: date) -> FetchedDay | None:
        """The empty, final day before the first bar; None for later days."""
        first = self.first_bar(listed)
        if day >= self.first_day(listed):
            return None
        reason = f"before listing (first bar {first.moment:%Y-%m-%d %H:%M} UTC)"
        verdict = Verdict((), complete=True, reason=reason)
        return assemble(listed.instrument, table, day, self.no_rows(listed, table), verdict)

    def no_rows(self, listed: Listed, table: Table) -> Piece:
        """An empty piece of REST's market."""
        host = self._rest.endpoint(listed.market_type).host
        return nothing(table, host=host, market=self.first_bar(listed).market)

    def _ask(self, listed: Listed) -> FirstBar:
        method = "publicGetKlines" if listed.market_type == SPOT else "fapiPublicGetKlines"
        params = {"interval": "1m", "startTime": 0, "limit": 1}
        page = self._rest.page(listed, method, params, lambda payload: klines_json(payload, name="REST klines"))
        if not page.rows.num_rows:
            raise SourceError(f"binance answered without any bar of {listed.symbol}: try again later")
        moment: datetime = page.rows.column("ts_open")[0].as_py()
        return FirstBar(moment.astimezone(UTC), page.market)
