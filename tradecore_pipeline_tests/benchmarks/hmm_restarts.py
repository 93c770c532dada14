"""Many starts of EM on two threads against one: whole fits, from starts to the model that wins."""

import numpy as np

from tradecore_pipeline.models.density import Floats
from tradecore_pipeline.models.gaussian_hmm import GaussianHMM, fit_gaussian_hmm
from tradecore_pipeline.models.student_t_hmm import StudentTHMM, fit_student_t_hmm
from tradecore_pipeline_tests.benchmarks.chains import planted_chain
from tradecore_pipeline_tests.benchmarks.report import interleaved, print_report

STATES, RESTARTS, SEED = 3, 8, 7
ROWS, MONTHLY_ROWS = 100_000, 4_320


def gaussian(X: Floats, workers: int) -> GaussianHMM:
    lengths = np.array([len(X)])
    return fit_gaussian_hmm(X, lengths, states=STATES, covariance="full", restarts=RESTARTS, seed=SEED, workers=workers)


def student(X: Floats, workers: int) -> StudentTHMM:
    lengths = np.array([len(X)])
    return fit_student_t_hmm(X, lengths, states=STATES, restarts=RESTARTS, seed=SEED, workers=workers)


def main() -> None:
    X = planted_chain(features=5).X[:ROWS]
    short = np.ascontiguousarray(X[:MONTHLY_ROWS, :1])
    one, two = gaussian(X, 1), gaussian(X, 2)
    equal = all(np.array_equal(getattr(one, name), getattr(two, name)) for name in ("transmat_", "means_", "covars_"))
    ours, peer = interleaved(lambda: gaussian(X, 2), lambda: gaussian(X, 1), repeats=5)
    student(short, 2)
    month_ours, month_peer = interleaved(lambda: student(short, 2), lambda: student(short, 1), repeats=7)
    print_report(
        name="hmm_restarts",
        ours=ours,
        peer=peer,
        peer_name="the same on one thread",
        unit="s",
        ratio=peer / ours,
        equal=equal,
        n=ROWS,
        note=f"{RESTARTS} starts of a Gaussian HMM (full, {STATES} states, 5 features), the best run to convergence, "
        f"on two threads; equal: to the last bit; a month's window ({MONTHLY_ROWS} bars, one feature, Student-t): "
        f"{month_peer / month_ours:.2f}x, {month_ours * 1e3:.0f} ms",
    )


if __name__ == "__main__":
    main()
