"""What each exchange publishes: dataset by dataset, how far back and from where. What clients, assets and docs read."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tradecore_pipeline.domain.errors import UsageError
from tradecore_pipeline.domain.instruments import EXCHANGES, PERPETUAL, SPOT, Instrument
from tradecore_pipeline.domain.tables import (
    BARS_1M,
    FUNDING_RATES,
    LONG_SHORT_RATIOS,
    MARKET_DATA,
    OPEN_INTEREST,
    PREMIUM_INDEX,
    Table,
)


@dataclass(frozen=True, slots=True)
class Offer:
    """One dataset of one exchange, in words for a person: the listing or the server decides what is really there."""

    history: str
    """How far back it reaches."""
    sources: str
    """From where, the preferred one first."""


OFFERS: Mapping[str, Mapping[str, Mapping[str, Offer]]] = {
    "binance": {
        PERPETUAL: {
            BARS_1M.name: Offer("from listing (BTC: 2019-09-08)", "monthly zips, daily zips, REST"),
            FUNDING_RATES.name: Offer("from listing", "monthly zips, REST"),
            OPEN_INTEREST.name: Offer("from the first `metrics` file; the last 30 days over REST", "daily zips, REST"),
            PREMIUM_INDEX.name: Offer("from listing", "monthly zips, daily zips, REST"),
            LONG_SHORT_RATIOS.name: Offer("from the first `metrics` file", "daily zips"),
        },
        SPOT: {BARS_1M.name: Offer("from listing (BTC: 2017-08-17)", "monthly zips, daily zips, REST")},
    },
    "bybit": {
        PERPETUAL: {
            BARS_1M.name: Offer("from listing (BTC: 2020-03-25)", "REST"),
            FUNDING_RATES.name: Offer("from listing", "REST"),
            OPEN_INTEREST.name: Offer("from listing", "REST"),
        }
    },
    "okx": {
        PERPETUAL: {
            BARS_1M.name: Offer("from listing (BTC: 2019-12-16)", "bulk files from 2021-09 on, REST"),
            FUNDING_RATES.name: Offer("as far as the bulk files; the last three months over REST", "bulk files, REST"),
            OPEN_INTEREST.name: Offer("as long as the exchange keeps five-minute rows", "REST"),
        }
    },
    "hyperliquid": {
        PERPETUAL: {
            BARS_1M.name: Offer("the newest 5,000 minutes; older days as they were recorded", "REST"),
            FUNDING_RATES.name: Offer("from listing, hourly", "REST"),
            OPEN_INTEREST.name: Offer("none; recorded from now on", "REST"),
        }
    },
}


def offered(instrument: Instrument) -> tuple[Table, ...]:
    """The market-data tables that ``instrument`` can have, in order; none if its exchange does not serve its kind."""
    offers = OFFERS[instrument.exchange].get(instrument.market_type, {})
    return tuple(table for table in MARKET_DATA.values() if table.name in offers)


def offering(dataset: str, instruments: Iterable[Instrument]) -> tuple[Instrument, ...]:
    """Those of ``instruments`` that can have ``dataset``, in order."""
    return tuple(i for i in instruments if dataset in {table.name for table in offered(i)})


def offered_table(dataset: str, instrument: Instrument) -> Table:
    """The table of ``dataset``.

    Raises:
        UsageError: there is no such dataset for this instrument; the message says what there is.
    """
    tables = {table.name: table for table in offered(instrument)}
    if not tables:
        raise UsageError(f"{instrument}: {instrument.exchange} {instrument.market_type} is not served: {_served()}")
    if dataset not in tables:
        raise UsageError(
            f"{instrument} is {instrument.market_type} and has no {dataset}: choose from {', '.join(tables)}"
        )
    return tables[dataset]


def _served() -> str:
    kinds = (f"{exchange} {market_type}" for exchange in EXCHANGES for market_type in OFFERS[exchange])
    return f"there are {', '.join(kinds)}"
