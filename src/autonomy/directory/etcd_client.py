"""What one node does in a directory that is kept in etcd. Needs the extra `etcd`.

What is asked and what the answers mean is decided in `_sansio/etcd_zone.py` and `_sansio/etcd_view.py`. Here is what
waits: requests, and two kinds of watches. One follows who is there, as long as the directory is used; another one is
made for each name that is being waited for.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Collection, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Final

import httpx
import msgspec
import trio

from .. import logs
from .._sansio.backoff import Backoff
from .._sansio.directory_url import EtcdPlace
from .._sansio.etcd_messages import Entry, WatchAnswer
from .._sansio.etcd_view import EtcdView
from .._sansio.etcd_zone import BATCH, EtcdZone, batches
from .._sansio.members import Member
from .._sansio.roster import Changes, Standing
from ..abc import NotAMember
from ..errors import DirectoryUnavailable
from .etcd_gateway import Compacted, Gateway, Refused, open_tls, read_password

_log = logs.get_logger("directory")
_security = logs.get_logger("security")
_NAME_WATCHES: Final = 50
"""Names that one node watches at a time; whatever else is waited for is asked for again and again."""
_ASK_AGAIN: Final = 0.5


def check_files(place: EtcdPlace) -> None:
    """Raise ValueError if a file cannot be used that a directory's URL names: better now than in a log."""
    open_tls(place)
    if place.password_file is not None:
        read_password(place.password_file)


@asynccontextmanager
async def using(
    place: EtcdPlace, zone: EtcdZone, lease: float | None, starting: float, transport: httpx.AsyncBaseTransport | None
) -> AsyncGenerator[EtcdClient]:
    """Use an etcd from a node while the block runs; it need not answer yet."""
    follower = Follower(zone, EtcdView(zone, starting))
    gateway = Gateway(place, open_tls(place), follower.lose, transport)
    async with gateway.opened(), trio.open_nursery() as nursery:
        nursery.start_soon(follower.run, gateway)
        yield EtcdClient(zone, gateway, follower, lease, starting)
        nursery.cancel_scope.cancel()


class Follower:
    """Keeps a node's copy of who is there as etcd has it.

    Attributes:
        view: The copy.
        changed: Where they wait who want news of it.
    """

    def __init__(self, zone: EtcdZone, view: EtcdView) -> None:
        self._zone = zone
        self._backoff = Backoff(0.05, 1.0)
        self._failures = 0
        self._stream = trio.CancelScope()
        self.view = view
        self.changed = trio.lowlevel.ParkingLot()

    async def run(self, gateway: Gateway) -> None:
        """Follow what happens; when a watch ends, go on where it ended, or read everything again."""
        while True:
            try:
                if not self.view.is_known:
                    await self.load(gateway)
                with trio.CancelScope() as self._stream:
                    await gateway.watch(self._zone.watched, self.view.revision + 1, self._take)
            except Compacted:
                _log.info("etcd has forgotten what happened since; everything is read again", node=self._zone.name)
                self._forget()
            except (DirectoryUnavailable, Refused) as error:
                _log.debug("the watch of the directory ended", node=self._zone.name, reason=error)
            self._failures += 1
            await trio.sleep(self._backoff.delay(self._failures))

    async def load(self, gateway: Gateway) -> None:
        """Read everything."""
        answer = await gateway.read(self._zone.watched)
        self._warn(self.view.load(answer.kvs, answer.header.revision, trio.current_time()))
        self.changed.unpark_all()

    def lose(self) -> None:
        """Begin anew: etcd is in an older state than it was."""
        _log.error("etcd has lost what it knew; nodes enter the zone anew", node=self._zone.name)
        self._forget()
        self._stream.cancel()

    def _forget(self) -> None:
        self.view.forget()
        self.changed.unpark_all()

    def _take(self, answer: WatchAnswer) -> bool:
        self._failures = 0
        if answer.created:  # with the present revision, although what happened since is still to come
            return True
        self._warn(self.view.apply(answer.events, answer.header.revision, trio.current_time()))
        self.changed.unpark_all()
        return True

    def _warn(self, problems: list[str]) -> None:
        for problem in problems:
            _security.warning("the directory has an entry that cannot be", problem=problem)


