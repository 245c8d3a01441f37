"""A worker's mailbox: a Trio memory channel, and the one task that empties it.

The reader never waits inside the channel. It takes what is there without waiting, in bursts, and parks when `queued`
says that there is nothing: one reschedule wakes it, however many messages came meanwhile. `queued` may lag behind the
channel by the messages of senders that waited for room and have not run since; it never runs ahead.

While senders on other nodes have been promised places, `reserved` is there and `append` and `take` are exchanged for
ones that mind it; the reader looks for `take` anew when it parks and when its slice ends. Without them nothing here
knows of other nodes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio
from trio.lowlevel import Abort, RaiseCancelT, Task, current_task, reschedule, wait_task_rescheduled

from .._sansio.envelope import Envelope
from .parking import WAKE
from .reserved import Reserved


class Queue:
    """Envelopes in the order in which they came, at most `capacity` of them."""

    __slots__ = (
        "_promised",
        "_reason",
        "_receiver",
        "_sender",
        "append",
        "capacity",
        "parked",
        "queued",
        "reserved",
        "take",
    )

    def __init__(self, capacity: int) -> None:
        self._sender, self._receiver = trio.open_memory_channel[Envelope](capacity)
        self.append: Callable[[Envelope], None] = (
            self._sender.send_nowait
        )  # `put_nowait` without its second half; see Node.send_message
        self.take: Callable[[], Envelope] = self._receiver.receive_nowait  # the reader counts `queued` down itself
        self.capacity = capacity
        self.queued = 0
        self.parked: Task | None = None
        self.reserved: Reserved | None = None
        self._promised: Reserved | None = None
        self._reason: str | None = None

    def put_nowait(self, envelope: Envelope) -> None:
        """Add an envelope and wake the reader.

        Raises:
            trio.WouldBlock: There is no room, or others wait for it.
            trio.BrokenResourceError: The mailbox is closed.
        """
        self.append(envelope)
        self.queued += 1
        task = self.parked
        if task is not None:
            self.parked = None
            reschedule(task, WAKE)

    async def put(self, envelope: Envelope) -> None:
        """Add an envelope, waiting for room behind those who wait already. Cancelled, it was not added."""
        if self.reserved is not None:
            await self.reserved.put(envelope)
            return
        await self._sender.send(envelope)
        self.queued += 1
        self.look_again()

    def wake(self) -> None:
        """Let the reader look again. It must be parked."""
        task = self.parked
        assert task is not None
        self.parked = None
        reschedule(task, WAKE)

    def park(self) -> Awaitable[object]:
        """Wait until there may be something to take. For the one reader, who awaits it at once."""
        self.parked = current_task()
        return wait_task_rescheduled(self._leave)  # noqa: ASYNC105  # one coroutine less than `await` here

    def _leave(self, _: RaiseCancelT) -> Abort:
        self.parked = None
        return Abort.SUCCEEDED

    @property
    def is_empty(self) -> bool:
        """Whether nothing is in it, that of senders included who wait for room or whose wait has just ended."""
        return not self.used() and (self.reserved is None or not self.reserved.is_waited_for)

    # --- for senders on other nodes

    def reserve(self) -> Reserved:
        """Return the places that are promised to them. It is always the same, and takes effect when one is wanted."""
        if self._promised is None:
            self._promised = Reserved(self)
            if self._reason is not None:
                self._promised.close(self._reason)
        return self._promised

    def used(self) -> int:
        """Return how many messages are in it."""
        return self._receiver.statistics().current_buffer_used

    def add(self, envelope: Envelope) -> None:
        """Add an envelope that has a place, and wake the reader."""
        self._sender.send_nowait(envelope)
        self.queued += 1
        self.look_again()

    def look_again(self) -> None:
        """Wake the reader if it is parked."""
        if self.parked is not None:
            self.wake()

    def begin(self) -> None:
        """Let nobody put anything into places that are promised."""
        self.reserved = self._promised
        self.append, self.take = self._append_if_free, self._take_and_say

    def end(self) -> None:
        """Let everybody put what fits."""
        self.reserved = None
        self.append, self.take = self._sender.send_nowait, self._receiver.receive_nowait

    def _append_if_free(self, envelope: Envelope) -> None:
        assert self.reserved is not None
        self.reserved.check()
        self._sender.send_nowait(envelope)

    def _take_and_say(self) -> Envelope:
        envelope = self._receiver.receive_nowait()
        if self.reserved is not None:  # the reader may have kept this function
            self.reserved.taken()
        return envelope

    # --- the end

    def close(self, reason: str) -> list[Envelope]:
        """Take nothing more; return what was left, that of senders who wait for room included.

        Args:
            reason: What those on other nodes are told.
        """
        left: list[Envelope] = []
        if self.reserved is not None:
            self.end()  # nothing is shared out any more
        try:
            while True:
                left.append(self.take())
        except trio.WouldBlock:
            pass
        self._receiver.close()
        self._sender.close()
        self.queued = 0
        self._reason = reason
        if self._promised is not None:
            left += self._promised.empty_line()
            self._promised.close(reason)
            self._promised = None
        return left
