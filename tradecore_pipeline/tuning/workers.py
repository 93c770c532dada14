"""Processes that fit beside this one and end with it."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Generator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager


@contextmanager
def workers(processes: int) -> Generator[ProcessPoolExecutor]:
    """A pool of ``processes``, spawned.

    Where the block is left early, what is being fitted is not waited for; and however this process ends, they do, too.
    """
    pool = ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn"), initializer=_follow_parent)
    others = set(multiprocessing.active_children())
    finished = False
    try:
        yield pool
        finished = True
    finally:
        if not finished:
            for worker in set(multiprocessing.active_children()) - others:
                worker.kill()  # a SIGTERM that this process was started to ignore would be ignored there, too
        pool.shutdown(wait=True, cancel_futures=True)


def _follow_parent() -> None:
    """End with the process that started this one, however it ends; Ctrl-C is that one's to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()
