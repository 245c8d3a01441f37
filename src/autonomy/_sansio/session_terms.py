"""The words of a session: the states of its life, what it asks to be done, and its bounds.

`TRANSITIONS` is the whole of its life, one input a step; the diagram in the docs is made from it. Next: `session_life`,
the numbers of one session, and `session`, which makes the moves.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from .frames import Frame, SessionId
from .keepalive import LIVENESS, Liveness

Connection = Hashable
"""Whatever the caller names a connection by."""


class State(Enum):
    """Where a session is in its life."""

    NONE = "none"
    """There is none, and nothing waits for one."""
    DIALING = "dialing"
    """Ours, not confirmed: wants a connection, or has said HELLO on one."""
    OFFERED = "offered"
    """Theirs, not confirmed: they were told WELCOME."""
    UP = "up"
    """Confirmed, with a connection."""
    DETACHED = "detached"
    """Confirmed, without a connection."""
    CLOSING = "closing"
    """Confirmed, and one side leaves in good order; what is unacknowledged is still brought over."""


TRANSITIONS: Final[frozenset[tuple[State, State, str]]] = frozenset(
    {
        (State.NONE, State.DIALING, "something is to be sent, or waited for"),
        (State.NONE, State.OFFERED, "HELLO for a fresh session"),
        (State.DIALING, State.UP, "WELCOME, or HELLO for this very session"),
        (State.DIALING, State.OFFERED, "HELLO for theirs, which goes before ours; the queue moves"),
        (State.DIALING, State.CLOSING, "WELCOME or HELLO, after we were told to leave"),
        (State.DIALING, State.NONE, "nothing to send and told to leave, refused for good, or its time is up"),
        (State.OFFERED, State.UP, "READY"),
        (State.OFFERED, State.CLOSING, "READY, after we were told to leave"),
        (State.OFFERED, State.DIALING, "they know it no more, or are another incarnation; the queue moves"),
        (State.OFFERED, State.NONE, "its time is up, or given up"),
        (State.UP, State.DETACHED, "the connection ended"),
        (State.UP, State.CLOSING, "told to leave, or CLOSE"),
        (State.UP, State.OFFERED, "they lost it: HELLO for a fresh session"),
        (State.UP, State.NONE, "CLOSE and nothing unacknowledged, another incarnation, or given up"),
        (State.DETACHED, State.UP, "WELCOME, or HELLO for this very session"),
        (State.DETACHED, State.OFFERED, "they lost it: HELLO for a fresh session"),
        (State.DETACHED, State.DIALING, "they lost it, and want another"),
        (State.DETACHED, State.CLOSING, "told to leave"),
        (State.DETACHED, State.NONE, "they lost it, another incarnation, or its time is up"),
        (State.CLOSING, State.OFFERED, "they are through with it: HELLO for a fresh session"),
        (State.CLOSING, State.DIALING, "they are through with it, and want another"),
        (State.CLOSING, State.NONE, "CLOSED, or CLOSE and nothing unacknowledged, or its time is up"),
    }
)


@dataclass(frozen=True, slots=True)
class Transmit:
    """Send a frame on a connection."""

    connection: Connection
    frame: Frame


@dataclass(frozen=True, slots=True)
class Drop:
    """Close a connection, after what was to be transmitted on it. Its frames are to be passed on no more."""

    connection: Connection
    reason: str


@dataclass(frozen=True, slots=True)
class Deliver:
    """Hand over what they sent. It counts as accepted: it is acknowledged next."""

    body: bytes


@dataclass(frozen=True, slots=True)
class Up:
    """The session has begun, or goes on."""

    session: SessionId
    resumed: bool


@dataclass(frozen=True, slots=True)
class Down:
    """The session is over.

    Attributes:
        session: Which.
        reason: Why, for people.
        written: What was sent and not acknowledged: each of these was delivered once or never.
        unwritten: What was not sent.
    """

    session: SessionId
    reason: str
    written: Sequence[bytes]
    unwritten: Sequence[bytes]


Event = Transmit | Drop | Deliver | Up | Down


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of a session. Times in seconds.

    Attributes:
        messages: Unacknowledged frames in one direction.
        size: Their bytes.
        frame: Bytes of a frame that this side takes.
        liveness: How often this side is heard from, and how long a session lasts without a connection, from the last
            word on.
        closing: How long leaving in good order may take.
        probe: How long a connected node has to show that it is alive when another one claims its name.
        patience: How long an acknowledgement waits for something to ride along with.
        batch: After how many frames it waits no longer.
    """

    messages: int = 8192
    size: int = 16 * 2**20
    frame: int = 2**20
    liveness: Liveness = LIVENESS
    closing: float = 5.0
    probe: float = 2.0
    patience: float = 0.02
    batch: int = 32
