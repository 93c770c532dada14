"""Pure validation of market data: what is missing, and what must not be stored."""
