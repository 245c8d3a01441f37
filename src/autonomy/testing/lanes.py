"""Links of a simulated network: each end knows what it was told, and the news of an end travels like a message.

Who ends a link knows at once. The other end hears of it by the way that messages take, behind them or in their place;
if nothing arrives on that way, not at all. Next: `network`, which says what arrives when.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, Protocol

import trio

from .._links.limits import LinkLimits
from .._sansio.spiffe import PeerIdentity
from ..abc import LinkLost

Way = tuple[str, str]
"""From one host to another."""
ZONE: Final = "simulated"
_CLOSED: Final = "it was closed"
_NEVER: Final = datetime(9999, 1, 1, tzinfo=UTC)


def identity_of(node: str) -> PeerIdentity:
    """Return what stands for the identity of a node, which nobody has proven here."""
    return PeerIdentity(node, ZONE, 0, _NEVER, f"certificate of {node}".encode())


class Roads(Protocol):
    """What a lane must know of the network."""

    def is_blocked(self, way: Way) -> bool:
        """Whether nothing arrives on a way."""

    def window(self, way: Way) -> int:
        """Return the bytes that may be under way on a link, in one direction, before its sender waits."""

    def delay(self, way: Way) -> float:
        """Return the seconds that the next message on a way takes."""

    def describe(self, message: bytes) -> str:
        """Return what is noted of a message."""

    def note(self, kind: str, way: Way, number: int, text: str = "") -> None:
        """Note what happened on a way."""

    def next_number(self) -> int:
        """Return a number that nothing here has had."""


class Lane:
    """One direction of a link: messages on their way, each with the time at which it is there.

    Attributes:
        changed: Where both wait: who has a message and no room, and who waits for one.
    """

    def __init__(self, roads: Roads, way: Way) -> None:
        self._roads = roads
        self._way = way
        self._messages: deque[tuple[float, int, bytes]] = deque()
        self._news: tuple[float, str] | None = None
        self._held = 0
        self._last = 0.0
        self._swallows = False
        self.changed = trio.lowlevel.ParkingLot()

    def has_room(self, size: int) -> bool:
        """Whether its sender may send so much without waiting."""
        return not self._held or self._held + size <= self._roads.window(self._way)

    def put(self, message: bytes) -> None:
        """Put a message on its way."""
        number = self._roads.next_number()
        self._roads.note("send", self._way, number, self._roads.describe(message))
        self._messages.append((self._arrival(), number, message))
        self._held += len(message)
        self.changed.unpark_all()

    def next_at(self) -> float:
        """Return when something is there, as far as that is known now."""
        if self._swallows or self._roads.is_blocked(self._way):
            return math.inf
        if self._messages:
            return self._messages[0][0]
        return math.inf if self._news is None else self._news[0]

    def has_message(self) -> bool:
        """Whether a message is there, not the news of the end."""
        return bool(self._messages) and self.next_at() <= trio.current_time()

    def take(self) -> bytes:
        """Return the message that is there.

        Raises:
            LinkLost: What is there is the news that its sender has ended.
        """
        if not self._messages:
            assert self._news is not None
            raise LinkLost(self._news[1])
        _, number, message = self._messages.popleft()
        self._held -= len(message)
        self._roads.note("receive", (self._way[1], self._way[0]), number)
        self.changed.unpark_all()
        return message

    def end(self, reason: str) -> None:
        """Send the news that its sender has ended, behind the messages."""
        if self._news is None:
            self._news = self._arrival(), reason
            self.changed.unpark_all()

    def clear(self) -> None:
        """Lose what is under way."""
        self._messages.clear()
        self._held = 0
        self.changed.unpark_all()

    def swallow(self) -> None:
        """Let nothing arrive any more."""
        self._swallows = True
        self.changed.unpark_all()

    def _arrival(self) -> float:
        self._last = max(self._last, trio.current_time() + self._roads.delay(self._way))
        return self._last


class SimulatedLink:
    """One end of a link; see `abc.Link`.

    Args:
        host: Where it is.
        peer: The node at the other end.
        outgoing: What takes its messages there.
        incoming: What brings those from there.
        limits: What one end does for how long, and how large a message may be.

    Attributes:
        was_closed: Whether the other end has ended it in good order.
        lost: Why it has ended for this end; empty if it has not.
        heard: When the last message was received; see `abc.Link`.
        forget: Called when it has.
    """

    def __init__(self, host: str, peer: str, outgoing: Lane, incoming: Lane, limits: LinkLimits) -> None:
        self.host = host
        self._peer = identity_of(peer)
        self._outgoing = outgoing
        self._incoming = incoming
        self._limits = limits
        self.lost = ""
        self.was_closed = False
        self.heard = -math.inf
        self.forget: Callable[[], object] = lambda: None

    @property
    def peer(self) -> PeerIdentity:
        """The node at the other end."""
        return self._peer

    async def send(self, message: bytes) -> None:
        """Send one message; see `abc.Link`."""
        try:
            with trio.fail_after(self._limits.send):
                await trio.lowlevel.checkpoint()
                while not self.lost and not self._outgoing.has_room(len(message)):
                    await self._outgoing.changed.park()
        except trio.TooSlowError:
            self.end(f"the far side took nothing for {self._limits.send:g} s")
        except trio.Cancelled:
            self.end("a send was cancelled")
            raise
        if self.lost:
            raise LinkLost(self.lost)
        if len(message) > self._limits.message:
            self.end(f"it sent a message of {len(message)} bytes, at most {self._limits.message} are taken")
        else:
            self._outgoing.put(bytes(message))

    def has_message(self) -> bool:
        """Whether a message has arrived that nobody has received."""
        return not self.lost and self._incoming.has_message()

    async def receive(self) -> bytes:
        """Return the next message; see `abc.Link`."""
        await trio.lowlevel.checkpoint()
        while not self.lost and (due := self._incoming.next_at()) > trio.current_time():
            with trio.move_on_at(due):
                await self._incoming.changed.park()
        if self.lost:
            raise LinkLost(self.lost)
        try:
            message = self._incoming.take()
        except LinkLost as news:
            self.was_closed = str(news).startswith(_CLOSED)
            self.end(str(news))
            raise
        self.heard = trio.current_time()
        return message

    async def close(self, reason: str = "") -> None:
        """Close in good order; see `abc.Link`. What was sent arrives without being waited for."""
        self.end(_CLOSED + (f": {reason}" if reason else ""))
        await trio.lowlevel.cancel_shielded_checkpoint()

    def end(self, reason: str) -> None:
        """End it here, and let the other end hear of it behind what is under way."""
        if not self.lost:
            self.lose(reason)
            self._outgoing.end(reason)

    def die(self, reason: str) -> None:
        """End it here, and let the other end hear of it in place of what is under way."""
        if not self.lost:
            self._outgoing.clear()
            self.end(reason)

    def lose(self, reason: str) -> None:
        """End it here. The other end is not told."""
        self.lost = self.lost or reason
        self._incoming.clear()
        self._outgoing.changed.unpark_all()
        self.forget()

    def swallow(self) -> None:
        """Let nothing arrive any more, either way; neither end is told."""
        self._incoming.swallow()
        self._outgoing.swallow()

    def look_again(self) -> None:
        """See whether something may arrive now."""
        self._incoming.changed.unpark_all()
