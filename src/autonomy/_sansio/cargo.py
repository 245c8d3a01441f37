"""What two nodes say to each other within a session: messages, answers, and what keeps them in bounds.

The body of a `Data` frame is an array of items, as many as came up at a time; the session brings it over once and in
order. What is too large for a frame travels in parts, between which others may go. Nothing here names the node that
sends: that is the link's identity, never a field. Next: `session` below this, `credit` for flows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Final

import msgspec

from ..errors import ProtocolError
from .codec import UNREADABLE
from .envelope import Failure
from .frames import Number

MAX_JOINED: Final = 64 * 2**20
"""Bytes of parts that one far node may have lying here."""
_OVERHEAD: Final = 64
"""Bytes that a part has beside its data, at most."""

FLOWS: Final = 65_536
"""Numbers of flows there are."""
Flow = Annotated[int, msgspec.Meta(ge=0, lt=FLOWS)]
"""Names a worker that the sender sends to, for the length of a session."""
WorkerName = Annotated[str, msgspec.Meta(max_length=128)]


class Open(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=1):
    """From here on `flow` stands for the worker `target`."""

    flow: Flow
    target: WorkerName


class Want(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=2):
    """There are so many messages for a flow in all, counted from its beginning."""

    flow: Flow
    wanted: Number
    """How many."""


class Grant(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=3):
    """So many messages of a flow may be sent in all."""

    flow: Flow
    total: Number
    """How many."""


class AskBack(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=4):
    """What is granted to a flow and not used is wanted back."""

    flow: Flow


class GiveBack(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=5):
    """Of a flow so many messages were sent; what is granted beyond that is not used."""

    flow: Flow
    sent: Number
    """How many."""


class End(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=6):
    """A flow is not used any more; its number may be."""

    flow: Flow


class Message(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=7):
    """A message that wants no reply."""

    flow: Flow
    body: str
    sender: WorkerName = ""
    """The worker that sends; empty for the program of its node."""
    answers: Number = 0
    """The conversation that it is a reply in; 0 for none."""


class Request(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=8):
    """A message that wants one reply, or with `conversation` any number."""

    flow: Flow
    id: Number
    body: str
    sender: WorkerName = ""
    """As in `Message`."""
    conversation: bool = False
    """Whether any number of replies is wanted."""
    seconds: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    """What is left of the time for it. Never a time of day: clocks differ."""
    chain: Annotated[tuple[Annotated[str, msgspec.Meta(max_length=512)], ...], msgspec.Meta(max_length=1024)] = ()
    """Addresses of the workers that wait for it."""
    mailbox: WorkerName = ""
    """Where replies in a conversation go, as messages; if empty, they are `Reply`s."""


class Reply(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=9):
    """The answer to a request."""

    id: Number
    body: str


class Failed(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=10):
    """Why there is no answer to a request."""

    id: Number
    failure: Failure


class Withdraw(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=11):
    """Nobody waits for the answer to a request any more."""

    id: Number


class Watch(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=12):
    """Tell of the end of a worker, by `Gone` with the same id."""

    id: Number
    target: WorkerName


class Unwatch(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=13):
    """Do not tell any more."""

    id: Number


class Gone(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=14):
    """A watched worker has ended."""

    id: Number
    incarnation: Annotated[str, msgspec.Meta(max_length=255)]
    """Of the worker; empty if there was none."""
    reason: str
    """Why, for people."""


class Part(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=15):
    """A piece of something too large for a frame. The pieces of one number, joined, are its bytes. An empty last one
    says that the others are not wanted: its sender has given up."""

    number: Number
    """Names the whole."""
    last: bool
    """Whether no more follow."""
    data: bytes
    """The next bytes of the whole, which is an item, encoded."""


class Shut(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=16):
    """Nothing more is taken for a flow, and this is why: what was granted and not used is void."""

    flow: Flow
    failure: Failure


Item = (
    Open
    | Want
    | Grant
    | AskBack
    | GiveBack
    | End
    | Message
    | Request
    | Reply
    | Failed
    | Withdraw
    | Watch
    | Unwatch
    | Gone
    | Part
    | Shut
)

MAX_ITEMS: Final = 4096
"""In one frame."""

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Item] = msgspec.msgpack.Decoder(Item)
_frame_decoder: msgspec.msgpack.Decoder[list[Item]] = msgspec.msgpack.Decoder(list[Item])
encode = _encoder.encode
"""Return an item as bytes."""


def encode_all(items: Sequence[Item]) -> bytes:
    """Return items as the body of one frame."""
    return _encoder.encode(items)


def decode_all(body: bytes | bytearray) -> list[Item]:
    """Return the items of one frame.

    Raises:
        ProtocolError: It holds something else, or too many.
    """
    try:
        items = _frame_decoder.decode(body)
    except UNREADABLE as error:
        raise ProtocolError(f"{len(body)} bytes within a session cannot be read: {error}") from None
    if len(items) > MAX_ITEMS:
        raise ProtocolError(f"a frame holds {len(items)} items, at most {MAX_ITEMS} are taken")
    return items


def decode(body: bytes | bytearray) -> Item:
    """Return the item that the bytes are.

    Raises:
        ProtocolError: They are none.
    """
    try:
        return _decoder.decode(body)
    except UNREADABLE as error:
        raise ProtocolError(f"{len(body)} bytes within a session cannot be read: {error}") from None


def parted(number: int, body: bytes, size: int) -> Iterator[Part]:
    """Return the bytes of an item as parts of at most `size` bytes each, encoded, to be sent in this order.

    Args:
        number: Names the whole; different for all that are on their way at a time.
        body: The item, encoded.
        size: Bytes of a part, encoded; at least 65.
    """
    room = size - _OVERHEAD
    for start in range(0, len(body), room):
        yield Part(number, start + room >= len(body), body[start : start + room])


class Joiner:
    """Puts parts together again, within bounds.

    Args:
        largest: Bytes of one item at most.
        most: Bytes of all that is not complete at most.
    """

    def __init__(self, largest: int, most: int = MAX_JOINED) -> None:
        self._largest = largest
        self._most = most
        self._open: dict[int, bytearray] = {}
        self.size = 0
        """Bytes that lie here."""

    def add(self, part: Part) -> Item | None:
        """Take a part; return the item if that was its last, and all of it has come.

        Raises:
            ProtocolError: It grows too large, or too much lies here unfinished, or it is no item. Nothing of it is
                kept.
        """
        joined = self._open.setdefault(part.number, bytearray())
        if part.last and not part.data:
            self._forget(part.number)
            return None
        if len(joined) + len(part.data) > self._largest or self.size + len(part.data) > self._most or not part.data:
            self._forget(part.number)
            raise ProtocolError(
                f"parts beyond {self._largest} bytes, or more than {self._most} bytes of unfinished ones, or an empty "
                "part"
            )
        joined += part.data
        self.size += len(part.data)
        if not part.last:
            return None
        self._forget(part.number)
        item = decode(joined)
        if isinstance(item, Part):
            raise ProtocolError("a part within parts")
        return item

    def _forget(self, number: int) -> None:
        self.size -= len(self._open.pop(number))
