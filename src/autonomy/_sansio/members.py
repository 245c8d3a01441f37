"""Who is in a zone: what each node says of itself, and how programs choose among them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import msgspec

from .address import check_node_name
from .border import check_count

_PART = re.compile(r"[A-Za-z0-9_-]{0,128}")
STARTING: Final = 10.0
"""Seconds after which a node counts as ready even if it has not said so (R4)."""
LEASE: Final = 15.0
"""Seconds that a node is believed to be there after it was last heard, at least."""
_LONGEST: Final = 3600.0


@dataclass(frozen=True, slots=True)
class ZoneInfo:
    """The zone that a node belongs to, and its place there.

    Attributes:
        name: The zone's name.
        cluster: The cluster's name; full names of nodes are ``{cluster}-{zone}-{short}``.
        pod: Name of the pod that the node is part of; empty without pods.
        container: Name of its container.
        index: Which clone of its pod it is, from 0; None if there is one alone.
        visible: Whether `Zone.nodes` shows it to others: a node that only serves the zone is none of a program's.
        address: Where others reach it, ``wss://HOST:PORT``; empty if that is where it listens. A node that listens at
            all addresses of its host is then reached at the one by which that goes to the directory, also if it
            becomes another. A node behind another host, or in a container with a network of its own, has to say where.
            Port 0 is the one on which it listens.

    Raises:
        TypeError, ValueError: A value that cannot be.
    """

    name: str = ""
    cluster: str = ""
    pod: str = ""
    container: str = ""
    index: int | None = None
    visible: bool = True
    address: str = ""

    def __post_init__(self) -> None:
        for field in ("name", "cluster", "pod", "container"):
            value = getattr(self, field)
            if not isinstance(value, str):
                raise TypeError(f"ZoneInfo: {field} must be a str, got {type(value).__name__}: {value!r:.80}")
            if not is_part(value):
                raise ValueError(f"ZoneInfo: {field} {value!r:.160} is not allowed: use A-Z a-z 0-9 _ -")
        if not isinstance(self.address, str):
            raise TypeError(f"ZoneInfo: address must be a str, got {type(self.address).__name__}: {self.address!r:.80}")
        if self.index is not None:
            check_count(self.index, "ZoneInfo: index", least=0)

    @property
    def prefix(self) -> str:
        """What full names of its nodes begin with, before their short names; perhaps nothing."""
        return prefix_of(self.cluster, self.name)

    @property
    def key(self) -> str:
        """What tells the zone from others: ``NAME``, or ``CLUSTER.NAME``; nothing for a zone without a name."""
        return f"{self.cluster}.{self.name}".removeprefix(".") if self.name else ""


def is_part(text: str) -> bool:
    """Whether a zone, a cluster, a pod or a container may be called so; an empty text stands for none."""
    return _PART.fullmatch(text) is not None


def prefix_of(cluster: str | None, zone: str | None) -> str:
    """Return what full names begin with: ``{cluster}-{zone}-``, as far as these are known."""
    return "".join(f"{part}-" for part in (cluster, zone) if part)


class Member(msgspec.Struct, frozen=True, omit_defaults=True):
    """A node, as it is entered in its zone's directory.

    Attributes:
        name: Its full name.
        incarnation: Id of this start of it.
        address: Where it listens, ``wss://HOST:PORT``; empty if it does not.
        short_name: Its name within cluster and zone.
        pod: Its pod, or nothing.
        container: Its container, or nothing.
        index: Which clone of its pod it is.
        ready: Whether its names are complete.
        visible: Whether programs elsewhere are shown it.
        lease: Seconds that it is believed to be there after it was last heard.
    """

    name: str
    incarnation: str
    address: str = ""
    short_name: str = ""
    pod: str = ""
    container: str = ""
    index: int | None = None
    ready: bool = False
    visible: bool = True
    lease: float = LEASE

    def fits(self, text: str | None) -> bool:
        """Whether a filter admits it: a part of its pod's, its container's or its own short name; None admits all."""
        return text is None or text in self.short_name or text in self.pod or text in self.container


def lease_for(down: float) -> float:
    """Return how long a lease must be where sessions outlive a silence of `down` seconds.

    A lease is renewed when a third of it is over. What is lost of its last third begins with a silence, so it ends
    when the window of the session does, and not before: else a link that returns in time would find the session gone.
    """
    return max(LEASE, 1.5 * down)


def check_member(member: Member, longest: int = 1024) -> Member:
    """Return a member that another node has entered, if it may be one; else raise ValueError."""
    check_node_name(member.name)
    for field in ("incarnation", "address", "short_name", "pod", "container"):
        if len(getattr(member, field)) > longest:
            raise ValueError(f"{field} is longer than {longest}")
    if not 1.0 <= member.lease <= _LONGEST:
        raise ValueError(f"lease must be from 1 to {_LONGEST:g} seconds, got {member.lease}")
    return member
