"""A network of hosts that exists in one process and in virtual time, and does to links what networks do.

Messages arrive whole and in order, or their link ends; until that is noticed, nothing may arrive for a long time. Each
verb that breaks something says so in the record. Next: `simulation`, which puts nodes on the hosts.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from random import Random
from typing import Final

import trio

from .._links.addresses import parse_address, write_address
from .._links.limits import LinkLimits
from ..abc import Link, LinkLost, LinkRefused
from .hindrances import Hindrances
from .lanes import Lane, SimulatedLink, Way
from .moments import Moments

Handler = Callable[[Link], Awaitable[None]]
Latency = tuple[float, float]
"""Least and greatest seconds that a message takes."""
End = Callable[[], None]
"""Ends what was begun; twice does no harm."""
LATENCY: Final = (0.0005, 0.005)
_WINDOW: Final = 2**18
_FIRST_PORT: Final = 49152
_RESET: Final = "it was reset"


def address_of(host: str) -> str:
    """Return the address at which the node of a host listens."""
    return f"wss://{host}:1"


@dataclass(frozen=True, slots=True)
class Server:
    """Who listens at an address.

    Attributes:
        host: Where it is.
        node: Who it is.
        take: Called with its end of each link.
    """

    host: str
    node: str
    take: Callable[[SimulatedLink], None]


class Network:
    """The hosts of a simulated zone, and what is between them.

    Args:
        chance: Gives each way a source of chance of its own, for latencies: what is broken on one way, or no longer
            broken when a story is shortened, then shifts nothing on the others.
        moments: Where it is noted what happens.
        latency: Least and greatest seconds that a message takes.
        limits: What one end of a link does for how long, and how large a message may be.
        describe: Returns what is noted of a message.
    """

    def __init__(
        self,
        chance: Callable[[Way], Random],
        moments: Moments,
        latency: Latency = LATENCY,
        limits: LinkLimits | None = None,
        describe: Callable[[bytes], str] = lambda message: f"{len(message)} bytes",
    ) -> None:
        self._chance = chance
        self._chances: dict[Way, Random] = {}
        self._moments = moments
        self._latency = latency
        self._limits = limits or LinkLimits()
        self.describe = describe
        self._slow = Hindrances[Way, Latency]()
        self._blocked = Hindrances[Way, None](self._look_again)
        self._held = Hindrances[Way, None](self._look_again)
        self._stalled = Hindrances[Way, None](self._look_again)
        self._narrow = Hindrances[Way, int](self._look_again)
        self._refused = Hindrances[Way, None]()
        self._dark: dict[str, None] = {}
        """Hosts without power: they do not even refuse."""
        self._lives: dict[str, int] = {}
        """How often what ran on a host has ended."""
        self._servers: dict[str, Server] = {}
        self._hosts: dict[str, str] = {}
        """Where the addresses are, of those who listen or have listened."""
        self._port = _FIRST_PORT
        self._wires: dict[int, tuple[SimulatedLink, SimulatedLink]] = {}
        self._number = 0
        self._healed = trio.lowlevel.ParkingLot()

    def transport(self, host: str, node: str = "") -> SimulatedTransport:
        """Return what a node on a host dials and listens by; it has the host's name, if not another."""
        return SimulatedTransport(self, host, node or host)

    def life(self, host: str) -> int:
        """Return what tells what runs on a host now from what ran there before."""
        return self._lives.get(host, 0)

    # --- faults

    def block(self, *ways: Way) -> End:
        """Let nothing arrive on these ways; neither side is told. In the end it goes on, what was held up first."""
        return self._blocked.begin(None, *ways)

    def hold(self, *ways: Way) -> End:
        """Let nothing arrive on the links on these ways, though new links are opened."""
        return self._held.begin(None, *ways)

    def stall(self, *ways: Way) -> End:
        """Let no new link come about from the first host of a way to the second, though those there are work."""
        return self._stalled.begin(None, *ways)

    def narrow(self, *ways: Way) -> End:
        """Let a link have one message under way at a time."""
        return self._narrow.begin(0, *ways)

    def refuse(self, *ways: Way) -> End:
        """Let the second host of a way answer the first that nobody listens there, when it dials."""
        return self._refused.begin(None, *ways)

    def slow(self, latency: Latency, *ways: Way) -> End:
        """Give ways another latency."""
        return self._slow.begin(latency, *ways)

    def reset(self, one: str, other: str) -> int:
        """End all links between two hosts; what is under way is lost. Returns how many there were."""
        wires = self._between(one, other)
        for ends in wires:
            for end in ends:
                end.lose(_RESET)
        return len(wires)

    def blackhole(self, one: str, other: str) -> int:
        """Let nothing arrive any more on the links that there are between two hosts, though new ones work."""
        wires = self._between(one, other)
        for near, _ in wires:
            near.swallow()
        return len(wires)

    def crash(self, host: str) -> None:
        """End what runs on a host: it resets its links, as far as that is heard, and nobody listens there."""
        for end in self._leave(host):
            end.die(_RESET)

    def darken(self, host: str) -> None:
        """Turn a host off: nothing is ever heard of its links again, and it does not even refuse new ones."""
        self._dark[host] = None
        for end in self._leave(host):
            end.swallow()
            end.lose("it has no power")

    def _leave(self, host: str) -> list[SimulatedLink]:
        """Let nothing that runs on a host now reach anybody any more; returns its ends of links."""
        self._lives[host] = self._lives.get(host, 0) + 1
        for address in [address for address, server in self._servers.items() if server.host == host]:
            del self._servers[address]
        return [end for ends in self._wires.values() for end in ends if end.host == host]

    def revive(self, host: str) -> None:
        """Turn a host on again."""
        self._dark.pop(host, None)
        self._healed.unpark_all()

    def _between(self, one: str, other: str) -> list[tuple[SimulatedLink, SimulatedLink]]:
        return [wire for wire in self._wires.values() if {wire[0].host, wire[1].host} == {one, other}]

    def _look_again(self) -> None:
        self._healed.unpark_all()
        for near, far in self._wires.values():
            near.look_again()
            far.look_again()

    # --- as links see it

    def is_blocked(self, way: Way) -> bool:
        """Whether nothing arrives on the links on a way."""
        return way in self._blocked or way in self._held

    def window(self, way: Way) -> int:
        """Return the bytes that may be under way on a link, in one direction, before its sender waits."""
        return self._narrow.newest(way, _WINDOW)

    def delay(self, way: Way) -> float:
        """Return the seconds that the next message on a way takes."""
        chance = self._chances.get(way)
        if chance is None:
            chance = self._chances[way] = self._chance(way)
        return chance.uniform(*self._slow.newest(way, self._latency))

    def note(self, kind: str, way: Way, number: int, text: str = "") -> None:
        """Note what happened on a way."""
        self._moments.note(kind, way[0], way[1], number, text)

    def next_number(self) -> int:
        """Return a number that nothing here has had."""
        self._number += 1
        return self._number

    async def reach(self, caller: str, address: str) -> Server:
        """Go to whoever listens at an address, and back.

        Raises:
            LinkLost: Nothing comes back.
            LinkRefused: The host is on, and nobody listens there.
        """
        host, _ = parse_address(address)
        host = self._hosts.get(host, host)
        ways = (caller, host), (host, caller)
        with trio.move_on_after(self._limits.handshake):
            for way in ways:
                await trio.sleep(self.delay(way))
            while ways[0] in self._stalled or any(way in self._blocked for way in ways) or host in self._dark:
                await self._healed.park()
            server = self._servers.get(write_address(*parse_address(address)))
            if server is None or ways[0] in self._refused:
                raise LinkRefused(f"no link to {address}: nobody listens there")
            return server
        raise LinkLost(f"no link to {address}: it did not answer in time")

    def connect(self, caller: str, node: str, server: Server) -> SimulatedLink:
        """Return the end of a new link of a node that calls."""
        host = server.host
        there, back = Lane(self, (caller, host)), Lane(self, (host, caller))
        near = SimulatedLink(caller, server.node, there, back, self._limits)
        far = SimulatedLink(host, node, back, there, self._limits)
        number = self.next_number()
        self._wires[number] = near, far

        def forget() -> None:
            if near.lost and far.lost:
                self._wires.pop(number, None)

        near.forget = far.forget = forget
        self.note("link", (caller, host), number)
        server.take(far)
        return near

    def reserve(self, address: str) -> str:
        """Return an address with its port chosen, if it was 0.

        Raises:
            OSError: Somebody listens there.
        """
        host, port = parse_address(address)
        if not port:
            self._port = port = self._port + 1
        address = write_address(host, port)
        if address in self._servers:
            raise OSError(f"somebody listens at {address} already")
        return address

    def open(self, address: str, server: Server) -> None:
        """Let somebody listen at an address."""
        self._servers[address] = server
        self._hosts[parse_address(address)[0]] = server.host

    def shut(self, address: str, server: Server) -> None:
        """Let him listen there no more."""
        if self._servers.get(address) is server:
            del self._servers[address]

    @asynccontextmanager
    async def listen(self, address: str, host: str, node: str, handle: Handler) -> AsyncGenerator[None]:
        """Take links at an address while the block runs; when it ends, so do they."""
        async with trio.open_nursery() as nursery:
            server = Server(host, node, lambda link: nursery.start_soon(_handled, handle, link))
            self.open(address, server)
            try:
                yield
            finally:
                self.shut(address, server)
            nursery.cancel_scope.cancel()


