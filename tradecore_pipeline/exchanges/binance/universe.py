"""Every instrument that Binance lists or once listed: REST says what trades, the archive remembers what did.

Perpetuals are told with their days, as far as those are sure: ``onboardDate`` is the last listing's, which relistings
move, and the archive has no bars of before 2020. Of spot only pairs in dollar coins are listed, without days: neither
REST nor one request to the archive tells those, and there are thousands of pairs.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from tradecore_pipeline.domain.errors import InvalidDataError, SourceError, TradecoreError, UsageError
from tradecore_pipeline.domain.instruments import PERPETUAL, SPOT, Instrument
from tradecore_pipeline.domain.market_data import ListedInstrument, ListingStatus
from tradecore_pipeline.domain.tables import BARS_1M
from tradecore_pipeline.exchanges.access import Access
from tradecore_pipeline.exchanges.archive import Archive
from tradecore_pipeline.exchanges.binance import forward
from tradecore_pipeline.exchanges.binance.rest import BinanceRest
from tradecore_pipeline.exchanges.binance.symbols import DAILY, FOLDERS, MONTHLY, NAME, Listed, archive_root, period_of
from tradecore_pipeline.exchanges.once import Once
from tradecore_pipeline.exchanges.payloads import fields, listed
from tradecore_pipeline.exchanges.prefetch import prefetch
from tradecore_pipeline.exchanges.rest import NotListedError
from tradecore_pipeline.exchanges.suggestions import not_listed

QUOTES = {PERPETUAL: ("USDT", "USDC", "BUSD"), SPOT: ("USDT", "USDC", "FDUSD")}
"""What instruments are quoted in; perpetuals settle in the same."""
_GONE = frozenset({"SETTLING", "CLOSE", "DELIVERING", "DELIVERED", "PRE_DELIVERING", "PRE_SETTLE"})
_NOT_YET = "PENDING_TRADING"
_NEVER_MS = 4_000_000_000_000
"""A perpetual that trades is delivered in the year 2100."""
_FRESH = timedelta(days=10)
"""A symbol with an archive file of the last so many days still trades."""
_ARCHIVE_BEGINS = date(2020, 1, 1)
"""The archive has no bars of earlier days: what it begins with may have begun before."""


@dataclass(frozen=True, slots=True)
class Symbol:
    """What exchangeInfo says of one symbol."""

    instrument: Instrument
    raw: str
    trades: bool
    first_day: date | None
    last_day: date | None


class Universe:
    """Instruments, asked for once per exchange object."""

    def __init__(self, *, archive: Archive, rest: BinanceRest, access: Access) -> None:
        self._archive = archive
        self._rest = rest
        self._access = access
        self._known: Once[dict[str, Symbol]] = Once(keep=2)
        self._folders: Once[tuple[str, ...]] = Once(keep=2)

    def instruments(self) -> list[ListedInstrument]:
        """Perpetuals and spot, sorted."""
        return sorted([*self._perpetuals(), *self._spot()], key=lambda item: item.instrument)

    def not_listed(self, asked: Listed, error: TradecoreError) -> TradecoreError:
        """The error for an unknown symbol with the nearest known ones; ``error`` itself where none can be found out."""
        kind = asked.market_type
        try:
            if self._rest.allowed:
                known = [symbol.instrument for symbol in self._symbols(kind).values() if symbol.trades]
            else:
                known = list(_instruments(self._archived(kind), kind).values())
        except TradecoreError:
            return error
        return not_listed(asked.instrument, asked.symbol, known)

    def _perpetuals(self) -> Iterator[ListedInstrument]:
        known = self._symbols(PERPETUAL) if self._rest.allowed else {}
        yield from prefetch(self._listed, known.values(), workers=self._access.workers)
        forgotten = _instruments((raw for raw in self._archived(PERPETUAL) if raw not in known), PERPETUAL)
        yield from prefetch(self._remembered, forgotten.values(), workers=self._access.workers)

    def _listed(self, symbol: Symbol) -> ListedInstrument:
        """A perpetual that REST knows, since the first day that anybody has seen it."""
        status = ListingStatus.TRADING if symbol.trades else ListingStatus.DELISTED
        first = symbol.first_day
        if symbol.raw in self._archived(PERPETUAL):
            first = min(filter(None, (first, self._first_file(Listed.of(symbol.instrument)))), default=None)
        if first is not None and first <= _ARCHIVE_BEGINS:
            first = self._first_bar(Listed.of(symbol.instrument), no_later_than=first)
        return ListedInstrument(symbol.instrument, symbol.raw, status, first, symbol.last_day)

    def _first_file(self, asked: Listed) -> date | None:
        early = self._archive.first_keys(asked.prefix(DAILY, FOLDERS[BARS_1M.name])).keys
        return min(map(period_of, early), default=None)

    def _first_bar(self, asked: Listed, *, no_later_than: date) -> date | None:
        """The first bar's day of one of the few perpetuals of 2019; None where REST does not tell it any more."""
        try:
            page = forward.first_bar(self._rest, asked, BARS_1M)
        except (SourceError, NotListedError):
            return None
        return min(no_later_than, page.rows.column(BARS_1M.key)[0].as_py().date()) if page.rows.num_rows else None

    def _spot(self) -> Iterator[ListedInstrument]:
        known = self._symbols(SPOT) if self._rest.allowed else {}
        pairs = _instruments(self._archived(SPOT), SPOT) | _known_instruments(known)

        def judged(raw: str) -> ListedInstrument:
            symbol = known.get(raw)
            trades = symbol is not None and symbol.trades if self._rest.allowed else self._is_fresh(pairs[raw])
            status = ListingStatus.TRADING if trades else ListingStatus.DELISTED
            return ListedInstrument(pairs[raw], raw, status, None, None)

        yield from prefetch(judged, pairs, workers=self._access.workers)

    def _is_fresh(self, instrument: Instrument) -> bool:
        """Whether the archive has a file of the last days: where REST is not asked, that tells whether it trades."""
        asked, kind = Listed.of(instrument), FOLDERS[BARS_1M.name]
        since = (self._access.clock() - _FRESH).date()
        return bool(self._archive.list_keys(asked.prefix(DAILY, kind), after=asked.key(DAILY, kind, since)).keys)

    def _symbols(self, kind: str) -> dict[str, Symbol]:
        """What REST lists, by raw symbol."""
        parse = perpetuals_json if kind == PERPETUAL else spot_json
        return self._known.get(kind, lambda: self._rest.symbols(kind, parse).rows)

    def _archived(self, kind: str) -> tuple[str, ...]:
        """Raw symbols with a folder of daily bars."""
        prefix = f"{archive_root(kind)}/{DAILY}/{FOLDERS[BARS_1M.name]}/"
        return self._folders.get(kind, lambda: self._archive.folders(prefix))

    def _remembered(self, instrument: Instrument) -> ListedInstrument:
        """A perpetual as the archive remembers it: delisted, unless REST was not asked and its files are fresh."""
        asked = Listed.of(instrument)
        kind = FOLDERS[BARS_1M.name]
        prefix = asked.prefix(DAILY, kind)
        early = self._archive.first_keys(prefix).keys
        first = min(map(period_of, early), default=None)
        # Monthly files are few: their last one says where among the daily ones the last pages begin.
        months = self._archive.list_keys(asked.prefix(MONTHLY, kind)).keys
        near = max([*map(period_of, months), *map(period_of, early)], default=None)
        late = (
            self._archive.list_keys(prefix, after=asked.key(DAILY, kind, near - timedelta(days=1))).keys if near else {}
        )
        last = max(map(period_of, {**early, **late}), default=None)
        if first is not None and first <= _ARCHIVE_BEGINS:
            first = None
        fresh = last is not None and last >= (self._access.clock() - _FRESH).date()
        if fresh and not self._rest.allowed:
            return ListedInstrument(instrument, asked.symbol, ListingStatus.TRADING, first, None)
        return ListedInstrument(instrument, asked.symbol, ListingStatus.DELISTED, first, last)


