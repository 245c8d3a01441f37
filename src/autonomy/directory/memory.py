"""A directory for nodes of one process, and what keeps a roster for whoever asks: leases run out, and some wait.

What is decided lies in `_sansio/roster.py`. There is no task that watches the time: whoever asks looks at it, and
whoever waits does so until the next lease runs out.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import asynccontextmanager

import trio

from .._sansio.members import Member
from .._sansio.roster import Changes, Roster, Standing
from ..abc import NotAMember, Seat


class Keeper:
    """Keeps a roster. Each verb is what `abc.DirectoryClient` says, for the node that asks."""

    def __init__(self, epoch: str) -> None:
        self._roster = Roster(epoch)
        self._changed = trio.lowlevel.ParkingLot()
        self._wanted: dict[str, trio.lowlevel.ParkingLot] = {}
        """Where they wait who look for a name."""

    @property
    def members(self) -> list[Member]:
        """All nodes that are there now."""
        self._settle()
        return self._roster.members

    def count(self, name: str) -> int:
        """Return how many names a node owns."""
        return self._roster.count(name)

    def join(self, member: Member, names: Collection[str], known: Sequence[Member]) -> Standing:
        """Enter a node; see `abc.DirectoryClient.join`."""
        now = self._settle()
        standing = self._roster.join(member, names, known, now)
        self._tell_all()
        return standing

    def publish(
        self, name: str, incarnation: str, added: Collection[str], removed: Collection[str], *, ready: bool
    ) -> Standing:
        """Change what a node owns; see `abc.DirectoryClient.publish`."""
        now = self._settle()
        before = self._roster.revision
        standing = self._roster.publish(name, incarnation, added, removed, ready=ready, now=now)
        if self._roster.revision != before:
            self._tell_all()
        for wanted in added:  # new names alone are news for nobody else
            if wanted in self._wanted:
                self._wanted[wanted].unpark_all()
        return standing

    def leave(self, name: str, incarnation: str) -> None:
        """Remove a node, if it is that start of it."""
        self._settle()
        self._roster.leave(name, incarnation)
        self._tell_all()

    def lose(self, name: str) -> None:
        """Remove a node that is surely gone."""
        for member in self.members:
            if member.name == name:
                self.leave(name, member.incarnation)

    def check_in(self, name: str, incarnation: str) -> None:
        """Raise NotAMember if that start of a node is not in the directory."""
        self._settle()
        if self._roster.standing(name, incarnation) != "member":
            raise NotAMember

    async def find(self, asker: str, name: str, on: str | None) -> tuple[str, ...]:
        """Return who owns a name; see `abc.DirectoryClient.find`."""
        while True:
            now = self._settle()
            owners = self._roster.find(name, asker, on, now)
            if owners is not None:
                return owners
            lot = self._wanted.setdefault(name, trio.lowlevel.ParkingLot())
            try:
                await self._change(now, lot)
            finally:
                if not lot and self._wanted.get(name) is lot:
                    del self._wanted[name]

    async def changes(self, epoch: str, since: int) -> Changes:
        """Return what has changed; see `abc.DirectoryClient.changes`."""
        while True:
            now = self._settle()
            if epoch != self._roster.epoch or since != self._roster.revision:
                return self._roster.changes(epoch, since)
            await self._change(now, self._changed)

    def _settle(self) -> float:
        """Let leases run out that have; return what time it is."""
        now = trio.current_time()
        if self._roster.expire(now):
            self._tell_all()
        return now

    def _tell_all(self) -> None:
        for lot in (self._changed, *self._wanted.values()):
            lot.unpark_all()

    async def _change(self, now: float, lot: trio.lowlevel.ParkingLot) -> None:
        with trio.move_on_at(self._roster.next_event(now)):
            await lot.park()


class MemoryDirectory:
    """A directory for nodes of one process: ``directory=MemoryDirectory()``, the same one for each of them.

    It is for tests, and for zones in one process. A node's lease runs out when it does not renew it for 15 s.
    """

    def __init__(self) -> None:
        self._keeper = Keeper("memory")

    @property
    def places(self) -> Sequence[str]:
        """Nowhere; see `abc.Directory`."""
        return ()

    @asynccontextmanager
    async def open(self, seat: Seat) -> AsyncGenerator[MemoryClient]:
        """Use the directory from a node; see `abc.Directory`."""
        await trio.lowlevel.checkpoint()
        yield MemoryClient(self._keeper, seat)


class MemoryClient:
    """A directory of this process, as one node uses it; see `abc.DirectoryClient`."""

    def __init__(self, keeper: Keeper, seat: Seat) -> None:
        self._keeper = keeper
        self._name = seat.name
        self._incarnation = seat.incarnation
        self._has_left = False

    def reconnect(self) -> None:
        """Do nothing: there is none."""

    async def join(self, member: Member, names: Collection[str], known: Sequence[Member]) -> Standing:
        """Enter this node; see `abc.DirectoryClient`."""
        self._has_left = False
        await trio.lowlevel.checkpoint()
        return self._keeper.join(member, names, known)

    async def publish(self, added: Collection[str], removed: Collection[str], *, ready: bool) -> Standing:
        """Change what this node owns; see `abc.DirectoryClient`."""
        await trio.lowlevel.checkpoint()
        return self._keeper.publish(self._name, self._incarnation, added, removed, ready=ready)

    async def leave(self) -> None:
        """Be gone; see `abc.DirectoryClient`."""
        self._has_left = True
        await trio.lowlevel.checkpoint()
        self._keeper.leave(self._name, self._incarnation)

    async def find(self, name: str, on: str | None = None) -> tuple[str, ...]:
        """Return who owns a name; see `abc.DirectoryClient`."""
        await trio.lowlevel.checkpoint()
        if not self._has_left:
            self._keeper.check_in(self._name, self._incarnation)
        return await self._keeper.find(self._name, name, on)

    async def changes(self, epoch: str, since: int) -> Changes:
        """Return what has changed; see `abc.DirectoryClient`."""
        await trio.lowlevel.checkpoint()
        self._keeper.check_in(self._name, self._incarnation)
        return await self._keeper.changes(epoch, since)
