"""The E-step over a year of minutes, against hmmlearn's scaling implementation of it."""

import hmmlearn
import numpy as np
from hmmlearn import _hmmc
from hmmlearn.hmm import GaussianHMM

from tradecore_pipeline.models.density import Floats
from tradecore_pipeline.models.kernels import expectation
from tradecore_pipeline.models.student_t_hmm import StudentTHMM
from tradecore_pipeline_tests.benchmarks.chains import ROWS, STATES, Chain, planted_chain
from tradecore_pipeline_tests.benchmarks.report import interleaved, print_report

FEATURES = 5


def hmmlearns_e_step(chain: Chain) -> tuple[float, Floats, Floats]:
    """What ``GaussianHMM(implementation="scaling")`` runs between its likelihoods and its M-step."""
    likelihood = np.exp(chain.log_likelihood)
    total, forward, scaling = _hmmc.forward_scaling(chain.startprob, chain.transmat, likelihood)
    backward = _hmmc.backward_scaling(chain.startprob, chain.transmat, likelihood, scaling)
    posterior = forward * backward
    posterior /= posterior.sum(axis=1, keepdims=True)
    return total, posterior, _hmmc.compute_scaling_xi_sum(forward, chain.transmat, backward, likelihood)


def whole_e_steps(chain: Chain) -> tuple[float, float]:
    """Seconds from observations to sufficient statistics: ours (Student-t) and hmmlearn's (Gaussian, diagonal)."""
    student, gaussian = StudentTHMM(STATES), GaussianHMM(STATES, "diag", implementation="scaling")
    for model in (student, gaussian):
        model.startprob_, model.transmat_, model.means_ = chain.startprob, chain.transmat, chain.means
    student.scales_, student.dfs_ = chain.scales, np.full_like(chain.scales, 5.0)
    gaussian.n_features, gaussian.covars_ = FEATURES, chain.scales**2
    for model in (student, gaussian):
        model._check()
    return interleaved(lambda: student._do_estep(chain.X, None), lambda: gaussian._do_estep(chain.X, None), repeats=5)


def main() -> None:
    chain = planted_chain(features=FEATURES)

    def ours() -> tuple[float, Floats, Floats]:
        return expectation(chain.startprob, chain.transmat, chain.log_likelihood)

    mine, theirs = ours(), hmmlearns_e_step(chain)
    relative = abs(mine[0] / theirs[0] - 1)
    same = np.abs(mine[1] - theirs[1]).max() < 1e-10 and np.abs(mine[2] / theirs[2] - 1).max() < 1e-9
    our_seconds, peer_seconds = interleaved(ours, lambda: hmmlearns_e_step(chain), repeats=15)
    student, gaussian = whole_e_steps(chain)
    print_report(
        name="hmm_fit_diag",
        ours=our_seconds * 1e3,
        peer=peer_seconds * 1e3,
        peer_name=f"hmmlearn {hmmlearn.__version__} scaling E-step",
        unit="ms",
        ratio=peer_seconds / our_seconds,
        equal=bool(same and relative < 1e-12),
        n=ROWS,
        note=f"{STATES} states; from log-likelihoods to smoothed probabilities and transition sums, one core; logL "
        f"equal to {relative:.0e} relative; with densities and sufficient statistics of {FEATURES} features: our "
        f"Student-t {student * 1e3:.0f} ms, hmmlearn's Gaussian (diag), a simpler emission, {gaussian * 1e3:.0f} ms; "
        "full covariance is not built",
    )


if __name__ == "__main__":
    main()
