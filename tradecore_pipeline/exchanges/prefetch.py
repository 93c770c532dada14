"""Work done ahead by a few threads, results in order, stopped when the reader stops."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Unit = TypeVar("Unit")
Result = TypeVar("Result")


def prefetch(job: Callable[[Unit], Result], units: Iterable[Unit], *, workers: int) -> Iterator[Result]:
    """``job(unit)`` for each unit, in order, at most ``2 * workers`` ahead of the reader.

    An exception of a job, or of ``units``, is raised at its place, after all results before it. A reader that stops
    early (or is interrupted) cancels what has not begun; at most ``workers`` jobs then finish unseen.
    """
    pending: deque[Future[Result]] = deque()
    waiting = iter(units)
    pool = ThreadPoolExecutor(max_workers=workers, thread_name_prefix="ahead")
    ended: Exception | None = None

    def submit(count: int) -> None:
        nonlocal ended
        try:
            for unit in islice(waiting, count):
                pending.append(pool.submit(job, unit))
        except Exception as error:  # noqa: BLE001 (raised below, once what came before it is handed over)
            ended = error

    try:
        submit(2 * workers)
        while pending:
            result = pending.popleft().result()
            submit(0 if ended else 1)
            yield result
        if ended is not None:
            raise ended
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
