"""Calling a worker's own code: async functions here, plain ones in a thread."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextvars import ContextVar

import trio

from .._sansio.envelope import Envelope

message_in_thread: ContextVar[Envelope | None] = ContextVar("autonomy_message_in_thread", default=None)
"""What a plain function is handling, for the calls that its thread sends back into Trio."""


async def call_in_thread(
    function: Callable[..., object], *args: object, envelope: Envelope, threads: trio.CapacityLimiter
) -> None:
    """Call a plain function in a thread. Cancelled, it leaves the thread to itself.

    The arguments are dropped as soon as the function returns, although the thread lives on: a context that nobody else
    holds must be seen to be free (Q6).
    """
    box = [args]
    del args

    def call() -> object:
        return function(*box.pop())

    message_in_thread.set(envelope)
    try:
        result = await trio.to_thread.run_sync(call, abandon_on_cancel=True, limiter=threads)
        if inspect.isawaitable(result):  # a plain function that returns a coroutine, as decorators often are
            await result
    finally:
        message_in_thread.set(None)
