"""Nodes of one zone, with a directory, within one Trio run; and what tests of names send to there, in every way."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import trio

from autonomy import Context, Node
from autonomy._sansio.rights import Rights
from autonomy.abc import Directory
from autonomy.directory import EmbeddedDirectory
from autonomy.testing.network import Network
from tests.zone import FaultyNetwork, on

Three = tuple[Node, Node, Node]
ALL = Rights(manage="*", ship="*")
"""Every node of the zone may do everything."""


@asynccontextmanager
async def zone(
    *names: str, network: Network | None = None, directory: Directory | None = None, **options: Any
) -> AsyncGenerator[list[Node]]:
    """Open nodes of one zone. The first one keeps the directory, unless there is another; the last is closed first."""
    network = network or FaultyNetwork()
    directory = directory or EmbeddedDirectory(names[0], f"wss://{names[0]}:1")
    async with AsyncExitStack() as stack:
        options = {"directory": directory, "rights": ALL} | options
        yield [await stack.enter_async_context(on(network, name, **options)) for name in names]


class Where:
    """Replies with its node, and keeps what it was told."""

    def __init__(self) -> None:
        self.received: list[str] = []

    async def handle_message(self, context: Context, message: str) -> None:
        self.received.append(message)
        await context.reply(context.node.name)


class Passes:
    """Forwards each message to the worker that it names."""

    async def handle_message(self, context: Context, message: str) -> None:
        await context.forward(message)


class Sends:
    """Sends a message on to a worker, by the way it was given, and replies with what came of that."""

    def __init__(self, send: Callable[[Context], Awaitable[object]]) -> None:
        self._send = send

    async def handle_message(self, context: Context, message: str) -> None:
        await context.reply(str(await self._send(context)))


# --- ways to send a message to the worker `where`


async def by_request(node: Node) -> None:
    await node.send_and_receive("where", "hello")


async def by_message(node: Node) -> None:
    await node.send_message("where", "hello")


async def by_message_in_time(node: Node) -> None:
    await node.send_message("where", "hello", timeout=5)


async def by_mailbox(node: Node) -> None:
    async with await node.send("where", "hello") as mailbox:
        await mailbox.receive(timeout=5)


async def by_forward(node: Node) -> None:
    await node.start_worker("passes", Passes())
    await node.send_and_receive("passes", "where")
    await node.stop_worker("passes")


async def by_timer(node: Node) -> None:
    node.send_after(0.01, "where", "hello")
    await trio.sleep(0.1)


async def by_any(node: Node) -> None:
    await node.any("where", "hello")


async def by_all(node: Node) -> None:
    await node.all("where", "hello")


WAYS = [by_request, by_message, by_message_in_time, by_mailbox, by_forward, by_timer, by_any, by_all]
