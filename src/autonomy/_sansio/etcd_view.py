"""Who is in a zone that is kept in etcd, as one node sees it: a copy that follows etcd's events, and what is new there.

Revisions are etcd's, and never go back in one life of it. A copy that has missed something, since etcd has forgotten it
or lost everything, begins a new epoch: whoever knows the old one is told everything.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from itertools import takewhile
from typing import Final

import msgspec

from .etcd_messages import Entry, Event
from .etcd_zone import EtcdZone
from .members import STARTING, Member
from .roster import Changes

_REMEMBERED: Final = 4096
"""Changes that are kept; who knows only older ones is told everything."""


class EtcdView:
    """The copy. Times are Trio's clock.

    Args:
        zone: What the keys mean.
        starting: Seconds after which a node counts as ready.

    Attributes:
        members: All nodes that are there, by name.
        revision: The state of etcd that this is as of.
        is_known: Whether it is as of any.
    """

    def __init__(self, zone: EtcdZone, starting: float = STARTING) -> None:
        self._zone = zone
        self._starting = starting
        self.members: dict[str, Member] = {}
        self.revision = 0
        self.is_known = False
        self._lives = 0
        self._oldest = 0
        self._log: deque[tuple[int, str, str]] = deque()
        self._since: dict[str, float] = {}
        self._shared: dict[str, str] = {}

    @property
    def epoch(self) -> str:
        """What tells this history from those before something was missed."""
        return str(self._lives)

    # --- what etcd says

    def forget(self) -> None:
        """Something has been missed: nothing is known until everything was read again."""
        self.is_known = False
        self.revision = 0
        self._lives += 1

    def load(self, entries: Iterable[Entry], revision: int, now: float) -> list[str]:
        """Take over everything, as of a revision, unless something newer is known; return what cannot be."""
        if self.is_known and revision < self.revision:
            return []
        before, self.members = self.members, {}
        self._shared.clear()
        self._log.clear()
        self.is_known, self.revision, self._oldest = True, revision, revision
        problems = [problem for entry in entries for problem in self._put(entry, now)]
        for name in [name for name in before if name not in self.members]:
            self._since.pop(name, None)
        self._log.clear()
        return problems

    def apply(self, events: Iterable[Event], revision: int, now: float) -> list[str]:
        """Follow what has happened up to a revision; return what cannot be."""
        problems: list[str] = []
        for event in events:
            if event.kv.mod_revision <= self.revision:
                continue  # it was read with everything else
            if event.type == "PUT":
                problems += self._put(event.kv, now)
            else:
                self._delete(event.kv)
        self.revision = max(self.revision, revision)
        while len(self._log) > _REMEMBERED:
            self._oldest = self._log.popleft()[0]
        return problems

    def _put(self, entry: Entry, now: float) -> list[str]:
        shared = self._zone.shared_of(entry.key)
        if shared is not None:
            self._shared[entry.key] = shared
            self._log.append((entry.mod_revision, "contested", shared))
            return []
        try:
            member = self._zone.member_of(entry)
        except (msgspec.MsgspecError, TypeError, ValueError) as error:
            return [f"{entry.key:.300}: {error}"]
        if member is not None:
            before = self.members.get(member.name)
            if before is None or before.incarnation != member.incarnation or member.name not in self._since:
                self._since[member.name] = now
            self.members[member.name] = member
            self._log.append((entry.mod_revision, "node", member.name))
        return []

    def _delete(self, entry: Entry) -> None:
        name = self._zone.node_of(entry.key)
        if name is not None and self.members.pop(name, None) is not None:
            self._since.pop(name, None)
            self._log.append((entry.mod_revision, "node", name))
        shared = self._shared.pop(entry.key, None)
        if shared is not None:
            self._log.append((entry.mod_revision, "contested", shared))

    # --- what is asked of it

    def is_current(self, epoch: str, since: int) -> bool:
        """Whether `news` can tell what has changed since a revision."""
        return self.is_known and epoch == self.epoch and self._oldest <= since <= self.revision

    def whole(self) -> Changes:
        """Return everything."""
        shared = tuple(dict.fromkeys(self._shared.values()))
        return Changes(self.epoch, self.revision, tuple(self.members.values()), contested=shared, whole=True)

    def news(self, since: int) -> Changes | None:
        """Return what has changed since a revision; None for nothing."""
        noted = [(what, name) for _, what, name in takewhile(lambda note: note[0] > since, reversed(self._log))][::-1]
        if not noted:
            return None
        touched = dict.fromkeys(name for what, name in noted if what == "node")
        return Changes(
            self.epoch,
            self.revision,
            tuple(self.members[name] for name in touched if name in self.members),
            tuple(name for name in touched if name not in self.members),
            tuple(dict.fromkeys(name for what, name in noted if what == "contested")),
        )

    def ready_at(self, awaited: Entry, now: float) -> float:
        """Return when a node counts as ready, of which etcd said at some revision that its names are awaited."""
        name = awaited.key.rpartition("/")[2]
        member = self.members.get(name)
        if self.revision < awaited.mod_revision:  # its record came with it, and has not come here yet
            return now + self._starting
        if member is None or member.ready:
            return now
        return self._since[name] + self._starting
