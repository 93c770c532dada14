"""A planted hidden Markov chain as long as a year of minutes, for the model benchmarks."""

from dataclasses import dataclass

import numpy as np

from tradecore_pipeline.models.density import Floats

ROWS, STATES = 525_600, 3
_SCALES = np.array([0.3, 1.0, 3.0])
_STRETCH = 100


@dataclass(frozen=True)
class Chain:
    """Observations X (T, D), their Gaussian log density (T, K), and the parameters that made them."""

    X: Floats
    startprob: Floats
    transmat: Floats
    means: Floats
    scales: Floats
    log_likelihood: Floats


def planted_chain(*, features: int) -> Chain:
    """States last a hundred rows and differ by their scale."""
    random = np.random.default_rng(7)
    states = np.repeat(random.integers(STATES, size=ROWS // _STRETCH), _STRETCH)
    X = random.standard_normal((ROWS, features)) * _SCALES[states, None]
    transmat = np.full((STATES, STATES), 0.005)
    np.fill_diagonal(transmat, 0.99)
    squares = (X**2).sum(axis=1)[:, None] / _SCALES**2
    log_likelihood = -0.5 * (squares + features * np.log(2 * np.pi * _SCALES**2))
    scales = np.tile(_SCALES[:, None], (1, features))
    return Chain(X, np.full(STATES, 1 / STATES), transmat, np.zeros((STATES, features)), scales, log_likelihood)
