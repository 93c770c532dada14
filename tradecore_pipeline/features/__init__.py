"""Bars of a timeframe, and what is known about the market at each bar's close; pure functions of tables."""
