"""What only real sockets show: resets, descriptors, addresses of strangers, names that nobody can resolve."""

from __future__ import annotations

import socket
import struct
from pathlib import Path

import pytest
import trio

from autonomy._links.addresses import parse_address, write_address
from autonomy._links.limits import LinkLimits
from autonomy._links.websocket import WebSocketTransport
from autonomy.abc import Link, LinkLost
from autonomy.identity import server_context

from .certificates import credentials, security
from .siege import Siege, Stream, besieged, frame, hung_up, request

pytestmark = [pytest.mark.network, pytest.mark.slow]

STAGES = ["connected", "half a hello", "behind TLS", "half a request", "a whole request", "open", "half a message"]


def descriptors() -> int:
    """Return how many descriptors this process holds."""
    return len(list(Path("/proc/self/fd").iterdir()))


async def reset(stream: Stream) -> None:
    """Close so that the far side gets a reset in place of an end."""
    while isinstance(stream, trio.SSLStream):
        stream = stream.transport_stream
    assert isinstance(stream, trio.SocketStream)
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    await trio.aclose_forcefully(stream)


async def advance(siege: Siege, stage: str) -> Stream:
    """Return a stream that has come so far."""
    if stage in ("connected", "half a hello"):
        stream = await siege.stream()
        if stage == "half a hello":
            await stream.send_all(b"\x16\x03\x01\x02\x00\x01")
        return stream
    if stage in ("open", "half a message"):
        stream = await siege.upgraded()
        if stage == "half a message":
            await stream.send_all(frame(0x82, bytes(100_000))[:50_000])
        return stream
    secure = await siege.secure()
    if stage == "half a request":
        await secure.send_all(request()[:50])
    if stage == "a whole request":
        await secure.send_all(request())
    return secure


async def test_a_reset_at_any_stage_leaves_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async with besieged(caplog) as siege:
        await siege.still_serves()
        before = descriptors()
        for stage in STAGES:
            for pause in (0.0, 0.005):
                stream = await advance(siege, stage)
                await trio.sleep(pause)
                await reset(stream)
        await siege.still_serves()
        with trio.fail_after(2):
            while descriptors() > before:  # noqa: ASYNC110  # the system's, it tells nobody
                await trio.sleep(0.01)


async def test_a_reset_by_the_server_at_any_stage_is_a_lost_link() -> None:
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    address = write_address("127.0.0.1", listener.socket.getsockname()[1])
    before = descriptors()

    async def reset_next(stage: str) -> None:
        stream: Stream = await listener.accept()
        if stage != "connected":
            secure = trio.SSLStream(stream, server_context(credentials("b")), server_side=True)
            await secure.do_handshake()
            if stage == "half an answer":
                await secure.receive_some()
                await secure.send_all(b"HTTP/1.1 101 Swit")
        await reset(stream)

    for stage in ("connected", "behind TLS", "half an answer"):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(reset_next, stage)
            with trio.fail_after(1), pytest.raises(LinkLost):
                async with WebSocketTransport(security("a")).dial(address, "b"):
                    raise AssertionError
    assert descriptors() == before
    await listener.aclose()


async def test_a_flood_from_one_address_leaves_room_for_another(caplog: pytest.LogCaptureFixture) -> None:
    async def from_elsewhere(host: str, port: int) -> trio.SocketStream:
        return await trio.open_tcp_stream(host, port, local_address="127.0.0.2")

    limits = LinkLimits(handshake=0.5)
    before = descriptors()
    async with besieged(caplog, limits=limits) as siege:
        flood = [await from_elsewhere(*parse_address(siege.address)) for _ in range(50)]
        await siege.still_serves()
        with pytest.raises(LinkLost):
            async with WebSocketTransport(security("a"), None, from_elsewhere).dial(siege.address, "b"):
                raise AssertionError
        with trio.fail_after(2):
            for stream in flood:
                await hung_up(stream)
                await stream.aclose()
        async with WebSocketTransport(security("a"), None, from_elsewhere).dial(siege.address, "b"):
            pass
    assert "address=127.0.0.2" in caplog.text
    assert "address=127.0.0.1" not in caplog.text
    assert descriptors() == before


async def test_many_links_come_and_go_without_a_descriptor_lost(caplog: pytest.LogCaptureFixture) -> None:
    async with besieged(caplog) as siege:
        await siege.still_serves()
        before = descriptors()
        for _ in range(30):
            await siege.still_serves()
        with trio.fail_after(2):
            while descriptors() > before:  # noqa: ASYNC110  # the system's, it tells nobody
                await trio.sleep(0.01)


async def test_ipv6_is_written_and_dialled_in_brackets() -> None:
    async def handle(link: Link) -> None:
        await link.send(b"six")

    async with trio.open_nursery() as nursery:
        transport = WebSocketTransport(security("b"))
        try:
            address = await nursery.start(transport.serve, "wss://[::1]:0", handle)
        except OSError:
            pytest.skip("no IPv6 here")
        assert address.startswith("wss://[::1]:")
        async with WebSocketTransport(security("a")).dial(address, "b") as link:
            assert await link.receive() == b"six"
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "host", ["no-such-host.invalid", "a" * 64, "xn--\N{LATIN SMALL LETTER E WITH ACUTE}.x", "1.2.3.4.5"]
)
async def test_a_host_that_cannot_be_found_is_a_lost_link(host: str) -> None:
    with trio.fail_after(6), pytest.raises(LinkLost, match=r"no link to|did not answer"):
        async with WebSocketTransport(security("a")).dial(f"wss://{host}:1", "b"):
            raise AssertionError