class EtcdClient:
    """A directory in etcd, as one node uses it; see `abc.DirectoryClient`.

    What it owns there goes with a lease, a new one whenever it enters. A lease that is of no use any more is ended, so
    that what went with it is gone at once.
    """

    def __init__(
        self, zone: EtcdZone, gateway: Gateway, follower: Follower, lease: float | None, starting: float
    ) -> None:
        self._zone = zone
        self._gateway = gateway
        self._follower = follower
        self._view = follower.view
        self._always = lease
        self._starting = starting
        self._member = Member(zone.name, zone.incarnation)
        self._lease: int | None = None
        """None while this node is not in."""
        self._useless: dict[int, None] = {}
        """Leases to end: of this node from before, and of the start whose place it took."""
        self._first_entered = math.inf
        self._entered_revision = 0
        self._renewed = -math.inf
        self._has_left = False
        self._name_watches = 0

    # --- this node

    def reconnect(self) -> None:
        """Ask etcd by new connections; see `abc.DirectoryClient`."""
        self._gateway.reconnect()

    async def join(self, member: Member, names: Collection[str], known: Sequence[Member]) -> Standing:
        """Enter this node; see `abc.DirectoryClient`. Etcd forgets nobody, so it need not be told of the others."""
        self._has_left = False
        with _translated():
            while True:
                look = await self._gateway.transact(self._zone.look())
                before = next(iter(look.entries(0)), None)
                displaced = self._zone.displaced(look.entries(1))
                if before is not None and (other := _incarnation_of(before)) != self._zone.incarnation:
                    # Of two starts, the older one is the one that was in already, or that the other one knows of.
                    if self._first_entered < math.inf or self._zone.escaped(self._zone.incarnation) in displaced:
                        self._be_out(self._lease)
                        await self._end_useless()
                        return "displaced"
                    displaced.append(self._zone.escaped(other))
                standing = await self._enter(member, list(names), before, displaced)
                if standing is not None:
                    return standing

    async def _enter(
        self, member: Member, names: list[str], before: Entry | None, displaced: list[str]
    ) -> Standing | None:
        """Take the place of the record that was there, with a new lease; None if another one has come meanwhile."""
        lease = await self._gateway.grant(self._seconds_of(member))
        self._useless[lease] = None  # unless all goes well
        self._renewed = trio.current_time()
        member = self._as_it_counts(member)
        first, rest = names[:BATCH], names[BATCH:]
        body = self._zone.enter(member, first, before, displaced, lease, is_all=not rest)
        answer = await self._gateway.transact(body)
        if not answer.succeeded:
            return None
        self._entered_revision = answer.header.revision
        standing = await self._share(lease, self._zone.with_others(answer, first, ()))
        if rest and standing == "member":
            standing = await self._change(lease, rest, [], member if member.ready else None)
        if standing != "member":
            return standing
        del self._useless[lease]
        for old in (self._lease, before.lease if before is not None else None):
            if old:
                self._useless[old] = None
        self._lease, self._member = lease, member
        self._first_entered = min(self._first_entered, trio.current_time())
        await self._end_useless()
        return "member"

    async def publish(self, added: Collection[str], removed: Collection[str], *, ready: bool) -> Standing:
        """Change what this node owns; see `abc.DirectoryClient`."""
        lease = self._lease
        if lease is None:
            return "unknown"
        member = self._as_it_counts(msgspec.structs.replace(self._member, ready=self._member.ready or ready))
        complete = member if member != self._member else None
        with _translated():
            standing = await self._change(lease, list(added), list(removed), complete)
            if standing == "member":
                self._member = member
                await self._end_useless()
            else:
                self._be_out(lease)
            return standing

    def _as_it_counts(self, member: Member) -> Member:
        """Return what this node says of itself: after a while its names count as complete (R4)."""
        is_late = trio.current_time() >= self._first_entered + self._starting
        return msgspec.structs.replace(member, ready=True) if is_late else member

    async def _change(self, lease: int, added: list[str], removed: list[str], complete: Member | None) -> Standing:
        """Change what this node owns, in parts of which each is done or not, and prolong the lease."""
        parts = batches(added, removed)
        for part, (here, gone) in enumerate(parts, 1):
            body = self._zone.change(lease, here, gone, complete if part == len(parts) else None)
            try:
                answer = await self._gateway.transact(body)
            except Refused as error:
                if not error.is_not_found:
                    raise
                return "unknown"  # the lease ran out just now
            standing = self._zone.standing(answer)
            if standing == "member":
                standing = await self._share(lease, self._zone.with_others(answer, here, gone))
            if standing == "member":
                standing = await self._prolong(lease, self._seconds_of(complete or self._member))
            if standing != "member":
                return standing
        return "member"

    async def _share(self, lease: int, names: list[str]) -> Standing:
        """Tell everybody of names that have other owners now."""
        if not names:
            return "member"
        return self._zone.standing(await self._gateway.transact(self._zone.share(lease, names)))

    def _seconds_of(self, member: Member) -> float:
        return member.lease if self._always is None else self._always

    async def _prolong(self, lease: int, seconds: float) -> Standing:
        """Prolong the lease, unless that was done just now: for one of many names."""
        asked = trio.current_time()
        if asked < self._renewed + seconds / 10:
            return "member"
        if not await self._gateway.keep_alive(lease):
            return "unknown"
        self._renewed = asked
        return "member"

    async def leave(self) -> None:
        """Be gone; see `abc.DirectoryClient`."""
        self._has_left = True
        self._be_out(self._lease)
        with _translated():
            await self._end_useless()

    def _be_out(self, lease: int | None) -> None:
        """Own nothing that goes with that lease."""
        if lease is not None:
            self._useless[lease] = None
            if self._lease == lease:
                self._lease = None

    async def _end_useless(self) -> None:
        for lease in list(self._useless):
            await self._gateway.revoke(lease)
            self._useless.pop(lease, None)

    def _check_in(self) -> int:
        """Return the lease of this node; raise NotAMember if it is not in, or that is known to have run out."""
        lease = self._lease
        if lease is not None and self._view.is_known and self._view.revision >= self._entered_revision:
            record = self._view.members.get(self._zone.name)
            if record is None or record.incarnation != self._zone.incarnation:
                self._be_out(lease)
                lease = None
        if lease is None:
            raise NotAMember
        return lease

    # --- names

    async def find(self, name: str, on: str | None = None) -> tuple[str, ...]:
        """Return who owns a name; see `abc.DirectoryClient`."""
        await trio.lowlevel.checkpoint()
        while True:
            lease = None if self._has_left else self._check_in()
            with _translated():
                answer = await self._gateway.transact(self._zone.find(name, on, lease))
            if not answer.succeeded:
                self._be_out(lease)  # it has run out; or this node entered anew meanwhile, and asks again
                continue
            owners = self._zone.nodes_of(answer.entries(0))
            awaited = [entry for entry in answer.entries(1) if not entry.key.endswith(f"/{self._zone.name}")]
            now = trio.current_time()
            if owners or all(self._view.ready_at(entry, now) <= now for entry in awaited):
                return owners
            await self._news_of(self._zone.owners_of(name, on), answer.header.revision, awaited)

    async def _news_of(self, owners: dict[str, str], revision: int, awaited: list[Entry]) -> None:
        """Wait until a name may have other owners than it had at a revision, or until nobody is starting any more."""
        failure: DirectoryUnavailable | None = None
        begun = trio.current_time()

        async def watch() -> None:
            nonlocal failure
            try:
                with _translated():
                    await self._watch_name(owners, revision + 1)
            except DirectoryUnavailable as error:
                failure = error
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            while (ready := max(self._view.ready_at(entry, begun) for entry in awaited)) > trio.current_time():
                with trio.move_on_at(ready):
                    await self._follower.changed.park()
            nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def _watch_name(self, owners: dict[str, str], revision: int) -> None:
        """Wait until something happens to the owners of a name, after which it has to be asked for again."""
        if self._name_watches >= _NAME_WATCHES:
            await trio.sleep(_ASK_AGAIN)
            return
        self._name_watches += 1
        try:
            await self._gateway.watch(owners, revision, lambda answer: not answer.events)
        except Compacted:
            pass
        finally:
            self._name_watches -= 1

    # --- the others

    async def changes(self, epoch: str, since: int) -> Changes:
        """Return what has changed; see `abc.DirectoryClient`."""
        await trio.lowlevel.checkpoint()
        while True:
            self._check_in()
            if not self._view.is_current(epoch, since):
                with _translated():
                    await self._follower.load(self._gateway)
                return self._view.whole()
            news = self._view.news(since)
            if news is not None:
                return news
            await self._follower.changed.park()


def _incarnation_of(entry: Entry) -> str:
    """Return which start of a node a record is of; nothing if it does not say."""
    try:
        return msgspec.json.decode(entry.value, type=Member).incarnation
    except msgspec.MsgspecError:
        return ""


@contextmanager
def _translated() -> Generator[None]:
    """Let etcd's no be what it is to nodes: they try again, and it is in the log meanwhile."""
    try:
        yield
    except Refused as error:
        raise DirectoryUnavailable(str(error)) from error
