"""What lies behind a `Mailbox`: messages and replies that wait for a program to take them.

Replies and failures are accepted, room or not: they were asked for, and who hands them over may not wait. Everything
else needs a place, of which there are `capacity`. Nobody but its `Mailbox` holds an inbox, so a forgotten one is freed.
"""

from __future__ import annotations

import math

import trio

from .._sansio.envelope import Envelope


class Inbox:
    """Envelopes in the order in which they came."""

    def __init__(self, name: str, number: int, capacity: int) -> None:
        self.name = name
        self.number = number
        self._sender, self._receiver = trio.open_memory_channel[tuple[Envelope, bool]](math.inf)
        self._places = trio.Semaphore(capacity)
        self.closed = False

    def put_nowait(self, envelope: Envelope) -> None:
        """Add an envelope; raise WouldBlock if there is no place, or others wait for one."""
        self._places.acquire_nowait()
        self._sender.send_nowait((envelope, True))

    async def put(self, envelope: Envelope) -> None:
        """Add an envelope, waiting for a place behind those who wait already.

        Raises:
            trio.ClosedResourceError: The mailbox was closed meanwhile. The envelope was not added.
        """
        await self._places.acquire()
        self._sender.send_nowait((envelope, True))

    def accept(self, envelope: Envelope) -> None:
        """Add a reply or a failure, place or not."""
        self._sender.send_nowait((envelope, False))

    async def take(self) -> Envelope:
        """Wait for the next envelope; several tasks may. Raises ClosedResourceError when closed."""
        envelope, had_place = await self._receiver.receive()
        if had_place:
            self._places.release()
        return envelope

    def close(self) -> list[Envelope]:
        """Let nothing more in and wake who waits, on either side; return what was not read."""
        if self.closed:
            return []
        self.closed = True
        left = [self._receiver.receive_nowait()[0] for _ in range(self._receiver.statistics().current_buffer_used)]
        self._sender.close()
        self._receiver.close()
        for _ in range(self._places.statistics().tasks_waiting):
            self._places.release()
        return left

    @property
    def waiting(self) -> int:
        """How many envelopes wait to be read."""
        return self._receiver.statistics().current_buffer_used
