"""The exchangeInfo documents, with the fields that clients read to learn a venue's symbols."""

from collections.abc import Iterable
from typing import Any

from tradecore_pipeline.simulator.parameters import Listing, Venue

_NEVER_MS = 4_133_404_800_000
"""Binance's delivery date of a perpetual."""


def exchange_info(venue: Venue, listed: Iterable[tuple[Listing, int, int | None]], now_ms: int) -> dict[str, Any]:
    """The document of one venue; ``listed``: each symbol, the millisecond it was listed at, and delisted at if it was.

    A delisted perpetual settles for a while before it disappears: it is named, but trades no more.
    """
    describe = _spot_symbol if venue == "spot" else _futures_symbol
    limit = 6000 if venue == "spot" else 2400
    return {
        "timezone": "UTC",
        "serverTime": now_ms,
        "rateLimits": [{"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": limit}],
        "exchangeFilters": [],
        **({} if venue == "spot" else {"futuresType": "U_MARGINED", "assets": []}),
        "symbols": [describe(listing, since_ms, delisted_ms) for listing, since_ms, delisted_ms in listed],
    }


def _futures_symbol(listing: Listing, since_ms: int, delisted_ms: int | None) -> dict[str, Any]:
    return {
        "symbol": listing.symbol,
        "pair": listing.symbol,
        "contractType": "PERPETUAL",
        "deliveryDate": _NEVER_MS if delisted_ms is None else delisted_ms,
        "onboardDate": since_ms,
        "status": "TRADING" if delisted_ms is None else "SETTLING",
        "baseAsset": listing.base,
        "quoteAsset": listing.quote,
        "marginAsset": listing.quote,
        "pricePrecision": listing.price_decimals,
        "quantityPrecision": listing.volume_decimals,
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": "COIN",
        "filters": [*_filters(listing), {"filterType": "MIN_NOTIONAL", "notional": "5"}],
        "orderTypes": ["LIMIT", "MARKET"],
        "timeInForce": ["GTC", "IOC", "FOK"],
    }


def _spot_symbol(listing: Listing, since_ms: int, delisted_ms: int | None) -> dict[str, Any]:  # noqa: ARG001 (spot does not say when)
    return {
        "symbol": listing.symbol,
        "status": "TRADING",
        "baseAsset": listing.base,
        "baseAssetPrecision": 8,
        "quoteAsset": listing.quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "orderTypes": ["LIMIT", "MARKET"],
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": [*_filters(listing), {"filterType": "NOTIONAL", "minNotional": "5.00000000"}],
        "permissions": ["SPOT"],
    }


def _filters(listing: Listing) -> list[dict[str, str]]:
    tick, step = _unit(listing.price_decimals), _unit(listing.volume_decimals)
    return [
        {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "4529764", "tickSize": tick},
        {"filterType": "LOT_SIZE", "minQty": step, "maxQty": "100000", "stepSize": step},
        {"filterType": "MARKET_LOT_SIZE", "minQty": step, "maxQty": "1000", "stepSize": step},
    ]


def _unit(decimals: int) -> str:
    return f"{10.0**-decimals:.{decimals}f}"
