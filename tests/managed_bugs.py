"""Bugs to plant in how nodes manage each other: a simulated zone that does not find them proves nothing."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from autonomy._actors.process import Process
from autonomy._actors.registry import Registry
from autonomy._actors.system import ActorSystem
from autonomy._sansio.management import Done, StopWorker
from autonomy._sansio.members import Member
from autonomy._sansio.reports import WorkerInfo
from autonomy._sansio.shipment import CodePolicy
from autonomy._zone import management, packing, remote, unpacking
from autonomy._zone.management import ManagementWorker
from autonomy._zone.membership import Membership
from autonomy._zone.remote import RemoteNode
from autonomy.errors import NoReply
from autonomy.testing import shipping

Plant = Callable[[pytest.MonkeyPatch], None]


def two_workers_have_one_name(patch: pytest.MonkeyPatch) -> None:
    """Give a worker a name that another one has (N1)."""
    patch.setattr(Registry, "check_free", lambda *_: None)


def a_name_is_another_one_far_away(patch: pytest.MonkeyPatch) -> None:
    """Call another node by its short name (N2)."""
    patch.setattr(RemoteNode, "name", property(lambda self: self._member.short_name))


def the_list_is_as_it_comes(patch: pytest.MonkeyPatch) -> None:
    """Do not sort the workers of a node (N3)."""
    patch.setattr(
        ActorSystem,
        "list_workers",
        lambda self: [process.info() for process in reversed(self.registry.workers.values())],
    )


def internal_workers_are_listed(patch: pytest.MonkeyPatch) -> None:
    """Show what a node runs for itself (N3)."""
    original = ActorSystem.list_workers

    def list_workers(self: ActorSystem) -> list[WorkerInfo]:
        hidden = [self.registry.workers[name].info() for name in self.registry.internal]
        return sorted([*original(self), *hidden], key=str)

    patch.setattr(ActorSystem, "list_workers", list_workers)


def the_filter_looks_at_the_full_name(patch: pytest.MonkeyPatch) -> None:
    """Admit by the cluster and the zone, too (N4)."""
    patch.setattr(Member, "fits", lambda self, text: text is None or text in self.name)


def lost_nodes_stay(patch: pytest.MonkeyPatch) -> None:
    """See nodes that are back, and each start of them anew (N4)."""
    original = Membership.members.fget  # type: ignore[attr-defined]  # it is a property
    seen: dict[int, dict[tuple[str, str], Member]] = {}

    def members(self: Membership) -> list[Member]:
        known = seen.setdefault(id(self), {})
        known.update({(member.name, member.incarnation): member for member in original(self)})
        return sorted(known.values(), key=lambda member: member.name)

    patch.setattr(Membership, "members", property(members))


def orders_are_repeated(patch: pytest.MonkeyPatch) -> None:
    """Give an order again when there is no answer (F2)."""
    original = RemoteNode._order

    async def order(self: RemoteNode, *args: Any) -> Any:
        try:
            return await original(self, *args)
        except NoReply:
            return await original(self, *args)

    patch.setattr(RemoteNode, "_order", order)


def started_twice(patch: pytest.MonkeyPatch) -> None:
    """Begin again with a worker whose start has failed (F2)."""
    original = ManagementWorker._start

    async def start(self: ManagementWorker, *args: Any) -> None:
        try:
            await original(self, *args)
        except ValueError:
            await original(self, *args)

    patch.setattr(ManagementWorker, "_start", start)


def told_before_it_has_started(patch: pytest.MonkeyPatch) -> None:
    """Say that a worker runs before its ``on_start`` has succeeded (F2)."""
    original = ManagementWorker._start

    async def start_alone(self: ManagementWorker, *args: Any) -> None:
        with suppress(Exception):  # nobody hears of it
            await original(self, *args)

    async def start(self: ManagementWorker, *args: Any) -> None:
        self._start_soon(start_alone, self, *args)

    patch.setattr(ManagementWorker, "_start", start)


def told_too_late(patch: pytest.MonkeyPatch) -> None:
    """Wait for an order as long as it takes (F1, Q3)."""
    original = RemoteNode._order
    patch.setattr(RemoteNode, "_order", lambda self, order, _timeout: original(self, order, 60.0))


def the_object_itself_is_started(patch: pytest.MonkeyPatch) -> None:
    """Do not copy it (F2, D6)."""
    originals, pack, unpack = dict[int, object](), packing.pack, unpacking.unpack

    def pack_one(worker: object) -> bytes:
        packed = pack(worker)
        originals[hash(packed)] = worker
        return packed

    def unpack_one(shipment: bytes, policy: CodePolicy) -> Any:
        taken = unpack(shipment, policy)
        return unpacking.Accepted(originals[hash(shipment)], taken.code, taken.sha256, taken.mode)

    patch.setattr(shipping, "pack", pack_one)
    patch.setattr(shipping, "unpack", unpack_one)


def errors_do_not_say_where(patch: pytest.MonkeyPatch) -> None:
    """Do not say that it is another node's error (F1)."""
    patch.setattr(remote, "_PREFIX", "")


