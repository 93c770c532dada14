"""Folds fitted in processes of their own, in order, so that what is known of the first decides about the rest."""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tradecore_pipeline.tuning.workers import workers

Mapped = Callable[[Callable[[Any], Any], Sequence[Any]], Iterator[Any]]
"""Like ``map``, and as lazy as its processes allow."""


@contextmanager
def ordered_map(processes: int) -> Generator[Mapped]:
    """A ``map`` over ``processes`` at a time, which looks ahead no further than they are many.

    The workers end with this process, however it ends.
    """
    if processes == 1:
        yield map
        return
    with workers(processes) as pool:

        def mapped(function: Callable[[Any], Any], tasks: Sequence[Any]) -> Iterator[Any]:
            for first in range(0, len(tasks), processes):
                yield from pool.map(function, tasks[first : first + processes])

        yield mapped
