"""A node under attack: it serves good peers while a test plays the stranger, on bare streams of bytes."""

from __future__ import annotations

import functools
import logging
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import pytest
import trio

from autonomy._links.addresses import parse_address
from autonomy._links.limits import LinkLimits
from autonomy._links.opening import SUBPROTOCOL
from autonomy._links.websocket import Streams, WebSocketTransport
from autonomy.identity import client_context

from .certificates import credentials, security
from .wires import Wires
from .world import echo
from .worlds import GENEROUS

Stream = trio.abc.Stream


def request(
    *, protocol: str = SUBPROTOCOL, start: str = "GET / HTTP/1.1", more: bytes = b"", host: bytes = b"x"
) -> bytes:
    """Return a request for a websocket."""
    lines = [
        start.encode(),
        b"Host: " + host,
        b"Upgrade: websocket",
        b"Connection: Upgrade",
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        b"Sec-WebSocket-Version: 13",
        b"Sec-WebSocket-Protocol: " + protocol.encode(),
    ]
    return b"\r\n".join(lines) + b"\r\n" + more + b"\r\n"


def frame(first: int, payload: bytes = b"", *, masked: bool = True, length: int | None = None) -> bytes:
    """Return a websocket frame, whose length may be a lie."""
    length = len(payload) if length is None else length
    mask = 0x80 if masked else 0
    if length < 126:
        header = bytes([first, mask | length])
    elif length < 2**16:
        header = bytes([first, mask | 126]) + length.to_bytes(2)
    else:
        header = bytes([first, mask | 127]) + length.to_bytes(8)
    return header + (bytes(4) if masked else b"") + payload


@dataclass
class Siege:
    """A node ``b`` that sends back whatever its peers send.

    Attributes:
        address: Where it listens.
        connect: Opens a bare stream to it.
        caplog: Its log.
    """

    address: str
    connect: Streams
    caplog: pytest.LogCaptureFixture

    async def stream(self) -> Stream:
        """Open a bare stream."""
        return await self.connect(*parse_address(self.address))

    async def secure(self, context: ssl.SSLContext | None = None) -> trio.SSLStream[Stream]:
        """Open a stream and do a TLS handshake, as the good peer ``a`` unless told otherwise."""
        context = context or client_context(credentials("a"))
        stream = trio.SSLStream(await self.stream(), context, https_compatible=True)
        await stream.do_handshake()
        return stream

    async def upgraded(self) -> Stream:
        """Open a link as ``a``, by hand."""
        stream = await self.secure()
        await stream.send_all(request())
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            answer += await stream.receive_some()
        assert answer.startswith(b"HTTP/1.1 101 ")
        return stream

    async def still_serves(self) -> None:
        """See that a good peer gets what it wants."""
        async with WebSocketTransport(security("good"), GENEROUS, self.connect).dial(self.address, "b") as link:
            await link.send(b"still there?")
            assert await link.receive() == b"still there?"

    def reasons(self) -> list[str]:
        """Return the lines of the security log."""
        return security_lines(self.caplog)


def security_lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the lines of the security log."""
    return [r.getMessage() for r in caplog.records if r.name == "autonomy.security"]


async def hung_up(stream: Stream) -> bytes:
    """Return what still comes until the far side hangs up."""
    rest = b""
    with trio.fail_after(20), suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        while data := await stream.receive_some():
            rest += data
    return rest


@asynccontextmanager
async def besieged(
    caplog: pytest.LogCaptureFixture, *, limits: LinkLimits = GENEROUS, wires: Wires | None = None
) -> AsyncGenerator[Siege]:
    """Let a node serve, over wires or else TCP; in the end nothing of the strangers is left, and it still serves."""
    caplog.set_level(logging.WARNING, "autonomy")
    before = trio.lowlevel.current_statistics().tasks_living
    if wires is not None:
        transport, address = WebSocketTransport(security("b"), limits, wires.connect, wires.listen), "wss://wired:1"
    else:
        transport, address = WebSocketTransport(security("b"), limits), "wss://127.0.0.1:0"
    async with trio.open_nursery() as nursery:
        address = await nursery.start(functools.partial(transport.serve, address, echo))
        serving = trio.lowlevel.current_statistics().tasks_living
        siege = Siege(address, wires.connect if wires is not None else trio.open_tcp_stream, caplog)
        yield siege
        await siege.still_serves()
        with trio.fail_after(limits.handshake + limits.close + 1):
            while trio.lowlevel.current_statistics().tasks_living > serving:  # noqa: ASYNC110  # other people's tasks
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    assert trio.lowlevel.current_statistics().tasks_living == before
