"""What a link carries: frames, one kind a class.

A frame is a msgpack array that begins with its kind. Kinds from `OPTIONAL` on may be ignored by whoever does not know
them; any other unknown kind ends the connection. Fields may be added at the end of a frame: older receivers pass over
them. Numbers and texts have bounds here, so that nothing that decodes is out of range. Next: `codec`, which turns
frames into bytes, and `session`, which says what they mean.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated, Final

import msgspec

MAGIC: Final = "ATNL"
VERSION: Final = 1
"""The version of this protocol; also the lowest one that is spoken."""
OPTIONAL: Final = 0x80

Number = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
"""Counts, sequence numbers, generations."""
Milliseconds = Annotated[int, msgspec.Meta(ge=1, le=3_600_000)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
Text = Annotated[str, msgspec.Meta(max_length=200)]


class RejectCode(IntEnum):
    """Why a connection is not wanted."""

    VERSION = 1
    """No version that both speak."""
    TIE = 2
    """Both dialled at once; the other dial goes on."""
    STALE = 3
    """The session that is offered is older than one that this side knows of."""
    UNKNOWN = 4
    """The session that is to go on is not known here."""
    IDENTITY = 5
    """The certificate names another node."""
    NAME_IN_USE = 6
    """A node of that name is connected, and alive."""
    REVOKED = 7
    """The certificate counts no more."""
    BUSY = 8
    """Too many connections; try again after `Reject.retry_after_ms`."""
    SHUTDOWN = 9
    """This node is leaving."""
    CLOSED = 10
    """The session that is to go on ended here in good order: all that was sent in it has arrived."""


class CloseCode(IntEnum):
    """Why a session ends."""

    GOODBYE = 1
    """The node leaves in good order."""
    PROTOCOL = 2
    """The other side sent what it had no right to send."""
    REVOKED = 3
    """The certificate of one of them counts no more."""
    IDLE = 4
    """Nobody needs it now; whatever is sent next begins another."""


class SessionId(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Names one session for good.

    The incarnation is no decoration: without it, two different sessions had the same id after a restart.
    """

    generation: Number
    """Grows with each session of a pair of nodes; both sides remember the highest that they have seen."""
    dialer: Name
    """The node that began it."""
    incarnation: Name
    """Of the dialer."""


class Hello(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=0x01):
    """The dialer's first frame: who it is, and which session it wants to begin or to go on with."""

    magic: Annotated[str, msgspec.Meta(max_length=4)]
    """Always `ATNL`."""
    lowest_version: Number
    """The lowest version of the protocol that it speaks."""
    highest_version: Number
    """And the highest one."""
    node: Name
    """The dialer's name, which its certificate must have."""
    incarnation: Name
    """Of the dialer: an id of this start of it."""
    session: SessionId
    """The session that is to begin, or to go on."""
    fresh: bool
    """Whether the session is to begin."""
    expects: Number
    """Number of the next sequenced frame that it has not got."""
    max_frame_bytes: Number
    """Bytes of a frame that it takes."""
    heartbeat_ms: Milliseconds
    """How often it is heard from."""
    features: Number = 0
    """Bits of what it can do beyond this version; none so far."""
    closed: SessionId | None = None
    """The last session that ended in good order here. They may not know yet that it did."""


class Welcome(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=0x02):
    """The acceptor's answer: the session begins, or goes on."""

    version: Number
    """The version that is spoken from here on."""
    node: Name
    """The acceptor's name."""
    incarnation: Name
    """Of the acceptor."""
    session: SessionId
    """The one of the HELLO."""
    expects: Number
    """Number of the next sequenced frame that it has not got."""
    max_frame_bytes: Number
    """Bytes of a frame that it takes."""
    heartbeat_ms: Milliseconds
    """How often it is heard from."""
    features: Number = 0
    """Those of the HELLO that it can do too."""


class Ready(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=0x03):
    """The dialer has the WELCOME. Before this the acceptor sends nothing that counts."""


class Reject(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=0x04):
    """The acceptor's other answer."""

    code: RejectCode
    """Why."""
    generation: Number = 0
    """The highest that this side has seen."""
    wants: bool = False
    """Whether this side wants a session, and may be unable to dial."""
    retry_after_ms: Annotated[int, msgspec.Meta(ge=0, le=3_600_000)] = 0
    """How long to wait before another try; 0 leaves it to the dialer."""
    text: Text = ""
    """Why, for people."""


class Data(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=0x10):
    """One thing that is delivered once and in order."""

    number: Number
    """Its place in the order of this direction of the session; the first is 1."""
    expects: Number
    """An acknowledgement that rides along, as `Ack`."""
    body: bytes
    """What is handed over. Floors above this one say what is in it."""


class Ack(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=0x11):
    """Everything below `expects` has been accepted."""

    expects: Number
    """Number of the next sequenced frame that has not come."""


class Ping(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=0x20):
    """Asks for a `Pong` with the same number."""

    nonce: Number
    """Any number."""


class Pong(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=0x21):
    """Answers a `Ping`."""

    nonce: Number
    """The one of the PING."""


class Close(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=0x30):
    """Nothing more will be sent; this was all, up to `last`."""

    code: CloseCode
    """Why."""
    last: Number
    """Number of the last sequenced frame; 0 if there was none."""
    text: Text = ""
    """Why, for people."""


class Closed(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=0x31):
    """Everything up to the `Close` has been accepted, and the session is over here."""


Frame = Hello | Welcome | Ready | Reject | Data | Ack | Ping | Pong | Close | Closed
