"""asyncio's default executor, on Trio's threads.

A thread that never ends must not keep the process from ending (O5). Those of `concurrent.futures` do: Python joins them
at exit. Trio's are daemons, and are kept for the next one who needs a thread.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, ParamSpec, TypeVar

import trio

P = ParamSpec("P")
T = TypeVar("T")


class TrioThreads(ThreadPoolExecutor):
    """An executor that asyncio accepts as its default, and whose threads are Trio's.

    Args:
        limit: How many functions run at once; the others wait.
    """

    def __init__(self, limit: int) -> None:
        super().__init__(max_workers=limit)
        self._lock = threading.Lock()
        self._free = limit
        self._waiting: deque[Callable[[], None]] = deque()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run a function in a thread, now or as soon as one is free."""
        future: Future[T] = Future()
        work = partial(_work, future, partial(fn, *args, **kwargs))
        with self._lock:
            if not self._free:
                self._waiting.append(work)
                return future
            self._free -= 1
        trio.lowlevel.start_thread_soon(work, self._next)
        return future

    def _next(self, _: object) -> None:
        with self._lock:
            if not self._waiting:
                self._free += 1
                return
            work = self._waiting.popleft()
        trio.lowlevel.start_thread_soon(work, self._next)


def _work(future: Future[Any], function: Callable[[], object]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = function()
    except BaseException as error:  # noqa: BLE001  # it comes out where the future is awaited
        future.set_exception(error)
    else:
        future.set_result(result)
