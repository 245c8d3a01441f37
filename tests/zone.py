"""Nodes of one zone within one Trio run, and the simulated network between them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from random import Random
from typing import Any

import trio

from autonomy import DeadLetter, Node, open_node
from autonomy.testing.lanes import Way
from autonomy.testing.moments import Moments
from autonomy.testing.network import End, Network, Server


class FaultyNetwork(Network):
    """A simulated network without latency, of hosts named like their nodes, which listen at ``wss://NAME:1``.

    Nothing is lost without the links' knowing: what is under way arrives, in order, or the link ends.
    """

    def __init__(self) -> None:
        super().__init__(lambda way: Random(repr(way)), Moments(trio.current_time), (0.0, 0.0))
        self._ends: dict[Way, list[End]] = {}
        self.dials = 0

    def cut(self, a: str, b: str) -> None:
        """End all links between two nodes at once; what is under way is lost."""
        self.reset(a, b)

    def stop_listening(self, a: str, b: str) -> None:
        """Cut the links between two nodes, and let each host say that nobody listens there for the other."""
        for way in ((a, b), (b, a)):
            self._ends.setdefault(way, []).append(self.refuse(way))
        self.cut(a, b)

    def silence(self, a: str, b: str) -> None:
        """Let nothing arrive that goes from `a` to `b`, and neither side know: it is only late."""
        self._ends.setdefault((a, b), []).append(self.block((a, b)))

    def part(self, a: str, b: str) -> None:
        """Let nothing arrive in either direction, no dial either."""
        self.silence(a, b)
        self.silence(b, a)

    def heal(self, a: str, b: str) -> None:
        """Let everything go between two nodes again."""
        for way in ((a, b), (b, a)):
            for end in self._ends.pop(way, []):
                end()

    async def reach(self, caller: str, address: str) -> Server:
        """Count the dials."""
        self.dials += 1
        return await super().reach(caller, address)


def on(network: Network, name: str, **options: Any) -> AbstractAsyncContextManager[Node]:
    """Open a node on a network, at the address ``wss://NAME:1``."""
    options = {"listen": f"wss://{name}:1", "stall_warning": None} | options
    return open_node(name, transport=network.transport(name), **options)


@asynccontextmanager
async def nodes(*names: str, network: Network | None = None, **options: Any) -> AsyncGenerator[list[Node]]:
    """Open nodes of these names, each introduced to all others. The last one is closed first."""
    network = network or FaultyNetwork()
    async with AsyncExitStack() as stack:
        opened: list[Node] = []
        for name in names:
            node = await stack.enter_async_context(on(network, name, **options))
            for other in opened:
                await node.connect(f"wss://{other.name}:1")
                await other.connect(f"wss://{name}:1")
            opened.append(node)
        yield opened


@asynccontextmanager
async def two_nodes(network: Network | None = None, **options: Any) -> AsyncGenerator[tuple[Node, Node]]:
    """Open nodes ``a`` and ``b``, linked; ``b`` is closed first."""
    async with nodes("a", "b", network=network, **options) as (a, b):
        yield a, b


def dead_letters_of(node: Node) -> list[DeadLetter]:
    """Return a list to which the dead letters of a node are added."""
    letters: list[DeadLetter] = []
    node.on_dead_letter = letters.append
    return letters
