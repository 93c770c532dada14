"""Adopting people's own files: archive zips, freqtrade, CSV, JSON, Parquet and Feather become days like any others."""
