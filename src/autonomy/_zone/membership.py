"""This node in its zone: entered in the directory as long as it lives, and what it knows of the others.

Two tasks: one enters the node, renews its lease and publishes the names of its workers, many at a time; the other
follows who comes and goes. When the directory is away both try again, and what is known stays known.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from typing import Final

import msgspec
import trio

from .. import logs
from .._mixed.worlds import both
from .._sansio.backoff import Backoff
from .._sansio.members import STARTING, Member
from .._sansio.roster import Changes
from ..abc import Directory, DirectoryClient, NotAMember, Seat
from ..errors import DirectoryUnavailable

_log = logs.get_logger("zone")
_PATIENCE: Final = 10.0
"""Seconds that a node waits for its zone when it opens; then it goes on alone, and enters the zone when it can."""
_LAG: Final = 1.0
"""Seconds that news of a node may come later than a name of it."""
_FAREWELL: Final = 1.0
_AT_MOST_EVERY: Final = 1.0
"""Seconds: many links may return at the same moment."""
_KNOWN: Final = 65_536
"""Names of workers elsewhere that are remembered."""


class _Lookup:
    """A name that is being looked up, for all who want to know."""

    def __init__(self) -> None:
        self.waiting = trio.lowlevel.ParkingLot()
        self.owners: tuple[str, ...] | None = None
        self.failure = ""
        self.is_in_doubt = False


class Membership:
    """One node's place in its zone; see `abc.Names` for what senders ask of it.

    Args:
        me: This node, as it is entered.
        directory: Where.
        seat: This node, as the directory needs it.
        dismiss: Called with the name of a node that is gone from the zone, and why.
        forgotten: Called with each name of a worker that is to be looked up again.
    """

    def __init__(
        self,
        me: Member,
        directory: Directory,
        seat: Seat,
        dismiss: Callable[[str, str], object],
        forgotten: Callable[[str], object],
    ) -> None:
        self.me = me
        self._directory = directory
        self._seat = seat
        self._dismiss = dismiss
        self._forgotten = forgotten
        self._backoff = Backoff(0.1, 2.0)
        self._members: dict[str, Member] = {}
        self._seen: dict[str, float] = {}
        self._epoch, self._revision = "", 0
        self._names: dict[str, None] = {}
        self._pending: dict[str, bool] = {}
        self._wanted = self._published = 0
        self._is_in = self._is_away = self._is_leaving = False
        self._is_displaced = self._has_left = False
        self._trouble = ""
        self._client: DirectoryClient | None = None
        self._news = trio.Event()
        self._again = trio.Event()
        self._asked_again = -math.inf
        self._changed = trio.lowlevel.ParkingLot()
        self._known: dict[str, tuple[str, ...]] = {}
        self._lookups: dict[tuple[str, str | None], _Lookup] = {}

    # --- who is there

    @property
    def members(self) -> list[Member]:
        """The live nodes of the zone that programs are shown, this one included, sorted by name."""
        others = [member for name, member in self._members.items() if name != self.me.name and member.visible]
        return sorted([self.me, *others], key=lambda member: member.name)

    def address_of(self, node: str) -> str:
        """Return where another node of the zone listens, also one that programs are not shown; empty if unknown."""
        member = self._members.get(node)
        return "" if member is None else member.address

    def is_starting(self, node: str) -> bool:
        """Whether another node may yet have more names; see `abc.Names`."""
        member = self._members.get(node)
        if member is None or member.ready or node == self.me.name:
            return False
        return trio.current_time() < self._seen[node] + STARTING

    # --- names of workers elsewhere

    def known(self, name: str) -> tuple[str, ...]:
        """Return the nodes that are known to own a name; see `abc.Names`."""
        return self._known.get(name, ())

    def forget(self, name: str, node: str) -> None:
        """Look a name up again next time; see `abc.Names`."""
        if node in self._known.get(name, ()):
            self._drop(name)

    def _doubt(self, name: str) -> None:
        """Look a name up again next time, and also if that is being done just now."""
        self._drop(name)
        lookup = self._lookups.get((name, None))
        if lookup is not None:
            lookup.is_in_doubt = True

    def _drop(self, name: str) -> None:
        if self._known.pop(name, None) is not None:
            self._forgotten(name)

    @both
    async def find(self, name: str, on: str | None = None) -> tuple[str, ...]:
        """Return the nodes that own a name; see `abc.Names`. Many who want to know the same ask once.

        That nobody owned it when somebody else asked, before this call, is no answer to it.
        """
        is_asked_since = False
        while True:
            owners = self._known.get(name) if on is None else None
            if owners is not None:
                return owners
            lookup = self._lookups.get((name, on))
            if lookup is None:
                return await self._look_up(name, on)
            await lookup.waiting.park()
            if lookup.failure:
                raise DirectoryUnavailable(lookup.failure)
            if lookup.owners or (lookup.owners is not None and is_asked_since):
                return lookup.owners
            is_asked_since = True

    async def _look_up(self, name: str, on: str | None) -> tuple[str, ...]:
        lookup = self._lookups[name, on] = _Lookup()
        try:
            owners = await self._ask(name, on)
            while lookup.is_in_doubt:  # it changed hands while the answer was on its way
                lookup.is_in_doubt = False
                owners = await self._ask(name, on)
            lookup.owners = owners
        except DirectoryUnavailable as error:
            lookup.failure = str(error)
            raise
        finally:
            del self._lookups[name, on]
            lookup.waiting.unpark_all()
        if owners and on is None:
            if len(self._known) >= _KNOWN:
                for known in list(self._known):
                    self._drop(known)
            self._known[name] = owners
            with trio.move_on_after(_LAG):  # the directory knew them before it knew their names
                while any(owner != self.me.name and owner not in self._members for owner in owners):
                    await self._changed.park()
        return owners

    async def _ask(self, name: str, on: str | None) -> tuple[str, ...]:
        """Return the other nodes that own a name: what this one owns is better known here."""
        while True:
            wanted = self._wanted
            while not (self._is_in or self._is_away or self._is_displaced or self._is_leaving):
                await self._changed.park()
            if self._client is None or not (self._is_in or self._has_left):
                raise DirectoryUnavailable(f"nobody is known to own {name!r}, and the zone's directory does not answer")
            try:
                owners = await self._client.find(name, on)
            except NotAMember:
                if self._is_leaving:
                    raise DirectoryUnavailable("this node is leaving its zone") from None
                self._go_in_again()
                continue
            if owners != (self.me.name,) or self._published >= wanted:
                return tuple(owner for owner in owners if owner != self.me.name)
            await self.settled()  # the directory does not know yet that it has ended here

    # --- names of workers here

    def add(self, name: str) -> None:
        """Own a name from now on; see `abc.Names`."""
        self._names[name] = None
        self._publish_soon(name, here=True)

    def remove(self, name: str) -> None:
        """Own a name no more; see `abc.Names`."""
        if self._names.pop(name, "") is None:
            self._publish_soon(name, here=False)

    def _publish_soon(self, name: str, *, here: bool) -> None:
        self._pending[name] = here
        self._wanted += 1
        self._news.set()

    async def settled(self) -> None:
        """Wait until all nodes can look up what this one owns; see `abc.Names`."""
        wanted = self._wanted
        while self._published < wanted and not (self._is_away or self._is_leaving or self._is_displaced):
            await self._changed.park()
        if self._published < wanted and self._is_away:
            _log.warning("names are not published yet: the directory is away", node=self.me.name)

    def ready(self) -> None:
        """Say that all names are there; see `Node.ready`."""
        if not self.me.ready:
            self.me = msgspec.structs.replace(self.me, ready=True)
            self._wanted += 1
            self._news.set()

    def announce(self, address: str) -> bool:
        """Say that others reach this node at an address from now on; return whether that is another one than before."""
        if address == self.me.address:
            return False
        self.me = msgspec.structs.replace(self.me, address=address)
        self._go_in_again()
        if self._client is not None:
            self._client.reconnect()
        return True

    def ways_are_back(self) -> None:
        """Renew the lease at once: a link was cut and is there again, so the way to the directory may have been, too.

        It is not left to the pauses between tries, nor to requests on connections that lead nowhere: with the next cut
        near, the lease would end though each link returns in time, and sessions with it (D2).
        """
        now = trio.current_time()
        if self._client is not None and now >= self._asked_again + _AT_MOST_EVERY:
            self._asked_again = now
            self._client.reconnect()
            self._again.set()
            self._news.set()

    # --- in the directory

    async def open(self, nursery: trio.Nursery) -> None:
        """Enter the zone; returns when that is done and it is known who else is there, or goes on without."""
        nursery.start_soon(self._run, self._directory.open(self._seat))
        with trio.move_on_after(_PATIENCE):
            while not self._epoch and not self._is_leaving:
                await self._changed.park()
            return
        because = {"reason": self._trouble} if self._trouble else {}
        _log.warning(
            "the zone's directory does not answer; this node goes on alone until it does", node=self.me.name, **because
        )

    async def _run(self, opening: AbstractAsyncContextManager[DirectoryClient]) -> None:
        async with opening as client:
            self._client = client
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._keep, client)
                nursery.start_soon(self._follow, client)
                await trio.sleep_forever()  # workers of a node that has left look names up until they have finished

    async def _keep(self, client: DirectoryClient) -> None:
        """Be in the directory, with all names."""
        failures = 0
        while not self._is_leaving:
            try:
                await (self._publish(client) if self._is_in else self._join(client))
            except DirectoryUnavailable as error:
                failures += 1
                self._be_away(error)
                self._again = trio.Event()
                with trio.move_on_after(self._backoff.delay(failures)):
                    await self._again.wait()
                continue
            failures = 0
            if self._is_in or self._is_displaced:
                with trio.move_on_after(self.me.lease if self._is_displaced else self.me.lease / 3):
                    await self._news.wait()

    async def _join(self, client: DirectoryClient) -> None:
        wanted, self._pending, self._news = self._wanted, {}, trio.Event()
        known = [member for name, member in self._members.items() if name != self.me.name]
        standing = await client.join(self.me, tuple(self._names), known)
        if standing == "displaced" and not self._is_displaced:
            _log.error("another start of this node has taken its place in the zone", node=self.me.name)
        self._is_displaced = standing == "displaced"
        self._changed.unpark_all()
        if standing == "member" and self._is_leaving:  # this was on its way meanwhile
            await self._say_goodbye(client)
        elif standing == "member":
            _log.info("zone entered", node=self.me.name)
            self._settle(wanted)

    async def _publish(self, client: DirectoryClient) -> None:
        wanted, batch, self._pending, self._news = self._wanted, self._pending, {}, trio.Event()
        added = [name for name, here in batch.items() if here]
        removed = [name for name, here in batch.items() if not here]
        standing = await client.publish(added, removed, ready=self.me.ready)  # or it fails, and all is said by a join
        if standing == "member":
            self._settle(wanted)
        else:
            self._is_in = False

    def _settle(self, wanted: int) -> None:
        if self._is_away and self._epoch:
            _log.info("the zone's directory is back", node=self.me.name)
        self._is_in, self._is_away, self._published = True, False, wanted
        self._changed.unpark_all()

    def _be_away(self, error: DirectoryUnavailable) -> None:
        self._trouble = str(error)
        if not self._is_away:
            said = _log.warning if self._epoch else _log.debug  # a zone whose nodes start together has it soon
            said("the zone's directory is away", node=self.me.name, reason=error)
        self._is_away, self._is_in = True, False
        self._changed.unpark_all()

    def _go_in_again(self) -> None:
        self._is_in = False
        self._news.set()

    async def leave(self) -> None:
        """Be gone, within a second: nobody is sent here any more."""
        self._is_leaving = True
        self._news.set()
        self._changed.unpark_all()
        if self._client is not None and self._is_in:
            self._is_in = False
            await self._say_goodbye(self._client)

    async def _say_goodbye(self, client: DirectoryClient) -> None:
        self._has_left = True
        with trio.move_on_after(_FAREWELL):
            try:
                await client.leave()
            except DirectoryUnavailable as error:
                _log.debug("the lease will run out by itself", node=self.me.name, reason=error)

    # --- who comes and goes

    async def _follow(self, client: DirectoryClient) -> None:
        failures = 0
        while not self._is_leaving:
            while not self._is_in:
                await self._changed.park()
            try:
                changes = await client.changes(self._epoch, self._revision)
            except NotAMember:
                self._go_in_again()
            except DirectoryUnavailable:
                failures += 1
                await trio.sleep(self._backoff.delay(failures))
            else:
                failures = 0
                self._apply(changes)

    def _apply(self, changes: Changes) -> None:
        self._epoch, self._revision = changes.epoch, changes.revision
        for name in changes.contested:
            self._doubt(name)
        if changes.whole:  # what was contested meanwhile is not known any more
            for name in [name for name, owners in self._known.items() if len(owners) > 1]:
                self._doubt(name)
        for member in changes.joined:
            self._meet(member)
        here = {member.name for member in changes.joined}
        gone = [name for name in self._members if name not in here] if changes.whole else changes.left
        for name in gone:
            if self._members.pop(name, None) is not None and name != self.me.name:
                _log.info("node left the zone", node=name)
                del self._seen[name]
                self._forget_names([name])
                self._dismiss(name, "it has left the zone")
        self._changed.unpark_all()

    def _meet(self, member: Member) -> None:
        before = self._members.get(member.name)
        self._members[member.name] = member
        if before is None or before.incarnation != member.incarnation:
            self._seen[member.name] = trio.current_time()
            self._forget_names([member.name])
            if member.name != self.me.name:
                _log.info("node is in the zone", node=member.name)
        if member.name != self.me.name and member.address:
            self._seat.introduce(member.name, member.address)

    def _forget_names(self, nodes: Iterable[str]) -> None:
        gone = set(nodes)
        for name in [name for name, owners in self._known.items() if not gone.isdisjoint(owners)]:
            self._drop(name)
