"""Steps a user's coroutine in a Trio task, and waits for whatever it yields: Trio's traps or asyncio's futures.

Trio's own traps go on to Trio untouched. A future is waited for by this task itself, which sleeps in Trio until the
future is done. For asyncio, `Shadow` plays the task: it is what ``asyncio.current_task()`` returns, what a timeout or a
task group cancels.

Cancellation crosses over both ways. Trio's reaches an asyncio await as an exception that both worlds know, and only
once for one cancel scope, because asyncio code expects to clean up in peace; a clean-up whose await takes longer than
`_PEACE` is told again. asyncio's ends a wait of Trio's as that wait allows.
"""

from __future__ import annotations

import asyncio
import types
from collections.abc import Coroutine, Generator
from typing import Any, NoReturn, TypeVar

import outcome
import trio
from trio.lowlevel import Abort, RaiseCancelT, Task, current_task, reschedule, wait_task_rescheduled

from .private import (
    WaitTaskRescheduled,
    abort,
    abort_wait,
    accept_future,
    also_for_asyncio,
    cancelled_scopes,
    enter_task,
    expects_future,
    leave_task,
)

T = TypeVar("T")
_PEACE = 1.0
"""Seconds that the asyncio awaits of a clean-up may take until the cancellation is told again."""


class Shadow:
    """What stands for a Trio task in asyncio: as much of `asyncio.Task` as code asks its current task for."""

    __slots__ = (
        "__weakref__",
        "_cancels",
        "_coro",
        "_loop",
        "_name",
        "_task",
        "future",
        "pending",
        "told",
        "trap",
        "was_cancelled",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, Any], task: Task) -> None:
        self._loop = loop
        self._coro: Coroutine[Any, Any, Any] | None = coro
        self._task = task
        self._name: str | None = None
        self._cancels = 0
        self.was_cancelled = False
        self.pending: _Cancellation | None = None
        self.future: asyncio.Future[Any] | None = None
        self.trap: WaitTaskRescheduled | None = None
        self.told: frozenset[trio.CancelScope] = frozenset()

    def __repr__(self) -> str:
        return f"<Task {self.get_name()!r} of Trio{' done' if self.done() else ''}>"

    def cancel(self, msg: object = None) -> bool:
        """Let the await at hand, or the next one, raise `asyncio.CancelledError`."""
        if self._coro is None:
            return False
        self._cancels += 1
        self.was_cancelled = True
        if self.future is not None and self.future.cancel(msg):
            return True
        trap, self.trap = self.trap, None
        cancellation = _Cancellation(msg)
        if trap is not None and abort_wait(self._task, trap, cancellation):
            reschedule(self._task, outcome.capture(cancellation))
        elif not cancellation.was_raised:
            self.pending = cancellation
        return True

    def cancelling(self) -> int:
        """Return how many cancellations have not been taken back."""
        return self._cancels

    def uncancel(self) -> int:
        """Take back one cancellation; return how many are left."""
        self._cancels = max(self._cancels - 1, 0)
        if not self._cancels:
            self.pending = None
        return self._cancels

    def done(self) -> bool:
        """Whether the coroutine has ended."""
        return self._coro is None

    def cancelled(self) -> bool:
        """Return False: how it ended is for Trio to say."""
        return False

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Return the asyncio loop of this Trio run."""
        return self._loop

    def get_coro(self) -> Coroutine[Any, Any, Any] | None:
        """Return the coroutine that is stepped."""
        return self._coro

    def get_name(self) -> str:
        """Return the Trio task's name, unless another was set."""
        return self._name or self._task.name

    def set_name(self, value: object) -> None:
        """Give it another name."""
        self._name = str(value)

    def get_context(self) -> Any:
        """Return the context of the Trio task."""
        return self._task.context

    def get_stack(self, *, limit: int | None = None) -> list[types.FrameType]:
        """Return the frames of the coroutine, outermost first."""
        frames = [frame for frame, _ in self._task.iter_await_frames()] if self._coro is not None else []
        return frames[:limit]

    def add_done_callback(self, callback: object, *, context: object = None) -> NoReturn:
        """Refuse: this stands for code that somebody awaits; nobody else needs to be told of its end."""
        raise RuntimeError(
            f"{self!r} is no task that asyncio made, so nobody can be called back when it ends; "
            "make one with asyncio.create_task() and await it"
        )

    def forget_cancellations(self) -> None:
        """Begin anew: whatever was to be cancelled is over."""
        self._cancels = 0
        self.was_cancelled = False
        self.pending = None

    def end(self) -> None:
        """The coroutine has ended."""
        self._coro = None


class Nobody:
    """What stands for a task that is not driven: asyncio cannot cancel it."""

    was_cancelled = False

    def forget_cancellations(self) -> None:
        """Nothing to forget."""


NOBODY = Nobody()


def current_shadow(loop: asyncio.AbstractEventLoop) -> Shadow | Nobody:
    """Return what stands for the calling Trio task in asyncio."""
    task: object = asyncio.current_task(loop)
    return task if isinstance(task, Shadow) else NOBODY


