"""The `tradecore` command: one line of error instead of a traceback, and exit codes 0, 1 (failure), 2 (usage)."""

import sys
import warnings

from rich.console import Console

from tradecore_pipeline.domain.errors import TradecoreError, UsageError


def main() -> None:
    """Run the command line and leave with its exit code."""
    # Dagster's own notices about its interfaces are for whoever writes definitions, not for whoever runs them.
    warnings.filterwarnings(
        "ignore", message=r"(?s).*(MultiPartitionMapping|backfill_policy|allow_nonexistent_upstream_partitions)"
    )
    from tradecore_pipeline.cli.app import app  # noqa: PLC0415 (after the filter above)

    try:
        app()
    except UsageError as error:
        sys.exit(_complain(error, 2))
    except TradecoreError as error:
        sys.exit(_complain(error, 1))
    except KeyboardInterrupt:
        sys.exit(_complain("interrupted: what was finished is kept, the same command goes on from there", 130))


def _complain(message: object, code: int) -> int:
    Console(stderr=True, highlight=False, soft_wrap=True).print(f"tradecore: {message}", markup=False)
    return code
