"""What waits to go to a far node: items, in order, until the writer of a link takes as many as make a frame.

A frame costs the session and the codec what a dozen items cost, so it is filled with whatever has come up meanwhile.
What is large goes in parts, one with each frame, and the large ones take turns: nobody waits for all of one. It is kept
whole until its last part has arrived, so that what the end of a session has lost can be told.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

from trio.lowlevel import Abort, RaiseCancelT, Task, current_task, reschedule, wait_task_rescheduled

from .._sansio import cargo
from .._sansio.cargo import Failed, Gone, Item, Message, Part, Reply, Request, Shut
from .._sansio.points import buggify

PART: Final = 2**16
"""Bytes of a part of something large, and of a frame, more or less: others go between."""
LARGE: Final = PART // 4
"""Characters that may be more bytes than a part."""
_MOST: Final = 1024
"""Items of a frame."""
_OVERHEAD: Final = 48
"""Bytes of an item beside its text, more or less."""


class Parts:
    """Something large, as far as it waits.

    Args:
        number: Names it.
        body: What it is, encoded.

    Attributes:
        left: Those of its parts that have not gone.
        has_begun: Whether some have.
    """

    __slots__ = ("_is_settled", "_waiter", "has_begun", "left", "number")

    def __init__(self, number: int, body: bytes) -> None:
        self.number = number
        self.left = deque(cargo.parted(number, body, PART))
        self.has_begun = False
        self._is_settled = False
        self._waiter: Task | None = None

    @property
    def is_awaited(self) -> bool:
        """Whether its sender waits, and will be told."""
        return self._waiter is not None

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

    __slots__ = (
        "_abandoned",
        "_frame",
        "_large",
        "_last",
        "_number",
        "_on_their_way",
        "_whole",
        "items",
        "large_size",
        "size",
    )

    def __init__(self) -> None:
        self.items: deque[Item] = deque()
        self.size = 0
        self.large_size = 0
        self._large: deque[Parts] = deque()
        self._abandoned: list[int] = []
        """Numbers of what has begun to go, and of which the rest will not: to be said, in order of these numbers."""
        self._frame = b""
        self._last = 0
        """Number of what is large, if its last part is in the frame."""
        self._number = 0
        self._whole: dict[int, bytes] = {}
        self._on_their_way: deque[tuple[int, int]] = deque()
        """Frames with last parts, and what they are the last part of."""

    def __bool__(self) -> bool:
        return bool(self._frame or self.items or self._large or self._abandoned)

    def add(self, item: Item) -> None:
        """Have an item go behind those that wait; in parts, if it is large."""
        size = size_of(item)
        if size > LARGE and len(body := cargo.encode(item)) > PART:
            self.add_large(body)
            return
        self.items.append(item)
        self.size += size

    def add_large(self, body: bytes) -> Parts:
        """Have something large go, which is encoded already."""
        self._number += 1
        self._whole[self._number] = body
        large = Parts(self._number, body)
        self._large.append(large)
        self.large_size += sum(len(part.data) for part in large.left)
        return large

    def abandon(self, large: Parts) -> None:
        """Let what is left of something large not go, and let the far side know."""
        self._large.remove(large)
        self.large_size -= sum(len(part.data) for part in large.left)
        del self._whole[large.number]
        if large.has_begun:
            self._abandoned.append(large.number)

    # --- frames

    def frame(self) -> bytes:
        """Return what goes next, encoded, until it `went`; nothing if nothing waits."""
        if not self._frame and (self.items or self._large or self._abandoned):
            self._frame = cargo.encode_all(self._take())
        return self._frame

    def _take(self) -> list[Item]:
        for number in sorted(self._abandoned):
            self.add(Part(number, True, b""))
        self._abandoned.clear()
        taken: list[Item] = []
        items, size = self.items, 0
        most = 1 if buggify("short frame") else _MOST
        while items and size < PART and len(taken) < most:
            item = items.popleft()
            size += size_of(item)
            taken.append(item)
        self.size -= size
        self._last = 0
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
            self._last = large.number
            large.settle()
        return part

    def went(self, number: int) -> None:
        """Note that the frame is the session's now, under this number."""
        self._frame = b""
        if self._last:
            self._on_their_way.append((number, self._last))

    def arrived(self, number: int) -> None:
        """Keep nothing for frames up to this number."""
        while self._on_their_way and self._on_their_way[0][0] <= number:
            self._whole.pop(self._on_their_way.popleft()[1], None)

    # --- the end of a session

    def lost(self, written: Iterable[bytes], unwritten: Iterable[bytes]) -> tuple[list[Item], list[Item]]:
        """Forget everything; return what was sent and did not arrive for certain, and what was not sent.

        Args:
            written: Frames that were sent, and not acknowledged.
            unwritten: Frames that were not sent.
        """
        whole, self._whole = self._whole, {}
        sent = _restored(_items(written), whole)
        parts = [part for large in self._large if not large.is_awaited for part in large.left]  # else who waits is told
        not_sent = _restored([*_items([*unwritten, self._frame]), *self.items, *parts], whole)
        for large in self._large:
            large.settle()
        self.items.clear()
        self._large.clear()
        self._abandoned.clear()
        self._on_their_way.clear()
        self._frame = b""
        self.size = self.large_size = 0
        return sent, not_sent


def _items(frames: Iterable[bytes]) -> list[Item]:
    return [item for frame in frames if frame for item in cargo.decode_all(frame)]


def _restored(items: Iterable[Item], whole: dict[int, bytes]) -> list[Item]:
    """Return items; of what went in parts the whole, once, if its last part is among them."""
    restored: list[Item] = []
    for item in items:
        if not isinstance(item, Part):
            restored.append(item)
        elif item.last and item.number in whole:
            restored.append(cargo.decode(whole.pop(item.number)))
    return restored


def size_of(item: Item) -> int:
    """Return how many bytes an item takes, more or less: its texts are counted in characters."""
    kind = type(item)
    if kind is Message or kind is Reply:
        return len(item.body) + _OVERHEAD  # type: ignore[union-attr]  # mypy does not follow `kind`
    match item:
        case Request():
            return len(item.body) + (1 + len(item.chain)) * _OVERHEAD
        case Failed(_, failure) | Shut(_, failure):
            texts = failure.text, failure.remote_message, failure.remote_traceback, failure.cause
            return sum(map(len, texts)) + _OVERHEAD
        case Gone():
            return len(item.reason) + _OVERHEAD
    return _OVERHEAD
