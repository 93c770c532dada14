"""Traded amounts as OKX tells them: in contracts, and from some year on in coins and quote currency too."""

import math
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute

pc: Any = pyarrow.compute  # its functions are made at import, where no type checker sees them


def amounts(
    contracts: pa.Array, coins: pa.Array, quotes: pa.Array, *, contract_base: Decimal
) -> tuple[pa.Array, pa.Array]:
    """Volume in coins and in quote currency.

    Old rows tell contracts only, the other two being empty or zero: coins then are contracts times ``contract_base``
    (coins per contract), and the value is unknown.
    """
    traded = pc.greater(contracts, 0.0)
    untold = pc.or_kleene(pc.is_null(coins), pc.and_kleene(traded, pc.equal(coins, 0.0)))
    if pc.any(untold).as_py():
        # In decimals, so that the result is the very number that rows with coins would tell.
        counted = [
            None if count is None or not math.isfinite(count) else float(Decimal(repr(count)) * contract_base)
            for count in contracts.to_pylist()
        ]
        coins = pc.if_else(untold, pa.array(counted, type=pa.float64()), coins)
    quotes = pc.if_else(pc.and_kleene(traded, pc.equal(quotes, 0.0)), pa.scalar(None, pa.float64()), quotes)
    return coins, quotes
