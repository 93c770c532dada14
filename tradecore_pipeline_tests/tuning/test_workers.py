import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest

from tradecore_pipeline.tuning.workers import workers

LONG = 60.0


def _leave_early() -> None:
    with workers(1) as pool:
        pool.submit(time.sleep, LONG)
        raise RuntimeError("enough")


def test_what_is_being_fitted_is_not_waited_for_where_the_block_is_left_early() -> None:
    began = time.monotonic()
    with pytest.raises(RuntimeError, match="enough"):
        _leave_early()
    assert time.monotonic() - began < LONG / 2
    assert multiprocessing.active_children() == []


def test_they_end_early_where_sigterm_is_ignored() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        began = time.monotonic()
        with pytest.raises(RuntimeError, match="enough"):
            _leave_early()
        assert time.monotonic() - began < LONG / 2
    finally:
        signal.signal(signal.SIGTERM, before)


def test_workers_end_with_the_process_that_started_them() -> None:
    code = (
        "import os, time\n"
        "from tradecore_pipeline.tuning.workers import workers\n"
        "if __name__ == '__main__':\n"
        "    with workers(1) as pool:\n"
        "        print(pool.submit(os.getpid).result(), flush=True)\n"
        f"        pool.submit(time.sleep, {LONG})\n"
        "        os.kill(os.getpid(), 9)\n"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    worker = int(told.stdout)
    deadline = time.monotonic() + LONG / 2
    while _is_alive(worker):
        assert time.monotonic() < deadline, "it outlived its parent"
        time.sleep(0.05)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True
