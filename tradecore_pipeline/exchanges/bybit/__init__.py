"""Bybit: linear perpetuals that settle in USDT or USDC, from the v5 REST endpoints."""
