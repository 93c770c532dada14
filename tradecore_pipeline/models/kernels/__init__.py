"""The loops that must be fast, compiled by numba: recursions over time, emissions, and the E-step made of both."""

from tradecore_pipeline.models.kernels.gaussian import GaussianEmission, gaussian_log_likelihood, precision_factors
from tradecore_pipeline.models.kernels.recursions import filter_step
from tradecore_pipeline.models.kernels.steps import CompiledSteps
from tradecore_pipeline.models.kernels.student_t import StudentTEmission, digamma, solve_dfs, student_t_log_likelihood
from tradecore_pipeline.models.kernels.sweeps import (
    Emission,
    Workspace,
    expectation,
    forward_filter,
    sequence_begins,
    sweep,
)

__all__ = [
    "CompiledSteps",
    "Emission",
    "GaussianEmission",
    "StudentTEmission",
    "Workspace",
    "digamma",
    "expectation",
    "filter_step",
    "forward_filter",
    "gaussian_log_likelihood",
    "precision_factors",
    "sequence_begins",
    "solve_dfs",
    "student_t_log_likelihood",
    "sweep",
]
