"""One worker: its mailbox, its task, one message at a time, and its lives.

A process keeps its name, its mailbox and its figures for as long as the worker is registered. Within that it goes
through one life after another, each with an object of its own if supervision restarts it: ``on_start``, messages,
``on_stop``. `_handle_messages` is the hot loop of the library; all else happens once a life. What follows a life,
`supervisor` decides.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from sys import getrefcount
from typing import Any, NoReturn

import trio
from trio.lowlevel import Task, cancel_shielded_checkpoint, checkpoint, current_task

from .. import logs
from .._mixed.belongings import AsyncioTasks, owner
from .._mixed.driver import NOBODY, Nobody, Shadow, current_shadow
from .._sansio.envelope import MESSAGE, REQUEST, Envelope
from .._sansio.reports import Down, WorkerInfo, WorkerState
from .._sansio.restarts import Ending
from ..errors import WorkerStopped
from .calling import awaitable, message_elsewhere
from .debts import Debts, text_of
from .exits import apart, as_failure
from .families import LAST_SECOND, stop_in_order
from .queue import Queue
from .runtime import SLICE, Runtime
from .watching import Lookout
from .worker_objects import check_worker, claim, has_on_stop, release

_log = logs.get_logger("worker")
_NOTHING = Envelope(MESSAGE, "", "")
_ALONE = 2
"""References to a context that nobody kept: this process, and the argument of `getrefcount`."""

current_process: ContextVar[Process | None] = ContextVar("autonomy_process", default=None)
"""The worker whose task this is, or whose handler's child task or thread."""


class Handling:
    """One message in a worker's hands. `context` gives it the words that users know."""

    __slots__ = ("answered", "envelope", "process")

    def __init__(self, process: Process, envelope: Envelope) -> None:
        self.process = process
        self.envelope = envelope
        self.answered = False

    def for_thread(self) -> object:
        """Return what a plain handler gets in place of this."""
        return self


