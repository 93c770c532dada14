"""What a person may have meant by a symbol that an exchange does not list."""

from collections.abc import Iterable
from difflib import get_close_matches

from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.exchanges.rest import NotListedError

_SUGGESTIONS = 3
_LIKENESS = 0.5


def not_listed(instrument: Instrument, raw_symbol: str, listed: Iterable[Instrument]) -> NotListedError:
    """The error for a symbol that is refused: with the nearest listed ones, unless it is itself among them."""
    symbols = sorted({other.symbol for other in listed})
    if instrument.symbol in symbols:
        return NotListedError(f"{instrument.exchange} no longer serves {raw_symbol}: it lists it as delisted")
    near = get_close_matches(instrument.symbol, symbols, n=_SUGGESTIONS, cutoff=_LIKENESS)
    hint = f"did you mean {' or '.join(near)}?" if near else "check its spelling"
    return NotListedError(f"{instrument.exchange} does not list {raw_symbol}: {hint}")
