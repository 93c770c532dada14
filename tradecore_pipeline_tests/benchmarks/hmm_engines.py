"""One EM iteration of our engines and of hmmlearn's, from the same parameters, for the benchmarks of the HMM."""

from collections.abc import Callable
from typing import Any

import hmmlearn
import numpy as np
from hmmlearn import hmm

from tradecore_pipeline.models.density import Floats
from tradecore_pipeline.models.gaussian_hmm import GaussianHMM
from tradecore_pipeline.models.student_t_hmm import StudentTHMM
from tradecore_pipeline_tests.benchmarks.chains import STATES, Chain

FEATURES, REPEATS = 5, 15
PEER = f"hmmlearn {hmmlearn.__version__}"


def gaussian(family: type[hmm.GaussianHMM], chain: Chain, covariance: str, implementation: str) -> hmm.GaussianHMM:
    """A model of ``family`` with the chain's parameters; no prior on covariances, so that both maximise the same."""
    model = family(STATES, covariance, implementation=implementation, covars_prior=0.0, covars_weight=1.0)
    model.n_features = chain.X.shape[1]
    if isinstance(model, GaussianHMM):
        model.floor_ = np.zeros(model.n_features)
    return restored(model, chain)


def restored(model: Any, chain: Chain) -> Any:
    """``model`` with the chain's parameters again, as an M-step left it otherwise."""
    model.startprob_, model.transmat_, model.means_ = chain.startprob, chain.transmat, chain.means.copy()
    if isinstance(model, StudentTHMM):
        model.scales_, model.dfs_ = chain.scales, np.full_like(chain.scales, 5.0)
    else:
        variances = chain.scales**2
        full = variances[:, :, None] * np.eye(chain.X.shape[1])
        model.covars_ = variances if model.covariance_type == "diag" else full
    model._check()
    return model


def iteration(model: Any, chain: Chain) -> Callable[[], float]:
    """E and M from the chain's parameters; the log-likelihood."""

    def run() -> float:
        stats, total = restored(model, chain)._do_estep(chain.X, None)
        model._do_mstep(stats)
        return float(total)

    return run


def agree(ours: Any, peer: Any, totals: tuple[float, float]) -> tuple[bool, float, float]:
    """Whether log-likelihoods agree to 1e-12 relative and parameters after the M-step to 1e-10; both differences."""
    relative = abs(totals[0] / totals[1] - 1)
    names = ("startprob_", "transmat_", "means_", "covars_")
    pairs: list[tuple[Floats, Floats]] = [(getattr(ours, name), getattr(peer, name)) for name in names]
    apart = max(float(np.abs(one - other).max()) for one, other in pairs)
    return relative < 1e-12 and apart < 1e-10, relative, apart
