"""What lies behind a `Mailbox`: messages and replies that wait for a program to take them.

Replies and failures are accepted, room or not: they were asked for, and who hands them over may not wait. Everything
else needs a place, of which there are `capacity`. On this node nobody but its `Mailbox` holds an inbox, so a forgotten
one is closed and freed.

While senders on other nodes have been promised places, `reserved` is there and is asked first; see `reserved.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import trio

from .._sansio.envelope import Envelope
from .reserved import Reserved


class Inbox:
    """Envelopes in the order in which they came."""

    def __init__(self, name: str, number: int, capacity: int) -> None:
        self.name = name
        self.number = number
        self._sender, self._receiver = trio.open_memory_channel[tuple[Envelope, bool]](math.inf)
        self._places = trio.Semaphore(capacity)
        self.capacity = capacity
        self.closed = False
        self.reserved: Reserved | None = None
        self._promised: Reserved | None = None
        self._reason = ""
        self._when_closed: list[Callable[[], object]] = []

    def put_nowait(self, envelope: Envelope) -> None:
        """Add an envelope; raise WouldBlock if there is no place, or others wait for one."""
        if self.reserved is not None:
            self.reserved.check()
        self.add(envelope)

    async def put(self, envelope: Envelope) -> None:
        """Add an envelope, waiting for a place behind those who wait already.

        Raises:
            trio.ClosedResourceError: The mailbox was closed meanwhile. The envelope was not added.
        """
        if self.reserved is not None:
            await self.reserved.put(envelope)
            return
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
            if self.reserved is not None:
                self.reserved.serve()
        return envelope

    # --- for senders on other nodes

    def reserve(self) -> Reserved:
        """Return the places that are promised to them. It is always the same, and takes effect when one is wanted."""
        if self._promised is None:
            self._promised = Reserved(self)
            if self.closed:
                self._promised.close(self._reason)
        return self._promised

    def used(self) -> int:
        """Return how many places are taken, those included whose sender has not run since its wait ended."""
        return self.capacity - self._places.value

    def add(self, envelope: Envelope) -> None:
        """Add an envelope if there is a place."""
        self._places.acquire_nowait()
        self._sender.send_nowait((envelope, True))

    def look_again(self) -> None:
        """Do nothing: who reads waits for an envelope alone."""

    def begin(self) -> None:
        """Let nobody take places that are promised."""
        self.reserved = self._promised

    def end(self) -> None:
        """Let everybody take what is free."""
        self.reserved = None

    # --- the end

    def when_closed(self, tell: Callable[[], object]) -> None:
        """Have `tell` called when it is closed."""
        self._when_closed.append(tell)

    def close(self, reason: str = "its mailbox was closed") -> list[Envelope]:
        """Let nothing more in and wake who waits, on either side; return what was not read.

        Args:
            reason: What those on other nodes are told.
        """
        if self.closed:
            return []
        self.closed = True
        self._reason = reason
        left = [self._receiver.receive_nowait()[0] for _ in range(self._receiver.statistics().current_buffer_used)]
        self._sender.close()
        self._receiver.close()
        for _ in range(self._places.statistics().tasks_waiting):
            self._places.release()
        if self._promised is not None:
            self._promised.close(reason)
            self._promised = None
        for tell in self._when_closed:
            tell()
        self._when_closed.clear()
        return left

    @property
    def waiting(self) -> int:
        """How many envelopes wait to be read."""
        return self._receiver.statistics().current_buffer_used
