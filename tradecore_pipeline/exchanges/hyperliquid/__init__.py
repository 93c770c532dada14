"""HyperLiquid: perpetuals that settle in USDC, from an endpoint that forgets bars and keeps no open interest."""