class Process:
    """A registered worker.

    Args:
        runtime: What all workers of the node share.
        name: Its name, free and checked.
        worker: The object, or with `makes_workers` what makes one for each life.
        after: Called between two lives; says whether there is another one, and sets `reason` if there is not.
        resumes: Whether a handler that raises fails its message alone.
        buried: Called once, when the name may be given to somebody else.
        contexts: What handlers get.
        incarnation: Id of this start.
        changed: Called when a life begins, and before the next one may.
        parent: The worker that this one is a child of.

    Attributes:
        starts_at_once: Whether its start takes no time: there is an object, and it has no ``on_start``.
    """

    __slots__ = (
        "_after",
        "_asyncio_tasks",
        "_buried",
        "_by",
        "_changed",
        "_contexts",
        "_current",
        "_farewell",
        "_gone",
        "_handler",
        "_makes_workers",
        "_patience",
        "_rest",
        "_resumes",
        "_scope",
        "_shadow",
        "_source",
        "_stop_reason",
        "_task",
        "_wish",
        "_worker",
        "address",
        "alive",
        "belongings",
        "children",
        "debts",
        "failed",
        "failure",
        "handled",
        "has_started",
        "idle",
        "incarnation",
        "name",
        "parent",
        "queue",
        "reason",
        "restarts",
        "runtime",
        "started",
        "started_at",
        "starts_at_once",
        "state",
        "watchers",
    )

    def __init__(
        self,
        runtime: Runtime,
        name: str,
        worker: object,
        *,
        makes_workers: bool,
        capacity: int,
        resumes: bool,
        after: Callable[[Process, Ending, Exception | None], Awaitable[bool]],
        buried: Callable[[Process], None],
        contexts: type[Handling],
        incarnation: str,
        changed: Callable[[], None] | None = None,
        parent: Process | None = None,
    ) -> None:
        self.runtime = runtime
        self._source = worker
        self._makes_workers = makes_workers
        self._worker: Any = None if makes_workers else worker
        self.starts_at_once = not makes_workers and not hasattr(worker, "on_start")
        self._resumes = resumes
        self._after = after
        self._buried = buried
        self._changed = changed
        self._contexts = contexts
        self._wish: Ending | None = None
        self.has_started = False
        self._patience = 5.0
        self._by = math.inf
        self._stop_reason = "stopped"
        self._farewell: trio.CancelScope | None = None
        self._scope = trio.CancelScope()
        self._rest: trio.CancelScope | None = None
        self._task: Task | None = None
        self._shadow: Shadow | Nobody = NOBODY
        self._handler: Callable[[Any, str], Awaitable[None]] | None = None
        self._current: Handling | None = None
        self.debts = Debts(name, runtime)
        self._asyncio_tasks = AsyncioTasks(name, self._carry_message)
        self._gone: trio.Event | None = None
        self.name = name
        self.address = f"{name}@{runtime.name}"
        self.incarnation = incarnation
        self.parent = parent
        self.queue = Queue(capacity)
        self.state: WorkerState = "starting"
        self.started_at = runtime.clock()
        self.started: trio.Event | None = None
        self.idle: trio.Event | None = None
        self.reason = "stopped"
        self.failure: Exception | None = None
        self.alive = False
        self.handled = self.failed = self.restarts = 0
        self.children: dict[str, Process] | None = None
        self.belongings: dict[object, Callable[[], object]] | None = None
        self.watchers: list[Lookout] | None = None

    # --- what others see and ask

    def describe(self) -> str:
        """Return the kind of worker and its age, for error texts."""
        kind = self._source.__name__ if isinstance(self._source, type) else type(self._source).__name__
        return f"{kind}, started {self.runtime.clock() - self.started_at:.0f} s ago"

    def info(self) -> WorkerInfo:
        """Return its figures at this moment."""
        return WorkerInfo(
            {
                "name": self.name,
                "state": self.state,
                "mailbox": self.queue.queued,
                "handled": self.handled,
                "failed": self.failed,
                "restarts": self.restarts,
            }
        )

    def handled_by(self, task: Task | None) -> Envelope | None:
        """Return the message being handled if `task` belongs to its handler, itself or as a task below it.

        None stands for an asyncio task. That, or a thread, may outlive its handler: then it handles nothing.
        """
        if self._current is None:
            return None
        envelope = self._current.envelope
        while task is not None and task is not self._task:
            nursery = task.parent_nursery
            task = None if nursery is None else nursery.parent_task
        return envelope if task is not None or message_elsewhere.get() is envelope else None

    def _carry_message(self) -> None:
        """Say in an asyncio task's context what the code is handling that makes the task."""
        message_elsewhere.set(self.handled_by(current_task()))

    def runs(self, worker: object) -> bool:
        """Whether this object is the worker."""
        return self._worker is worker

    def check_alive(self, what: str) -> None:
        """Raise WorkerStopped if this life is over: it could not take care of what it starts now."""
        if not self.alive:
            text = f"worker {self.name!r} on node {self.runtime.name!r} has ended and {what}"
            raise WorkerStopped(text, outcome="not_sent", worker=self.name, node=self.runtime.name)

    def own(self, thing: object, close: Callable[[], object]) -> None:
        """Close a thing when this life ends, unless it is disowned before."""
        if self.belongings is None:
            self.belongings = {}
        self.belongings[thing] = close

    def disown(self, thing: object) -> None:
        """Forget a thing that is closed."""
        if self.belongings is not None:
            self.belongings.pop(thing, None)

    def stops_at_once(self) -> bool:
        """Whether its stop takes no time: no children, no ``on_stop``."""
        return not self.children and not has_on_stop(self._worker)

    def end(self, wish: Ending) -> None:
        """Let this life end once the message at hand is handled. A wish to stop outlasts every other one."""
        if self._wish != "stopped":
            self._wish = wish
        if wish == "stopped":
            self.state = "stopping"
        if self.queue.parked is not None:
            self.queue.wake()
        if self._rest is not None:
            self._rest.cancel()

    def hurry(self) -> None:
        """Cut short whatever runs: an ``on_stop`` has a second left."""
        self._patience = 0.0
        self.cut_short()
        if self._farewell is not None:
            soon = self.runtime.clock() + LAST_SECOND
            self._farewell.deadline = min(self._farewell.deadline, soon)

    def cut_short(self) -> None:
        """Cancel what runs in this life."""
        self._scope.cancel()

    async def stop(self, patience: float, reason: str = "stopped") -> None:
        """Stop: finish the message at hand within `patience` seconds, then go. Returns when the name is free."""
        self.begin_stop(patience, reason)
        await self.gone.wait()

    def begin_stop(self, patience: float, reason: str, by: float = math.inf) -> None:
        """Stop, but wait for nothing. `by` is a time for all of it that shortens `patience`, for its children too."""
        self._patience = patience
        self._by = min(self._by, by)
        self._stop_reason = reason
        self.end("stopped")
        self._scope.deadline = min(self._scope.deadline, self.runtime.clock() + patience, self._by)

    @property
    def gone(self) -> trio.Event:
        """Set when the worker has ended for good and its name is free."""
        if self._gone is None:
            self._gone = trio.Event()
        return self._gone

    async def wait_idle(self) -> bool:
        """Wait until it has nothing to do; return whether that was so at once."""
        if self.at_rest():
            return True
        while not self.at_rest():
            self.idle = trio.Event()
            await self.idle.wait()
        return False

    def at_rest(self) -> bool:
        """Whether it has nothing to do."""
        waits = self.queue.parked is not None or self._rest is not None
        return (waits and self.queue.is_empty) or (self._gone is not None and self._gone.is_set())

    # --- its task

    async def run(self) -> None:
        """Live, as often as supervision wants it; then leave nothing behind."""
        current_process.set(self)
        owner.set(self._asyncio_tasks)
        self._shadow = current_shadow(self.runtime.mixture.loop)
        self._task = current_task()
        self.reason = "cancelled"
        try:
            await self._lives()
        except BaseException as error:  # noqa: BLE001  # sorted out there
            self._raise_cancelled(error)
        finally:
            self._bury()

    async def _lives(self) -> None:
        while True:
            try:
                error = await self._life()
            finally:
                await self._end_of_life()
            if self._wish != "stopped":
                self.state = "restarting"
            if not self.has_started:
                self.failure = error  # for whoever starts it; a later one would keep frames alive for nobody
            if not await self._goes_on(error):
                return
            self._scope = trio.CancelScope()
            self.restarts += 1

    async def _goes_on(self, error: Exception | None) -> bool:
        again = False
        if not self.has_started:
            self.reason = self._stop_reason if error is None else f"failed: {text_of(error)}"
        elif self._wish != "stopped":
            ending = self._wish or ("stopped" if error is None else "failed")
            self._wish = None  # one that comes up now is not about the life that is over
            with trio.CancelScope() as self._rest:
                again = await self._after(self, ending, error)
            self._rest = None
        if self._wish == "stopped":  # before, or while it rested
            self.reason = self._stop_reason
            return False
        if self._wish is not None:  # it stopped itself while it rested, by a context that it kept
            self.reason = "stopped"
            return False
        return again

    async def _life(self) -> Exception | None:
        """Live once; return what ended that, unless it was a wish."""
        self.alive = True
        with self._scope:
            try:
                if self._makes_workers:
                    self._worker = self._make_worker()
                await self._call_hook("on_start")
                self._handler = self._handler_of(self._worker)
            except Exception as error:  # noqa: BLE001  # the worker's own code
                return error
            self.has_started = True
            self.state = "running"
            if self.started is not None:
                self.started.set()
            if self._changed is not None:
                self._changed()
            self.runtime.watchdog.busy += 1
            try:
                return await self._handle_messages()
            finally:
                self.runtime.watchdog.busy -= 1
        return None  # it was cut short

    async def _handle_messages(self) -> Exception | None:
        """Handle one message after the other until another wish is there, or return what ended that."""
        queue, runtime, handle = self.queue, self.runtime, self._handler
        take, now, pending, watchdog = queue.take, runtime.slice_clock, runtime.replies.pending, runtime.watchdog
        assert handle is not None
        self._current = self._contexts(self, _NOTHING)
        slice_ends, shadow = 0.0, self._shadow
        while self._wish is None:
            if not queue.queued:
                if queue.reserved is not None:
                    queue.reserved.serve()
                    if queue.queued:
                        continue
                if getrefcount(self._current) == _ALONE:
                    self._current.envelope = _NOTHING
                envelope, slot = _NOTHING, None  # an idle worker holds no message, no answer, no caller
                if self.idle is not None:
                    self.idle.set()
                watchdog.busy -= 1
                try:
                    await queue.park()
                except asyncio.CancelledError as error:
                    self._ignore_cancellation(error)
                finally:
                    watchdog.busy += 1
                if watchdog.asleep:
                    watchdog.wake(_HOT_LOOP)
                take, slice_ends = queue.take, now() + SLICE
                continue
            if now() > slice_ends:
                if watchdog.asleep:
                    watchdog.wake(_HOT_LOOP)
                try:
                    await checkpoint()
                except asyncio.CancelledError as error:
                    self._ignore_cancellation(error)
                if queue.reserved is not None:
                    queue.reserved.serve()
                watchdog.turns += 1
                take, slice_ends = queue.take, now() + SLICE
            if shadow.was_cancelled:
                shadow.forget_cancellations()
            envelope = take()
            queue.queued -= 1
            wants_reply = envelope.kind
            if wants_reply == REQUEST:
                slot = pending.get(envelope.id)
                if slot is None:
                    continue  # withdrawn, or too late
                slot.taken = True
            if getrefcount(self._current) == _ALONE:
                self._current.envelope = envelope
                self._current.answered = False
            else:
                self._current = self._contexts(self, envelope)
            try:
                await handle(self._current, envelope.body)
            except BaseException as error:  # noqa: BLE001  # the worker's own code
                failure = as_failure(error)
                if failure is None:
                    self.debts.cut_off(envelope, answered=self._current.answered)
                    self._raise_cancelled_alone(error, "handler failed while it was cancelled")
                self._handler_failed(envelope, failure, answered=self._current.answered)
                self._current.answered = True
                if not self._resumes:
                    return failure
            else:
                self.handled += 1
                if wants_reply and not self._current.answered:
                    # Trio's scheduler holds what it resumed this task with until the next step. If that was a Cancelled
                    # that the handler caught, its traceback may hold the handler's frame and the context: it does in
                    # some versions of Python, and all of them take this step, so that simulated runs are the same.
                    await cancel_shielded_checkpoint()
                    if getrefcount(self._current) == _ALONE and not self._current.answered:
                        self.debts.unanswered(envelope)
                    elif not self._current.answered:
                        self.debts.keep(envelope)
        return None

    def _ignore_cancellation(self, error: asyncio.CancelledError) -> None:
        """Go on, if it was asyncio that cancelled: that reaches a worker's handler, never the worker between them."""
        if isinstance(error, trio.Cancelled):
            raise error
        self._shadow.forget_cancellations()

    def _handler_failed(self, envelope: Envelope, error: Exception, *, answered: bool) -> None:
        self.failed += 1
        self.debts.failed(envelope, error, answered=answered)

    def _handler_of(self, worker: Any) -> Callable[[Any, str], Awaitable[None]]:
        return awaitable(worker.handle_message, worker, self.runtime.threads)

    async def _call_hook(self, name: str) -> None:
        hook = getattr(self._worker, name, None)
        if hook is None:
            return
        self._current = self._contexts(self, Envelope(MESSAGE, self.name, ""))
        try:
            await awaitable(hook, self._worker, self.runtime.threads)(self._current)
        except BaseException as error:  # noqa: BLE001  # the worker's own code
            failure = as_failure(error)
            if failure is None:
                self._raise_cancelled_alone(error, f"{name} failed while it was cancelled")
            raise failure  # noqa: B904  # it is the error itself, or stands for it
        finally:
            self._shadow.forget_cancellations()

    def _raise_cancelled_alone(self, error: BaseException, event: str) -> NoReturn:
        """Raise `error`; of a group that holds a cancellation and ordinary failures, the cancellation alone."""
        if isinstance(error, BaseExceptionGroup):
            cancelled, rest = apart(error)
            failure = as_failure(rest)
            if cancelled is not None and failure is not None:
                self.failed += 1
                _log.exception(event, failure, worker=self.address)
                raise cancelled from None
        raise error

    def _make_worker(self) -> object:
        assert callable(self._source)
        worker = check_worker(self._source(), self.name)
        claim(worker, self.name)
        return worker

    # --- the end

    async def _end_of_life(self) -> None:
        """Stop the children, run ``on_stop``, then leave nothing behind, whatever that raised."""
        try:
            await self._take_leave()
        finally:
            self._leave_nothing()

    async def _take_leave(self) -> None:
        self.alive = False
        begun = self._handler is not None
        self._handler = None
        if self.children:
            patience = self._patience_left()
            with trio.CancelScope(shield=True):
                await stop_in_order(list(self.children.values()), patience)
        if begun and has_on_stop(self._worker):
            await self._run_on_stop(max(self._patience_left(), LAST_SECOND))
        if self._asyncio_tasks.are_left:
            await self._asyncio_tasks.close(max(self._patience_left(), LAST_SECOND))

    def _patience_left(self) -> float:
        """Return the seconds for what comes next: the children together, or ``on_stop``, or asyncio tasks."""
        if trio.current_effective_deadline() == -math.inf:
            return 0.0
        return max(min(self._patience, self._by - self.runtime.clock()), 0.0)

    def _leave_nothing(self) -> None:
        """Close what this life opened, answer what it kept, let its object go."""
        self._current = None
        belongings, self.belongings = self.belongings, None
        for close in (belongings or {}).values():
            close()
        self.debts.close()
        if self._worker is not None:
            release(self._worker)
            self._worker = None

    async def _run_on_stop(self, patience: float) -> None:
        begun = self.runtime.clock()
        scope = self._farewell = trio.CancelScope(deadline=begun + patience, shield=True)
        try:
            with scope:
                await self._call_hook("on_stop")
        except Exception as error:  # noqa: BLE001  # the worker's own code
            _log.exception("on_stop failed", error, worker=self.address)
        if scope.cancelled_caught:
            seconds = round(scope.deadline - begun, 3)
            _log.warning("on_stop took too long and was cancelled", worker=self.address, seconds=seconds)

    def _raise_cancelled(self, error: BaseException) -> None:
        """Let a cancellation go on to Trio, and end the node with anything else: nothing here swallows it (L5)."""
        cancelled, rest = apart(error)
        if rest is not None:
            self.reason = f"failed: {text_of(rest)}"
            self.runtime.crash(rest)
        if cancelled is not None:
            raise cancelled

    def _bury(self) -> None:
        self._buried(self)
        self.debts.left_behind(self.queue.close(self.reason), self.reason)
        for lookout in self.watchers or ():
            lookout.report(Down(self.address, self.incarnation, self.reason))
        self.watchers = None
        if self.idle is not None:
            self.idle.set()
        self.gone.set()
        if self.started is not None:
            self.started.set()


_HOT_LOOP = Process._handle_messages.__code__
