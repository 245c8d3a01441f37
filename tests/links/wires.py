"""Streams in memory that behave like TCP where links care: a bounded buffer each way, refused connections, resets.

The bytes travel through Trio's own memory streams; what is added is that a sender waits when nobody reads.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress

import trio
import trio.testing


class Wires:
    """A network of streams: `connect` and `listen` are what a transport takes.

    Attributes:
        streams: All ends that were ever handed out.
    """

    def __init__(self, capacity: int = 2**16) -> None:
        self._capacity = capacity
        self._listeners: dict[int, trio.MemorySendChannel[trio.abc.Stream]] = {}
        self.streams: list[Wire] = []

    @property
    def open_streams(self) -> int:
        """Ends that nobody closed: what would be sockets."""
        return sum(not wire.is_closed for wire in self.streams)

    async def connect(self, host: str, port: int) -> Wire:
        """Return one end of a new wire."""
        del host
        listener = self._listeners.get(port)
        if listener is None:
            await trio.lowlevel.checkpoint()
            raise ConnectionRefusedError(f"nobody listens at port {port}")
        one, other = trio.testing.memory_stream_pair()
        there, back = _Flow(self._capacity), _Flow(self._capacity)
        near, far = Wire(one, there, back), Wire(other, back, there)
        self.streams += near, far
        await listener.send(far)
        return near

    async def listen(self, host: str, port: int) -> Sequence[trio.abc.Listener[trio.abc.Stream]]:
        """Return a listener; port 0 is not chosen for you, for no transport can ask a wire what was."""
        del host
        if port in self._listeners:
            raise OSError(f"somebody listens at port {port}")
        send, receive = trio.open_memory_channel[trio.abc.Stream](math.inf)
        self._listeners[port] = send
        await trio.lowlevel.checkpoint()
        return [_Listener(self._listeners, port, receive)]


class Wire(trio.abc.Stream):
    """One end of a wire."""

    def __init__(
        self,
        stream: trio.StapledStream[trio.testing.MemorySendStream, trio.testing.MemoryReceiveStream],
        outgoing: _Flow,
        incoming: _Flow,
    ) -> None:
        self._stream = stream
        self._outgoing = outgoing
        self._incoming = incoming
        self.is_closed = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send in pieces that fit."""
        with memoryview(data) as view:
            for at in range(0, len(view), self._outgoing.capacity):
                piece = view[at : at + self._outgoing.capacity]
                await self._outgoing.wait_room(len(piece))
                if self.is_closed:
                    raise trio.ClosedResourceError
                await self._stream.send_all(piece)

    async def wait_send_all_might_not_block(self) -> None:
        """Wait for room."""
        await self._outgoing.wait_room(1)

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Receive."""
        data = await self._stream.receive_some(max_bytes)
        self._incoming.taken(len(data))
        return data

    async def aclose(self) -> None:
        """Close both ways; who waits for room on either end wakes up."""
        self.is_closed = True
        self._outgoing.end()
        self._incoming.end()
        await self._stream.aclose()


class _Flow:
    """Bytes that were sent one way and not received."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._held = 0
        self._has_ended = False
        self._lot = trio.lowlevel.ParkingLot()

    async def wait_room(self, size: int) -> None:
        await trio.lowlevel.checkpoint()
        while self._held and self._held + size > self.capacity and not self._has_ended:
            await self._lot.park()
        self._held += size

    def taken(self, size: int) -> None:
        self._held -= size
        self._lot.unpark_all()

    def end(self) -> None:
        self._has_ended = True
        self._lot.unpark_all()


class _Listener(trio.abc.Listener[trio.abc.Stream]):
    def __init__(
        self,
        listeners: dict[int, trio.MemorySendChannel[trio.abc.Stream]],
        port: int,
        streams: trio.MemoryReceiveChannel[trio.abc.Stream],
    ) -> None:
        self._listeners = listeners
        self._port = port
        self._streams = streams

    async def accept(self) -> trio.abc.Stream:
        return await self._streams.receive()

    async def aclose(self) -> None:
        self._listeners.pop(self._port, None)
        with suppress(trio.WouldBlock):
            while True:
                await trio.aclose_forcefully(self._streams.receive_nowait())
        await self._streams.aclose()
