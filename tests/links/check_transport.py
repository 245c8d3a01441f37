"""What every `Transport` promises: one suite, which the real one and each that stands in for it must pass.

`check_transport` runs all of it; `CHECKS` are its parts, so that a test can run and name each by itself. A check
knows a transport by its `World` alone.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest
import trio

from autonomy.abc import Link, LinkLost, LinkRefused

from .world import World, echo, filled, linked, lost, serving, wait_until

MakeWorld = Callable[[], World]
Check = Callable[[World], Awaitable[None]]
CHECKS: list[Check] = []


async def check_transport(make_world: MakeWorld) -> None:
    """Run all checks, each in a world of its own."""
    for check in CHECKS:
        await run_check(check, make_world)


async def run_check(check: Check, make_world: MakeWorld) -> None:
    """Run one check, and see that it leaves no task behind."""
    before = trio.lowlevel.current_statistics().tasks_living
    with trio.fail_after(30):
        await check(make_world())
    assert trio.lowlevel.current_statistics().tasks_living == before


def check(function: Check) -> Check:
    CHECKS.append(function)
    return function


# ---- messages


@check
async def messages_arrive_whole_and_in_order_both_ways(world: World) -> None:
    messages = [bytes([i % 251]) * (i * i) for i in range(100)]

    async def send_all(link: Link) -> None:
        for message in messages:
            await link.send(message)

    async def receive_all(link: Link) -> None:
        assert [await link.receive() for _ in messages] == messages

    async with linked(world) as (near, far), trio.open_nursery() as nursery:
        for link in (near, far):
            nursery.start_soon(send_all, link)
            nursery.start_soon(receive_all, link)


@check
async def a_link_says_when_something_came_last(world: World) -> None:
    async with linked(world) as (near, far):
        for message in (b"x", b"y"):
            began = trio.current_time()
            await near.send(message)
            assert await far.receive() == message
            came = far.heard
            assert began <= came <= trio.current_time()
            await trio.sleep(0.01)
            assert far.heard == came < trio.current_time()


@check
async def empty_and_largest_messages_arrive(world: World) -> None:
    async with linked(world) as (near, far):
        for one, other in ((near, far), (far, near)):
            for message in (b"", bytes(range(256)) * (world.message // 256), b"x"):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(one.send, message)
                    received = await other.receive()
                assert received == message
                assert type(received) is bytes


@check
async def a_message_above_the_bound_is_refused_and_the_link_lost(world: World) -> None:
    for backwards in (False, True):
        async with linked(world) as ends:
            one, other = reversed(ends) if backwards else ends
            await one.send(b"before")
            with trio.move_on_after(world.patience):  # the far side may hang up in the midst of it
                with suppress(LinkLost):
                    await one.send(bytes(world.message + 1))
            assert await lost(other) == [b"before"]
            assert await lost(one) == []
            with pytest.raises(LinkLost):
                await one.send(b"after")


@check
async def a_receive_may_be_cancelled_without_loss(world: World) -> None:
    count = 200
    received: list[bytes] = []
    async with linked(world) as (near, far):

        async def send() -> None:
            for i in range(count):
                await near.send(b"%d" % i)
                await trio.sleep(world.patience / 2000)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            turn = 0
            while len(received) < count:
                turn += 1
                with trio.move_on_after(world.patience / 4000 * (turn % 4)):
                    received.append(await far.receive())
    assert received == [b"%d" % i for i in range(count)]


@check
async def a_send_that_waits_and_is_cancelled_loses_the_link(world: World) -> None:
    async with linked(world) as (near, far):
        sent = await filled(world, near)

        with pytest.raises(LinkLost):
            await near.send(b"after")
        assert await lost(near) == []
        assert len(await lost(far)) <= sent
        with pytest.raises(LinkLost):
            await far.send(b"back")


@check
async def a_send_that_is_cancelled_at_once_loses_the_link(world: World) -> None:
    async with linked(world) as (near, far):
        with trio.CancelScope() as scope:
            scope.cancel()
            await near.send(b"perhaps")
        assert scope.cancelled_caught

        with pytest.raises(LinkLost):
            await near.send(b"after")
        assert await lost(far) in ([], [b"perhaps"])


@check
async def a_far_side_that_takes_nothing_is_not_waited_for_for_ever(world: World) -> None:
    async with linked(world) as (near, far):
        begun = trio.current_time()
        sent = 0
        with suppress(LinkLost):
            while sent < 64:
                await near.send(bytes(2**20))
                sent += 1
        assert sent < 64
        assert world.send - 1e-6 <= trio.current_time() - begun < world.send + 5 * world.patience
        assert await lost(near) == []
        assert len(await lost(far)) <= sent


# ---- closing


@check
async def what_was_sent_before_a_close_arrives(world: World) -> None:
    for backwards in (False, True):
        async with linked(world) as ends:
            one, other = reversed(ends) if backwards else ends
            for i in range(10):
                await one.send(b"%d" % i)
            await one.close("done")
            assert await lost(other) == [b"%d" % i for i in range(10)]


@check
async def the_far_side_learns_of_a_close_while_it_waits_for_a_message(world: World) -> None:
    for backwards in (False, True):
        async with linked(world) as ends, trio.open_nursery() as nursery:
            one, other = reversed(ends) if backwards else ends
            nursery.start_soon(lost, other)
            with trio.fail_after(world.patience):
                await one.close()


@check
async def a_closed_link_neither_sends_nor_receives(world: World) -> None:
    for backwards in (False, True):
        async with linked(world) as ends:
            one, other = reversed(ends) if backwards else ends
            await other.send(b"unread")
            await one.close()
            with pytest.raises(LinkLost):
                await one.send(b"x")
            with pytest.raises(LinkLost):
                await one.receive()
            await lost(other)
            with pytest.raises(LinkLost):
                await other.send(b"x")


@check
async def closing_wakes_who_receives_and_who_sends_on_the_same_end(world: World) -> None:
    async with linked(world) as (near, _), trio.open_nursery() as nursery:

        async def send_without_end() -> None:
            with suppress(LinkLost):
                while True:
                    await near.send(bytes(2**20))

        nursery.start_soon(send_without_end)
        nursery.start_soon(lost, near)
        await trio.sleep(world.patience)
        with trio.fail_after(world.close + world.patience):
            await near.close()


@check
async def closing_twice_or_on_both_ends_at_once_does_no_harm(world: World) -> None:
    async with linked(world) as (near, far):
        async with trio.open_nursery() as nursery:
            for link in (near, far, near, far):
                nursery.start_soon(link.close, "enough")
        await near.close()
        await far.close()


@check
async def a_close_is_bounded_though_the_far_side_never_answers(world: World) -> None:
    async with linked(world) as (near, far):
        for i in range(100):
            await near.send(b"%d" % i)  # nobody receives, so nobody gets as far as the close
        begun = trio.current_time()
        await near.close()
        assert trio.current_time() - begun <= world.close + world.patience
        rest = await lost(far)
        assert rest == [b"%d" % i for i in range(len(rest))]


@check
async def a_close_is_in_good_order_though_it_is_cancelled(world: World) -> None:
    async with linked(world) as (near, far):
        await near.send(b"last")
        with trio.CancelScope() as scope:
            scope.cancel()
            await near.close()
        assert await lost(far) == [b"last"]


# ---- dialling


@check
async def the_peer_is_who_its_certificate_says_on_both_ends(world: World) -> None:
    async with linked(world) as (near, far):
        assert (near.peer.name, far.peer.name) == ("b", "a")
        assert near.peer.zone == far.peer.zone
        assert near.peer.certificate != far.peer.certificate


@check
async def dialling_another_node_than_the_one_there_is_refused(world: World) -> None:
    handled: list[Link] = []

    async def handle(link: Link) -> None:
        handled.append(link)

    async with serving(world, handle) as address:
        for other in ("c", "B", ""):  # the latter two can be in no certificate
            with pytest.raises(LinkLost, match=f"'{other}'") as caught:
                async with world.transport("a").dial(address, other):
                    raise AssertionError
            assert not isinstance(caught.value, LinkRefused)
        assert handled == []


@check
async def whoever_is_there_can_be_dialled(world: World) -> None:
    async with serving(world, echo) as address, world.transport("a").dial(address, None) as link:
        assert link.peer.name == "b"
        await link.send(b"hello")
        assert await link.receive() == b"hello"


@check
async def dialling_where_nobody_listens_is_refused_soon(world: World) -> None:
    for node in ("b", None):
        with trio.fail_after(world.patience), pytest.raises(LinkRefused):
            async with world.transport("a").dial(world.nowhere, node):
                raise AssertionError


@check
async def leaving_the_block_of_dial_in_any_way_closes_the_link(world: World) -> None:
    ended: list[list[bytes]] = []

    async def handle(link: Link) -> None:
        ended.append(await lost(link))

    async with serving(world, handle) as address:
        async with world.transport("a").dial(address, "b") as link:
            await link.send(b"left")
        with pytest.raises(ZeroDivisionError):  # noqa: PT012  # the block is what is tried
            async with world.transport("a").dial(address, "b") as link:
                await link.send(b"raised")
                raise ZeroDivisionError
        begun = trio.current_time()
        with trio.CancelScope() as scope:
            async with world.transport("a").dial(address, "b") as link:
                await link.send(b"cancelled")
                scope.cancel()
                await trio.sleep_forever()
        assert scope.cancelled_caught
        assert trio.current_time() - begun < world.close / 2  # the far side answers, so nothing is waited for
        await wait_until(world, lambda: len(ended) == 3)
    assert ended == [[b"left"], [b"raised"], [b"cancelled"]]


@check
async def a_dial_that_is_cancelled_leaves_nothing(world: World) -> None:
    async with serving(world, echo) as address:
        for turn in range(10):
            with trio.move_on_after(world.patience / 500 * turn):
                async with world.transport("a").dial(address, "b") as link:
                    await link.send(b"x")
                    await link.receive()


# ---- serving


@check
async def many_links_are_served_at_once(world: World) -> None:
    async with serving(world, echo) as address, trio.open_nursery() as nursery:
        gate, all_open, opened = trio.Event(), trio.Event(), 0

        async def one(number: int) -> None:
            nonlocal opened
            async with world.transport(f"a{number}").dial(address, "b") as link:
                opened += 1
                if opened == world.many:
                    all_open.set()
                await gate.wait()
                await link.send(b"%d" % number)
                assert await link.receive() == b"%d" % number

        for number in range(world.many):
            nursery.start_soon(one, number)
        await all_open.wait()
        gate.set()


@check
async def a_handler_that_ends_closes_its_link_and_no_other(world: World) -> None:
    async def handle(link: Link) -> None:
        if link.peer.name == "a":
            await link.send(b"bye")
        elif link.peer.name == "lost":
            await link.close()
            await link.receive()
        else:
            await echo(link)

    async with serving(world, handle) as address, world.transport("other").dial(address, "b") as other:
        async with world.transport("a").dial(address, "b") as link:
            assert await lost(link) == [b"bye"]
        async with world.transport("lost").dial(address, "b") as link:
            assert await lost(link) == []
        await other.send(b"x")
        assert await other.receive() == b"x"


@check
async def a_serve_that_is_cancelled_closes_all_its_links(world: World) -> None:
    async def handle(link: Link) -> None:
        await link.send(b"hello")
        await echo(link)

    async with trio.open_nursery() as nursery, trio.open_nursery() as server:
        address = await server.start(functools.partial(world.transport("b").serve, world.address(), handle))
        both: list[list[bytes]] = []

        async def dial(name: str, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
            async with world.transport(name).dial(address, "b") as link:
                assert await link.receive() == b"hello"
                task_status.started()
                both.append(await lost(link))

        await nursery.start(dial, "a")
        await nursery.start(dial, "c")
        server.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            await wait_until(world, lambda: len(both) == 2)
    assert both == [[], []]
    with pytest.raises(LinkLost):
        async with world.transport("a").dial(address, "b"):
            raise AssertionError


@check
async def two_may_serve_and_each_says_where(world: World) -> None:
    async with serving(world, echo) as one, serving(world, echo) as other:
        assert one != other
        for address in (one, other):
            async with world.transport("a").dial(address, "b") as link:
                await link.send(address.encode())
                assert await link.receive() == address.encode()


@check
async def listening_where_somebody_listens_is_an_os_error(world: World) -> None:
    async with serving(world, echo) as address:
        with pytest.raises(OSError, match=r"."):
            await world.transport("b").serve(address, echo, task_status=trio.TASK_STATUS_IGNORED)


@check
async def a_far_side_that_does_not_receive_stalls_no_other_link(world: World) -> None:
    async def handle(link: Link) -> None:
        if link.peer.name == "slow":
            await trio.sleep_forever()
        await echo(link)

    async with (
        serving(world, handle) as address,
        world.transport("slow").dial(address, "b") as slow,
        world.transport("quick").dial(address, "b") as quick,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(filled, world, slow)
        await trio.sleep(world.patience / 2)
        with trio.fail_after(world.patience):
            for _ in range(20):
                await quick.send(b"x")
                assert await quick.receive() == b"x"
