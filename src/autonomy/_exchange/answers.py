"""What a far node asked of this one, as workers here see it: nothing special.

A request from afar waits in the same table as those of this node, and its answer goes over the wire instead of to a
task; a conversation from afar is a mailbox that is somewhere else. So workers and their contexts need not know.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import trio

from .._actors.replies import Slot
from .._sansio.cargo import Reply
from .._sansio.envelope import REPLY, Envelope
from ..abc import FarMailbox, Wire, WireDown

Answer = Callable[[int, Envelope | None], None]


class FarRequest(Slot):
    """A request of a far node.

    Args:
        pending: The table of this node's requests.
        number: Its number there.
        far_number: Its number at the node that asks.
        answer: Called with the far number and the outcome; None if its time is up.
    """

    __slots__ = ("_answer", "_far_number")

    def __init__(self, pending: dict[int, Slot], number: int, far_number: int, answer: Answer) -> None:
        super().__init__(pending, number)
        self._far_number = far_number
        self._answer = answer

    def resolve(self, answer: Envelope | None) -> None:
        """Send the outcome home."""
        super().resolve(answer)
        self._answer(self._far_number, answer)


class FarConversation:
    """A conversation that a far node has begun, as far as it ends.

    Attributes:
        closed: Whether it takes nothing more.
    """

    def __init__(self) -> None:
        self.closed = False
        self._when_closed: list[Callable[[], object]] = []

    def when_closed(self, tell: Callable[[], object]) -> None:
        """Have `tell` called when it is closed."""
        self._when_closed.append(tell)

    def close(self) -> None:
        """Nobody there waits for replies any more."""
        self.closed = True
        for tell in self._when_closed:
            tell()
        self._when_closed.clear()


class FarInbox(FarConversation):
    """What stands here for the mailbox of a conversation that a far node has begun.

    Replies go there with places granted, as to any mailbox.

    Args:
        find: Returns a mailbox there, as it is reached at the time.
        name: Its name there.
        far_number: Number of the conversation there.
        relay: The way for what needs no place.

    Attributes:
        number: Number of the conversation here.
    """

    def __init__(self, find: Callable[[str], FarMailbox], name: str, far_number: int, relay: Relay) -> None:
        super().__init__()
        self.node = relay.node
        self.is_over = False
        self._find = find
        self._far_number = far_number
        self._relay = relay
        self.name = name
        self.number = relay.number

    def close(self) -> None:
        """Nobody there waits for replies any more."""
        super().close()
        self._relay.close()

    @property
    def is_linked(self) -> bool:
        """Whether there is a link there at this moment."""
        return self._find(self.name).is_linked

    def put_nowait(self, envelope: Envelope) -> None:
        """Send a reply; see `abc.FarMailbox`."""
        self._find(self.name).put_nowait(self._addressed(envelope))

    async def put(self, envelope: Envelope) -> None:
        """Send a reply, waiting for a place there."""
        await self._find(self.name).put(self._addressed(envelope))

    def accept(self, answer: Envelope) -> None:
        """Send what needs no place: news of a failure, or a reply of a node that the conversation was handed on to."""
        self._relay.accept(answer)

    def _addressed(self, reply: Envelope) -> Envelope:
        return Envelope(REPLY, self.name, reply.body, self._far_number, reply.to)


class Relay(FarConversation):
    """What stands here for the mailbox of a conversation that was handed on by a node whose it is not: replies go back
    the way it came, in order, and need no places.

    Args:
        wire: The way back.
        number: Of the conversation, here.
        far_number: And there.
        answer: Sends a reply or a failure home at once.
        start_soon: Starts a task that brings home what is large.
    """

    def __init__(
        self,
        wire: Wire,
        number: int,
        far_number: int,
        answer: Callable[[int, Envelope], None],
        start_soon: Callable[..., object],
    ) -> None:
        super().__init__()
        self._wire = wire
        self._far_number = far_number
        self._answer = answer
        self._start_soon = start_soon
        self._waiting: deque[Envelope] = deque()
        self._changed = trio.lowlevel.ParkingLot()
        self.node = wire.node
        self.is_over = False
        self.name = ""
        self.number = number

    @property
    def is_linked(self) -> bool:
        """Whether there is a link there at this moment."""
        return self._wire.is_up

    def put_nowait(self, envelope: Envelope) -> None:
        """Send a reply, unless others wait to be sent."""
        if self._waiting:
            raise trio.WouldBlock
        self.accept(envelope)

    async def put(self, envelope: Envelope) -> None:
        """Send a reply behind those that wait."""
        await trio.lowlevel.checkpoint()
        while self._waiting:
            await self._changed.park()
        if self.closed:  # meanwhile: its number may mean something else to the next session
            raise trio.ClosedResourceError("the conversation has ended")
        self.accept(envelope)

    def accept(self, answer: Envelope) -> None:
        """Send a reply or a failure, behind those that wait."""
        if not self._waiting and not self._wire.is_large(answer.body):
            self._answer(self._far_number, answer)
            return
        self._waiting.append(answer)
        if len(self._waiting) == 1:
            self._start_soon(self._send_all)

    async def _send_all(self) -> None:
        try:
            while self._waiting and not self.closed:
                if self._wire.is_large(self._waiting[0].body):
                    await self._wire.send(Reply(self._far_number, self._waiting[0].body))
                else:
                    self._answer(self._far_number, self._waiting[0])
                self._waiting.popleft()
        except WireDown:
            pass
        finally:
            self._waiting.clear()
            self._changed.unpark_all()
