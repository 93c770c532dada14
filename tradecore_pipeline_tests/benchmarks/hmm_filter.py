"""The causal filter over a year of minutes, against hmmlearn's scaled forward pass."""

import hmmlearn
import numpy as np
from hmmlearn import _hmmc

from tradecore_pipeline.models.kernels import forward_filter
from tradecore_pipeline_tests.benchmarks.chains import ROWS, STATES, planted_chain
from tradecore_pipeline_tests.benchmarks.report import interleaved, print_report


def main() -> None:
    chain = planted_chain(features=1)

    def peer() -> tuple[float, np.ndarray, np.ndarray]:
        return _hmmc.forward_scaling(chain.startprob, chain.transmat, np.exp(chain.log_likelihood))

    def ours() -> tuple[np.ndarray, np.ndarray]:
        return forward_filter(chain.startprob, chain.transmat, chain.log_likelihood)

    filtered, log_density = ours()
    total, forward, _ = peer()
    equal = bool(np.abs(filtered - forward).max() < 1e-12 and abs(log_density.sum() / total - 1) < 1e-12)
    our_seconds, peer_seconds = interleaved(ours, peer, repeats=31)
    print_report(
        name="hmm_filter",
        ours=our_seconds * 1e3,
        peer=peer_seconds * 1e3,
        peer_name=f"hmmlearn {hmmlearn.__version__} forward_scaling, exponentials by numpy",
        unit="ms",
        ratio=peer_seconds / our_seconds,
        equal=equal,
        n=ROWS,
        note=f"{STATES} states; from log-likelihoods to filtered probabilities and the log density of each row; one "
        f"core; ours {our_seconds / ROWS * 1e9:.1f} ns a bar; the peer underflows where ours does not; probabilities "
        "equal to 1e-12",
    )


if __name__ == "__main__":
    main()
