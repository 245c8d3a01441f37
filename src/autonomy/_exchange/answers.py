"""What a far node asked of this one, as workers here see it: nothing special.

A request from afar waits in the same table as those of this node, and its answer goes over the wire instead of to a
task; a conversation from afar is a mailbox that is somewhere else. So workers and their contexts need not know.
"""

from __future__ import annotations

from collections.abc import Callable

from .._actors.replies import Slot
from .._sansio.envelope import REPLY, Envelope
from ..abc import FarMailbox

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


class FarInbox:
    """What stands here for the mailbox of a conversation that a far node has begun.

    Replies go there with places granted, as to any mailbox; if it has no name, because the conversation was handed on
    from a third node, they go back the way it came.

    Args:
        node: Full name of the far node.
        find: Returns a mailbox there, as it is reached at the time.
        name: Its name there; may be empty.
        number: Of the conversation, here.
        far_number: And there.
        answer: Sends a reply or a failure home, place or not.

    Attributes:
        closed: Whether it takes nothing more.
    """

    def __init__(
        self,
        node: str,
        find: Callable[[str], FarMailbox],
        name: str,
        number: int,
        far_number: int,
        answer: Callable[[int, Envelope], None],
    ) -> None:
        self.node = node
        self.is_over = False
        self._find = find
        self._far_number = far_number
        self._answer = answer
        self.name = name
        self.number = number
        self.closed = False

    @property
    def is_linked(self) -> bool:
        """Whether there is a link there at this moment."""
        return self._find(self.name).is_linked

    def put_nowait(self, envelope: Envelope) -> None:
        """Send a reply; see `abc.FarMailbox`."""
        if self.name:
            self._find(self.name).put_nowait(self._addressed(envelope))
        else:
            self.accept(envelope)

    async def put(self, envelope: Envelope) -> None:
        """Send a reply, waiting for a place there."""
        await self._find(self.name).put(self._addressed(envelope))

    def accept(self, answer: Envelope) -> None:
        """Send a reply that came from elsewhere, or news of a failure: neither needs a place."""
        self._answer(self._far_number, answer)

    def _addressed(self, reply: Envelope) -> Envelope:
        return Envelope(REPLY, self.name, reply.body, self._far_number, reply.to)
