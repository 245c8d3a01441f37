"""Links in memory: the `Transport` of simulated zones and quick tests.

Messages are handed over as they are, without TLS and without a wire; a node is who its transport says. All else is as
on real links, and `check_transport` holds it to that: room is bounded, a close waits for a far side that is behind, a
send that was cancelled loses the link. It never sleeps but on Trio's clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import trio

from autonomy._links.addresses import parse_address, write_address
from autonomy._links.limits import LinkLimits
from autonomy._sansio.spiffe import PeerIdentity
from autonomy.abc import Link, LinkLost, LinkRefused

_ROOM: Final = 2**20
"""Bytes under way, as a real network and its buffers hold some."""
_ARRIVED: Final = 16
"""Messages that count as arrived though nobody has received them yet: a close does not wait for these."""
_FIRST_PORT: Final = 49152

Handler = Callable[[Link], Awaitable[None]]


@dataclass(frozen=True)
class _Server:
    node: str
    handle: Handler
    nursery: trio.Nursery


class MemoryNetwork:
    """A network within this process, on which every node has a transport.

    Args:
        limits: Those of a real link; its `send`, `close` and `message` apply.
    """

    def __init__(self, limits: LinkLimits | None = None) -> None:
        self._limits = limits or LinkLimits()
        self._servers: dict[str, _Server] = {}
        self._port = _FIRST_PORT

    def transport(self, node: str) -> MemoryTransport:
        """Return the transport of the node with this full name."""
        return MemoryTransport(self, node)

    def reserve(self, address: str) -> str:
        """Return the address with its port chosen, if it was 0."""
        host, port = parse_address(address)
        while not port:
            self._port += 1
            if write_address(host, self._port) not in self._servers:
                port = self._port
        address = write_address(host, port)
        if address in self._servers:
            raise OSError(f"somebody listens at {address} already")
        return address

    @asynccontextmanager
    async def listen(self, address: str, node: str, handle: Handler) -> AsyncGenerator[None]:
        """Take links at an address while the block runs; when it ends, so do they."""
        async with trio.open_nursery() as nursery:
            self._servers[address] = _Server(node, handle, nursery)
            try:
                yield
            finally:
                del self._servers[address]
            nursery.cancel_scope.cancel()

    def lane(self, sender: str, receiver: str) -> Lane:
        """Return one direction of a new link."""
        return Lane(self._limits.message)

    async def reach(self, caller: str, address: str) -> None:
        """Take as long as it takes until somebody at an address may be talked to."""
        await trio.lowlevel.checkpoint()

    def connect(self, caller: str, address: str, node: str | None) -> MemoryLink:
        """Return the caller's end of a new link.

        Raises:
            LinkRefused: Nobody listens there.
            LinkLost: Somebody else listens there.
        """
        address = write_address(*parse_address(address))
        server = self._servers.get(address)
        if server is None:
            raise LinkRefused(f"no link to {address}: nobody listens there")
        if node not in (None, server.node):
            raise LinkLost(f"no link to {address}: it is node {server.node!r}, not {node!r}")
        there, back = self.lane(caller, server.node), self.lane(server.node, caller)
        near = MemoryLink(server.node, there, back, self._limits)
        far = MemoryLink(caller, back, there, self._limits)
        server.nursery.start_soon(_handled, server.handle, far)
        return near


class MemoryTransport:
    """One node's way into a `MemoryNetwork`; see `abc.Transport`."""

    def __init__(self, network: MemoryNetwork, node: str) -> None:
        self._network = network
        self._node = node

    @asynccontextmanager
    async def dial(self, address: str, node: str | None) -> AsyncGenerator[Link]:
        """Open a link to a node at ``wss://host:port``; see `abc.Transport`."""
        parse_address(address)
        await self._network.reach(self._node, address)
        link = self._network.connect(self._node, address, node)
        try:
            yield link
        finally:
            await link.close()

    async def serve(
        self, address: str, handle: Handler, *, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Listen at ``wss://host:port``, port 0 for any; see `abc.Transport`."""
        address = self._network.reserve(address)
        async with self._network.listen(address, self._node, handle):
            task_status.started(address)
            await trio.sleep_forever()


async def _handled(handle: Handler, link: MemoryLink) -> None:
    try:
        with suppress(LinkLost):
            await handle(link)
    finally:
        await link.close()


def identity_of(node: str) -> PeerIdentity:
    """Return what stands for the identity of a node, which nobody has proven here."""
    return PeerIdentity(node, "memory", 1, datetime.max.replace(tzinfo=UTC), f"certificate of {node}".encode())


class MemoryLink:
    """One end of a link in memory; see `abc.Link`."""

    def __init__(self, peer: str, outgoing: Lane, incoming: Lane, limits: LinkLimits) -> None:
        self._peer = identity_of(peer)
        self._outgoing = outgoing
        self._incoming = incoming
        self._limits = limits
        self._is_closed = False

    @property
    def peer(self) -> PeerIdentity:
        """Who is at the far end."""
        return self._peer

    async def send(self, message: bytes) -> None:
        """Send one message; see `abc.Link`."""
        try:
            with trio.fail_after(self._limits.send):
                await self._outgoing.put(message)
        except trio.TooSlowError:
            self._lose(f"the far side took nothing for {self._limits.send:g} s")
            raise LinkLost(self._outgoing.lost) from None
        except trio.Cancelled:
            self._lose("a send was cancelled")
            raise
        if len(message) > self._limits.message:
            self._lose(f"it sent a message of {len(message)} bytes, at most {self._limits.message} are taken")

    async def receive(self) -> bytes:
        """Return the next message; see `abc.Link`."""
        return await self._incoming.take()

    async def close(self, reason: str = "") -> None:
        """Close in good order; see `abc.Link`."""
        if self._is_closed or self._outgoing.lost:
            self._is_closed = True
            self._incoming.clear()
            await trio.lowlevel.checkpoint()
            return
        self._is_closed = True
        self._lose("it was closed" + (f": {reason}" if reason else ""))
        self._incoming.clear()
        with trio.move_on_after(self._limits.close, shield=True):
            await self._outgoing.wait_arrived()
        self._outgoing.forget_what_has_not_arrived()

    def _lose(self, reason: str) -> None:
        self._outgoing.lose(reason)
        self._incoming.lose(reason)


class Lane:
    """Messages on their way in one direction."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._messages: deque[bytes] = deque()
        self._held = 0
        self._changed = trio.lowlevel.ParkingLot()
        self.lost = ""

    async def put(self, message: bytes) -> None:
        await trio.lowlevel.checkpoint()
        while not self.lost and self._held and self._held + len(message) > _ROOM:
            await self._changed.park()
        if self.lost:
            raise LinkLost(self.lost)
        if len(message) <= self._most:
            self._messages.append(bytes(message))
            self._held += len(message)
            self._changed.unpark_all()

    async def take(self) -> bytes:
        await trio.lowlevel.checkpoint()
        while not self._messages:
            if self.lost:
                raise LinkLost(self.lost)
            await self._changed.park()
        message = self._messages.popleft()
        self._held -= len(message)
        self._changed.unpark_all()
        return message

    async def wait_arrived(self) -> None:
        await trio.lowlevel.checkpoint()
        while len(self._messages) > _ARRIVED:
            await self._changed.park()

    def lose(self, reason: str) -> None:
        self.lost = self.lost or reason
        self._changed.unpark_all()

    def clear(self) -> None:
        self._messages.clear()

    def forget_what_has_not_arrived(self) -> None:
        while len(self._messages) > _ARRIVED:
            self._messages.pop()
