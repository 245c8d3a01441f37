"""A zone in etcd: which keys there are, and the transactions that change them.

For a zone Z, all under the lease of the node that they speak of, so that they go when it goes:

| key                              | is there                                          | value           |
|----------------------------------|---------------------------------------------------|-----------------|
| `/autonomy/Z/awaited/NODE`       | while the node may yet have more names            | its incarnation |
| `/autonomy/Z/displaced/NODE/OLD` | when another start has taken the place of OLD     |                 |
| `/autonomy/Z/names/WORKER/NODE`  | while the node owns that name                     | its incarnation |
| `/autonomy/Z/nodes/NODE`         | while the node is there                           | `Member`, JSON  |
| `/autonomy/Z/shared/WORKER/NODE` | once the node made a name have other owners       | its incarnation |

Names are far more than nodes, and nobody needs them all. So a node watches what stands from `nodes/` on. Whoever comes
to own a name, or ceases to, is told in the same transaction how many others do; if any, it says so under `shared/`, in
the next one. If it dies in between, its names are gone as well.

Whatever a node changes is a transaction that compares the lease of its own record: a start that has been displaced, or
is believed to be gone, changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal
from urllib.parse import quote

import msgspec

from .etcd_messages import (
    Entry,
    Operation,
    TxnAnswer,
    after_all,
    count,
    delete,
    is_as_of,
    is_held_by,
    put,
    read,
    span,
    transaction,
    under,
)
from .members import Member, check_member

BATCH: Final = 60
"""Names in one transaction. Each costs two steps of the 128 that etcd takes."""
_REMEMBERED: Final = 5
"""Starts of one node that are remembered as displaced."""


class EtcdZone:
    """The keys of one node in its zone, and what it asks of etcd.

    Args:
        zone: What tells the zone from others in the same etcd; see `ZoneInfo.key`.
        name: Full name of the node.
        incarnation: Id of this start of it.

    Raises:
        ValueError: The zone has no name.
    """

    def __init__(self, zone: str, name: str, incarnation: str) -> None:
        if not zone:
            raise ValueError(
                "a zone that is kept in etcd needs a name, for others may be kept there too: zone=ZoneInfo('NAME')"
            )
        self.root = f"/autonomy/{zone}/"
        self.name = name
        self.incarnation = incarnation
        self.record = f"{self.root}nodes/{name}"
        self.watched = span(f"{self.root}nodes/", after_all(self.root))
        """Who is there, and which names have several owners."""
        self._awaited = f"{self.root}awaited/"
        self._displaced = f"{self.root}displaced/{name}/"

    # --- entering

    def look(self) -> dict[str, Any]:
        """Ask what is known of this node: its record, and which starts of it have been displaced."""
        return transaction((), [read(span(self.record)), read(under(self._displaced), keys_only=True)])

    def displaced(self, entries: Iterable[Entry]) -> list[str]:
        """Return the starts that have been displaced."""
        return [entry.key.removeprefix(self._displaced) for entry in entries][-_REMEMBERED:]

    @staticmethod
    def escaped(incarnation: str) -> str:
        """Return the id of a start as it may be part of a key; that of a record that has none is not empty either."""
        return quote(incarnation, safe="") or "-"

    def enter(
        self,
        member: Member,
        names: Sequence[str],
        before: Entry | None,
        displaced: Sequence[str],
        lease: int,
        *,
        is_all: bool,
    ) -> dict[str, Any]:
        """Put this node's record in place of the one that was seen, with its first names; see `with_others`.

        Args:
            member: What it says of itself.
            names: At most `BATCH`.
            before: The record that was there, or None.
            displaced: Starts of which it must be remembered that they were displaced.
            lease: That everything goes with.
            is_all: Whether these are all its names.
        """
        return transaction(
            [is_as_of(self.record, 0 if before is None else before.mod_revision)],
            [
                *(step for name in names for step in self._own(name, lease)),
                *self._say(member, lease, is_complete=member.ready and is_all),
                *(put(f"{self._displaced}{old}", "", lease) for old in displaced),
            ],
        )

    def _say(self, member: Member, lease: int, *, is_complete: bool) -> list[Operation]:
        """Say who this node is, and whether its names are complete."""
        awaited = self._awaited + self.name
        record = msgspec.json.encode(msgspec.structs.replace(member, ready=is_complete))
        return [
            put(self.record, record, lease),
            delete(awaited) if is_complete else put(awaited, self.incarnation, lease),
        ]

    # --- names

    def change(
        self, lease: int, added: Sequence[str], removed: Sequence[str], complete: Member | None = None
    ) -> dict[str, Any]:
        """Own names, and others no more: at most `BATCH` together; see `with_others`. If `complete`, these were all.

        Nothing is changed unless the node's record goes with that lease; `standing` reads what came of it.
        """
        steps = [
            *(step for name in added for step in self._own(name, lease)),
            *(step for name in removed for step in self._disown(name)),
            *(self._say(complete, lease, is_complete=True) if complete is not None else ()),
        ]
        return self._if_in(lease, steps)

    def share(self, lease: int, names: Sequence[str]) -> dict[str, Any]:
        """Say of names, at most twice `BATCH`, that they have other owners now than before."""
        return self._if_in(lease, [put(f"{self.root}shared/{name}/{self.name}", "", lease) for name in names])

    def _if_in(self, lease: int, steps: Iterable[Operation]) -> dict[str, Any]:
        me = self._displaced + self.escaped(self.incarnation)
        return transaction([is_held_by(self.record, lease)], steps, [read(span(me), keys_only=True)])

    @staticmethod
    def with_others(answer: TxnAnswer, added: Sequence[str], removed: Sequence[str]) -> list[str]:
        """Return the names that have other owners than before, and other ones than this node."""
        found = [name for step, name in enumerate(added) if answer.count(2 * step + 1) > 1]
        steps = enumerate(removed, len(added))
        return found + [name for step, name in steps if answer.count(2 * step) and answer.count(2 * step + 1)]

    @staticmethod
    def standing(answer: TxnAnswer) -> Literal["member", "unknown", "displaced"]:
        """Return what a node is, of which something was to be changed."""
        if answer.succeeded:
            return "member"
        return "displaced" if answer.entries(0) else "unknown"

    def _own(self, name: str, lease: int) -> list[Operation]:
        return [put(self._owners(name) + self.name, self.incarnation, lease), count(under(self._owners(name)))]

    def _disown(self, name: str) -> list[Operation]:
        return [delete(self._owners(name) + self.name), count(under(self._owners(name)))]

    def _owners(self, name: str) -> str:
        return f"{self.root}names/{name}/"

    # --- looking names up

    def owners_of(self, name: str, on: str | None) -> dict[str, str]:
        """Return the range of the keys that say who owns a name."""
        return under(self._owners(name)) if on is None else span(self._owners(name) + on)

    def find(self, name: str, on: str | None, lease: int | None) -> dict[str, Any]:
        """Ask who owns a name, and whose names are awaited; with a lease, only if this node is in with it."""
        awaited = under(self._awaited) if on is None else span(self._awaited + on)
        compare = () if lease is None else (is_held_by(self.record, lease),)
        return transaction(compare, [read(self.owners_of(name, on), keys_only=True), read(awaited, keys_only=True)])

    @staticmethod
    def nodes_of(entries: Iterable[Entry]) -> tuple[str, ...]:
        """Return the nodes that keys end with, sorted."""
        return tuple(sorted(entry.key.rpartition("/")[2] for entry in entries))

    # --- reading what others say

    def member_of(self, entry: Entry) -> Member | None:
        """Return the node that an entry enters; None if the entry is about something else.

        Raises:
            ValueError: It enters none.
        """
        prefix = f"{self.root}nodes/"
        if not entry.key.startswith(prefix):
            return None
        name = entry.key.removeprefix(prefix)
        member = check_member(msgspec.json.decode(entry.value, type=Member))
        if member.name != name:
            raise ValueError(f"the record of node {name!r:.80} is that of {member.name!r:.80}")
        return member

    def shared_of(self, key: str) -> str | None:
        """Return the name of a worker that a key says is shared; None if the key is about something else."""
        prefix = f"{self.root}shared/"
        return key.removeprefix(prefix).partition("/")[0] if key.startswith(prefix) else None

    def node_of(self, key: str) -> str | None:
        """Return the node whose record a key is; None if the key is about something else."""
        prefix = f"{self.root}nodes/"
        return key.removeprefix(prefix) if key.startswith(prefix) else None


def batches(added: Sequence[str], removed: Sequence[str], most: int = BATCH) -> list[tuple[list[str], list[str]]]:
    """Return names to own and to disown, in parts that go into one transaction each; at least one part."""
    both = [(name, True) for name in added] + [(name, False) for name in removed]
    parts = [both[start : start + most] for start in range(0, len(both), most)] or [[]]
    return [([name for name, here in part if here], [name for name, here in part if not here]) for part in parts]
