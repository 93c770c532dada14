"""The colours of regimes, the same on every page."""

REGIME_COLOURS = ("#2b7bba", "#8a8f98", "#e0701c", "#b3261e", "#6a1b9a")
"""By volatility, calmest first; told apart by colour-blind readers."""
