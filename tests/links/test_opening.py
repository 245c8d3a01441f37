"""The opening handshake: how far it reads, and that what lies behind it is lost by nobody."""

from __future__ import annotations

from contextlib import suppress
from itertools import pairwise

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, Request

from autonomy._links.limits import LinkLimits
from autonomy._links.opening import SUBPROTOCOL, answer
from autonomy._links.websocket import WebSocketLink, WebSocketTransport
from autonomy.abc import Link, LinkLost
from autonomy.identity import client_context
from autonomy.testing.lanes import identity_of

from .certificates import credentials, security
from .siege import Stream, frame, request
from .wires import Wires
from .world import echo

MESSAGE = 0x82


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(place for place in places if place < len(data))})
    return [data[one:other] for one, other in pairwise(edges)]


async def accepted(stream: Stream) -> bytes:
    """Be the far side that was dialled; return the answer, not sent yet."""
    library = WSConnection(ConnectionType.SERVER)
    library.receive_data(bytes(await stream.receive_some()))
    (asked,) = library.events()
    assert isinstance(asked, Request)
    return library.send(AcceptConnection(subprotocol=SUBPROTOCOL))


@pytest.mark.parametrize("held", [0, 1, 2, 10, 10_000], ids="{} bytes of the answer come with it".format)
async def test_messages_that_come_with_the_end_of_the_answer_are_received(
    held: int, autojump_clock: trio.testing.MockClock
) -> None:
    near, far = trio.testing.memory_stream_pair()
    link = WebSocketLink(near, identity_of("b"), LinkLimits(), server=False)
    begun = frame(MESSAGE, b"three", masked=False)
    messages = frame(MESSAGE, b"one", masked=False) + frame(MESSAGE, b"two", masked=False) + begun[:3]

    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.open)
        head = await accepted(far)
        at = max(0, len(head) - held)
        await far.send_all(head[:at])
        await trio.sleep(0.1)
        await far.send_all(head[at:] + messages)

    assert [await link.receive() for _ in range(2)] == [b"one", b"two"]
    await far.send_all(begun[3:])
    assert await link.receive() == b"three"
    await trio.aclose_forcefully(far)
    await link.close()


class HoldingBack(trio.abc.Stream):
    """A stream whose second writing waits for the third, and leaves with it."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._sends = 0
        self.held = b""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self._sends += 1
        self.held += bytes(data)
        if self._sends == 2:
            await trio.lowlevel.checkpoint()
            return
        held, self.held = self.held, b""
        await self._stream.send_all(held)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self._stream.aclose()


async def test_a_request_that_comes_with_the_end_of_tls_is_answered(autojump_clock: trio.testing.MockClock) -> None:
    wires = Wires()
    serving = WebSocketTransport(security("b"), None, wires.connect, wires.listen)
    async with trio.open_nursery() as nursery:
        await nursery.start(serving.serve, "wss://wired:1", echo)
        stream = HoldingBack(await wires.connect("wired", 1))
        tls = trio.SSLStream[Stream](stream, client_context(credentials("a")), https_compatible=True)
        await tls.do_handshake()
        assert stream.held
        await tls.send_all(request())
        assert not stream.held

        assert (await tls.receive_some()).startswith(b"HTTP/1.1 101 ")
        await tls.send_all(frame(MESSAGE, b"hello"))
        assert await tls.receive_some() == frame(MESSAGE, b"hello", masked=False)
        nursery.cancel_scope.cancel()


async def test_messages_in_one_piece_with_the_answer_are_received_over_tls(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def hail(link: Link) -> None:
        for number in range(3):
            await link.send(b"%d" % number)
        await trio.sleep_forever()

    wires = Wires()
    serving = WebSocketTransport(security("b"), None, wires.connect, wires.listen)

    async def connect(host: str, port: int) -> Stream:
        return Late(await wires.connect(host, port))

    async with trio.open_nursery() as nursery:
        await nursery.start(serving.serve, "wss://wired:1", hail)
        async with WebSocketTransport(security("a"), None, connect).dial("wss://wired:1", "b") as link:
            assert [await link.receive() for _ in range(3)] == [b"0", b"1", b"2"]
        nursery.cancel_scope.cancel()


class Late(HoldingBack):
    """A stream that is read a second late, so that all that was sent meanwhile is there."""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        await trio.sleep(1)
        return await super().receive_some(max_bytes)


# ---- strangers


def outcome(pieces: list[bytes]) -> str:
    """Return why somebody that sends these pieces gets no link."""

    async def main() -> str:
        near, far = trio.testing.memory_stream_pair()
        reasons: list[str] = []

        async def serve() -> None:
            try:
                await answer(near)
            except LinkLost as error:
                reasons.append(str(error))
            await trio.aclose_forcefully(near)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            with suppress(trio.BrokenResourceError):
                for piece in pieces:
                    await far.send_all(piece)
                    await trio.testing.wait_all_tasks_blocked()
            await far.aclose()
        return "".join(reasons)

    return trio.run(main)


@given(st.binary(min_size=1, max_size=100), st.lists(st.integers(0, 500), max_size=10))
@settings(max_examples=50)
def test_a_client_that_does_not_wait_for_the_answer_is_refused(rest: bytes, places: list[int]) -> None:
    head = request().removesuffix(b"\r\n\r\n")
    for end in (b"\r\n\r\n", b"\n\n", b"\r\n\n"):
        whole = len(head + end)
        pieces = cut(head + end + rest, [place for place in places if place < whole])
        assert outcome(pieces) == "it sent something before it was answered"


def test_a_head_without_end_is_refused() -> None:
    assert outcome([b"GET / HTTP/1.1\r\n"] + [b"X: y\r\n"] * 10_000) == "its HTTP head is too long"


def test_a_request_in_single_bytes_is_accepted() -> None:
    assert outcome([bytes([byte]) for byte in request()]) == ""
