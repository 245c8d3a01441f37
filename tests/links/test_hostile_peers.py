"""Who has shown who he is and then breaks the rules is cut off at once, and the log says who it was and why."""

from __future__ import annotations

import re
from contextlib import suppress

import pytest
import trio
import trio.testing
from wsproto.utilities import generate_accept_token

from autonomy._links.websocket import WebSocketTransport
from autonomy.abc import LinkLost
from autonomy.identity import server_context

from .certificates import credentials, security
from .siege import Stream, besieged, frame, hung_up
from .wires import Wires

BINARY, TEXT, CONTINUED, CLOSE, PING, PONG = 0x82, 0x81, 0x80, 0x88, 0x89, 0x8A
MOST = 4 * 2**20

BREACHES = {
    "text": (frame(TEXT, b"hi"), "it sent text"),
    "a message above the bound": (frame(BINARY, length=MOST + 1), f"a message of {MOST + 1} bytes"),
    "a message of 2**63 bytes": (frame(BINARY, length=2**63), "a message of 9223372036854775808 bytes"),
    "a fragment": (frame(0x02, b"x"), "it sent a fragment"),
    "a continuation of nothing": (frame(CONTINUED, b"x"), "it sent a fragment"),
    "an extension": (frame(0xC2, b"x"), "it sent a fragment, or used an extension"),
    "no mask": (frame(BINARY, b"x", masked=False), "masked"),
    "an unknown kind": (frame(0x83, b"x"), "a frame of kind 3"),
    "an unknown control frame": (frame(0x8B, b"x"), "a frame of kind 11"),
    "a long ping": (frame(PING, bytes(126)), "a control frame of more than 125 bytes"),
    "half a ping": (frame(0x09, b"x"), "it sent a fragment"),
    "a length written the long way": (bytes([BINARY, 0xFE, 0, 1, 0, 0, 0, 0, 1]), "the long way"),
    "a length written the longest way": (bytes([BINARY, 0xFF, *bytes(6), 1, 0]) + bytes(4), "the long way"),
    "pings": (frame(PING, b"x") * 21, "more than 20 pings in a second"),
    "pongs": (frame(PONG, b"x") * 21, "more than 20 pings in a second"),
    "a ping behind a close": (frame(CLOSE) + frame(PING), "it sent something after its close"),
}


IN_PIECES = [name for name in BREACHES if "close" not in name]  # that one is answered before the rest comes


@pytest.mark.parametrize(("name", "piece"), [(name, 2**20) for name in BREACHES] + [(name, 1) for name in IN_PIECES])
async def test_a_peer_that_breaks_a_rule_is_cut_off(
    name: str, piece: int, caplog: pytest.LogCaptureFixture, autojump_clock: trio.testing.MockClock
) -> None:
    data, reason = BREACHES[name]
    wires = Wires()
    async with besieged(caplog, wires=wires) as siege:
        stream = await siege.upgraded()
        await stream.send_all(frame(BINARY, b"good"))
        assert await stream.receive_some() == frame(BINARY, b"good", masked=False)

        begun = trio.current_time()
        await trickle(stream, data, piece)
        await hung_up(stream)

        assert trio.current_time() - begun <= 1.0
        await trio.aclose_forcefully(stream)
        assert siege.reasons()[0].startswith("peer cut off peer=a reason=")
        assert reason in siege.reasons()[0]
        assert len(siege.reasons()) == 1
    assert wires.open_streams == 0


async def trickle(stream: Stream, data: bytes, piece: int) -> None:
    with suppress(trio.BrokenResourceError):
        for at in range(0, len(data), piece):
            await stream.send_all(data[at : at + piece])
            await trio.sleep(0.001)


@pytest.mark.parametrize("payload", [b"", b"x", bytes(1000)], ids=["empty", "small", "large"])
async def test_fragments_without_end_end_at_the_first(
    payload: bytes, caplog: pytest.LogCaptureFixture, autojump_clock: trio.testing.MockClock
) -> None:
    wires = Wires()
    async with besieged(caplog, wires=wires) as siege:
        stream = await siege.upgraded()
        await stream.send_all(frame(0x02, payload))
        with pytest.raises(trio.BrokenResourceError):
            await stream.send_all(frame(0x00, payload) * 20_000)
        await trio.aclose_forcefully(stream)
    assert wires.open_streams == 0


async def test_twenty_pings_a_second_are_answered_for_ever(
    caplog: pytest.LogCaptureFixture, autojump_clock: trio.testing.MockClock
) -> None:
    async with besieged(caplog, wires=Wires()) as siege:
        stream = await siege.upgraded()
        for second in range(10):
            for number in range(20):
                await stream.send_all(frame(PING, b"%d %d" % (second, number)))
                assert await stream.receive_some() == frame(PONG, b"%d %d" % (second, number), masked=False)
            await trio.sleep(1.01)
        assert siege.reasons() == []
        await trio.aclose_forcefully(stream)


ENDINGS = {
    "without a close": b"",
    "in a header": frame(BINARY, bytes(70_000))[:5],
    "in a message": frame(BINARY, bytes(70_000))[:5000],
    "with a close": frame(CLOSE, b"\x03\xe8bye"),
    "with a close that says nothing": frame(CLOSE),
    "with a close cut short": frame(CLOSE, b"\x03"),
    "with a close of a code that is none": frame(CLOSE, b"\x00\x00"),
    "with a close that is not UTF-8": frame(CLOSE, b"\x03\xe8\xff"),
}


