"""A network of hosts that exists in one process and in virtual time, and does to links what networks do.

Messages arrive whole and in order, or their link ends; until that is noticed, nothing may arrive for a long time. Each
verb that breaks something says so in the record. Next: `simulation`, which puts nodes on the hosts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from random import Random
from typing import Final

import trio

from .._sansio.spiffe import PeerIdentity
from ..abc import Link, LinkLost, LinkRefused
from .moments import Moments

Way = tuple[str, str]
"""From one host to another."""
Handler = Callable[[Link], Awaitable[None]]
ZONE: Final = "simulated"
_WINDOW: Final = 2**18
"""Bytes under way on a link, in one direction, before its sender waits."""
_LARGEST: Final = 4 * 2**20
_HANDSHAKE: Final = 5.0
_SEND: Final = 30.0
_CLOSE: Final = 1.0
_NEVER: Final = datetime(9999, 1, 1, tzinfo=UTC)


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
        self._servers: dict[str, tuple[Handler, trio.Nursery]] = {}
        self._wires: dict[int, tuple[SimulatedLink, SimulatedLink]] = {}
        self._number = 0
        self._healed = trio.lowlevel.ParkingLot()

    def transport(self, host: str) -> SimulatedTransport:
        """Return what the node of a host dials and listens by."""
        return SimulatedTransport(self, host)

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
        return sum(near.lose("it was reset") for near, _ in self._between(one, other))

    def blackhole(self, one: str, other: str) -> int:
        """Let nothing arrive any more on the links that there are between two hosts, though new ones work."""
        return sum(near.swallow() for near, _ in self._between(one, other))

    def kill(self, host: str, *, power: bool = False) -> None:
        """End what runs on a host: its links end at once, or if it has no `power` never say anything again."""
        if not power:
            self._dark[host] = None
        self._servers.pop(host, None)
        for near, far in list(self._wires.values()):
            if host in (near.host, far.host):
                if power:
                    near.swallow()
                else:
                    near.lose("it was reset")

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
            near.incoming.look_again()
            far.incoming.look_again()

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
        with trio.move_on_after(_HANDSHAKE):
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
        near, far = SimulatedLink(caller, host, there, back), SimulatedLink(host, caller, back, there)
        number = self.next_number()
        self._wires[number] = near, far
        self.note("link", (caller, host), number)
        nursery.start_soon(_handled, handle, far)
        near.forget = far.forget = lambda: self._wires.pop(number, None)
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

    @asynccontextmanager
    async def dial(self, address: str, node: str | None) -> AsyncGenerator[Link]:
        """Open a link to the host of an address; see `abc.Transport`."""
        host = address.removeprefix("wss://").partition(":")[0]
        await self._network.reach(self._host, host)
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


class Lane:
    """One direction of a link: messages on their way, each with the time at which it is there."""

    def __init__(self, network: Network, way: Way) -> None:
        self._network = network
        self.way = way
        self._messages: deque[tuple[float, int, bytes]] = deque()
        self._held = 0
        self._last = 0.0
        self._changed = trio.lowlevel.ParkingLot()
        self._swallows = False
        self.lost = ""

    async def put(self, message: bytes) -> None:
        """Send, when there is room."""
        await trio.lowlevel.checkpoint()
        while not self.lost and self._held and self._held + len(message) > _WINDOW:
            await self._changed.park()
        if self.lost:
            raise LinkLost(self.lost)
        number = self._network.next_number()
        self._network.note("send", self.way, number, f"{len(message)} bytes")
        self._last = max(self._last, trio.current_time() + self._network.delay(self.way))
        self._messages.append((self._last, number, message))
        self._held += len(message)
        self._changed.unpark_all()

    async def take(self) -> bytes:
        """Return the next message once it is there."""
        await trio.lowlevel.checkpoint()
        while True:
            is_silent = self._swallows or self._network.is_blocked(self.way)
            if self._messages and not is_silent:
                due, number, message = self._messages[0]
                if due <= trio.current_time():
                    self._messages.popleft()
                    self._held -= len(message)
                    self._network.note("receive", (self.way[1], self.way[0]), number)
                    self._changed.unpark_all()
                    return message
                with trio.move_on_at(due):
                    await self._changed.park()
            elif self.lost and (not is_silent or not self._messages):
                raise LinkLost(self.lost)
            else:
                await self._changed.park()

    def swallow(self) -> None:
        """Deliver nothing any more, and say nothing."""
        self._swallows = True
        self._changed.unpark_all()

    def lose(self, reason: str, *, all_of_it: bool) -> None:
        """End; what is under way still arrives unless all of it is lost."""
        self.lost = self.lost or reason
        if all_of_it:
            self._messages.clear()
        self._changed.unpark_all()

    def look_again(self) -> None:
        """See whether something may arrive now."""
        self._changed.unpark_all()


class SimulatedLink:
    """One end of a link; see `abc.Link`."""

    def __init__(self, host: str, peer: str, outgoing: Lane, incoming: Lane) -> None:
        self.host = host
        self._peer = PeerIdentity(peer, ZONE, 0, _NEVER, f"certificate of {peer}".encode())
        self._outgoing = outgoing
        self.incoming = incoming
        self._is_closed = False
        self.forget: Callable[[], object] = lambda: None

    @property
    def peer(self) -> PeerIdentity:
        """The node at the other end."""
        return self._peer

    async def send(self, message: bytes) -> None:
        """Send one message; see `abc.Link`."""
        try:
            with trio.fail_after(_SEND):
                await self._outgoing.put(message)
        except trio.TooSlowError:
            self.lose(f"the far side took nothing for {_SEND:g} s")
            raise LinkLost(self._outgoing.lost) from None
        except trio.Cancelled:
            self.lose("a send was cancelled")
            raise
        if len(message) > _LARGEST:
            self.lose(f"it sent a message of {len(message)} bytes, at most {_LARGEST} are taken")

    async def receive(self) -> bytes:
        """Return the next message; see `abc.Link`."""
        return await self.incoming.take()

    async def close(self, reason: str = "") -> None:
        """Close in good order; see `abc.Link`."""
        if not self._is_closed:
            self._is_closed = True
            self._outgoing.lose("it was closed" + (f": {reason}" if reason else ""), all_of_it=False)
            self.incoming.lose("it was closed here", all_of_it=True)
            self.forget()
        await trio.lowlevel.cancel_shielded_checkpoint()

    def lose(self, reason: str) -> bool:
        """End both ways at once."""
        self._outgoing.lose(reason, all_of_it=True)
        self.incoming.lose(reason, all_of_it=True)
        self.forget()
        return True

    def swallow(self) -> bool:
        """Deliver nothing any more, either way."""
        self._outgoing.swallow()
        self.incoming.swallow()
        return True
