"""What the real transport does beyond the contract: how it closes, what it waits for, whom it logs."""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest
import trio
import trio.lowlevel
import trio.testing
import trio_websocket

from autonomy._links.limits import LinkLimits
from autonomy._links.opening import SUBPROTOCOL
from autonomy._links.websocket import WebSocketTransport
from autonomy.abc import Link, LinkLost, LinkRefused
from autonomy.identity import client_context, server_context

from .certificates import credentials, security
from .siege import Stream, frame, hung_up, request
from .wires import Wires
from .world import echo, linked, lost, serving
from .worlds import wired_world

BINARY, TEXT, CLOSE, PING, PONG = 0x82, 0x81, 0x88, 0x89, 0x8A


async def why_lost(link: Link) -> str:
    """Return why a link was lost."""
    with pytest.raises(LinkLost) as caught:
        await link.receive()
    return str(caught.value)


@asynccontextmanager
async def held_by_hand(handle: Callable[[Link], Awaitable[None]], wires: Wires | None = None) -> AsyncGenerator[Stream]:
    """Serve, and return the far end of a link as a stream of websocket frames."""
    wires = wires or Wires()
    serving_one = WebSocketTransport(security("b"), None, wires.connect, wires.listen)
    async with trio.open_nursery() as nursery:
        await nursery.start(functools.partial(serving_one.serve, "wss://wired:1", handle))
        context = client_context(credentials("a"))
        stream = trio.SSLStream(await wires.connect("wired", 1), context, https_compatible=True)
        await stream.send_all(request())
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 101 ")
        yield stream
        nursery.cancel_scope.cancel()


# ---- dialling


@pytest.mark.parametrize("seconds", [2, 20])
async def test_one_deadline_holds_for_all_of_a_handshake(
    seconds: float, autojump_clock: trio.testing.MockClock
) -> None:
    wires = Wires()
    await wires.listen("wired", 1)  # and then is silent
    dialling = WebSocketTransport(security("a"), LinkLimits(handshake=seconds), wires.connect)

    with pytest.raises(LinkLost, match=f"did not answer within {seconds} s"):
        async with dialling.dial("wss://wired:1", "b"):
            raise AssertionError

    assert trio.current_time() == seconds


REFUSED = ConnectionRefusedError("refused")


@pytest.mark.parametrize(
    ("tried", "expected"),
    [
        ([REFUSED], LinkRefused),
        ([REFUSED, REFUSED], LinkRefused),
        ([REFUSED, TimeoutError("no word")], LinkLost),
        ([OSError("no route")], LinkLost),
    ],
    ids=["its one address", "both of its addresses", "one of two addresses", "none"],
)
async def test_nobody_listens_if_each_address_of_the_host_says_so(
    tried: list[OSError], expected: type[LinkLost], autojump_clock: trio.testing.MockClock
) -> None:
    async def connect(host: str, port: int) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        raise OSError("all attempts failed") from ExceptionGroup("", tried)  # as trio.open_tcp_stream does

    with pytest.raises(LinkLost) as caught:
        async with WebSocketTransport(security("a"), None, connect).dial("wss://here:1", "b"):
            raise AssertionError
    assert type(caught.value) is expected


# ---- closing


async def test_the_reason_of_a_close_is_told_to_both_ends(autojump_clock: trio.testing.MockClock) -> None:
    async with linked(wired_world()) as (near, far):
        await near.close("enough, " + "\N{EURO SIGN}" * 100)
        assert (await why_lost(near)).startswith("it was closed here: enough, \N{EURO SIGN}")
        assert (await why_lost(far)).startswith("the far side closed it: enough, \N{EURO SIGN}")


async def test_a_dialler_that_is_cancelled_closes_in_good_order(autojump_clock: trio.testing.MockClock) -> None:
    reasons: list[str] = []
    world = wired_world()

    async def handle(link: Link) -> None:
        reasons.append(await why_lost(link))

    async with serving(world, handle) as address:
        begun = trio.current_time()
        with trio.CancelScope() as scope:
            async with world.transport("a").dial(address, "b"):
                scope.cancel()
        assert trio.current_time() == begun
        await trio.sleep(0.1)
    assert reasons == ["the far side closed it"]


