"""One EM iteration over a year of minutes with full covariances, against both of hmmlearn's implementations."""

from hmmlearn import hmm

from tradecore_pipeline.models.gaussian_hmm import GaussianHMM
from tradecore_pipeline_tests.benchmarks.chains import ROWS, STATES, planted_chain
from tradecore_pipeline_tests.benchmarks.hmm_engines import FEATURES, PEER, REPEATS, agree, gaussian, iteration
from tradecore_pipeline_tests.benchmarks.report import interleaved, print_report


def main() -> None:
    report("full")


def report(covariance: str) -> None:
    """The report line of ``hmm_fit_<covariance>``."""
    chain = planted_chain(features=FEATURES)
    ours = gaussian(GaussianHMM, chain, covariance, "log")
    scaling, log = (gaussian(hmm.GaussianHMM, chain, covariance, kind) for kind in ("scaling", "log"))
    run, peer, slow = (iteration(model, chain) for model in (ours, scaling, log))
    equal, relative, apart = agree(ours, scaling, (run(), peer()))
    our_seconds, peer_seconds = interleaved(run, peer, repeats=REPEATS)
    again, log_seconds = interleaved(run, slow, repeats=REPEATS // 3)
    print_report(
        name=f"hmm_fit_{covariance}",
        ours=our_seconds * 1e3,
        peer=peer_seconds * 1e3,
        peer_name=f"{PEER} GaussianHMM, implementation scaling",
        unit="ms",
        ratio=peer_seconds / our_seconds,
        equal=equal,
        n=ROWS,
        note=f"one EM iteration (E and M) of {STATES} states, {FEATURES} features, {covariance} covariance, one core; "
        f"against hmmlearn's default, log: {log_seconds / again:.1f}x; logL equal to {relative:.0e} relative, "
        f"parameters after the M-step to {apart:.0e}; ours {our_seconds / ROWS * 1e9:.0f} ns a row",
    )


if __name__ == "__main__":
    main()
