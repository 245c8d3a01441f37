"""Requests that await their reply.

Each has one slot here and leaves it once, by its first reply, its deadline, or its caller's cancellation; what comes
later finds no slot, is dropped and counted. Conversations, which take many replies, have their mailbox here for as
long as it is open. Only the router resolves; only callers open.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol
from weakref import WeakValueDictionary

from trio.lowlevel import Abort, RaiseCancelT, Task, reschedule, wait_task_rescheduled

from .._sansio.envelope import Envelope
from ..abc import FarMailbox
from .deadlines import Deadlines
from .inbox import Inbox
from .parking import WAKE


class FarConversation(FarMailbox, Protocol):
    """A conversation that somebody on another node has begun: what stands here for his mailbox.

    Attributes:
        name: Name of the mailbox.
        closed: Whether it takes nothing more.
    """

    name: str
    closed: bool

    def accept(self, envelope: Envelope) -> None:
        """Send a reply or a failure, place or not."""

    def when_closed(self, tell: Callable[[], object]) -> None:
        """Have `tell` called when it is closed."""


class Slot:
    """One request that waits.

    Attributes:
        id: Its number.
        taken: Whether the worker has come to its message.
        resolved: Whether it has an outcome.
        answer: Its reply or failure once it is resolved; None if its deadline passed.
        route: Called with its number when nobody wants an answer any more, if it went to another node.
    """

    __slots__ = ("_pending", "_waiter", "answer", "id", "resolved", "route", "taken")

    def __init__(self, pending: dict[int, Slot], number: int) -> None:
        self._pending = pending
        self._waiter: Task | asyncio.Future[None] | None = None
        self.id = number
        self.resolved = self.taken = False
        self.route: Callable[[int], None] | None = None

    def wait(self, waiter: Task | None) -> Awaitable[object]:
        """Wait for the outcome, which is not there yet. To be awaited at once; who is cancelled calls `withdraw`.

        Args:
            waiter: The task that calls this; None for an asyncio task.
        """
        if waiter is None:
            return self._wait_in_asyncio()
        self._waiter = waiter
        return wait_task_rescheduled(self._cancelled)  # noqa: ASYNC105  # one coroutine less than `await` here

    def _cancelled(self, _: RaiseCancelT) -> Abort:
        """Take no answer any more; `withdraw` follows, in the order in which tasks run."""
        self._pending.pop(self.id, None)
        return Abort.SUCCEEDED

    async def _wait_in_asyncio(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        await self._waiter

    def withdraw(self) -> None:
        """Forget the request: its message was not sent after all, or nobody wants the reply any more."""
        self._pending.pop(self.id, None)
        if self.route is not None:
            self.route(self.id)

    def resolve(self, answer: Envelope | None) -> None:
        """Hand over the outcome. The slot has left `pending` already."""
        self.answer = answer
        self.resolved = True
        waiter = self._waiter
        if type(waiter) is Task:
            reschedule(waiter, WAKE)
        elif waiter is not None and not waiter.done():
            waiter.set_result(None)

    def expire(self) -> None:
        """End without an answer."""
        if self.route is not None:
            self.route(self.id)
        self.resolve(None)


class Replies:
    """Every request and conversation of this node that may still get a reply."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.deadlines: Deadlines[Slot] = Deadlines(clock, lambda slot: slot.expire())
        self.pending = self.deadlines.pending
        self.conversations: WeakValueDictionary[int, Inbox | FarConversation] = WeakValueDictionary()
        self.dropped = 0
        self._last = 0

    def next_id(self) -> int:
        """Return a number that no request or conversation of this node has had."""
        self._last += 1
        return self._last

    def open(self, deadline: float) -> Slot:
        """Open a slot for a request that ends at `deadline`."""
        self._last = number = self._last + 1
        slot = Slot(self.pending, number)
        self.deadlines.add(number, slot, deadline)
        return slot

    def accept(self, answer: Envelope) -> None:
        """Hand a reply or a failure to whoever waits for it. Never waits itself."""
        slot = self.pending.pop(answer.id, None)
        if slot is not None:
            slot.resolve(answer)
            return
        inbox = self.conversations.get(answer.id)
        if inbox is not None and not inbox.closed:
            inbox.accept(answer)
        else:
            self.dropped += 1

    def wanted(self, number: int) -> bool:
        """Whether anybody still waits for a reply to this request or conversation."""
        return number in self.pending or number in self.conversations

    def fail_all(self, failure: Callable[[int], Envelope]) -> None:
        """End every request that still waits with ``failure(id)``."""
        for number in list(self.pending):
            self.accept(failure(number))
