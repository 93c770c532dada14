"""Entries: when to open a position, and which."""
