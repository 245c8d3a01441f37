"""Where directories are tried out, and what tests of them do there again and again."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar
from uuid import uuid4

import trio

from autonomy._sansio.members import LEASE, Member
from autonomy._sansio.roster import Standing
from autonomy._zone.seat import NodeSeat
from autonomy.abc import Directory, DirectoryClient
from autonomy.directory import DnsDirectory, EmbeddedDirectory, EtcdDirectory, MemoryDirectory
from autonomy.errors import DirectoryUnavailable
from autonomy.node import Node
from tests.zone import FaultyNetwork, on

from .fake_dns import FakeDns
from .fake_etcd import FakeEtcd

T = TypeVar("T")
LEASE_IN_ETCD = 3.0
LATE = 0.7
"""Seconds: short, for etcd's clock is the real one. Etcd ends leases half a second after they ran out, at most."""


@dataclass
class Visitor:
    """A start of a node, as it uses a directory.

    Attributes:
        client: The directory.
        member: What it enters.
    """

    client: DirectoryClient
    member: Member

    async def join(self, *names: str, ready: bool = True) -> Standing:
        """Enter it, with names."""
        member = Member(self.member.name, self.member.incarnation, "wss://x:1", self.member.name, ready=ready)
        return await again(lambda: self.client.join(member, names, ()))

    async def publish(self, *added: str, removed: tuple[str, ...] = (), ready: bool = True) -> Standing:
        """Change what it owns."""
        return await again(lambda: self.client.publish(added, removed, ready=ready))

    async def find(self, name: str, on: str | None = None) -> tuple[str, ...]:
        """Return who owns a name."""
        return await again(lambda: self.client.find(name, on))

    async def seen(self) -> list[str]:
        """Return who is there."""
        changes = await again(lambda: self.client.changes("", 0))
        assert changes.whole
        return sorted(member.name for member in changes.joined)


async def again(call: Callable[[], Awaitable[T]]) -> T:
    """Return what a directory says, once it does: it may be away for a moment, and doing things again does no harm."""
    for _ in range(20):
        try:
            return await call()
        except DirectoryUnavailable:
            await trio.sleep(0.1)
    return await call()


Enter = Callable[[str], AbstractAsyncContextManager[Visitor]]


@dataclass(frozen=True)
class World:
    """Where directories are tried out. All times are on Trio's clock.

    Attributes:
        open: Keeps a new directory while a block runs, and returns what lets starts of nodes use it.
        lease: Seconds that a silent node is believed to be there.
        starting: Seconds until a node counts as ready.
        patience: Seconds, longer than anything takes that waits for nobody.
    """

    open: Callable[[], AbstractAsyncContextManager[Enter]]
    lease: float = LEASE
    starting: float = 10.0
    patience: float = 1.0


def seat_of(node: Node, zone: str = "") -> NodeSeat:
    """Return a node as its directory needs it."""
    remoting = node._remoting
    assert remoting is not None
    ways = remoting.introduce, remoting.identify, remoting.down
    return NodeSeat(node.name, node.incarnation, zone, node, node._system, *ways)


@asynccontextmanager
async def visiting(
    network: FaultyNetwork, directory: Directory, name: str, zone: str = "", *, listen: str | None = None
) -> AsyncGenerator[Visitor]:
    """Open a node, and a directory as that one uses it."""
    async with on(network, name, listen=listen) as node, directory.open(seat_of(node, zone)) as client:
        yield Visitor(client, Member(name, node.incarnation))


def memory_world() -> World:
    """Return a world with a directory of this process; for virtual time."""

    @asynccontextmanager
    async def opened() -> AsyncGenerator[Enter]:
        network, directory = FaultyNetwork(), MemoryDirectory()
        yield lambda name: visiting(network, directory, name)

    return World(opened)


def embedded_world() -> World:
    """Return a world with a directory on a node of its own; for virtual time."""

    @asynccontextmanager
    async def opened() -> AsyncGenerator[Enter]:
        network, directory = FaultyNetwork(), EmbeddedDirectory("main", "wss://main:1")
        async with on(network, "main") as main, directory.open(seat_of(main)):
            yield lambda name: visiting(network, directory, name)

    return World(opened)


def fake_etcd_world() -> World:
    """Return a world with a fake of an etcd; for virtual time."""

    @asynccontextmanager
    async def opened() -> AsyncGenerator[Enter]:
        network, directory = FaultyNetwork(), EtcdDirectory("etcd://fake:1", transport=FakeEtcd().transport)
        yield lambda name: visiting(network, directory, name, "z")

    return World(opened)


def dns_world() -> World:
    """Return a world without a directory, whose nodes are found by a fake of DNS; for virtual time."""

    @asynccontextmanager
    async def opened() -> AsyncGenerator[Enter]:
        network, dns = FaultyNetwork(), FakeDns()
        directory = DnsDirectory("dns://zone:1", resolve=dns.resolve)

        @asynccontextmanager
        async def enter(name: str) -> AsyncGenerator[Visitor]:
            with dns.knows(name):
                async with visiting(network, directory, name, listen=f"wss://{name}:1") as visitor:
                    yield visitor

        yield enter

    return World(opened, patience=1.5)


def etcd_world(url: str, lease: float = LEASE_IN_ETCD) -> World:
    """Return a world with a zone of its own in an etcd; for real time, which its leases are in."""

    @asynccontextmanager
    async def opened() -> AsyncGenerator[Enter]:
        network, directory, zone = FaultyNetwork(), EtcdDirectory(url), f"z{uuid4().hex}"
        directory.lease = directory.starting = lease
        yield lambda name: visiting(network, directory, name, zone)

    return World(opened, lease + LATE, lease, patience=0.45)
