"""What `open_node` was told, checked; and what older programs say that means nothing here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from .address import check_node_name
from .border import check_callable, check_count, check_delay, check_place
from .keepalive import Liveness
from .members import Member, ZoneInfo, lease_for
from .rights import Rights
from .shipment import CodePolicy

T = TypeVar("T")
INSTEAD_OF = {
    "policy": "allow= of start_worker narrows who reaches a worker",
    "exposed_as": "workers are reached by their name, narrowed by allow= of start_worker",
    "ticket": "the environment variable ENROLLMENT_TICKET",
    "cache_secure_channels": "links are kept by themselves",
    "use_local_db": "nothing: a node keeps its state in memory",
    "allow": "allow= of start_worker",
}
"""Options of older programs that are accepted and have no effect, and what to use."""
LEGACY_OF_START = ("ticket", "cache_secure_channels", "use_local_db", "allow")


@dataclass(frozen=True, slots=True)
class NodeOptions:
    """The options of `open_node`; their meaning is documented there."""

    name: str
    incarnation: str
    drain_timeout: float
    default_timeout: float
    max_message_bytes: int
    threads: int
    stall_warning: float | None
    slice_clock: Callable[[], float]
    listen: str | None
    liveness: Liveness
    rights: Rights
    code: CodePolicy
    zone: ZoneInfo
    ready: bool
    health: tuple[str, int] | None

    @property
    def short_name(self) -> str:
        """The node's name within its cluster and zone."""
        return self.name.removeprefix(self.zone.prefix)

    def member(self, address: str) -> Member:
        """Return the node as it is entered in its zone's directory, where others reach it at `address`."""
        return Member(
            self.name,
            self.incarnation,
            address,
            self.short_name,
            self.zone.pod,
            self.zone.container,
            self.zone.index,
            ready=self.ready,
            visible=self.zone.visible,
            lease=lease_for(self.liveness.down),
        )


def check_options(
    *,
    name: object,
    incarnation: str,
    drain_timeout: object,
    default_timeout: object,
    max_message_bytes: object,
    threads: object,
    stall_warning: object,
    slice_clock: Callable[[], float],
    listen: object,
    liveness: object,
    rights: object,
    code: object,
    zone: object,
    ready: object,
    health: object,
) -> NodeOptions:
    """Return the options if all of them can be; else raise TypeError or ValueError."""
    checked = ZoneInfo() if zone is None else _of_kind(zone, ZoneInfo, "zone")
    full = check_node_name(f"{checked.prefix}node-{incarnation[:8]}" if name is None else name)
    if not full.startswith(checked.prefix):
        raise ValueError(f"full names of nodes of this zone begin with {checked.prefix!r}, got {full!r:.300}")
    return NodeOptions(
        name=full,
        incarnation=incarnation,
        drain_timeout=check_delay(drain_timeout, "drain_timeout"),
        default_timeout=check_delay(default_timeout, "default_timeout", zero=False),
        max_message_bytes=check_count(max_message_bytes, "max_message_bytes"),
        threads=check_count(threads, "threads"),
        stall_warning=None if stall_warning is None else check_delay(stall_warning, "stall_warning", zero=False),
        slice_clock=check_callable(slice_clock, "slice_clock"),
        listen=None if listen is None else _of_kind(listen, str, "listen"),
        liveness=_of_kind(liveness, Liveness, "liveness"),
        rights=_of_kind(rights, Rights, "rights"),
        code=_of_kind(code, CodePolicy, "code"),
        zone=checked,
        ready=_of_kind(ready, bool, "ready"),
        health=None if health is None else check_place(health, "health (AUTONOMY_HEALTH)"),
    )


def _of_kind(value: object, kind: type[T], what: str) -> T:
    if not isinstance(value, kind):
        raise TypeError(f"{what} must be a {kind.__name__}, got {type(value).__name__}: {value!r:.80}")
    return value
