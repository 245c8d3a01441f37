"""The second level of a simulated zone: the library's own TLS and websockets, over streams of bytes that are simulated.

What one `send_all` takes travels like a message, so that no time depends on how many bytes a signature has. It arrives
in pieces, or several at once, as bytes do.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from random import Random
from typing import Final

import trio

from .._links.addresses import write_address
from .._links.limits import LinkLimits
from .._links.security import Security
from .._links.websocket import WebSocketTransport
from ..abc import LinkLost, LinkRefused
from ..identity import Credentials
from ..identity.handshake import both_ways
from .lanes import SimulatedLink
from .network import Network, Server

LIMITS: Final = LinkLimits(handshakes_each=64)
"""Of transports: all hosts have one address, as far as these can see."""
BYTES: Final = LinkLimits(message=2**30)
"""Of what carries their bytes."""
_APART: Final = 0.2
"""How often the first byte arrives alone; so does the last."""


def secured(network: Network, host: str, credentials: Credentials, chance: Random) -> WebSocketTransport:
    """Return what a node on a host dials and listens by.

    Args:
        network: The network.
        host: Where the node is.
        credentials: Who it is, and whom it trusts.
        chance: For the pieces in which bytes arrive.
    """
    streams = Streams(network, host, credentials.name, chance)
    return WebSocketTransport(Security(*both_ways(credentials)), LIMITS, streams.connect, streams.listen)


class Streams:
    """A host's way to streams, as long as it is on: `connect` and `listen` are what a transport takes.

    Args:
        network: The network.
        host: Where the node is.
        node: Who it is.
        chance: For the pieces in which bytes arrive.
    """

    def __init__(self, network: Network, host: str, node: str, chance: Random) -> None:
        self._network = network
        self._host = host
        self._node = node
        self._chance = chance
        self._life = network.life(host)

    async def connect(self, host: str, port: int) -> Bytes:
        """Open a stream to whoever listens at a host and port.

        Raises:
            OSError: Nobody does, or nothing comes back.
        """
        try:
            server = await self._network.reach(self._host, write_address(host, port))
        except LinkRefused as error:
            raise ConnectionRefusedError(str(error)) from error
        except LinkLost as error:
            raise TimeoutError(str(error)) from error
        if self._life != self._network.life(self._host):
            raise OSError("this host was turned off")
        return Bytes(self._network.connect(self._host, self._node, server), self._chance)

    async def listen(self, host: str, port: int) -> Sequence[trio.abc.Listener[trio.abc.Stream]]:
        """Listen; port 0 is not chosen for you."""
        address = self._network.reserve(write_address(host, port))
        send, receive = trio.open_memory_channel[trio.abc.Stream](math.inf)
        server = Server(self._host, self._node, lambda link: send.send_nowait(Bytes(link, self._chance)))
        self._network.open(address, server)
        await trio.lowlevel.checkpoint()
        return [_Listener(self._network, address, server, receive)]


class _Listener(trio.abc.Listener[trio.abc.Stream]):
    def __init__(
        self, network: Network, address: str, server: Server, arrived: trio.MemoryReceiveChannel[trio.abc.Stream]
    ) -> None:
        self._network = network
        self._address = address
        self._server = server
        self._arrived = arrived

    async def accept(self) -> trio.abc.Stream:
        """Return the next stream."""
        return await self._arrived.receive()

    async def aclose(self) -> None:
        """Listen no more."""
        self._network.shut(self._address, self._server)
        await trio.lowlevel.checkpoint()


class Bytes(trio.abc.Stream):
    """One end of a stream, over a link."""

    def __init__(self, link: SimulatedLink, chance: Random) -> None:
        self._link = link
        self._chance = chance
        self._rest = b""
        self._is_closed = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send, when there is room."""
        try:
            await self._link.send(bytes(data))
        except LinkLost as error:
            raise self._ended(error) from error

    async def wait_send_all_might_not_block(self) -> None:
        """Wait for nothing."""
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Return some of what has arrived, or nothing if the other end was closed."""
        if self._rest:
            await trio.lowlevel.checkpoint()
        else:
            try:
                self._rest = await self._link.receive()
            except LinkLost as error:
                if self._is_closed or not self._link.was_closed:
                    raise self._ended(error) from error
                return b""
            while self._link.has_message() and self._chance.random() < _APART:
                self._rest += await self._link.receive()
        count = min(self._piece(), max_bytes or sys.maxsize)
        piece, self._rest = self._rest[:count], self._rest[count:]
        return piece

    def _piece(self) -> int:
        """Return how many bytes arrive now: a count for which it does not matter how long a signature is."""
        turn = self._chance.random()
        if turn < _APART:
            return 1
        return max(1, len(self._rest) - 1) if turn < 2 * _APART else len(self._rest)

    async def aclose(self) -> None:
        """Close both ways."""
        self._is_closed = True
        await self._link.close()

    def _ended(self, error: LinkLost) -> trio.BrokenResourceError | trio.ClosedResourceError:
        return trio.ClosedResourceError(str(error)) if self._is_closed else trio.BrokenResourceError(str(error))
