"""Answers shared between threads: the first to ask fetches, the others wait for it."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Once(Generic[Value]):
    """The last ``keep`` answers by key. A failed question is not remembered: the next one asks again."""

    def __init__(self, *, keep: int) -> None:
        self._keep = keep
        self._lock = threading.Lock()
        self._answers: OrderedDict[str, Future[Value]] = OrderedDict()

    def get(self, key: str, ask: Callable[[], Value]) -> Value:
        """The answer under ``key``; ``ask`` runs at most once at a time per key."""
        with self._lock:
            answer = self._answers.get(key)
            mine = answer is None
            if answer is None:
                answer = self._answers[key] = Future()
                while len(self._answers) > self._keep:
                    self._answers.popitem(last=False)
        if mine:
            self._fulfil(key, answer, ask)
        return answer.result()

    def _fulfil(self, key: str, answer: Future[Value], ask: Callable[[], Value]) -> None:
        try:
            answer.set_result(ask())
        except BaseException as error:  # noqa: BLE001 (handed on whole: waiting threads must not wait for ever)
            with self._lock:
                self._answers.pop(key, None)
            answer.set_exception(error)
