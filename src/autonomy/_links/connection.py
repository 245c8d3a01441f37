"""One link in use: what waits to be written on it, and its pulse.

`transmit` never waits; the one writer takes all that is there and sends it as one message, for a message costs the
transport a hundred times what a frame costs. Next: `peer`, which has one of these after the other.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import trio

from .._sansio import codec
from .._sansio.frames import Frame
from .._sansio.keepalive import Keepalive, Liveness
from .._sansio.points import buggify
from ..abc import Link

MESSAGE: Final = 2**17
"""Bytes of one message, more or less: more would keep others waiting that share the node."""
_MOST: Final = 1024
"""Frames of one message."""


class Connection:
    """One link to a far node.

    Args:
        link: The link. Whoever opened it closes it.
        liveness: How often it is to be heard of.
        now: The time.
        answer_by: When the far node must have agreed to a session on it.
    """

    __slots__ = ("_frames", "_is_dropped", "_most", "_news", "answer_by", "is_awake", "link", "pulse")

    def __init__(self, link: Link, liveness: Liveness, now: float, answer_by: float) -> None:
        self.link = link
        self.pulse = Keepalive(liveness, now)
        self.answer_by = answer_by
        self._frames: deque[Frame] = deque()
        self._news = trio.Event()
        self._is_dropped = False
        self._most = 1  # the first one alone: on a slow way an agreement is not to wait for all that it lets go on
        self.is_awake = True
        """Whether the writer will look for something to write, without being told."""

    @property
    def is_dropped(self) -> bool:
        """Whether it counts no more: what comes on it is not looked at."""
        return self._is_dropped

    @property
    def waiting(self) -> int:
        """How many frames wait to be written."""
        return len(self._frames)

    def transmit(self, frame: Frame) -> None:
        """Have a frame written, behind those that wait."""
        self._frames.append(frame)
        self._news.set()

    def wake(self) -> None:
        """Have the writer look for something to write."""
        self.is_awake = True
        self._news.set()

    def drop(self) -> None:
        """Have the link closed, behind what waits to be written."""
        self._is_dropped = True
        self._news.set()

    async def news(self) -> None:
        """Wait for something to write, or to be dropped."""
        self.is_awake = False
        await self._news.wait()
        self._news = trio.Event()
        self.is_awake = True

    def take(self) -> bytes:
        """Return as much of what waits as one message holds; nothing if nothing waits."""
        frames = self._frames
        batch: list[bytes] = []
        size = 0
        most = 1 if buggify("short message") else self._most
        while frames and size < MESSAGE and len(batch) < most:
            encoded = codec.encode(frames.popleft())
            size += len(encoded)
            batch.append(encoded)
        if batch:
            self._most = _MOST
        return b"".join(batch)
