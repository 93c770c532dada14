"""What pages call the market that their data came from."""

from tradecore_pipeline.domain.market_data import REAL_MARKET


def market_words(market: str) -> str:
    """A home's market in words: ``simulated:seed7-2025-01-01`` is a simulated market (seed7-2025-01-01)."""
    if market == REAL_MARKET:
        return "market data of the exchange"
    kind, _, name = market.partition(":")
    return f"a {kind} market" + (f" ({name})" if name else "")
