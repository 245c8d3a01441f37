"""Calling a worker's own code: async functions here, plain ones in a thread."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from typing import Any

import trio

from .._sansio.envelope import Envelope
from .worker_objects import enter_thread, leave_thread

message_elsewhere: ContextVar[Envelope | None] = ContextVar("autonomy_message_elsewhere", default=None)
"""What a handler was at when it started this thread or asyncio task, for the calls that come back from there."""


def awaitable(function: Callable[..., Any], worker: object, threads: trio.CapacityLimiter) -> Callable[..., Any]:
    """Return a worker's handler or hook as something to await: itself, or if it is a plain function, in a thread.

    Its first argument is what the worker is at, a `process.Handling`.
    """
    if inspect.iscoroutinefunction(function):
        return function

    async def in_thread(handling: Any, *arguments: object) -> None:
        given = handling.for_thread(), *arguments
        await call_in_thread(worker, function, *given, envelope=handling.envelope, threads=threads)

    return in_thread


async def call_in_thread(
    worker: object, function: Callable[..., object], *args: object, envelope: Envelope, threads: trio.CapacityLimiter
) -> None:
    """Call a plain function of a worker in a thread. Cancelled, it leaves the thread to itself.

    The arguments are dropped as soon as the function returns, although the thread lives on: a context that nobody else
    holds must be seen to be free (Q6).
    """
    box = [args]
    del args

    def call() -> object:
        try:
            given = box.pop()
        except IndexError:
            return None  # cancelled just before it began
        try:
            return function(*given)
        finally:
            del given
            leave_thread(worker)

    message_elsewhere.set(envelope)
    enter_thread(worker)
    try:
        result = await trio.to_thread.run_sync(call, abandon_on_cancel=True, limiter=threads)
        if inspect.isawaitable(result):  # a plain function that returns a coroutine, as decorators often are
            await result
    finally:
        message_elsewhere.set(None)
        if box:  # no thread began
            with suppress(IndexError):  # but one may do so now
                box.pop()
                leave_thread(worker)
