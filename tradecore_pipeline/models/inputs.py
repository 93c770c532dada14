"""What models may be asked for, in plain values: settings are checked against them without importing a model."""

SCALED_RETURN = "scaled_return"
LOG_REALIZED_VARIANCE = "log_realized_variance"
RETURN_VARIANCE = "return_variance"
STUDENT_T = "student_t"
GAUSSIAN = "gaussian"
EMISSIONS = (RETURN_VARIANCE, STUDENT_T, GAUSSIAN)
"""Families of what a regime's state says about a bar; the last two look at features."""

FEATURES = (SCALED_RETURN, LOG_REALIZED_VARIANCE)
"""Features that the regime model computes itself; any other name is a column of the features table (``rsi_14`` ...)."""

CHUNK_BARS = 240
"""Bars in a row that the LSTM is trained on at once."""
LEAST_LSTM_BARS = 2 * CHUNK_BARS
"""The shortest training window that the LSTM can be fitted on."""
