"""Memory of EM over seven years of minutes, beyond the observations, against hmmlearn's; each in a fresh process."""

import json
import subprocess
import sys
import threading
import time
from typing import Any, Self

import hmmlearn
import numpy as np
import psutil

from tradecore_pipeline_tests.benchmarks.report import print_report

ROWS, FEATURES, STATES = 3_800_000, 5, 3
BAR_MB = 200.0


def child(engine: str) -> None:
    """Fits twice on a short window (imports, compiled code), then once on all rows; prints MB added and the logL."""
    from hmmlearn import hmm  # noqa: PLC0415 (a process that measures itself loads one engine)

    from tradecore_pipeline.models.gaussian_hmm import GaussianHMM  # noqa: PLC0415

    random = np.random.default_rng(3)
    X = random.standard_normal((ROWS, FEATURES))
    X *= np.repeat(np.array([0.3, 1.0, 3.0])[random.integers(3, size=ROWS // 100)], 100)[:, None]
    family: Any = GaussianHMM if engine == "ours" else hmm.GaussianHMM
    model = family(STATES, "full", implementation="scaling", n_iter=1, init_params="", tol=-np.inf)
    parameters = {
        "startprob_": np.full(STATES, 1 / STATES),
        "transmat_": np.full((STATES, STATES), 0.005) + 0.985 * np.eye(STATES),
        "means_": np.zeros((STATES, FEATURES)),
    }
    covars = np.array([0.2, 0.9, 8.0])[:, None, None] * np.eye(FEATURES)
    base, peak = 0, 0
    for rows in (2000, 2000, ROWS):
        for name, value in parameters.items():
            setattr(model, name, value.copy())
        model.n_features = FEATURES
        model.covars_ = covars
        base = psutil.Process().memory_info().rss
        with Watch() as watch:
            model.fit(X[:rows])
        peak = watch.peak
    sys.stdout.write(json.dumps([(peak - base) / 1e6, float(model.monitor_.history[-1])]) + "\n")


class Watch:
    """The process's largest resident size while it is open, looked at every few milliseconds."""

    peak = 0

    def __enter__(self) -> Self:
        self._open = True
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def _look(self) -> None:
        process = psutil.Process()
        while self._open:
            self.peak = max(self.peak, process.memory_info().rss)
            time.sleep(0.003)

    def __exit__(self, *_: object) -> None:
        self._open = False
        self._thread.join()


def measured(engine: str) -> tuple[float, float]:
    command = [sys.executable, "-m", "tradecore_pipeline_tests.benchmarks.hmm_memory", engine]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    added, total = json.loads(result.stdout.splitlines()[-1])
    return added, total


def main() -> None:
    (ours, our_total), (peer, peer_total) = measured("ours"), measured("hmmlearn")
    relative = abs(our_total / peer_total - 1)
    print_report(
        name="hmm_memory",
        ours=ours,
        peer=peer,
        peer_name=f"hmmlearn {hmmlearn.__version__} GaussianHMM, implementation scaling",
        unit="MB",
        ratio=BAR_MB / ours,
        equal=relative < 1e-12,
        n=ROWS,
        note=f"ratio = {BAR_MB:.0f} MB / ours; resident memory that one EM iteration adds to a process that holds the "
        f"{ROWS * FEATURES * 8 / 1e6:.0f} MB of observations; {STATES} states, {FEATURES} features, full covariance; "
        f"logL equal to {relative:.0e} relative",
    )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        child(sys.argv[1])
    else:
        main()