@types.coroutine
def drive(loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, T]) -> Generator[Any, Any, T]:
    """Await a coroutine in the Trio task that calls this, with asyncio's loop within its reach."""
    shadow = Shadow(loop, coro, current_task())
    step, error = coro.send, None
    value: Any = None
    try:
        while True:
            enter_task(loop, shadow)
            try:
                yielded = step(value) if error is None else coro.throw(error)
            except StopIteration as end:
                result: T = end.value
                return result
            finally:
                leave_task(loop, shadow)
            value = error = None
            if type(yielded) is WaitTaskRescheduled:
                if shadow.pending is not None and (value := _cancel_wait(shadow, yielded)) is not None:
                    continue
                shadow.trap = yielded  # and not taken back: `abort_wait` sees whether the task still waits by it
                value = yield yielded
                if type(value) is outcome.Error:
                    value = _told(shadow, value)
            elif yielded is None or expects_future(yielded):
                error = yield from _wait_for(shadow, loop, yielded)
            else:
                try:
                    value = yield yielded
                except BaseException as refused:  # noqa: BLE001  # Trio's word on what it does not know
                    error = refused
    finally:
        shadow.end()


class _Cancellation:
    """asyncio's cancellation, as Trio's waits take it: raised by whoever calls it."""

    def __init__(self, message: object) -> None:
        self.message = message
        self.was_raised = False

    def error(self) -> asyncio.CancelledError:
        """Return what is to be raised."""
        return asyncio.CancelledError(*(() if self.message is None else (self.message,)))

    def __call__(self) -> NoReturn:
        self.was_raised = True
        raise self.error()


def _cancel_wait(shadow: Shadow, trap: WaitTaskRescheduled) -> outcome.Outcome[Any] | None:
    """End a wait of Trio's that has not begun, because asyncio has cancelled it before; None if it cannot be ended."""
    cancellation = shadow.pending
    assert cancellation is not None
    ended = abort(trap, cancellation)
    if ended or cancellation.was_raised:
        shadow.pending = None
    return outcome.capture(cancellation) if ended else None


def _told(shadow: Shadow, error: outcome.Error) -> outcome.Error:
    """Note that a wait of Trio's ended by cancellation, and return one that asyncio code recognises too."""
    if isinstance(error.error, trio.Cancelled | asyncio.CancelledError):
        shadow.pending = None  # one that came in the same moment: told once for both, as asyncio has it
    if type(error.error) is not trio.Cancelled:
        return error
    shadow.told, _ = cancelled_scopes(current_task())
    return outcome.Error(also_for_asyncio(error.error))


@types.coroutine
def _wait_for(
    shadow: Shadow, loop: asyncio.AbstractEventLoop, yielded: asyncio.Future[Any] | None
) -> Generator[Any, Any, BaseException | None]:
    """Sleep in Trio until a future is done; return what is to be raised where it is awaited, if anything.

    None stands for one turn of the loop, as ``asyncio.sleep(0)`` has it.
    """
    future = yielded
    if future is None:
        future = loop.create_future()
        loop.call_soon(_finish, future)
    elif not accept_future(future):
        return RuntimeError(f"a future was yielded, not awaited: {future!r}")
    elif future.get_loop() is not loop:
        return RuntimeError(f"{future!r} belongs to another asyncio loop than the one of this node")
    if shadow.pending is not None and future.cancel(shadow.pending.message):
        shadow.pending = None
    task = current_task()
    wait = _Wait(shadow, task, future, loop)
    future.add_done_callback(wait.wake)
    shadow.future = future
    try:
        yield from wait_task_rescheduled(wait.abort).__await__()  # noqa: ASYNC105  # this is how generators await
    finally:
        shadow.future = None
    error = wait.cancellation()
    pending, shadow.pending = shadow.pending, None  # came after the future was done and before this woke, as a task
    if error is None and future.cancelled():  # group's does; asyncio raises it here, once for all that have come
        return asyncio.CancelledError() if yielded is None else None
    if error is None and pending is not None:
        return pending.error()
    return error


class _Wait:
    """One wait of a Trio task for an asyncio future."""

    __slots__ = ("_future", "_loop", "_raise_cancel", "_shadow", "_task", "_timer")

    def __init__(
        self, shadow: Shadow, task: Task, future: asyncio.Future[Any], loop: asyncio.AbstractEventLoop
    ) -> None:
        self._shadow = shadow
        self._task = task
        self._future = future
        self._loop = loop
        self._raise_cancel: RaiseCancelT | None = None
        self._timer: asyncio.TimerHandle | None = None

    def wake(self, _: object) -> None:
        """The future is done."""
        reschedule(self._task)

    def abort(self, raise_cancel: RaiseCancelT) -> Abort:
        """Trio wants this wait to end: cancel the future, and go on waiting until it has seen to that."""
        cancelled, deadline = cancelled_scopes(self._task)
        if cancelled and cancelled <= self._shadow.told:
            again = min(self._loop.time() + _PEACE, deadline)
            self._timer = self._loop.call_at(again, self._tell, raise_cancel)
        else:
            self._tell(raise_cancel)
        return Abort.FAILED

    def _tell(self, raise_cancel: RaiseCancelT) -> None:
        self._raise_cancel = raise_cancel
        self._future.cancel()

    def cancellation(self) -> BaseException | None:
        """Return Trio's cancellation, if it is what has ended the future."""
        if self._timer is not None:
            self._timer.cancel()
        if self._raise_cancel is None or not _was_cancelled(self._future):
            return None
        self._shadow.told, _ = cancelled_scopes(self._task)
        try:
            self._raise_cancel()
        except BaseException as cancelled:  # noqa: BLE001  # returned, to be raised
            return also_for_asyncio(cancelled)


def _finish(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _was_cancelled(future: asyncio.Future[Any]) -> bool:
    return future.cancelled() or isinstance(future.exception(), asyncio.CancelledError)
