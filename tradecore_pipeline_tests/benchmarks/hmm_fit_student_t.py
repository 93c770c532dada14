"""One EM iteration with Student-t emissions over a year of minutes, against our own with Gaussian ones."""

from tradecore_pipeline.models.gaussian_hmm import GaussianHMM
from tradecore_pipeline.models.student_t_hmm import StudentTHMM
from tradecore_pipeline_tests.benchmarks.chains import ROWS, STATES, planted_chain
from tradecore_pipeline_tests.benchmarks.hmm_engines import FEATURES, REPEATS, gaussian, iteration, restored
from tradecore_pipeline_tests.benchmarks.report import interleaved, print_report

BAR = 2.5
"""A Student-t iteration may take so many times a Gaussian one."""


def main() -> None:
    chain = planted_chain(features=FEATURES)
    student = restored(StudentTHMM(STATES), chain)
    normal = gaussian(GaussianHMM, chain, "diag", "log")
    ours, peer = interleaved(iteration(student, chain), iteration(normal, chain), repeats=REPEATS)
    restored(student, chain).dfs_[:] = 1e7
    limit, expected = student._do_estep(chain.X, None)[1], restored(normal, chain)._do_estep(chain.X, None)[1]
    print_report(
        name="hmm_fit_student_t",
        ours=ours * 1e3,
        peer=peer * 1e3,
        peer_name="our GaussianHMM, diag",
        unit="ms",
        ratio=BAR * peer / ours,
        equal=abs(limit / expected - 1) < 1e-4,
        n=ROWS,
        note=f"ratio = {BAR} / (our Student-t iteration / our Gaussian one): above 1 is within the bar; "
        f"{STATES} states, {FEATURES} features; {ours / peer:.2f} times the Gaussian's time; equal: with 1e7 degrees "
        "of freedom the log-likelihood is the Gaussian's",
    )


if __name__ == "__main__":
    main()
