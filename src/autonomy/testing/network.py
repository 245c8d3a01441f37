"""A network of hosts that exists in one process and in virtual time, and does to links what networks do.

Messages arrive whole and in order, or their link ends; until that is noticed, nothing may arrive for a long time. Each
verb that breaks something says so in the record. Next: `simulation`, which puts nodes on the hosts.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from random import Random
from typing import Final

import trio

from .._links.limits import LinkLimits
from ..abc import Link, LinkLost, LinkRefused
from .lanes import Lane, SimulatedLink, Way
from .moments import Moments

Handler = Callable[[Link], Awaitable[None]]
_LIMITS: Final = LinkLimits()
_RESET: Final = "it was reset"


def address_of(host: str) -> str:
    """Return the address at which the node of a host listens."""
    return f"wss://{host}:1"


class Network:
    """The hosts of a simulated zone, and what is between them.

    Args:
        chance: Gives each way a source of chance of its own, for latencies: what is broken on one way, or no longer
            broken when a story is shortened, then shifts nothing on the others.
        moments: Where it is noted what happens.
        latency: Least and greatest seconds that a message takes.
    """

    def __init__(
        self, chance: Callable[[Way], Random], moments: Moments, latency: tuple[float, float] = (0.0005, 0.005)
    ) -> None:
        self._chance = chance
        self._chances: dict[Way, Random] = {}
        self._moments = moments
        self._latency = latency
        self._slow: dict[Way, tuple[float, float]] = {}
        self._blocked: dict[Way, int] = {}
        """How many faults block a way: it is open again when the last of them is mended."""
        self._dark: dict[str, None] = {}
        """Hosts without power: they do not even refuse."""
        self._lives: dict[str, int] = {}
        """How often what ran on a host has ended."""
        self._servers: dict[str, tuple[Handler, trio.Nursery]] = {}
        self._wires: dict[int, tuple[SimulatedLink, SimulatedLink]] = {}
        self._number = 0
        self._healed = trio.lowlevel.ParkingLot()

    def transport(self, host: str) -> SimulatedTransport:
        """Return what the node of a host dials and listens by."""
        return SimulatedTransport(self, host)

    def life(self, host: str) -> int:
        """Return what tells what runs on a host now from what ran there before."""
        return self._lives.get(host, 0)

    # --- faults

    def block(self, *ways: Way) -> None:
        """Let nothing arrive on these ways; neither side is told."""
        for way in ways:
            self._blocked[way] = self._blocked.get(way, 0) + 1

    def unblock(self, *ways: Way) -> None:
        """End one fault that blocks these ways; after the last, everything goes on, what was held up first."""
        for way in ways:
            left = self._blocked.pop(way, 0) - 1
            if left > 0:
                self._blocked[way] = left
        self._look_again()

    def slow(self, way: Way, latency: tuple[float, float] | None) -> None:
        """Give a way another latency; None for the usual one."""
        if latency is None:
            self._slow.pop(way, None)
        else:
            self._slow[way] = latency

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
        self._servers.pop(host, None)
        return [end for ends in self._wires.values() for end in ends if end.host == host]

    def revive(self, host: str) -> None:
        """Turn a host on again."""
        self._dark.pop(host, None)
        self._healed.unpark_all()

    def heal(self) -> list[Way]:
        """Let everything go everywhere at the usual pace; returns the ways where it did not."""
        ways = list(dict.fromkeys([*self._blocked, *self._slow]))
        self._slow.clear()
        self._blocked.clear()
        self._look_again()
        return ways

    def _between(self, one: str, other: str) -> list[tuple[SimulatedLink, SimulatedLink]]:
        return [wire for wire in self._wires.values() if {wire[0].host, wire[1].host} == {one, other}]

    def _look_again(self) -> None:
        self._healed.unpark_all()
        for near, far in self._wires.values():
            near.look_again()
            far.look_again()

    # --- as links see it

    def is_blocked(self, way: Way) -> bool:
        """Whether nothing arrives on a way."""
        return way in self._blocked

    def delay(self, way: Way) -> float:
        """Return the seconds that the next message on a way takes."""
        chance = self._chances.get(way)
        if chance is None:
            chance = self._chances[way] = self._chance(way)
        return chance.uniform(*self._slow.get(way, self._latency))

    def note(self, kind: str, way: Way, number: int, text: str = "") -> None:
        """Note what happened on a way."""
        self._moments.note(kind, way[0], way[1], number, text)

    def next_number(self) -> int:
        """Return a number that nothing here has had."""
        self._number += 1
        return self._number

    async def reach(self, caller: str, host: str) -> None:
        """Go to a host and back.

        Raises:
            LinkLost: Nothing comes back.
            LinkRefused: It is on, and nobody listens.
        """
        ways = (caller, host), (host, caller)
        with trio.move_on_after(_LIMITS.handshake):
            for way in ways:
                await trio.sleep(self.delay(way))
            while any(map(self.is_blocked, ways)) or host in self._dark:
                await self._healed.park()
            if host not in self._servers:
                raise LinkRefused(f"no link to {host}: nobody listens there")
            return
        raise LinkLost(f"no link to {host}: it did not answer in time")

    def connect(self, caller: str, host: str) -> SimulatedLink:
        """Return the caller's end of a new link."""
        handle, nursery = self._servers[host]
        there, back = Lane(self, (caller, host)), Lane(self, (host, caller))
        near = SimulatedLink(caller, host, there, back, _LIMITS)
        far = SimulatedLink(host, caller, back, there, _LIMITS)
        number = self.next_number()
        self._wires[number] = near, far

        def forget() -> None:
            if near.lost and far.lost:
                self._wires.pop(number, None)

        near.forget = far.forget = forget
        self.note("link", (caller, host), number)
        nursery.start_soon(_handled, handle, far)
        return near

    @asynccontextmanager
    async def listen(self, host: str, handle: Handler) -> AsyncGenerator[None]:
        """Take links at a host while the block runs; when it ends, so do they."""
        if host in self._servers:
            raise OSError(f"somebody listens at {address_of(host)} already")
        async with trio.open_nursery() as nursery:
            self._servers[host] = mine = handle, nursery
            try:
                yield
            finally:
                if self._servers.get(host) is mine:
                    del self._servers[host]
            nursery.cancel_scope.cancel()


async def _handled(handle: Handler, link: SimulatedLink) -> None:
    try:
        with suppress(LinkLost):
            await handle(link)
    finally:
        await link.close()


class SimulatedTransport:
    """One host's way into a `Network`; see `abc.Transport`."""

    def __init__(self, network: Network, host: str) -> None:
        self._network = network
        self._host = host
        self._life = network.life(host)

    @asynccontextmanager
    async def dial(self, address: str, node: str | None) -> AsyncGenerator[Link]:
        """Open a link to the host of an address; see `abc.Transport`."""
        host = address.removeprefix("wss://").partition(":")[0]
        await self._network.reach(self._host, host)
        if self._life != self._network.life(self._host):
            raise LinkLost(f"no link to {address}: this host was turned off")
        if node not in (None, host):
            raise LinkLost(f"no link to {address}: it is node {host!r}, not {node!r}")
        link = self._network.connect(self._host, host)
        try:
            yield link
        finally:
            await link.close()

    async def serve(
        self, address: str, handle: Handler, *, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Listen at this host, whatever the address says; see `abc.Transport`."""
        del address
        async with self._network.listen(self._host, handle):
            task_status.started(address_of(self._host))
            await trio.sleep_forever()