async def test_a_server_that_is_cancelled_closes_in_good_order(autojump_clock: trio.testing.MockClock) -> None:
    world = wired_world()
    scope = trio.CancelScope()

    async def serve(*, task_status: trio.TaskStatus[str]) -> None:
        with scope:
            await world.transport("b").serve(world.address(), echo, task_status=task_status)

    async with trio.open_nursery() as nursery:
        address = await nursery.start(serve)
        async with world.transport("a").dial(address, "b") as link:
            begun = trio.current_time()
            scope.cancel()
            assert await why_lost(link) == "the far side closed it"
            assert trio.current_time() == begun


async def test_a_close_waits_for_no_answer_of_a_peer_that_breaks_a_rule_instead(
    autojump_clock: trio.testing.MockClock,
) -> None:
    took: list[float] = []

    async def handle(link: Link) -> None:
        begun = trio.current_time()
        await link.close()
        took.append(trio.current_time() - begun)

    async with held_by_hand(handle) as stream:
        assert (await stream.receive_some())[0] == CLOSE
        await trio.sleep(0.25)
        await stream.send_all(frame(TEXT, b"hi"))
        await hung_up(stream)
        await trio.sleep(1)
    assert took == [0.25]


async def test_a_close_that_gets_no_answer_takes_a_second(autojump_clock: trio.testing.MockClock) -> None:
    took: list[float] = []

    async def handle(link: Link) -> None:
        begun = trio.current_time()
        await link.close()
        took.append(trio.current_time() - begun)

    async with held_by_hand(handle):
        await trio.sleep(5)
    assert took == [1.0]


# ---- a link that has ended


async def test_a_link_on_which_a_rule_was_broken_sends_no_more(autojump_clock: trio.testing.MockClock) -> None:
    ended: list[str] = []

    async def handle(link: Link) -> None:
        ended.append(await why_lost(link))
        with pytest.raises(LinkLost) as caught:
            await link.send(b"tick")
        ended.append(str(caught.value))

    async with held_by_hand(handle) as stream:
        await stream.send_all(frame(TEXT, b"hi"))
        await hung_up(stream)
        await trio.sleep(1)
    assert ended == ["it sent text"] * 2


async def test_what_came_before_a_broken_rule_is_received(autojump_clock: trio.testing.MockClock) -> None:
    received: list[bytes] = []

    async def handle(link: Link) -> None:
        received.extend(await lost(link))

    async with held_by_hand(handle) as stream:
        await stream.send_all(frame(BINARY, b"one") + frame(BINARY, b"two") + frame(TEXT, b"hi"))
        await hung_up(stream)
        await trio.sleep(1)
    assert received == [b"one", b"two"]


# ---- what is owed to the far side


