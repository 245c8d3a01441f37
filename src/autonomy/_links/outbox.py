"""What waits to go to a far node: items, in order, until the writer of a link takes as many as make a frame.

A frame costs the session and the codec what a dozen items cost, so it is filled with whatever has come up meanwhile.
What is large goes in parts, one with each frame, and the large ones take turns: nobody waits for all of one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

from trio.lowlevel import Abort, RaiseCancelT, Task, current_task, reschedule, wait_task_rescheduled

from .._sansio.cargo import Item, Message, Part, Reply, Request

_MOST: Final = 1024
"""Items of a frame."""
_OVERHEAD: Final = 48
"""Bytes of an item beside its text, more or less."""


class Parts:
    """Something large, as far as it waits.

    Attributes:
        left: Those of its parts that have not gone.
        has_begun: Whether some have.
    """

    __slots__ = ("_is_settled", "_waiter", "has_begun", "left")

    def __init__(self, parts: Iterable[Part]) -> None:
        self.left = deque(parts)
        self.has_begun = False
        self._is_settled = False
        self._waiter: Task | None = None

    def settle(self) -> None:
        """All parts have gone, or none will any more."""
        self._is_settled = True
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            reschedule(waiter)

    async def settled(self, abandon: Callable[[], None]) -> None:
        """Wait for that. Cancelled, `abandon` is called at once: when the waiter runs, the rest may have gone."""
        if self._is_settled:
            return
        self._waiter = current_task()

        def leave(_: RaiseCancelT) -> Abort:
            self._waiter = None
            abandon()
            return Abort.SUCCEEDED

        await wait_task_rescheduled(leave)


class Outbox:
    """Items that wait.

    Attributes:
        items: Those that go whole.
        size: Bytes of these, more or less.
        large_size: Bytes of the parts that wait.
    """

    __slots__ = ("_large", "items", "large_size", "size")

    def __init__(self) -> None:
        self.items: deque[Item] = deque()
        self._large: deque[Parts] = deque()
        self.size = 0
        self.large_size = 0

    def __bool__(self) -> bool:
        return bool(self.items or self._large)

    def add(self, item: Item) -> None:
        """Have an item go behind those that wait."""
        self.items.append(item)
        self.size += size_of(item)

    def add_large(self, parts: Iterable[Part]) -> Parts:
        """Have the parts of something large go."""
        large = Parts(parts)
        self._large.append(large)
        self.large_size += sum(len(part.data) for part in large.left)
        return large

    def take(self, most: int) -> list[Item]:
        """Return what goes next, about `most` bytes of it; there must be something."""
        taken: list[Item] = []
        items, size = self.items, 0
        while items and size < most and len(taken) < _MOST:
            item = items.popleft()
            size += size_of(item)
            taken.append(item)
        self.size -= size
        if self._large:
            taken.append(self._take_part())
        return taken

    def _take_part(self) -> Part:
        large = self._large.popleft()
        large.has_begun = True
        part = large.left.popleft()
        self.large_size -= len(part.data)
        if large.left:
            self._large.append(large)
        else:
            large.settle()
        return part

    def abandon(self, large: Parts) -> None:
        """Let what is left of something large not go."""
        if large in self._large:
            self._large.remove(large)
            self.large_size -= sum(len(part.data) for part in large.left)

    def clear(self) -> list[Item]:
        """Return all that waits, and forget it."""
        left = [*self.items, *(part for large in self._large for part in large.left)]
        for large in self._large:
            large.settle()
        self.items.clear()
        self._large.clear()
        self.size = self.large_size = 0
        return left


def size_of(item: Item) -> int:
    """Return how many bytes an item takes, more or less: its text is counted in characters."""
    kind = type(item)
    if kind is Message or kind is Request or kind is Reply:
        return len(item.body) + _OVERHEAD  # type: ignore[union-attr]  # mypy does not follow `kind`
    return _OVERHEAD
