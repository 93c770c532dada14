"""One EM iteration over a year of minutes with diagonal covariances, against both of hmmlearn's implementations."""

from tradecore_pipeline_tests.benchmarks.hmm_fit_full import report


def main() -> None:
    report("diag")


if __name__ == "__main__":
    main()