async def _handled(handle: Handler, link: SimulatedLink) -> None:
    try:
        with suppress(LinkLost):
            await handle(link)
    finally:
        await link.close()


class SimulatedTransport:
    """A node's way into a `Network`, as long as its host is on; see `abc.Transport`.

    Args:
        network: The network.
        host: Where the node is.
        node: Who it is.
    """

    def __init__(self, network: Network, host: str, node: str) -> None:
        self._network = network
        self._host = host
        self._node = node
        self._life = network.life(host)

    @asynccontextmanager
    async def dial(self, address: str, node: str | None) -> AsyncGenerator[Link]:
        """Open a link to whoever listens at an address; see `abc.Transport`."""
        server = await self._network.reach(self._host, address)
        if self._life != self._network.life(self._host):
            raise LinkLost(f"no link to {address}: this host was turned off")
        if node not in (None, server.node):
            raise LinkLost(f"no link to {address}: it is node {server.node!r}, not {node!r}")
        link = self._network.connect(self._host, self._node, server)
        try:
            yield link
        finally:
            await link.close()

    async def serve(
        self, address: str, handle: Handler, *, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Listen at an address; see `abc.Transport`."""
        address = self._network.reserve(address)
        async with self._network.listen(address, self._host, self._node, handle):
            task_status.started(address)
            await trio.sleep_forever()
