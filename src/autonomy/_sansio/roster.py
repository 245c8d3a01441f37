"""A zone's directory, as a value that changes: which nodes are there, and which names each of them owns.

A node is there as long as it renews its lease. The newest start of a name has it. What happened is kept as a list of
changes with numbers, so that whoever knows an older state is told what is new since then.

A directory that has lost everything is told by each node what that one knew of the others. They are kept for their
lease, and until they have come themselves nobody is told that a name has no owner. After the first lease a directory
hears no more of that: all that live have come by then, and a node that made others up could keep everybody waiting.

Source: leases and revisions are etcd's.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import takewhile
from typing import Final, Literal

import msgspec

from .members import LEASE, STARTING, Member

_REMEMBERED: Final = 4096
"""Changes that are kept; who knows only older ones is told everything."""

Standing = Literal["member", "unknown", "displaced"]
"""A node is in the directory; or it is not, and may enter; or another start of it has taken its place."""


class Changes(msgspec.Struct, frozen=True, omit_defaults=True):
    """What has changed since somebody last looked.

    Attributes:
        epoch: Which life of the directory counts the revisions.
        revision: The state that this leads to.
        joined: Nodes that are new, or not as before.
        left: Names of nodes that are gone.
        contested: Names of workers that had owners and have others now: one more, or one less of several.
        whole: Whether `joined` is everybody: whoever else was known is gone. Then `contested` are all names that have
            several owners.
    """

    epoch: str
    revision: int
    joined: tuple[Member, ...] = ()
    left: tuple[str, ...] = ()
    contested: tuple[str, ...] = ()
    whole: bool = False


class _Entry:
    """One node in the directory."""

    __slots__ = ("expires", "is_hearsay", "joined", "member", "names")

    def __init__(self, member: Member, now: float, *, is_hearsay: bool) -> None:
        self.member = member
        self.names: dict[str, None] = {}
        self.joined = now
        self.expires = now + member.lease
        self.is_hearsay = is_hearsay

    def is_starting(self, now: float) -> bool:
        """Whether it may yet have more names."""
        return self.is_hearsay or (not self.member.ready and now < self.joined + STARTING)


class Roster:
    """The state of a directory.

    Args:
        epoch: What tells this life of the directory from others.

    Attributes:
        revision: Grows with each change.
    """

    def __init__(self, epoch: str) -> None:
        self.epoch = epoch
        self.revision = 0
        self._entries: dict[str, _Entry] = {}
        self._owners: dict[str, dict[str, None]] = {}
        self._displaced: dict[str, str] = {}
        self._log: deque[tuple[int, str, str]] = deque(maxlen=_REMEMBERED)
        self._listens_until = math.inf
        """When others are entered no more by what a node says of them: all that live have come by then."""

    # --- nodes

    def join(self, member: Member, names: Iterable[str], known: Sequence[Member], now: float) -> Standing:
        """Enter a node with all its names, and with what it knows of others; return ``"displaced"`` if it may not."""
        if self._displaced.get(member.incarnation) == member.name and member.name in self._entries:
            return "displaced"
        before = self._entries.get(member.name)
        if before is not None and before.member.incarnation != member.incarnation:
            if not before.is_hearsay:
                self._displace(before.member)
            self._remove(member.name)
            before = None
        entry = self._enter(member, now, is_hearsay=False)
        if before is not None:
            entry.joined = before.joined
        wanted = dict.fromkeys(names)
        self._disown(member.name, [name for name in entry.names if name not in wanted])
        self._own(member.name, wanted)
        self._listens_until = min(self._listens_until, now + LEASE)
        for other in known if now < self._listens_until else ():
            if other.name not in self._entries and other.incarnation not in self._displaced:
                self._enter(other, now, is_hearsay=True)
        return "member"

    def _displace(self, member: Member) -> None:
        self._displaced[member.incarnation] = member.name
        while len(self._displaced) > _REMEMBERED:
            del self._displaced[next(iter(self._displaced))]

    def _enter(self, member: Member, now: float, *, is_hearsay: bool) -> _Entry:
        entry = self._entries.get(member.name)
        if entry is None:
            entry = self._entries[member.name] = _Entry(member, now, is_hearsay=is_hearsay)
            self._note("node", member.name)
        elif entry.member != member:
            self._note("node", member.name)
        entry.member, entry.is_hearsay, entry.expires = member, is_hearsay, now + member.lease
        return entry

    def standing(self, name: str, incarnation: str) -> Standing:
        """Return what a start of a node is here."""
        entry = self._entries.get(name)
        if entry is not None and entry.member.incarnation == incarnation and not entry.is_hearsay:
            return "member"
        return "displaced" if self._displaced.get(incarnation) == name and entry is not None else "unknown"

    def renew(self, name: str, incarnation: str, now: float) -> Standing:
        """Prolong the lease of a node."""
        standing = self.standing(name, incarnation)
        if standing == "member":
            entry = self._entries[name]
            entry.expires = now + entry.member.lease
        return standing

    def leave(self, name: str, incarnation: str) -> None:
        """Remove a node, if it is that start of it."""
        entry = self._entries.get(name)
        if entry is not None and entry.member.incarnation == incarnation:
            self._remove(name)

    def expire(self, now: float) -> list[Member]:
        """Remove the nodes whose leases have run out; return them."""
        gone = [entry.member for entry in self._entries.values() if entry.expires <= now]
        for member in gone:
            self._remove(member.name)
        return gone

    def _remove(self, name: str) -> None:
        entry = self._entries.pop(name)
        for owned in entry.names:
            self._drop_owner(owned, name)
        self._note("gone", name)

    def next_event(self, now: float) -> float:
        """Return when something changes by itself: a lease runs out, or a node counts as ready."""
        times = [math.inf]
        for entry in self._entries.values():
            times.append(entry.expires)
            if entry.is_starting(now) and not entry.is_hearsay:
                times.append(entry.joined + STARTING)
        return min(times)

    @property
    def members(self) -> list[Member]:
        """All nodes, in no particular order."""
        return [entry.member for entry in self._entries.values()]

    # --- names

    def publish(
        self, name: str, incarnation: str, added: Iterable[str], removed: Iterable[str], *, ready: bool, now: float
    ) -> Standing:
        """Change what a node owns, and whether it is ready; that prolongs its lease."""
        standing = self.renew(name, incarnation, now)
        if standing == "member":
            entry = self._entries[name]
            self._disown(name, removed)
            self._own(name, added)
            if ready and not entry.member.ready:
                entry.member = msgspec.structs.replace(entry.member, ready=True)
                self._note("node", name)
        return standing

    def _own(self, node: str, names: Iterable[str]) -> None:
        owned = self._entries[node].names
        for name in names:
            if name in owned:
                continue
            owned[name] = None
            owners = self._owners.setdefault(name, {})
            if owners:
                self._note("contested", name)
            owners[node] = None

    def _disown(self, node: str, names: Iterable[str]) -> None:
        owned = self._entries[node].names
        for name in names:
            if name in owned:
                del owned[name]
                self._drop_owner(name, node)

    def _drop_owner(self, name: str, node: str) -> None:
        owners = self._owners[name]
        del owners[node]
        if owners:
            self._note("contested", name)
        else:
            del self._owners[name]

    def find(self, name: str, asker: str, on: str | None, now: float) -> tuple[str, ...] | None:
        """Return who owns a name, sorted; None if that is not known yet, because a node is starting (R1, R4).

        Args:
            name: Of a worker.
            asker: Who wants to know: it need not wait for itself.
            on: The one node to look on, or None.
            now: Trio's clock.
        """
        owners = self._owners.get(name, {})
        if on is not None:
            entry = self._entries.get(on)
            if on in owners:
                return (on,)
            return None if entry is not None and on != asker and entry.is_starting(now) else ()
        if owners:
            return tuple(sorted(owners))
        if any(entry.is_starting(now) for node, entry in self._entries.items() if node != asker):
            return None
        return ()

    def count(self, name: str) -> int:
        """Return how many names a node owns."""
        entry = self._entries.get(name)
        return 0 if entry is None else len(entry.names)

    # --- changes

    def _note(self, what: str, name: str) -> None:
        self.revision += 1
        self._log.append((self.revision, what, name))

    def changes(self, epoch: str, since: int) -> Changes:
        """Return what has changed since a revision."""
        oldest = self._log[0][0] if self._log else self.revision + 1
        if epoch != self.epoch or not oldest - 1 <= since <= self.revision:
            shared = tuple(name for name, owners in self._owners.items() if len(owners) > 1)
            return Changes(self.epoch, self.revision, tuple(self.members), contested=shared, whole=True)
        news = [(what, name) for _, what, name in takewhile(lambda note: note[0] > since, reversed(self._log))][::-1]

        def named(wanted: str) -> dict[str, None]:
            return dict.fromkeys(name for what, name in news if what == wanted)

        touched = named("node") | named("gone")
        joined = tuple(self._entries[name].member for name in touched if name in self._entries)
        left = tuple(name for name in touched if name not in self._entries)
        return Changes(self.epoch, self.revision, joined, left, tuple(named("contested")))

    def check(self, tell: Callable[[str], object]) -> None:
        """Call `tell` with what is not as it must be: for tests."""
        for node, entry in self._entries.items():
            for name in entry.names:
                if node not in self._owners.get(name, {}):
                    tell(f"{node} owns {name}, and it is not known as its owner")
        for name, owners in self._owners.items():
            for node in owners:
                if name not in self._entries[node].names:
                    tell(f"{name} is {node}'s, which does not own it")
