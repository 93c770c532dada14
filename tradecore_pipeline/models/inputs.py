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

PROBABILITIES, ONE_HOT, NONE, PER_REGIME = "probabilities", "one_hot", "none", "per_regime"
LSTM_REGIMES = (PROBABILITIES, ONE_HOT, NONE, PER_REGIME)
"""What the LSTM makes of regimes: it reads filtered probabilities, or only which state is the most probable, or none
of it, or it has a head per state, whose corrections are averaged by the filtered probabilities."""
WITHOUT_REGIMES, WITHOUT_TUNED = "without_regimes", "without_tuned"
"""Fits of the LSTM that show what a kind of input adds."""
LEAST_LSTM_BARS = 480
"""The shortest training window that the LSTM can be fitted on."""