async def test_a_ping_is_answered_behind_the_message_that_is_being_sent(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def handle(link: Link) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(link.send, bytes(2**20))
            await lost(link)

    async with held_by_hand(handle) as stream:
        await trio.sleep(1)  # the message is stuck, half of it on its way
        await stream.send_all(frame(PING, b"there?") + frame(BINARY, b"x"))
        await trio.sleep(1)
        whole = frame(BINARY, bytes(2**20), masked=False) + frame(PONG, b"there?", masked=False)
        received = b""
        while len(received) < len(whole):
            received += await stream.receive_some()
        assert received == whole
        await stream.send_all(frame(CLOSE))
        assert (await stream.receive_some())[0] == CLOSE
        await hung_up(stream)


async def test_who_receives_is_not_held_by_pings_while_a_send_is_stuck(
    autojump_clock: trio.testing.MockClock,
) -> None:
    received: list[float] = []

    async def handle(link: Link) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(link.send, bytes(2**20))
            await link.receive()
            received.append(trio.current_time())
            nursery.cancel_scope.cancel()

    async with held_by_hand(handle) as stream:
        await trio.sleep(1)
        begun = trio.current_time()
        await stream.send_all(frame(PING, b"there?"))
        await stream.send_all(frame(BINARY, b"x"))
        await trio.sleep(0.1)
        assert received == [begun]


async def test_who_receives_is_held_for_a_second_at_most_by_pongs_that_nobody_takes(
    autojump_clock: trio.testing.MockClock,
) -> None:
    ended: list[str] = []

    async def handle(link: Link) -> None:
        ended.append(await why_lost(link))

    async with held_by_hand(handle, Wires(capacity=4096)) as stream:
        begun = trio.current_time()
        while not ended:
            with suppress(trio.BrokenResourceError):
                await stream.send_all(frame(PING, bytes(125)) * 20)
            await trio.sleep(1.01)
        assert trio.current_time() - begun < 10
    assert ended == ["the far side takes no answer to what it asks"]


async def test_a_receive_that_was_cancelled_leaves_a_close_to_whoever_closes(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with linked(wired_world()) as (near, far), trio.open_nursery() as nursery:
        nursery.start_soon(lost, far)
        async with trio.open_nursery() as receiving:
            receiving.start_soon(near.receive)
            await trio.sleep(1)
            receiving.cancel_scope.cancel()
        begun = trio.current_time()
        await near.close()
        assert trio.current_time() == begun


async def test_a_close_goes_on_when_who_received_leaves_meanwhile(autojump_clock: trio.testing.MockClock) -> None:
    async with linked(wired_world()) as (near, far), trio.open_nursery() as nursery:
        async with trio.open_nursery() as receiving:
            receiving.start_soon(near.receive)
            await trio.sleep(1)
            begun = trio.current_time()
            nursery.start_soon(near.close)
            await trio.sleep(0.25)
            receiving.cancel_scope.cancel()
        await lost(far)
        await trio.lowlevel.checkpoint()
        assert await why_lost(near) == "it was closed here"
        assert trio.current_time() - begun == 0.25


# ---- the library that everybody uses, at the other end


def messages() -> list[bytes]:
    return [bytes([size % 251]) * size for size in (0, 1, 125, 126, 65_535, 65_536, 2**20)]


async def test_a_dialler_that_uses_another_library_is_served(autojump_clock: trio.testing.MockClock) -> None:
    wires = Wires()
    serving_one = WebSocketTransport(security("b"), None, wires.connect, wires.listen)
    async with trio.open_nursery() as nursery:
        await nursery.start(functools.partial(serving_one.serve, "wss://wired:1", echo))
        stream = trio.SSLStream(
            await wires.connect("wired", 1), client_context(credentials("a")), https_compatible=True
        )
        socket = await trio_websocket.wrap_client_stream(nursery, stream, "b", "/", subprotocols=[SUBPROTOCOL])  # type: ignore[arg-type]  # any stream will do
        for message in messages():
            await socket.send_message(message)
            assert await socket.get_message() == message
        with trio.fail_after(0.5):
            await socket.ping(b"there?")
            await socket.aclose(1000, "enough")
        assert socket.closed is not None
        assert socket.closed.code == 1000
        nursery.cancel_scope.cancel()


async def test_a_server_that_uses_another_library_is_dialled(autojump_clock: trio.testing.MockClock) -> None:
    wires = Wires()
    reasons: list[object] = []

    async def serve(listener: trio.abc.Listener[Stream], nursery: trio.Nursery) -> None:
        stream = trio.SSLStream(
            await listener.accept(), server_context(credentials("b")), server_side=True, https_compatible=True
        )
        asked = await trio_websocket.wrap_server_stream(nursery, stream)
        socket = await asked.accept(subprotocol=SUBPROTOCOL)
        with suppress(trio_websocket.ConnectionClosed):
            while True:
                await socket.send_message(await socket.get_message())
        reasons.append(socket.closed and socket.closed.reason)

    async with trio.open_nursery() as nursery:
        (listener,) = await wires.listen("wired", 1)
        nursery.start_soon(serve, listener, nursery)
        async with WebSocketTransport(security("a"), None, wires.connect).dial("wss://wired:1", "b") as link:
            for message in messages():
                await link.send(message)
                assert await link.receive() == message
            with trio.fail_after(0.5):
                await link.close("enough")
    assert reasons == ["enough"]


# ---- the handler


async def test_what_a_handler_raises_beside_a_lost_link_ends_the_serving(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def handle(link: Link) -> None:
        raise ZeroDivisionError

    world = wired_world()
    with pytest.RaisesGroup(ZeroDivisionError, flatten_subgroups=True):
        async with serving(world, handle) as address, world.transport("a").dial(address, "b"):
            await trio.sleep(5)
