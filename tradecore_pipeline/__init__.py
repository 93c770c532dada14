"""Research pipeline for crypto perpetual futures: market data to out-of-sample regime probabilities."""
