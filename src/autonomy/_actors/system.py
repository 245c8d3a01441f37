"""The actors of one node: where the parts of this wing are joined.

Starts and stops workers, groups, timers and watches. Mailboxes of programs are opened in `mailboxes.py`, and all comes
to rest by `closing.py`. Messages do not come by here: `calls.py` hands them to the router. The name is Akka's for the
same thing.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import get_args
from weakref import WeakValueDictionary

import trio
from trio.lowlevel import cancel_shielded_checkpoint, checkpoint_if_cancelled

from .. import logs
from .._mixed.worlds import both, check_world, pause
from .._sansio.address import check_name, parse_address
from .._sansio.border import check_count, check_delay, check_message
from .._sansio.reports import Down, NodeStatistics, WorkerInfo
from .._sansio.restarts import (
    RESUME,
    ChildSpec,
    Restart,
    RestartWindow,
    Resume,
    Strategy,
    Supervision,
    check_children,
    check_factory,
    check_strategy,
    check_supervision,
)
from ..abc import Allow, Names, OnConflict, Route
from ..errors import DirectoryUnavailable, NoReply, WorkerExists, WorkerNotFound, WorkerStopped
from .allowed import check_allow
from .context import WorkerContext
from .mailboxes import Mailboxes
from .process import Process, current_process
from .registry import Registry
from .router import Router
from .runtime import Runtime
from .supervisor import Group, Solo
from .timers import PendingTimer
from .watching import NOT_FOUND, Lookout
from .worker_objects import check_idle, check_worker, claim

_log = logs.get_logger("node")
_PATIENCE = 5.0
"""Seconds for a message at hand, and again for ``on_stop``, when nobody says otherwise."""


class ActorSystem:
    """All workers of one node and what belongs to them.

    Args:
        runtime: The parts they share; the system completes it.
        nursery: Where workers, groups and deliveries run. Whoever opened it sees to a `Closing` before it ends.

    Attributes:
        names: Where the names of workers are published; None without a zone.
    """

    def __init__(self, runtime: Runtime, nursery: trio.Nursery) -> None:
        self._runtime = runtime
        self._nursery = nursery
        self._starts = 0
        self._turns: WeakValueDictionary[str, trio.Lock] = WeakValueDictionary()
        self.registry = Registry(runtime.name)
        self.router = Router(runtime, self.registry, nursery.start_soon)
        self.names: Names | None = None
        self.mailboxes = Mailboxes(runtime, self.registry, self.router)
        runtime.converse = self.router.converse
        runtime.forward = self.router.forward
        runtime.put_soon = self.router.put_soon
        runtime.start_timer = self.start_timer
        runtime.start_worker = self.start_worker
        runtime.watch = self.watch

    # --- workers

    @both
    async def start_worker(
        self,
        name: str,
        worker: object,
        supervision: Supervision,
        capacity: int,
        allow: Allow,
        on_conflict: OnConflict,
        parent: Process | None = None,
    ) -> None:
        """Start a worker; see `Node.start_worker`."""
        check_name(name)
        policy = check_supervision(supervision)
        check_count(capacity, "mailbox_capacity")
        check_allow(allow)
        makes_workers = isinstance(policy, Restart)
        self._check_source(worker, name, makes_workers=makes_workers)
        if on_conflict not in get_args(OnConflict):
            raise ValueError(f"on_conflict must be error, keep or replace, got {on_conflict!r:.80}")
        await checkpoint_if_cancelled()
        self._check_may_start(parent)
        if name in self.registry.internal:  # nobody replaces those
            self.registry.check_free(name)
        if on_conflict == "replace":
            await self._make_way(name, worker, parent)
        elif on_conflict == "keep" and await self._stays(name):
            await cancel_shielded_checkpoint()
            return
        self._check_may_start(parent)  # again: both may have waited
        solo = Solo(policy)
        process = self._make_process(
            name,
            worker,
            makes_workers=makes_workers,
            capacity=capacity,
            resumes=isinstance(policy, Resume),
            keeper=solo,
            parent=parent,
            allow=allow,
        )
        if parent is not None:
            parent.children = parent.children or {}
            parent.children[name] = process
        await self._start_process(process)

    async def start_internal(self, name: str, worker: object, right: str | None) -> None:
        """Start a worker of the library's own, which others reach who have one of the `Rights`; None for all."""
        self.registry.check_free(name)
        self.registry.internal[name] = right
        await self.start_worker(name, worker, RESUME, 1000, None, "error")

    @staticmethod
    def _check_source(worker: object, name: str, *, makes_workers: bool) -> None:
        if makes_workers:
            check_factory(worker, name)
        else:
            check_worker(worker, name)

    def _check_may_start(self, parent: Process | None) -> None:
        self.router.check_open()
        if parent is not None:
            parent.check_alive("starts no children")

    async def _make_way(self, name: str, worker: object, parent: Process | None) -> None:
        """Stop the worker that has a name. Of several who want that at once each stops the one before it, in turn."""
        if name in self.registry.workers:
            self._refuse_from_within(self.registry.workers[name])
        async with self._turns.setdefault(name, trio.Lock()):
            while (other := self.registry.workers.get(name)) is not None:
                self._check_may_start(parent)
                if not other.runs(worker):
                    check_idle(worker, name)
                await other.stop(_PATIENCE)

    async def _stays(self, name: str) -> bool:
        """Whether there is a worker to keep; one that is stopping is none, and gone when this returns."""
        while (other := self.registry.workers.get(name)) is not None:
            if other.state != "stopping":
                return True
            self._refuse_from_within(other)
            await other.gone.wait()
        return False

    def _refuse_from_within(self, process: Process) -> None:
        if self._is_within(process):
            raise WorkerExists(
                f"worker {process.name!r} cannot be replaced from its own handler, nor from a child's: it must end "
                "first. Start the new one from elsewhere, or supervise it with Restart."
            )

    def _make_process(
        self,
        name: str,
        worker: object,
        *,
        makes_workers: bool,
        capacity: int,
        resumes: bool,
        keeper: Solo | Group,
        parent: Process | None,
        allow: Allow = None,
    ) -> Process:
        self.registry.check_free(name)
        process = Process(
            self._runtime,
            name,
            worker,
            makes_workers=makes_workers,
            capacity=capacity,
            resumes=resumes,
            after=keeper.after,
            buried=self._buried if isinstance(keeper, Solo) else lambda process: self._buried_member(process, keeper),
            contexts=WorkerContext,
            incarnation=self._next_incarnation(),
            changed=None if isinstance(keeper, Solo) else keeper.changed,
            parent=parent,
        )
        if not makes_workers:
            claim(worker, name)
        self.registry.add(process, allow)
        self.router.forget(name)  # from here on it means this worker (R2)
        return process

    def _next_incarnation(self) -> str:
        self._starts += 1
        return f"{self._runtime.incarnation}/{self._starts}"

    def _buried(self, process: Process) -> None:
        self.registry.remove(process)
        if self.names is not None:
            self.names.remove(process.name)
        if process.parent is not None and process.parent.children is not None:
            process.parent.children.pop(process.name, None)

    def _buried_member(self, process: Process, group: Group) -> None:
        self._buried(process)
        group.left(process)

    async def _start_process(self, process: Process) -> None:
        if process.starts_at_once:
            self._nursery.start_soon(self._runtime.mixture.run, process.run, name=process.address)
            await cancel_shielded_checkpoint()
            if self.names is not None:
                await self._whole_or_not_at_all(process, self._publish(process))
            return
        started = process.started = trio.Event()
        self._nursery.start_soon(self._runtime.mixture.run, process.run, name=process.address)
        await self._whole_or_not_at_all(process, started.wait())
        if not process.has_started:
            raise process.failure or self._stopped_early("worker", process.name)
        if self.names is not None:
            await self._whole_or_not_at_all(process, self._publish(process))

    @staticmethod
    async def _whole_or_not_at_all(process: Process, step: Awaitable[None]) -> None:
        """Take a step of a worker's start; cancelled, stop the worker."""
        try:
            await step
        except BaseException:
            process.end("stopped")
            process.cut_short()
            with trio.CancelScope(shield=True):
                await process.gone.wait()
            raise

    async def _publish(self, process: Process) -> None:
        """Let other nodes find a worker by its name; returns when they can (R3)."""
        is_here = self.registry.workers.get(process.name) is process
        if self.names is not None and is_here and process.name not in self.registry.internal:
            self.names.add(process.name)
            await self.names.settled()

    def _stopped_early(self, what: str, name: str) -> WorkerStopped:
        text = f"{what} {name!r} was stopped while it started"
        return WorkerStopped(text, outcome="not_sent", worker=name, node=self._runtime.name)

    @both
    async def stop_worker(self, name: str, patience: float) -> None:
        """Stop a worker or a group; see `Node.stop_worker`."""
        check_name(name)
        await pause()
        found = self.registry.workers.get(name) or self.registry.groups.get(name)
        if found is None or name in self.registry.internal:
            here = self._runtime.name
            raise WorkerNotFound(f"no worker {name!r} on node {here!r}", outcome="not_sent", worker=name, node=here)
        if isinstance(found, Group):
            await self._stop_group(found, patience)
        elif self._is_within(found):
            found.end("stopped")  # waiting for oneself, or for one's parent, would only end at the limit of patience
        else:
            await found.stop(patience)
            await self._settled()

    async def _settled(self) -> None:
        """Wait until no other node finds here what has ended, so that it may be started elsewhere."""
        if self.names is not None:
            await self.names.settled()

    async def _stop_group(self, group: Group, patience: float) -> None:
        """Stop a group in a task of its own, which nobody who gives up can cut short; wait for it from outside."""
        self._nursery.start_soon(group.stop, patience, name=f"stop of {group.address}")
        if not any(self._is_within(member) for member in group.members):
            await group.gone.wait()
            await self._settled()

    def _is_within(self, process: Process) -> bool:
        inner = current_process.get()
        while inner is not None and inner is not process:
            inner = inner.parent
        return inner is process

    def list_workers(self) -> list[WorkerInfo]:
        """Return all workers, sorted by name."""
        workers = sorted(self.registry.workers.items())
        return [process.info() for name, process in workers if name not in self.registry.internal]

    def statistics(self) -> NodeStatistics:
        """Return the figures of this moment."""
        return NodeStatistics(
            name=self._runtime.name,
            incarnation=self._runtime.incarnation,
            workers=sum(name not in self.registry.internal for name in self.registry.workers),
            mailboxes=len(self.registry.inboxes),
            queued=sum(queue.queued for queue in self.registry.queues.values()),
            waiting_requests=len(self._runtime.replies.pending),
            timers=len(self._runtime.timers.deadlines.pending),
            dead_letters=self._runtime.dead_letters.count,
            dropped_replies=self._runtime.replies.dropped,
        )

    # --- groups

    @both
    async def start_group(
        self, name: str, children: Sequence[ChildSpec], strategy: Strategy, max_restarts: int, within: float
    ) -> None:
        """Start a group and its members in order; see `Node.start_group`."""
        check_children(check_name(name), children)
        check_strategy(strategy)
        window = RestartWindow(
            check_count(max_restarts, "max_restarts", least=0), check_delay(within, "within", zero=False)
        )
        await checkpoint_if_cancelled()
        self.router.check_open()
        self.registry.check_free(name)
        for child in children:
            self.registry.check_free(child.name)
            self._check_member(child)
        group = Group(name, f"{name}@{self._runtime.name}", self._next_incarnation(), strategy, window)
        self.registry.groups[name] = group
        names = [child.name for child in children]
        self.registry.keep(names, name)
        try:
            for child in children:
                await self._start_member(child, group)
        except BaseException:
            with trio.CancelScope(shield=True):
                await group.stop(_PATIENCE)
            self.registry.give(names)
            self._bury_group(group)
            raise
        self._nursery.start_soon(self._run_group, group, name=group.address)

    async def _start_member(self, child: ChildSpec, group: Group) -> None:
        self.router.check_open()
        self.registry.give([child.name])
        process = self._make_process(
            child.name,
            child.worker,
            makes_workers=_makes_workers(child),
            capacity=child.mailbox_capacity,
            resumes=False,
            keeper=group,
            parent=None,
        )
        group.add(child, process)
        await self._start_process(process)
        if group.is_stopping:
            raise self._stopped_early("group", group.name)

    def _check_member(self, child: ChildSpec) -> None:
        if child.restart == "temporary" and not _makes_workers(child):
            check_worker(child.worker, child.name)
        else:
            self._check_source(child.worker, child.name, makes_workers=True)

    async def _run_group(self, group: Group) -> None:
        try:
            await group.run()
        finally:
            self._bury_group(group)

    def _bury_group(self, group: Group) -> None:
        self.registry.groups.pop(group.name, None)
        for lookout in group.watchers:
            lookout.report(Down(group.address, group.incarnation, group.reason))
        group.gone.set()

    # --- timers, watches

    def start_timer(
        self, delay: float, period: float | None, address: str, message: str, owner: Process | None = None
    ) -> PendingTimer:
        """Start a timer; it ends with the worker that owns it."""
        check_world()
        parse_address(address)
        message = check_message(message, self._runtime.max_message_bytes)
        self.router.check_open()
        timers = self._runtime.timers
        if owner is not None:
            owner.check_alive("starts no timers")
        if owner is None:
            return timers.start(delay, period, address, message, "")
        timer = timers.start(delay, period, address, message, owner.address)
        owner.own(timer, timer.cancel)
        timer.forget = owner.disown
        return timer

    @asynccontextmanager
    async def watch(self, address: str) -> AsyncGenerator[Lookout]:
        """Look out for the end of a worker or group; see `Node.watch`."""
        name, route = await self.router.whereabouts(address)
        await pause()
        lookout = Lookout()
        if route is None:
            end = self.look_out(name, lookout)
        elif name == address:
            end = self._look_out_anywhere(name, route, lookout)
        else:
            end = route.watch(name, lookout.report)
        try:
            yield lookout
        finally:
            end()

    def _look_out_anywhere(self, name: str, route: Route, lookout: Lookout) -> Callable[[], object]:
        """Look out for a worker where it was last, and if it is not there, where it is now."""
        ends: list[Callable[[], object]] = []
        has_ended = False

        def report(down: Down) -> None:
            if down.reason == NOT_FOUND:
                self._nursery.start_soon(look_again, down)
            else:
                lookout.report(down)

        async def look_again(down: Down) -> None:
            self.router.doubt(name, down.name.rpartition("@")[2])
            try:
                there = (await self.router.whereabouts(name))[1]
            except (NoReply, DirectoryUnavailable):
                there = None
            if has_ended:
                return
            if there is not None:
                ends.append(there.watch(name, lookout.report))
            elif name in self.registry.workers:
                ends.append(self.look_out(name, lookout))
            else:
                lookout.report(down)

        def end() -> None:
            nonlocal has_ended
            has_ended = True
            for each in ends:
                each()

        ends.append(route.watch(name, report))
        return end

    def look_out(self, name: str, lookout: Lookout) -> Callable[[], object]:
        """Let a lookout be told of the end of a worker or group here; return what ends that."""
        found = self.registry.workers.get(name) or self.registry.groups.get(name)
        if found is None:
            lookout.report(Down(f"{name}@{self._runtime.name}", "", NOT_FOUND))
            return lambda: None
        watchers = found.watchers = found.watchers if found.watchers is not None else []
        watchers.append(lookout)
        return lambda: watchers.remove(lookout)


def _makes_workers(child: ChildSpec) -> bool:
    return child.restart != "temporary" or not hasattr(child.worker, "handle_message") or isinstance(child.worker, type)
