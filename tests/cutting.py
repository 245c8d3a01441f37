"""A way between two nodes that can be cut, stalled and slowed down: a TCP proxy, in the test's own process.

A cut ends all that runs through it, at any byte: the part before it may have arrived, the rest never does. With a reset
even what has arrived may be lost, unread, as when a cable is pulled and a router forgets.
"""

from __future__ import annotations

import math
import socket
import struct
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import trio

_AT_ONCE = struct.pack("ii", 1, 0)
"""For SO_LINGER: close by a reset, and forget what was not sent."""
_CHUNK = 65_536


class Way:
    """The proxy in front of one node.

    Args:
        port: Of the node, on this host.

    Attributes:
        address: Where to dial, to get there by this way.
        delay: Seconds by which all that passes is held up.
        cuts: How often it was cut.
        passed: Bytes that have passed.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._scopes: set[trio.CancelScope] = set()
        self._left = math.inf
        self._by_reset = False
        self._was_cut = trio.Event()
        self._flows = trio.Event()
        self._flows.set()
        self.address = ""
        self.delay = 0.0
        self.cuts = 0
        self.passed = 0

    @property
    def connections(self) -> int:
        """How many run through it now."""
        return len(self._scopes)

    def cut(self, *, by_reset: bool) -> None:
        """End all connections now."""
        self._by_reset = by_reset
        self._left = math.inf
        self.cuts += 1
        for scope in self._scopes:
            scope.cancel()
        self._was_cut.set()

    async def cut_after(self, size: int, *, by_reset: bool) -> None:
        """Let so many bytes more pass, of all connections and both directions together, then cut; return then."""
        self._left, self._by_reset, self._was_cut = size, by_reset, trio.Event()
        await self._was_cut.wait()

    def stall(self) -> None:
        """Let nothing pass any more, in either direction; connections stay, and new ones are accepted."""
        self._flows = trio.Event()

    def flow(self) -> None:
        """Let everything pass again, also what has come meanwhile."""
        self._flows.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Be there, until cancelled."""
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.address = f"wss://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        task_status.started()
        await trio.serve_listeners(self._carry, listeners)

    async def _carry(self, near: trio.SocketStream) -> None:
        with trio.CancelScope() as scope:
            self._scopes.add(scope)
            try:
                far = await trio.open_tcp_stream("127.0.0.1", self._port)
            except OSError:
                self._scopes.discard(scope)
                return  # and so hang up
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._pump, near, far, scope)
                    nursery.start_soon(self._pump, far, near, scope)
            finally:
                self._scopes.discard(scope)
                for each in (near, far):
                    if scope.cancel_called and self._by_reset:
                        each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
                    each.socket.close()

    async def _pump(self, source: trio.SocketStream, sink: trio.SocketStream, both: trio.CancelScope) -> None:
        try:
            while data := await source.receive_some(_CHUNK):
                await self._flows.wait()
                if self.delay:
                    await trio.sleep(self.delay)
                await self._pass(data, sink)
            await sink.send_eof()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            both.cancel()  # one end has reset it, or is gone

    async def _pass(self, data: bytes | bytearray, sink: trio.SocketStream) -> None:
        if len(data) < self._left:
            self._left -= len(data)
            self.passed += len(data)
            await sink.send_all(data)
            return
        data, self._left = data[: int(self._left)], 0
        self.passed += len(data)
        await sink.send_all(data)
        self.cut(by_reset=self._by_reset)
        await trio.lowlevel.checkpoint()


@asynccontextmanager
async def way_to(port: int) -> AsyncGenerator[Way]:
    """Stand in front of a node that listens at a port of this host."""
    way = Way(port)
    async with trio.open_nursery() as nursery:
        await nursery.start(way.run)
        try:
            yield way
        finally:
            nursery.cancel_scope.cancel()
