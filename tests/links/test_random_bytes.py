"""Ten thousand hostile streams of bytes against a node that accepts links, in virtual time, the same ones each run.

Each comes in somewhere: before TLS, as the HTTP request, behind it as frames. Whatever it is, the node refuses it, says
so in its log, forgets it, and nothing is raised out of it.
"""

from __future__ import annotations

import functools
import random

import pytest
import trio
import trio.testing

from autonomy._links.limits import LinkLimits
from autonomy._links.opening import SUBPROTOCOL
from autonomy._links.websocket import WebSocketLink
from autonomy.abc import LinkLost
from autonomy.identity import client_context
from autonomy.testing.lanes import identity_of

from .certificates import credentials
from .siege import Stream, besieged, frame, hung_up, request
from .wires import Wires

LIMITS = LinkLimits(handshakes_each=1000, refusals_logged=10**6, message=2**16)
PIECES = [b"\r\n", b"\n\n", b"\x00", b"\xff", b": ", b",", b"HTTP/1.1", SUBPROTOCOL.encode(), b"\x89\x80", b"\x7f"]
FRAMES = [frame(0x82, b"hello"), frame(0x89), frame(0x88, b"\x03\xe8bye"), frame(0x82, bytes(200)), frame(0x8A, b"x")]


def mutated(data: bytes, chance: random.Random) -> bytes:
    """Return the data with some of it changed, lost, doubled or cut off."""
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        at = chance.randrange(len(changed) + 1)
        match chance.randrange(5):
            case 0 if changed:
                changed[at % len(changed)] ^= 1 << chance.randrange(8)
            case 1:
                changed[at:at] = chance.choice(PIECES)
            case 2:
                del changed[at : at + chance.randrange(1, 20)]
            case 3:
                changed[at:at] = changed[at : at + chance.randrange(1, 50)]
            case _:
                changed[at:at] = chance.randbytes(chance.randrange(1, 20))
    return bytes(changed[: chance.randrange(len(changed) + 1)]) if chance.random() < 0.1 else bytes(changed)


async def client_hello() -> bytes:
    """Return the first thing that a good client says."""
    near, far = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.SSLStream(near, client_context(credentials("a"))).do_handshake)
        hello = await far.receive_some()
        nursery.cancel_scope.cancel()
    return bytes(hello)


@pytest.mark.slow
async def test_bytes_in_place_of_tls(caplog: pytest.LogCaptureFixture, autojump_clock: trio.testing.MockClock) -> None:
    chance, count, wires = random.Random(1), 4000, Wires()
    hello = await client_hello()
    async with besieged(caplog, limits=LIMITS, wires=wires) as siege:

        async def strike(data: bytes) -> None:
            stream = await siege.stream()
            await stream.send_all(data)
            if chance.random() < 0.9:  # or else it stays, and is silent
                await trio.aclose_forcefully(stream)
            await hung_up(stream)
            await trio.aclose_forcefully(stream)

        for _ in range(count // 50):
            async with trio.open_nursery() as nursery:
                for _ in range(50):
                    raw = chance.randbytes(chance.randrange(200))
                    nursery.start_soon(strike, raw if chance.random() < 0.3 else mutated(hello, chance))
        await trio.sleep(10)
        assert len(siege.reasons()) == count
        assert all(reason.startswith("connection refused ") for reason in siege.reasons())
    assert wires.open_streams == 0


async def take(link: WebSocketLink, stream: Stream, seen: list[str]) -> None:
    """Be the server behind TLS: open a link, receive what comes, close. Note what it came to."""
    try:
        with trio.fail_after(5):
            await link.open()
        while True:
            await link.receive()
    except (LinkLost, trio.TooSlowError, trio.BrokenResourceError) as error:
        seen.append(type(error).__name__)
    finally:
        await link.close()
        await trio.aclose_forcefully(stream)


@pytest.mark.slow
async def test_bytes_in_place_of_http_and_of_frames(
    caplog: pytest.LogCaptureFixture, autojump_clock: trio.testing.MockClock
) -> None:
    chance, count = random.Random(2), 5800
    seen: list[str] = []

    async def strike(*parts: bytes) -> None:
        near, far = trio.testing.memory_stream_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(take, WebSocketLink(far, identity_of("a"), LIMITS, server=True), far, seen)
            for part in parts:
                try:
                    await near.send_all(part)
                except trio.BrokenResourceError:
                    break
                await trio.sleep(0.01)  # so that frames come behind the answer
            if chance.random() < 0.5:
                await near.send_stream.aclose()
            with trio.move_on_after(6):  # an open link may be silent for as long as its holder likes
                await hung_up(near)
            await trio.aclose_forcefully(near)

    before = trio.lowlevel.current_statistics().tasks_living
    for _ in range(count // 100):
        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(strike, mutated(request(), chance))
                nursery.start_soon(strike, request(), mutated(b"".join(chance.choices(FRAMES, k=4)), chance))
    assert len(seen) == count
    assert trio.lowlevel.current_statistics().tasks_living == before


@pytest.mark.slow
async def test_bytes_behind_tls(caplog: pytest.LogCaptureFixture, autojump_clock: trio.testing.MockClock) -> None:
    chance, wires = random.Random(3), Wires()
    async with besieged(caplog, limits=LIMITS, wires=wires) as siege:

        async def strike(data: bytes) -> None:
            stream = await siege.secure()
            await stream.send_all(data)
            await trio.sleep(0.01)
            await trio.aclose_forcefully(stream)

        for _ in range(10):
            async with trio.open_nursery() as nursery:
                for _ in range(20):
                    nursery.start_soon(functools.partial(strike, mutated(request(), chance)))
        await trio.sleep(10)
    assert wires.open_streams == 0
