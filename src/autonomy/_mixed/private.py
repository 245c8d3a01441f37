"""What this room needs of Trio and asyncio beyond their public names. Nothing private is touched anywhere else.

`tests/test_mixed_canary.py` checks each of these, and says which one has moved; `pyproject.toml` bounds the versions
that they were seen to work with.
"""

from __future__ import annotations

import asyncio
import math
from asyncio.tasks import _enter_task, _leave_task
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from typing import Any, NoReturn, cast

import sniffio
import trio
from trio._core._run import GLOBAL_RUN_CONTEXT
from trio._core._traps import WaitTaskRescheduled
from trio.lowlevel import Abort, Task

__all__ = ["WaitTaskRescheduled"]

# asyncio documents these three for those who write loops and tasks ("Extending").
enter_task = cast("Callable[[asyncio.AbstractEventLoop, object], None]", _enter_task)
leave_task = cast("Callable[[asyncio.AbstractEventLoop, object], None]", _leave_task)
set_running_loop = asyncio._set_running_loop
get_running_loop_or_none = asyncio._get_running_loop


@contextmanager
def outside_of_trio_tasks() -> Generator[None]:
    """Let nobody find a Trio task, as in the host of a guest run: asyncio tasks are stepped within."""
    task = GLOBAL_RUN_CONTEXT.task
    del GLOBAL_RUN_CONTEXT.task
    library, sniffio.thread_local.name = sniffio.thread_local.name, "asyncio"
    try:
        yield
    finally:
        sniffio.thread_local.name = library
        GLOBAL_RUN_CONTEXT.task = task


def trio_is_guest() -> bool:
    """Whether this Trio run is a guest on somebody's loop, and not one of its own, perhaps within a loop's callback."""
    return GLOBAL_RUN_CONTEXT.runner.is_guest


def has_ready_callbacks(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether the loop has something to do at once."""
    return bool(loop._ready)  # type: ignore[attr-defined]  # of BaseEventLoop


def next_timer(loop: asyncio.AbstractEventLoop) -> float:
    """When the loop's next timer is due, on its clock; infinity if it has none."""
    timers = loop._scheduled  # type: ignore[attr-defined]  # of BaseEventLoop
    return cast("float", timers[0]._when) if timers else math.inf


def error_of(task: asyncio.Future[Any]) -> BaseException | None:
    """Return what a task ended with, without taking note of it: asyncio reports errors that nobody has asked for."""
    return task._exception


def expects_future(yielded: object) -> bool:
    """Whether a coroutine yielded this to wait for an asyncio future; asyncio's own duck type."""
    return getattr(yielded, "_asyncio_future_blocking", None) is not None


def accept_future(future: asyncio.Future[Any]) -> bool:
    """Begin to wait for a future on behalf of a coroutine. Return False if it was yielded by hand."""
    if not future._asyncio_future_blocking:
        return False
    future._asyncio_future_blocking = False
    return True


def abort(trap: WaitTaskRescheduled, raise_cancel: Callable[[], NoReturn]) -> bool:
    """End a wait that Trio has not heard of yet; return False if it cannot be ended now."""
    return trap.abort_func(raise_cancel) is Abort.SUCCEEDED


def abort_wait(task: Task, trap: WaitTaskRescheduled, raise_cancel: Callable[[], NoReturn]) -> bool:
    """End the wait that a task sleeps in; return False if that has ended already, or cannot be ended now."""
    if task._abort_func is not trap.abort_func:
        return False
    task._abort_func = None  # as Trio has it: one attempt for each wait
    return abort(trap, raise_cancel)


def cancelled_scopes(task: Task) -> tuple[frozenset[trio.CancelScope], float]:
    """Return the cancelled scopes around a task, as far as it sees out, and the next deadline of the others."""
    status, cancelled, deadline = task._cancel_status, set(), math.inf
    while True:
        if status._scope._cancel_called:
            cancelled.add(status._scope)
        else:
            deadline = min(deadline, status._scope.deadline)
        if status.parent is None or not status.parent_cancellation_is_visible_to_us:
            return frozenset(cancelled), deadline
        status = status.parent


def replace_coroutine(task: Task, wrap: Callable[[Coroutine[Any, Any, Any]], Any]) -> None:
    """Let a task that has just been spawned run ``wrap(coroutine)`` instead of its coroutine."""
    task.coro = wrap(task.coro)


class _Open:
    """Goes before `trio.Cancelled`, which is final: answers `__init_subclass__`, and does not pass it on."""

    def __init_subclass__(cls) -> None:
        pass


MixedCancelled = type.__new__(
    type(trio.Cancelled),
    "Cancelled",
    (_Open, trio.Cancelled, asyncio.CancelledError),
    {"__module__": "autonomy", "__doc__": "A cancellation of Trio's that asyncio code recognises as one."},
)


def also_for_asyncio(cancelled: BaseException) -> BaseException:
    """Return a `trio.Cancelled` as one that is an `asyncio.CancelledError` too; anything else as it is."""
    if type(cancelled) is not trio.Cancelled:
        return cancelled
    mixed = MixedCancelled.__new__(MixedCancelled)
    for field in trio.Cancelled.__attrs_attrs__:
        object.__setattr__(mixed, field.name, getattr(cancelled, field.name))
    return mixed
