"""The loops that must be fast, compiled by numba: recursions over time, emissions, and the E-step made of both."""

from tradecore_pipeline.models.kernels.gaussian import GaussianDistribution, gaussian_log_likelihood, precision_factors
from tradecore_pipeline.models.kernels.recursions import filter_step
from tradecore_pipeline.models.kernels.steps import CompiledSteps, FlooredChain
from tradecore_pipeline.models.kernels.student_t import (
    StudentTDistribution,
    digamma,
    solve_dfs,
    student_t_log_likelihood,
)
from tradecore_pipeline.models.kernels.sweeps import (
    EmissionDistribution,
    Workspace,
    expectation,
    forward_filter,
    sequence_begins,
    sweep,
)

__all__ = [
    "CompiledSteps",
    "EmissionDistribution",
    "FlooredChain",
    "GaussianDistribution",
    "StudentTDistribution",
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