@pytest.mark.parametrize("name", ENDINGS)
async def test_however_a_peer_goes_nothing_of_it_stays(
    name: str, caplog: pytest.LogCaptureFixture, autojump_clock: trio.testing.MockClock
) -> None:
    wires = Wires()
    async with besieged(caplog, wires=wires) as siege:
        stream = await siege.upgraded()
        await stream.send_all(ENDINGS[name])
        await trio.sleep(0.1)
        await trio.aclose_forcefully(stream)
        await trio.sleep(0.1)
        assert wires.open_streams == 0
        assert siege.reasons() == []  # networks do that; it takes no enemy


# ---- the other way round: a node that was dialled


ANSWER = (
    b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n"
    b"Sec-WebSocket-Protocol: autonomy.link.v1\r\n"
)

ANSWERS = {
    "silence": (b"", "did not answer within 5 s"),
    "a refusal": (b"HTTP/1.1 400 No\r\nContent-Length: 0\r\n\r\n", "with HTTP status 400"),
    "a page": (b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>", "with HTTP status 200"),
    "a page without end": (b"HTTP/1.1 200 OK\r\n\r\n" + bytes(10_000), "with HTTP status 200"),
    "a redirect": (b"HTTP/1.1 302 No\r\nLocation: wss://x\r\nContent-Length: 0\r\n\r\n", "with HTTP status 302"),
    "first of all a continue": (b"HTTP/1.1 100 Continue\r\n\r\n", "with HTTP status 100"),
    "another key": (ANSWER.replace(b"%s", b"guess") + b"\r\n", "accept"),
    "a header that is not ASCII": (ANSWER.replace(b"v1", b"\xff") + b"\r\n", "codec can't"),
    "no subprotocol": (ANSWER.partition(b"Sec-WebSocket-Protocol")[0] + b"\r\n", "does not speak"),
    "no HTTP": (bytes(100), "Bad HTTP"),
    "headers without end": (b"HTTP/1.1 101 X\r\n" + b"X: y\r\n" * 20_000, "too long"),
}


@pytest.mark.parametrize("name", ANSWERS)
async def test_a_dialler_is_not_held_by_what_answers(name: str, autojump_clock: trio.testing.MockClock) -> None:
    answer, reason = ANSWERS[name]
    wires = Wires()
    async with trio.open_nursery() as nursery:
        (listener,) = await wires.listen("wired", 1)
        nursery.start_soon(play_server, listener, answer)
        begun = trio.current_time()
        with pytest.raises(LinkLost, match=reason):
            async with WebSocketTransport(security("a"), None, wires.connect).dial("wss://wired:1", "b"):
                raise AssertionError
        assert trio.current_time() - begun <= 5.0
        await trio.sleep(0.1)
        nursery.cancel_scope.cancel()
    assert sum(not wire.is_closed for wire in wires.streams[::2]) == 0


FRAMES = {
    "text": (frame(TEXT, b"hi", masked=False), "it sent text"),
    "a mask": (frame(BINARY, b"hi"), "masked"),
    "a fragment": (frame(0x02, b"hi", masked=False), "it sent a fragment"),
    "a message above the bound": (frame(BINARY, length=MOST + 1, masked=False), f"a message of {MOST + 1} bytes"),
    "pings": (frame(PING, masked=False) * 21, "more than 20 pings in a second"),
}


@pytest.mark.parametrize("name", FRAMES)
async def test_a_server_that_breaks_a_rule_is_cut_off(
    name: str, caplog: pytest.LogCaptureFixture, autojump_clock: trio.testing.MockClock
) -> None:
    data, reason = FRAMES[name]
    wires = Wires()
    async with trio.open_nursery() as nursery:
        (listener,) = await wires.listen("wired", 1)
        nursery.start_soon(play_server, listener, ANSWER + b"\r\n" + frame(BINARY, b"good", masked=False), data)
        async with WebSocketTransport(security("a"), None, wires.connect).dial("wss://wired:1", "b") as link:
            assert await link.receive() == b"good"
            with trio.fail_after(0.2), pytest.raises(LinkLost, match=reason):
                await link.receive()
        await trio.sleep(0.1)
        nursery.cancel_scope.cancel()
    assert "peer cut off peer=b" in caplog.text
    assert sum(not wire.is_closed for wire in wires.streams[::2]) == 0


async def play_server(listener: trio.abc.Listener[trio.abc.Stream], answer: bytes, later: bytes = b"") -> None:
    context = server_context(credentials("b"))
    stream = trio.SSLStream(await listener.accept(), context, server_side=True, https_compatible=True)
    asked = await stream.receive_some()
    key = re.search(rb"Sec-WebSocket-Key: (.*)\r\n", bytes(asked))
    assert key is not None
    with suppress(trio.BrokenResourceError):  # whoever dialled may have heard enough
        await stream.send_all(answer.replace(b"%s", generate_accept_token(key[1])))
    if later:
        await trio.sleep(0.1)
        await stream.send_all(later)
    await hung_up(stream)
