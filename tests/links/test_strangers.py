"""Who has not shown who he is gets no link, costs little and not for long, and the log says why."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing

from autonomy._links.limits import LinkLimits
from autonomy._links.websocket import WebSocketTransport
from autonomy.abc import LinkLost
from autonomy.errors import IdentityError

from ..identity.forge import HOUR
from .certificates import foreign_forger, forger, impostor, leaf, security
from .siege import Siege, Stream, besieged, frame, hung_up, request, security_lines
from .wires import Wires

Attack = Callable[[Siege], Awaitable[Stream]]
ATTACKS: dict[str, tuple[Attack, str]] = {}
"""By name, with what the log says of it. An attack returns its stream, on which it then waits to be cut off."""


def attack(reason: str) -> Callable[[Attack], Attack]:
    def note(function: Attack) -> Attack:
        ATTACKS[function.__name__] = function, reason
        return function

    return note


# ---- certificates: each of these clients has done its TLS handshake, in its own eyes


@attack("identity refused (missing)")
async def no_certificate(siege: Siege) -> Stream:
    return await siege.secure(forger().context(None))


@attack("identity refused (untrusted)")
async def a_foreign_authority(siege: Siege) -> Stream:
    foreign = foreign_forger()
    return await siege.secure(foreign.context(foreign.leaf()))


@attack("identity refused (expired, certificate ")
async def an_expired_certificate(siege: Siege) -> Stream:
    return await siege.secure(forger().context(forger().leaf(begins=-2 * HOUR, ends=-HOUR)))


@attack("identity refused (identity, certificate ")
async def two_names(siege: Siege) -> Stream:
    return await siege.secure(forger().context(leaf("a", "root")))


@attack("identity refused (zone)")
async def the_name_of_another_zone(siege: Siege) -> Stream:
    return await siege.secure(forger().context(leaf("a", zone="other.test")))


@attack("identity refused (malformed)")
async def tls_12(siege: Siege) -> Stream:
    stream = await siege.stream()
    context = forger().context(leaf("a"))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    secure = trio.SSLStream(stream, context, https_compatible=True)
    with pytest.raises(trio.BrokenResourceError):
        await secure.do_handshake()
    return stream


@attack("HTTP_REQUEST")
async def http_without_tls(siege: Siege) -> Stream:
    stream = await siege.stream()
    await stream.send_all(request())
    return stream


# ---- slow ones


@attack("the handshake took too long")
async def silence(siege: Siege) -> Stream:
    return await siege.stream()


@attack("the handshake took too long")
async def silence_behind_tls(siege: Siege) -> Stream:
    return await siege.secure()


@attack("the handshake took too long")
async def a_drip_of_tls(siege: Siege) -> Stream:
    stream = await siege.stream()
    await drip(stream, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500))
    return stream


@attack("the handshake took too long")
async def a_drip_of_headers(siege: Siege) -> Stream:
    stream = await siege.secure()
    await drip(stream, request(more=b"X: y\r\n" * 100))
    return stream


async def drip(stream: Stream, data: bytes) -> None:
    try:
        for byte in data:
            await stream.send_all(bytes([byte]))
            await trio.sleep(0.1)
    except trio.BrokenResourceError:
        return
    raise AssertionError("it was taken to the end")


# ---- HTTP


@attack("its HTTP head is too long")
async def a_flood_of_headers(siege: Siege) -> Stream:
    stream = await siege.secure()
    await stream.send_all(b"GET / HTTP/1.1\r\n")
    with pytest.raises(trio.BrokenResourceError):
        await stream.send_all((b"X: " + b"y" * 10_000 + b"\r\n") * 100)
    return stream


@attack("does not speak autonomy.link.v1")
async def another_subprotocol(siege: Siege) -> Stream:
    stream = await siege.secure()
    await stream.send_all(request(protocol="chat"))
    return stream


@attack("method must be GET")
async def a_post(siege: Siege) -> Stream:
    stream = await siege.secure()
    await stream.send_all(request(start="POST / HTTP/1.1"))
    return stream


@attack("codec can't|label|codepoint")
async def a_host_that_is_none(siege: Siege) -> Stream:
    stream = await siege.secure()
    await stream.send_all(request(host=b"xn--\xff"))
    return stream


@attack("codec can't")
async def a_header_that_is_not_ascii(siege: Siege) -> Stream:
    stream = await siege.secure()
    await stream.send_all(request(more=b"Sec-WebSocket-Extensions: \xff\r\n"))
    return stream


@attack("it sent something before it was answered")
async def a_body(siege: Siege) -> Stream:
    stream = await siege.secure()
    await stream.send_all(request(more=b"Content-Length: 5\r\n") + b"hello")
    return stream


@attack("it sent something before it was answered")
async def a_frame_behind_the_request(siege: Siege) -> Stream:
    stream = await siege.secure()
    await stream.send_all(request() + frame(0x82, b"x"))
    return stream


# ---- hanging up


@attack("hung up in the handshake|unexpected eof")
async def hanging_up_at_once(siege: Siege) -> Stream:
    return await gone(await siege.stream())


@attack("hung up in the handshake")
async def hanging_up_behind_tls(siege: Siege) -> Stream:
    return await gone(await siege.secure())


@attack("hung up in the handshake")
async def hanging_up_in_the_request(siege: Siege) -> Stream:
    stream = await siege.secure()
    await stream.send_all(request()[:-2])
    return await gone(stream)


async def gone(stream: Stream) -> Stream:
    await trio.sleep(0.1)
    await trio.aclose_forcefully(stream)
    return stream


@pytest.mark.parametrize("name", ATTACKS)
async def test_a_stranger_is_refused_in_time_and_the_log_says_why(
    name: str, caplog: pytest.LogCaptureFixture, autojump_clock: trio.testing.MockClock
) -> None:
    function, reason = ATTACKS[name]
    wires = Wires()
    async with besieged(caplog, wires=wires) as siege:
        begun = trio.current_time()
        stream = await function(siege)
        rest = await hung_up(stream)

        assert trio.current_time() - begun <= 5.2
        assert not rest or rest.startswith(b"HTTP/1.1 400 ")
        await trio.aclose_forcefully(stream)
        line = "\n".join(siege.reasons())
        assert line.count("connection refused") == 1
        assert any(part in line for part in reason.split("|")), line
    assert wires.open_streams == 0


# ---- many of them


@pytest.mark.parametrize(
    ("limits", "most"), [(LinkLimits(handshakes_each=1000), 64), (LinkLimits(), 8)], ids=["all", "of one address"]
)
async def test_unfinished_handshakes_are_bounded_and_make_room_again(
    limits: LinkLimits, most: int, caplog: pytest.LogCaptureFixture, autojump_clock: trio.testing.MockClock
) -> None:
    wires = Wires()
    async with besieged(caplog, limits=limits, wires=wires) as siege:
        for _ in range(3):
            caplog.clear()
            streams = [await siege.stream() for _ in range(300)]
            await trio.sleep(0.1)
            assert wires.open_streams == 300 + most
            with pytest.raises(LinkLost):
                await siege.still_serves()
            await trio.sleep(5)
            assert wires.open_streams == 300
            await siege.still_serves()
            for stream in streams:
                await trio.aclose_forcefully(stream)
            await trio.sleep(1)
            # A flood of strangers is no flood of lines: at most ten a second, and the rest as a count.
            assert 18 <= len(siege.reasons()) <= 20
            assert sum("too many unfinished handshakes" in reason for reason in siege.reasons()) == 10
            assert sum("unlogged_before=" in reason for reason in siege.reasons()) >= 1
    assert wires.open_streams == 0


async def test_a_flood_of_refused_certificates_is_no_flood_of_lines(
    caplog: pytest.LogCaptureFixture, autojump_clock: trio.testing.MockClock
) -> None:
    bad = forger().context(leaf("a", "root"))
    async with besieged(caplog, wires=Wires()) as siege:
        for _ in range(30):
            await trio.aclose_forcefully(await siege.secure(bad))
        await trio.sleep(1)
        await trio.aclose_forcefully(await siege.secure(bad))
        await trio.sleep(0.1)

        assert len(siege.reasons()) == 11
        assert all("identity refused (identity, certificate " in reason for reason in siege.reasons())
        assert siege.reasons()[-1].endswith("unlogged_before=20")


async def test_links_are_bounded(caplog: pytest.LogCaptureFixture, autojump_clock: trio.testing.MockClock) -> None:
    wires = Wires()
    async with besieged(caplog, limits=LinkLimits(links=3), wires=wires) as siege:
        streams = [await siege.upgraded() for _ in range(3)]
        with pytest.raises(LinkLost):
            await siege.still_serves()
        assert "too many links" in siege.reasons()[0]
        for stream in streams:
            await trio.aclose_forcefully(stream)
        await trio.sleep(0.1)


# ---- what a refused client sees


@pytest.mark.parametrize("name", ["foreign", "expired", "none"])
async def test_a_dialler_whose_certificate_is_refused_learns_it_at_once(
    name: str, caplog: pytest.LogCaptureFixture, autojump_clock: trio.testing.MockClock
) -> None:
    foreign = foreign_forger()
    refused = {
        "foreign": impostor(foreign.leaf(), foreign),
        "expired": impostor(forger().leaf(begins=-2 * HOUR, ends=-HOUR)),
        "none": impostor(None),
    }
    wires = Wires()
    async with besieged(caplog, wires=wires) as siege:
        with trio.fail_after(0.5), pytest.raises(LinkLost, match="hung up in the handshake"):
            async with WebSocketTransport(refused[name], None, wires.connect).dial(siege.address, "b"):
                raise AssertionError


@pytest.mark.parametrize("name", ["foreign", "expired", "of two names", "another"])
async def test_a_server_that_is_not_the_node_dialled_is_refused(
    name: str, caplog: pytest.LogCaptureFixture, autojump_clock: trio.testing.MockClock
) -> None:
    foreign = foreign_forger()
    server, reason = {
        "foreign": (impostor(foreign.leaf(), foreign), "untrusted"),
        "expired": (impostor(forger().leaf(begins=-2 * HOUR, ends=-HOUR)), "expired"),
        "of two names": (impostor(leaf("b", "root")), "identity"),
        "another": (security("evil"), "name"),
    }[name]
    wires = Wires()
    serving = WebSocketTransport(server, None, wires.connect, wires.listen)
    caplog.set_level("WARNING", "autonomy")

    async def handle(link: object) -> None:
        raise AssertionError("it has a link")

    async with trio.open_nursery() as nursery:
        address = await nursery.start(serving.serve, "wss://wired:1", handle)
        with pytest.raises(LinkLost, match=rf"identity refused \({reason}") as caught:
            async with WebSocketTransport(security("a"), None, wires.connect).dial(address, "b"):
                raise AssertionError
        nursery.cancel_scope.cancel()
    assert wires.open_streams == 0
    assert isinstance(caught.value.__cause__, IdentityError)
    assert caught.value.__cause__.reason == reason
    dialler = [line for line in security_lines(caplog) if "address=wss://wired:1" in line]
    assert len(dialler) == 1
    assert dialler[0].startswith("node refused reason=")
    assert not any("identity refused zone=" in line for line in security_lines(caplog))
