"""What waits to go to a far node: items, in order, until the writer of a link takes as many as make a frame.

A frame costs the session and the codec what a dozen items cost, so it is filled with whatever has come up meanwhile.
What is owed and large comes in parts, which take turns with all that is behind them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

from .._sansio.cargo import Item, Message, Part, Reply, Request

_MOST: Final = 1024
"""Items of a frame."""
_OVERHEAD: Final = 48
"""Bytes of an item beside its text, more or less."""


class Outbox:
    """Items that wait.

    Attributes:
        size: Bytes of them all, more or less.
    """

    __slots__ = ("_items", "_large", "size")

    def __init__(self) -> None:
        self._items: deque[Item] = deque()
        self._large: deque[deque[Item]] = deque()
        self.size = 0

    def __bool__(self) -> bool:
        return bool(self._items or self._large)

    def add(self, item: Item) -> None:
        """Have an item go behind those that wait."""
        self._items.append(item)
        self.size += size_of(item)

    def add_large(self, parts: Sequence[Item]) -> None:
        """Have the parts of something large go, one with each frame."""
        self._large.append(deque(parts))
        self.size += sum(map(size_of, parts))

    def take(self, most: int) -> list[Item]:
        """Return what goes next, about `most` bytes of it; there must be something."""
        taken: list[Item] = []
        items, size = self._items, 0
        while items and size < most and len(taken) < _MOST:
            item = items.popleft()
            size += size_of(item)
            taken.append(item)
        if self._large and size < most:
            parts = self._large.popleft()
            part = parts.popleft()
            size += size_of(part)
            taken.append(part)
            if parts:
                self._large.append(parts)
        self.size -= size
        return taken

    def clear(self) -> list[Item]:
        """Return all that waits, and forget it."""
        left = [*self._items, *(part for parts in self._large for part in parts)]
        self._items.clear()
        self._large.clear()
        self.size = 0
        return left


def size_of(item: Item) -> int:
    """Return how many bytes an item takes, more or less: its text is counted in characters."""
    kind = type(item)
    if kind is Message or kind is Request or kind is Reply:
        return len(item.body) + _OVERHEAD  # type: ignore[union-attr]  # mypy does not follow `kind`
    if kind is Part:
        return len(item.data) + _OVERHEAD  # type: ignore[union-attr]
    return _OVERHEAD
