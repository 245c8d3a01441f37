"""One session, in numbers: what both directions have come to.

Here is the arithmetic, and no decision: which frames wait, which were sent on this connection, which on any, and which
they may acknowledge. Next: `session`, which decides.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

from .frames import CloseCode, Data, SessionId
from .points import buggify
from .session_terms import Connection, Limits, State


@dataclass(slots=True)
class Life:
    """One session, from its first mention to its end."""

    id: SessionId
    ours: bool
    """Whether this side began it."""
    heard: float
    """When anything came from them on its connection; before that, when it began."""
    peer: str | None = None
    """Their incarnation, once it is known."""
    confirmed: bool = False
    connection: Connection | None = None
    dial: Connection | None = None
    """Where HELLO was said and not answered yet. Never while there is a connection."""

    queue: deque[bytes] = field(default_factory=deque)
    """What they have not acknowledged, from number `base` on."""
    size: int = 0
    base: int = 1
    sent: int = 0
    """Highest number sent on this connection."""
    written: int = 0
    """Highest number sent on any."""

    expects: int = 1
    """Number of their next frame."""
    acknowledged: int = 1
    """The `expects` that they were told last."""
    ack_due: float = math.inf

    closing: CloseCode | None = None
    """Why it is to end, once one side leaves."""
    close_by: float = math.inf
    close_sent: bool = False
    """On this connection."""
    they_close: bool = False
    """They said CLOSE: all they had has come, and nothing more does."""

    @property
    def state(self) -> State:
        """Where it is in its life."""
        if not self.confirmed:
            return State.DIALING if self.ours else State.OFFERED
        if self.closing is not None:
            return State.CLOSING
        return State.DETACHED if self.connection is None else State.UP

    @property
    def next(self) -> int:
        """Number of the next frame that is added."""
        return self.base + len(self.queue)

    def has_room(self, size: int, limits: Limits) -> bool:
        """Whether a frame of so many bytes fits. One alone always does."""
        return not self.queue or (len(self.queue) < limits.messages and self.size + size <= limits.size)

    def add(self, body: bytes) -> None:
        """Put something into the queue."""
        self.queue.append(body)
        self.size += len(body)

    def unsent(self) -> list[Data]:
        """Return what this connection has not carried yet. It is sent then, and whatever came is acknowledged."""
        first, end = self.sent + 1, self.next
        if first == end:
            return []
        self.tell_acknowledged()
        self.sent, self.written = end - 1, max(self.written, end - 1)
        return [Data(number, self.expects, self.queue[number - self.base]) for number in range(first, end)]

    def may_expect(self, number: int) -> bool:
        """Whether they can have everything below a number: no less than they said before, no more than was sent."""
        return self.base <= number <= self.written + 1

    def trim(self, expects: int) -> None:
        """Forget what they have acknowledged."""
        while self.base < expects:
            self.size -= len(self.queue.popleft())
            self.base += 1

    def accept(self, now: float, limits: Limits) -> None:
        """Count a frame of theirs, and owe them an acknowledgement: at once for a batch, else after some patience."""
        self.expects += 1
        full = self.expects - self.acknowledged >= limits.batch or buggify("early ack")
        self.ack_due = min(self.ack_due, now if full else now + limits.patience)

    def tell_acknowledged(self) -> int:
        """Return what they are told now about how far this side got; nothing more is owed then."""
        self.acknowledged, self.ack_due = self.expects, math.inf
        return self.expects

    def attach(self, connection: Connection, incarnation: str, expects: int, now: float) -> None:
        """Go on with a connection, whose other end has everything below `expects` and no more."""
        self.peer, self.connection, self.dial, self.heard = incarnation, connection, None, now
        self.trim(expects)
        self.sent = expects - 1
        self.close_sent = False
        self.tell_acknowledged()  # HELLO and WELCOME say it

    def detach(self) -> None:
        """Go on without a connection."""
        self.connection, self.ack_due = None, math.inf

    def take_over(self, old: Life) -> None:
        """Have the queue of one that nobody has confirmed, and its wish to close."""
        assert not old.confirmed
        assert not old.written
        self.queue, self.size = old.queue, old.size
        self.closing, self.close_by = old.closing, old.close_by

    def rest(self) -> tuple[list[bytes], list[bytes]]:
        """Return what was sent and not acknowledged, and what was not sent."""
        queue, written = list(self.queue), max(self.written + 1 - self.base, 0)
        return queue[:written], queue[written:]
