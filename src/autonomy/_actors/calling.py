"""Calling a worker's own code: async functions here, plain ones in a thread."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar

import trio

from .._sansio.envelope import Envelope
from .worker_objects import enter_thread, leave_thread

message_in_thread: ContextVar[Envelope | None] = ContextVar("autonomy_message_in_thread", default=None)
"""What a plain function is handling, for the calls that its thread sends back into Trio."""


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

    message_in_thread.set(envelope)
    enter_thread(worker)
    try:
        result = await trio.to_thread.run_sync(call, abandon_on_cancel=True, limiter=threads)
        if inspect.isawaitable(result):  # a plain function that returns a coroutine, as decorators often are
            await result
    finally:
        message_in_thread.set(None)
        if box:  # no thread began
            with suppress(IndexError):  # but one may do so now
                box.pop()
                leave_thread(worker)
