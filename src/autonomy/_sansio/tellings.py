"""What nodes tell each other of themselves where nobody keeps a directory: each tells all others, and keeps it all.

A node numbers what it says. It says everything at first, and then what has changed since the last time it was answered.
Who was told in another order than it was said in, or not at all, says so, and is told everything.

Here are the messages; `Own`, what one node says; and `Heard`, how far it has heard the others.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

import msgspec

from .address import check_name
from .members import STARTING, Member, check_member
from .roster import Standing

MOST_NAMES: Final = 100_000
"""Names of workers that one node may own."""


class _Telling(msgspec.Struct, frozen=True, omit_defaults=True, tag=True, forbid_unknown_fields=True):
    """What a node tells another one. Who tells it is proven by the link, and never said here.

    Attributes:
        incarnation: Id of this start of it.
        version: What it says is counted by; grows with each change.
    """

    incarnation: str
    version: int


class Everything(_Telling, frozen=True, tag="everything"):
    """All that there is to say of a node, and of which zone it is."""

    zone: str
    member: Member
    names: tuple[str, ...] = ()


class Change(_Telling, frozen=True, tag="change"):
    """What has changed since the other one last said that it has it; perhaps nothing: then it is a sign of life."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    ready: bool = False


class Farewell(_Telling, frozen=True, tag="farewell"):
    """The node is gone from the zone."""


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a node that was told something says to that.

    Attributes:
        standing: Whether it has it now. ``"unknown"``: it must be told everything. ``"displaced"``: it knows another
            start of that node.
        mine: What it says of itself, if it was told everything and is in the zone itself.
        refusal: Why it hears nothing of that node; empty if it does.
    """

    standing: Standing = "member"
    mine: Everything | None = None
    refusal: str = ""


Telling = Everything | Change | Farewell
read_telling = msgspec.json.Decoder(Everything | Change | Farewell).decode
read_answer = msgspec.json.Decoder(Answer).decode


def write(message: Telling | Answer) -> str:
    """Return a message as text."""
    return msgspec.json.encode(message).decode()


def check_everything(said: Everything, node: str, zone: str) -> Everything:
    """Return what a node has said of itself, if it may say that; else raise ValueError.

    Args:
        said: By that node.
        node: Who it is, as its link has proven.
        zone: What tells the zone of who was told from others.
    """
    if said.member.name != node or said.member.incarnation != said.incarnation:
        raise ValueError(f"node {node!r} may speak of itself alone")
    if said.zone != zone:
        raise ValueError(f"node {node!r} is in the zone {said.zone!r:.160}, and this one in {zone!r}")
    check_member(said.member)
    check_names(said.names, 0)
    return said


def check_names(names: Collection[str], owned: int) -> None:
    """Check names that are added by a node that owns so many, or raise ValueError."""
    if owned + len(names) > MOST_NAMES:
        raise ValueError(f"a node may have {MOST_NAMES} names, got {owned + len(names)}")
    for name in names:
        check_name(name)


class _Listener:
    """How far another node has been told."""

    __slots__ = ("fails", "has_heard", "is_due", "pending")

    def __init__(self) -> None:
        self.has_heard: int | None = None
        self.pending: dict[str, bool] = {}
        self.is_due = False
        self.fails = False


class Own:
    """What one node says of itself, and how far each other one has been told.

    A node that fails to answer is told everything when it does again; until then nobody waits for it.

    Args:
        incarnation: Id of this start of it.
        zone: What tells its zone from others.

    Attributes:
        version: What it says is counted by.
    """

    def __init__(self, incarnation: str, zone: str) -> None:
        self.version = 0
        self._incarnation = incarnation
        self._zone = zone
        self._member: Member | None = None
        self._entered = 0.0
        self._names: dict[str, None] = {}
        self._anew = 0
        """The version from which on everything is to be said: it has entered or left then."""
        self._listeners: dict[str, _Listener] = {}

    @property
    def is_in(self) -> bool:
        """Whether it is in the zone."""
        return self._member is not None

    def enter(self, member: Member, names: Iterable[str], now: float) -> None:
        """Say everything, from now on."""
        if self._member is None:
            self._entered = now
        self._member, self._names = member, dict.fromkeys(names)
        self._tell_everything()

    def change(self, added: Collection[str], removed: Collection[str], *, ready: bool) -> None:
        """Own other names; and give all others a sign of life, if it is in the zone."""
        if self._member is None:
            return
        if added or removed or ready != self._member.ready:
            self.version += 1
            self._member = msgspec.structs.replace(self._member, ready=ready)
        batch = dict.fromkeys(added, True) | dict.fromkeys(removed, False)
        for name, is_owned in batch.items():
            if is_owned:
                self._names[name] = None
            else:
                self._names.pop(name, None)
        for listener in self._listeners.values():
            listener.pending |= batch
            listener.is_due = True

    def leave(self) -> None:
        """Be gone."""
        if self._member is not None:
            self._member, self._names = None, {}
            self._tell_everything()

    def _tell_everything(self) -> None:
        self.version += 1
        self._anew = self.version
        for listener in self._listeners.values():
            listener.pending = {}

    def everything(self, now: float) -> Everything | None:
        """Return all that there is to say, if it is in the zone. After a while it is ready, whatever it said (R4)."""
        if self._member is None:
            return None
        is_ready = self._member.ready or now >= self._entered + STARTING
        member = msgspec.structs.replace(self._member, ready=is_ready)
        return Everything(self._incarnation, self.version, self._zone, member, tuple(self._names))

    # --- one other node

    def begin(self, node: str) -> None:
        """Tell a node from now on."""
        self._listeners.setdefault(node, _Listener())

    def forget(self, node: str) -> None:
        """Tell a node nothing more."""
        self._listeners.pop(node, None)

    def next_for(self, node: str, now: float) -> Telling | None:
        """Return what a node is to be told now; None for nothing. It is told one thing at a time."""
        listener = self._listeners[node]
        if not self.version or (listener.has_heard == self.version and not listener.is_due):
            return None
        pending, listener.pending, listener.is_due = listener.pending, {}, False
        if self._member is None:
            return None if listener.has_heard == self.version else Farewell(self._incarnation, self.version)
        if listener.has_heard is None or listener.has_heard < self._anew:
            return self.everything(now)
        added = tuple(name for name, is_owned in pending.items() if is_owned)
        removed = tuple(name for name, is_owned in pending.items() if not is_owned)
        return Change(self._incarnation, self.version, added, removed, self._member.ready)

    def answered(self, node: str, told: Telling, standing: Standing) -> None:
        """Note what a node has said to something."""
        listener = self._listeners.get(node)
        if listener is None:
            return
        has_it = standing == "member" or isinstance(told, Farewell)
        listener.has_heard = told.version if has_it else None
        listener.fails = standing == "displaced"

    def failed(self, node: str) -> None:
        """Note that a node does not answer, or is gone."""
        listener = self._listeners.get(node)
        if listener is not None:
            listener.has_heard, listener.fails = None, True

    def is_awaited(self, node: str, version: int) -> bool:
        """Whether a node has yet to hear so much, and is expected to."""
        listener = self._listeners.get(node)
        return (
            listener is not None and not listener.fails and (listener.has_heard is None or listener.has_heard < version)
        )


class Heard:
    """How far one node has heard the others.

    What a node says travels in questions and in answers, which may overtake each other; what is older than what was
    heard already counts no more.
    """

    def __init__(self) -> None:
        self._last: dict[str, tuple[str, int]] = {}

    def takes(self, node: str, told: Telling) -> bool:
        """Whether something that a node says counts, which is noted then."""
        incarnation, version = self._last.get(node, ("", 0))
        counts = version <= told.version if incarnation == told.incarnation else not isinstance(told, Change)
        if counts:
            self._last[node] = told.incarnation, told.version
        return counts

    def has(self, node: str, told: Everything) -> bool:
        """Whether just that was heard before."""
        return self._last.get(node) == (told.incarnation, told.version)
