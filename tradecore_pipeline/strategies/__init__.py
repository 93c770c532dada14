"""Strategies: what to hold, decided from what was known when a bar closed. Pure, and without an idea of fills."""
