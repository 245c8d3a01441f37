"""A worker's mailbox: a Trio memory channel, and the one task that empties it.

The reader never waits inside the channel. It takes what is there without waiting, in bursts, and parks when `queued`
says that there is nothing: one reschedule wakes it, however many messages came meanwhile. `queued` may lag behind the
channel by the messages of senders that waited for room and have not run since; it never runs ahead.
"""

from __future__ import annotations

from collections.abc import Awaitable

import trio
from trio.lowlevel import Abort, RaiseCancelT, Task, current_task, reschedule, wait_task_rescheduled

from .._sansio.envelope import Envelope
from .parking import WAKE


class Queue:
    """Envelopes in the order in which they came, at most `capacity` of them."""

    __slots__ = ("_receiver", "_sender", "append", "capacity", "parked", "queued", "take")

    def __init__(self, capacity: int) -> None:
        self._sender, self._receiver = trio.open_memory_channel[Envelope](capacity)
        self.append = self._sender.send_nowait  # `put_nowait` without its second half; see Node.send_message
        self.take = self._receiver.receive_nowait  # the reader counts `queued` down itself
        self.capacity = capacity
        self.queued = 0
        self.parked: Task | None = None

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
        await self._sender.send(envelope)
        self.queued += 1
        if self.parked is not None:
            self.wake()

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
        """Whether nothing is in it, that of senders included whose wait for room has just ended."""
        return not self._receiver.statistics().current_buffer_used

    def close(self) -> list[Envelope]:
        """Take nothing more; return what was left, that of senders who wait for room included."""
        left: list[Envelope] = []
        try:
            while True:
                left.append(self.take())
        except trio.WouldBlock:
            pass
        self._receiver.close()
        self._sender.close()
        self.queued = 0
        return left
