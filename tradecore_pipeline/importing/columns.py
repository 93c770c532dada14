"""Which column of a foreign file is which of ours: the usual names, whatever their case and punctuation."""

import re
from collections.abc import Mapping, Sequence

from tradecore_pipeline.domain.errors import InvalidDataError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.tables import BARS_1M, FUNDING_RATES, OPEN_INTEREST, Table

TIME = "time"
"""What the key's column is called among the chosen ones."""
INTERVAL_HOURS = "funding_interval_hours"

_TIMES = ("timestamp", "unix", "unix_timestamp", "ts", "datetime", "date", "time", "index_level_0", "index")
_ALIASES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    BARS_1M.name: {
        TIME: ("ts_open", "open_time", "open_timestamp", "time_open", "opentime", "start_time", *_TIMES),
        "open": ("open", "o", "open_price"),
        "high": ("high", "h", "high_price"),
        "low": ("low", "l", "low_price"),
        "close": ("close", "c", "close_price"),
        "volume": ("volume", "vol", "v", "base_volume", "volume_base", "base_asset_volume"),
        "quote_volume": ("quote_volume", "volume_quote", "quote_asset_volume", "quotevolume", "turnover"),
        "trades": ("trades", "count", "trade_count", "tradecount", "number_of_trades", "num_trades"),
        "taker_buy_volume": ("taker_buy_volume", "taker_buy_base_asset_volume", "taker_buy_base_volume"),
        "taker_buy_quote_volume": ("taker_buy_quote_volume", "taker_buy_quote_asset_volume"),
    },
    FUNDING_RATES.name: {
        TIME: ("ts_settle", "funding_time", "fundingtime", "calc_time", "settle_time", *_TIMES),
        "funding_rate": ("funding_rate", "fundingrate", "last_funding_rate", "rate"),
        "funding_interval_minutes": ("funding_interval_minutes",),
        INTERVAL_HOURS: (INTERVAL_HOURS,),
    },
    OPEN_INTEREST.name: {
        TIME: ("ts_event", "create_time", *_TIMES),
        "open_interest_base": (
            *("open_interest_base", "sum_open_interest", "open_interest", "openinterest", "open_interest_amount"),
            "oi",
        ),
        "open_interest_usd": (
            *("open_interest_usd", "sum_open_interest_value", "open_interest_value", "openinterestvalue", "oi_usd"),
        ),
    },
}
IMPORTED_DATASETS = tuple(_ALIASES)
SYMBOL_COLUMNS = ("instrument", "symbol", "pair", "ticker", "coin")
EXCHANGE_COLUMNS = ("exchange", "venue")


def match_columns(
    names: Sequence[str], table: Table, instrument: Instrument, *, file: str, rate_in_open: bool
) -> dict[str, int]:
    """The position of each of our columns that ``names`` has, ``TIME`` for the key.

    ``rate_in_open`` is freqtrade's way to keep funding rates.

    Raises:
        InvalidDataError: one that every row needs is missing, or a name stands twice.
    """
    plain = [_plain(name) for name in names]
    found: dict[str, int] = {}
    for ours, aliases in _aliases(table, instrument, rate_in_open=rate_in_open).items():
        alias = next((alias for alias in aliases if alias in plain), None)
        if alias is None:
            continue
        if plain.count(alias) > 1:
            raise InvalidDataError(f"{file} has {plain.count(alias)} columns called {alias}: leave one of them")
        found[ours] = plain.index(alias)
    needed = [TIME, *(c.name for c in table.columns if not c.nullable and c.name != table.key)]
    if missing := [name for name in needed if name not in found]:
        shown = ", ".join(names[:20])
        raise InvalidDataError(f"{file} has no column for {', '.join(missing)} (it has {shown}): rename its columns")
    return found


def owner_columns(names: Sequence[str], owners: Sequence[str]) -> list[int]:
    """The positions of columns that say whose rows these are."""
    return [index for index, name in enumerate(names) if _plain(name) in owners]


def is_of_symbol(text: str, instrument: Instrument) -> bool:
    """Whether a symbol, in any of the usual spellings, can be the instrument's."""
    if ":" in text:
        return text in {instrument.symbol, str(instrument)}
    plain = re.sub("[^A-Z0-9]", "", text.upper())
    return plain == instrument.base or plain.startswith(instrument.base + instrument.quote)


def is_of_exchange(text: str, instrument: Instrument) -> bool:
    """Whether an exchange's name, in any of the usual spellings (``BINANCE``, ``binanceusdm``), is the instrument's."""
    return text.lower().startswith(instrument.exchange)


def _aliases(table: Table, instrument: Instrument, *, rate_in_open: bool) -> dict[str, tuple[str, ...]]:
    aliases = dict(_ALIASES[table.name])
    if table is BARS_1M:
        aliases["volume"] += (f"volume_{instrument.base.lower()}",)
        aliases["quote_volume"] += (f"volume_{instrument.quote.lower()}",)
    if rate_in_open:
        aliases["funding_rate"] += ("open",)
    return aliases


def _plain(name: str) -> str:
    """``openTime``, `` Open Time`` and ``<OPEN_TIME>`` are ``open_time``."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return re.sub("[^a-z0-9]+", "_", words.lower()).strip("_")
