"""Where transports meet in tests, and what tests of links do there again and again."""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio

from autonomy.abc import Link, LinkLost, Transport


@dataclass(frozen=True)
class World:
    """Where transports meet. All times are on Trio's clock.

    Attributes:
        transport: Makes the transport of the node with this full name.
        address: Returns an address to listen at, another each time; its port may be 0.
        nowhere: An address at which nobody listens.
        message: The most bytes of a message.
        patience: Seconds, longer than anything takes that does not wait for good.
        close: The most seconds that a close may take.
        send: The most seconds that a send may take while the far side takes nothing; longer than patience.
        many: Links at once that are many.
    """

    transport: Callable[[str], Transport]
    address: Callable[[], str]
    nowhere: str
    message: int = 4 * 2**20
    patience: float = 1.0
    close: float = 1.0
    send: float = 5.0
    many: int = 40


@asynccontextmanager
async def serving(world: World, handle: Callable[[Link], Awaitable[None]]) -> AsyncGenerator[str]:
    """Let node ``b`` serve while the block runs, and return where."""
    async with trio.open_nursery() as nursery:
        address = await nursery.start(functools.partial(world.transport("b").serve, world.address(), handle))
        yield address
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def linked(world: World) -> AsyncGenerator[tuple[Link, Link]]:
    """Open a link from ``a`` to ``b``, and return both ends."""
    arrived, links = trio.open_memory_channel[Link](1)

    async def handle(link: Link) -> None:
        await arrived.send(link)
        await trio.sleep_forever()

    async with serving(world, handle) as address, world.transport("a").dial(address, "b") as near:
        yield near, await links.receive()


async def echo(link: Link) -> None:
    """Send everything back; ends as the link does."""
    while True:
        await link.send(await link.receive())


async def lost(link: Link) -> list[bytes]:
    """Return all that still arrives until the link is lost."""
    rest = []
    with trio.fail_after(20):
        while True:
            try:
                rest.append(await link.receive())
            except LinkLost:
                return rest


async def filled(world: World, link: Link) -> int:
    """Send until the far side takes no more, and cancel that send. Return how many were handed over."""
    message = bytes(2**20)
    for sent in range(64):
        with trio.move_on_after(world.patience) as scope:
            await link.send(message)
        if scope.cancelled_caught:
            return sent
    raise AssertionError("a far side that receives nothing took 64 MiB")


async def wait_until(world: World, condition: Callable[[], bool]) -> None:
    """Wait until something holds that no event tells, at most for the world's patience."""
    with trio.fail_after(world.patience):
        while not condition():  # noqa: ASYNC110  # it is asked of sockets and of other people's tasks
            await trio.sleep(world.patience / 100)