def perpetuals_json(payload: Any) -> dict[str, Symbol]:
    """The perpetuals of a futures ``exchangeInfo`` reply that settle in their quote, by raw symbol.

    Raises:
        InvalidDataError: not such a document.
    """
    kinds = {"symbol": str, "contractType": str, "status": str, "baseAsset": str, "quoteAsset": str, "marginAsset": str}
    kinds |= {"onboardDate": int, "deliveryDate": int}
    found: dict[str, Symbol] = {}
    for raw, contract, status, base, quote, margin, onboard, delivery in _rows(payload, kinds):
        if contract != "PERPETUAL" or quote != margin or status == _NOT_YET:
            continue
        instrument = _instrument(base, quote, PERPETUAL)
        if instrument is not None and base + quote == raw:
            gone = status in _GONE
            last = _day(delivery) if gone and delivery < _NEVER_MS else None
            found[raw] = Symbol(instrument, raw, not gone, _day(onboard), last)
    return found


def spot_json(payload: Any) -> dict[str, Symbol]:
    """The pairs in dollar coins of a spot ``exchangeInfo`` reply, by raw symbol.

    Raises:
        InvalidDataError: not such a document.
    """
    kinds: dict[str, type] = {"symbol": str, "status": str, "baseAsset": str, "quoteAsset": str}
    found: dict[str, Symbol] = {}
    for raw, status, base, quote in _rows(payload, kinds):
        instrument = _instrument(base, quote, SPOT)
        if quote in QUOTES[SPOT] and instrument is not None and base + quote == raw:
            found[raw] = Symbol(instrument, raw, status != "BREAK", None, None)
    return found


def _rows(payload: Any, kinds: dict[str, type]) -> Iterable[tuple[Any, ...]]:
    if type(payload) is not dict:
        raise InvalidDataError(f"exchangeInfo did not answer with an object: {str(payload)[:120]!r}")
    symbols = listed(payload.get("symbols"), name="exchangeInfo")
    if not symbols:
        raise InvalidDataError("exchangeInfo answered without any symbol")
    return zip(*fields(symbols, kinds, name="exchangeInfo"), strict=True)


def _instruments(raws: Iterable[str], kind: str) -> dict[str, Instrument]:
    """The instruments that raw symbols spell; dated futures and other quotes are left out."""
    found: dict[str, Instrument] = {}
    for raw in raws:
        quote = next((quote for quote in QUOTES[kind] if raw.endswith(quote)), None)
        instrument = None if quote is None else _instrument(raw.removesuffix(quote), quote, kind)
        if instrument is not None:
            found[raw] = instrument
    return found


def _known_instruments(known: dict[str, Symbol]) -> dict[str, Instrument]:
    return {raw: symbol.instrument for raw, symbol in known.items()}


def _instrument(base: str, quote: str, kind: str) -> Instrument | None:
    """None for the few symbols that are not written in letters and digits."""
    settle = f":{quote}" if kind == PERPETUAL else ""
    try:
        return Instrument.parse(f"{NAME}:{base}/{quote}{settle}")
    except UsageError:
        return None


def _day(milliseconds: int) -> date:
    return datetime.fromtimestamp(milliseconds / 1000, tz=UTC).date()
