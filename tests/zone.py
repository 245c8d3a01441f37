"""Nodes of one zone within one Trio run, and a network between them that does what networks do."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

import trio

from autonomy import DeadLetter, Node, open_node
from autonomy._links.addresses import parse_address
from autonomy.abc import LinkLost, LinkRefused
from tests.links.memory import Lane, MemoryLink, MemoryNetwork

Way = tuple[str, str]
"""From one node to another."""
_DIAL = 5.0
"""Seconds until a dial that nobody answers is given up, as on real links."""


class FaultyNetwork(MemoryNetwork):
    """A network of hosts named like their nodes, which listen at ``wss://NAME:1``.

    Nothing is lost without the links' knowing: what is under way arrives, in order, or the link ends.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lanes: dict[Way, list[FaultyLane]] = {}
        self._silent: set[Way] = set()
        self._refusing: set[Way] = set()
        self._changed = trio.lowlevel.ParkingLot()
        self.dials = 0

    # --- what goes wrong

    def cut(self, a: str, b: str) -> None:
        """End all links between two nodes at once; what is under way is lost."""
        for way in ((a, b), (b, a)):
            for lane in self._lanes.pop(way, []):
                lane.tear()

    def refuse(self, a: str, b: str) -> None:
        """Cut the links between two nodes, and let each host say that nobody listens there for the other."""
        self._refusing |= {(a, b), (b, a)}
        self.cut(a, b)

    def stall(self, a: str, b: str) -> None:
        """Let nothing arrive that goes from `a` to `b`, and neither side know: it is only late."""
        self._silent.add((a, b))

    def part(self, a: str, b: str) -> None:
        """Let nothing arrive in either direction, no dial either."""
        self.stall(a, b)
        self.stall(b, a)

    def heal(self, a: str, b: str) -> None:
        """Let everything go between two nodes again."""
        ways = {(a, b), (b, a)}
        self._silent -= ways
        self._refusing -= ways
        self._changed.unpark_all()
        for way in ways:
            for lane in self._lanes.get(way, []):
                lane.look_again()

    # --- as links see it

    def lane(self, sender: str, receiver: str) -> Lane:
        """Return one direction of a new link."""
        way = sender, receiver
        lane = FaultyLane(self._limits.message, lambda: way in self._silent)
        self._lanes.setdefault(way, []).append(lane)
        return lane

    async def reach(self, caller: str, address: str) -> None:
        """Wait while nothing gets there, or back."""
        self.dials += 1
        callee, _ = parse_address(address)
        await trio.lowlevel.checkpoint()
        with trio.move_on_after(_DIAL):
            while self._silent & {(caller, callee), (callee, caller)}:
                await self._changed.park()
            return
        raise LinkLost(f"no link to {address}: nobody answered in time")

    def connect(self, caller: str, address: str, node: str | None) -> MemoryLink:
        """Return the caller's end of a new link, unless it is refused."""
        callee, _ = parse_address(address)
        if (caller, callee) in self._refusing:
            raise LinkRefused(f"no link to {address}: nobody listens there")
        return super().connect(caller, address, node)


class FaultyLane(Lane):
    """One direction of a link, in which for a while nothing may arrive, neither a message nor the news of an end."""

    def __init__(self, most: int, is_silent: Callable[[], bool]) -> None:
        super().__init__(most)
        self._is_silent = is_silent
        self._was_torn = False

    async def put(self, message: bytes) -> None:
        """Take a message: a sender who cannot be told of an end yet goes on."""
        if self._is_silent() and self.lost and not self._was_torn:
            await trio.lowlevel.checkpoint()
            return
        await super().put(message)

    async def take(self) -> bytes:
        """Return the next message, once it may arrive."""
        while not self._was_torn and (self._is_silent() or not (self._messages or self.lost)):
            await self._changed.park()
        return await super().take()

    def tear(self) -> None:
        """End at once, for both sides, and lose what is under way."""
        self._was_torn = True
        self.clear()
        self.lose("the connection was cut")

    def look_again(self) -> None:
        """See whether something may arrive now."""
        self._changed.unpark_all()


def on(network: MemoryNetwork, name: str, **options: Any) -> AbstractAsyncContextManager[Node]:
    """Open a node on a network, at the address ``wss://NAME:1``."""
    options = {"listen": f"wss://{name}:1", "stall_warning": None} | options
    return open_node(name, transport=network.transport(name), **options)


@asynccontextmanager
async def nodes(*names: str, network: MemoryNetwork | None = None, **options: Any) -> AsyncGenerator[list[Node]]:
    """Open nodes of these names, each introduced to all others. The last one is closed first."""
    network = network or MemoryNetwork()
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
async def two_nodes(network: MemoryNetwork | None = None, **options: Any) -> AsyncGenerator[tuple[Node, Node]]:
    """Open nodes ``a`` and ``b``, linked; ``b`` is closed first."""
    async with nodes("a", "b", network=network, **options) as (a, b):
        yield a, b


def dead_letters_of(node: Node) -> list[DeadLetter]:
    """Return a list to which the dead letters of a node are added."""
    letters: list[DeadLetter] = []
    node.on_dead_letter = letters.append
    return letters
