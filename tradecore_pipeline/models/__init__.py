"""Regime models and forecasts: Student-t HMM, t-HAR, LSTM. Imports nothing: callers load only what they use."""
