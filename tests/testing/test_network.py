"""What ends a link in a simulated network, and who hears of it when."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from random import Random

import pytest
import trio
import trio.testing

from autonomy.abc import Link, LinkLost
from autonomy.testing.moments import Moments
from autonomy.testing.network import Network, address_of

LONG = 60.0
"""Seconds, longer than anything waits."""


def new_network() -> Network:
    return Network(lambda way: Random(repr(way)), Moments(trio.current_time))


@asynccontextmanager
async def linked(network: Network) -> AsyncGenerator[tuple[Link, Link]]:
    """Open a link from ``a`` to ``b``, and return both ends."""
    arrived, links = trio.open_memory_channel[Link](1)

    async def handle(link: Link) -> None:
        await arrived.send(link)
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        await nursery.start(network.transport("b").serve, address_of("b"), handle)
        async with network.transport("a").dial(address_of("b"), "b") as near:
            yield near, await links.receive()
        nursery.cancel_scope.cancel()


async def heard_after(link: Link) -> float:
    """Return the seconds until an end hears that the link has ended; infinity if it does not."""
    began = trio.current_time()
    with trio.move_on_after(LONG), pytest.raises(LinkLost):
        await link.receive()
    return trio.current_time() - began


async def test_a_crash_is_heard_at_once_and_what_was_under_way_is_lost(
    autojump_clock: trio.testing.MockClock,
) -> None:
    network = new_network()
    async with linked(network) as (near, far):
        await far.send(b"under way")

        network.crash("b")

        assert await heard_after(near) < 1


async def test_a_power_loss_is_not_heard_though_what_ran_there_closes_its_links(
    autojump_clock: trio.testing.MockClock,
) -> None:
    network = new_network()
    async with linked(network) as (near, far):
        network.darken("b")
        await far.close("goodbye")
        network.revive("b")

        assert await heard_after(near) == LONG


async def test_who_has_no_power_knows_it_at_once(autojump_clock: trio.testing.MockClock) -> None:
    network = new_network()
    async with linked(network) as (_, far):
        network.darken("b")

        with pytest.raises(LinkLost):
            await far.send(b"still there?")


@pytest.mark.parametrize("end", ["close", "crash", "cancelled send"])
async def test_no_end_is_heard_on_a_blocked_way_before_it_is_open(
    end: str, autojump_clock: trio.testing.MockClock
) -> None:
    network = new_network()
    async with linked(network) as (near, far):
        unblock = network.block(("b", "a"))
        if end == "close":
            await far.close()
        elif end == "crash":
            network.crash("b")
        else:
            with trio.CancelScope() as scope:
                scope.cancel()
                await far.send(b"hello")

        with pytest.raises(LinkLost):
            await far.receive()
        assert await heard_after(near) == LONG
        unblock()
        assert await heard_after(near) < 1


async def test_what_was_sent_before_a_close_comes_before_the_news_of_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    network = new_network()
    async with linked(network) as (near, far):
        unblock = network.block(("b", "a"))
        await far.send(b"one")
        await far.send(b"two")
        await far.close()
        unblock()

        assert [await near.receive(), await near.receive()] == [b"one", b"two"]
        assert await heard_after(near) < 1


async def test_a_reset_is_heard_at_both_ends_whatever_is_blocked_and_leaves_room(
    autojump_clock: trio.testing.MockClock,
) -> None:
    network = new_network()
    async with linked(network) as (near, far):
        network.block(("a", "b"), ("b", "a"))
        await near.send(bytes(2**20))
        network.reset("a", "b")

        for end in (near, far):
            with pytest.raises(LinkLost):
                await end.send(bytes(2**20))


async def test_what_runs_on_after_a_crash_reaches_nobody(autojump_clock: trio.testing.MockClock) -> None:
    network = new_network()
    async with linked(network):
        transport = network.transport("a")
        network.crash("a")
        network.revive("a")

        with pytest.raises(LinkLost, match="turned off"):
            async with transport.dial(address_of("b"), "b"):
                pass