def code_is_taken_whatever_the_policy(patch: pytest.MonkeyPatch) -> None:
    """Take code although one's policy is against it (F3)."""
    original = unpacking.unpack
    patch.setattr(shipping, "unpack", lambda shipment, _: original(shipment, CodePolicy("source")))


def what_is_refused_runs_all_the_same(patch: pytest.MonkeyPatch) -> None:
    """Refuse a worker when it has been started (F3)."""
    original = ManagementWorker._start

    async def start(self: ManagementWorker, order: Any, asker: str) -> None:
        node = self._node
        if node._options.code.mode == "never":
            worker: Any = unpacking.unpack(order.shipment, CodePolicy("source")).worker
            worker.node = node
            await node.start_worker(order.name, worker)
        await original(self, order, asker)

    patch.setattr(ManagementWorker, "_start", start)


def everybody_may_manage(patch: pytest.MonkeyPatch) -> None:
    """Ask for no right of those who give orders (F3, K5)."""
    original = ActorSystem.start_internal
    patch.setattr(ActorSystem, "start_internal", lambda self, name, worker, _right: original(self, name, worker, None))


def the_node_is_not_set(patch: pytest.MonkeyPatch) -> None:
    """Do not let a worker that came know its node (L2)."""
    patch.setattr(management, "_acquaint", lambda *_: None)


def messages_before_the_start(patch: pytest.MonkeyPatch) -> None:
    """Let a worker handle messages whose ``on_start`` goes on (L1)."""
    original = Process._call_hook

    async def call_hook(self: Process, name: str) -> None:
        if name != "on_start":
            await original(self, name)

    patch.setattr(Process, "_call_hook", call_hook)


def stops_without_a_farewell(patch: pytest.MonkeyPatch) -> None:
    """Say that a worker has stopped when it goes on (L7)."""
    original = ManagementWorker._do

    async def do(self: ManagementWorker, order: Any, asker: str) -> Any:
        if isinstance(order, StopWorker) and order.name in self._node._system.registry.workers:
            return Done()
        return await original(self, order, asker)

    patch.setattr(ManagementWorker, "_do", do)


BUGS: tuple[Plant, ...] = (
    two_workers_have_one_name,
    a_name_is_another_one_far_away,
    the_list_is_as_it_comes,
    internal_workers_are_listed,
    the_filter_looks_at_the_full_name,
    lost_nodes_stay,
    orders_are_repeated,
    started_twice,
    told_before_it_has_started,
    told_too_late,
    the_object_itself_is_started,
    errors_do_not_say_where,
    code_is_taken_whatever_the_policy,
    what_is_refused_runs_all_the_same,
    everybody_may_manage,
    the_node_is_not_set,
    messages_before_the_start,
    stops_without_a_farewell,
)
