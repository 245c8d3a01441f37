"""Many things that each end at their time, and one task that sees to it.

A heap of times with lazy deletion: whoever is done early just leaves `pending`, and its time is skipped when it comes
up. That is one push for a request that is answered in time, where a cancel scope would cost more than the request
itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Generic, TypeVar

import trio

T = TypeVar("T")
_SLACK = 1024


class Deadlines(Generic[T]):
    """What is pending, by number, and when each entry expires."""

    __slots__ = ("_clock", "_expire", "_heap", "_next", "_scope", "pending")

    def __init__(self, clock: Callable[[], float], expire: Callable[[T], None]) -> None:
        self._clock = clock
        self._expire = expire
        self._heap: list[tuple[float, int]] = []
        self._next = -math.inf  # until `run` sleeps, it looks at the heap by itself
        self._scope = trio.CancelScope()
        self.pending: dict[int, T] = {}

    def add(self, number: int, entry: T, when: float) -> None:
        """Call `expire` with `entry` at `when`, unless it leaves `pending` before. `number` must be new."""
        self.pending[number] = entry
        if when == math.inf:
            return
        heap = self._heap
        heappush(heap, (when, number))
        if when < self._next:
            self._scope.deadline = self._next = when
        if len(heap) > 2 * len(self.pending) + _SLACK:
            self._heap = [item for item in heap if item[1] in self.pending]
            heapify(self._heap)

    async def run(self) -> None:
        """Expire what is due, for ever."""
        while True:
            self._expire_due()
            self._next = self._heap[0][0] if self._heap else math.inf
            with trio.CancelScope(deadline=self._next) as self._scope:
                await trio.sleep_forever()

    def _expire_due(self) -> None:
        now = self._clock()
        while self._heap and (self._heap[0][0] <= now or self._heap[0][1] not in self.pending):
            _, number = heappop(self._heap)
            entry = self.pending.pop(number, None)
            if entry is not None:
                self._expire(entry)
