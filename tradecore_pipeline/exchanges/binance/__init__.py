"""Binance: USDT- and USDC-margined perpetuals and spot, from the public archive and REST."""
