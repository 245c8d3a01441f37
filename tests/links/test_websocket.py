"""What the real transport does beyond the contract: how it closes, what it waits for, whom it logs."""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trio
import trio.lowlevel
import trio.testing

from autonomy._links.limits import LinkLimits
from autonomy._links.reading import Reading
from autonomy._links.websocket import WebSocketTransport
from autonomy.abc import Link, LinkLost, LinkRefused
from autonomy.identity import client_context

from .certificates import credentials, security
from .siege import Stream, frame, hung_up, request
from .wires import Wires
from .world import echo, linked, serving
from .worlds import wired_world

CLOSE, PING, TEXT = 0x88, 0x89, 0x81


async def why_lost(link: Link) -> str:
    """Return why a link was lost."""
    with pytest.raises(LinkLost) as caught:
        await link.receive()
    return str(caught.value)


@asynccontextmanager
async def held_by_hand(handle: Callable[[Link], Awaitable[None]]) -> AsyncGenerator[Stream]:
    """Serve, and return the far end of a link as a stream of websocket frames."""
    wires = Wires()
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
        await stream.send_all(frame(PING))  # which the library would answer, and fails to
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


# ---- the reading task


async def test_a_link_whose_reading_ended_sends_no_more_though_nobody_receives(
    autojump_clock: trio.testing.MockClock,
) -> None:
    ended: list[str] = []

    async def handle(link: Link) -> None:
        try:
            while True:
                await link.send(b"tick")
                await trio.sleep(1)
        except LinkLost as error:
            ended.append(str(error))

    async with held_by_hand(handle) as stream:
        await trio.sleep(2.5)
        await stream.send_all(frame(TEXT, b"hi"))
        await trio.sleep(1)
    assert ended == ["it sent text"]


async def test_who_waits_for_a_reading_task_that_has_ended_waits_no_more(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def read() -> None:
        raise UnicodeError

    async with trio.open_nursery() as nursery:
        stream, _ = trio.testing.memory_stream_pair()
        reading = Reading(nursery, stream)
        reading.start_soon(read)
        with reading.while_it_lasts() as scope:
            await trio.sleep_forever()
        assert scope.cancelled_caught
        with reading.while_it_lasts() as scope:
            await trio.sleep_forever()
        assert scope.cancelled_caught
        assert isinstance(reading.error, UnicodeError)


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
