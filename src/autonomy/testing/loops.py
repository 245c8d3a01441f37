"""asyncio programs on simulated hosts: what ``asyncio.run`` would run, run on the loop within the simulation's Trio.

`autonomy.aio` then finds a loop, as ever; only the Trio run that it would start on it is there already.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import ContextVar
from typing import Any, TypeVar

import outcome
import trio

from .._mixed.mixture import open_mixture

T = TypeVar("T")
_nursery: ContextVar[trio.Nursery] = ContextVar("autonomy_simulated_nursery")
"""Where the nodes live of the asyncio program that runs."""


async def run_in_loop(coro: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine as an asyncio task, as the main one of a program, and return what it returns."""
    failures: list[BaseException] = []
    async with trio.open_nursery() as nursery:

        def crash(error: BaseException) -> None:
            failures.append(error)
            nursery.cancel_scope.cancel()

        async def as_task() -> T:
            return await asyncio.get_running_loop().create_task(coro)

        before = _nursery.set(nursery)
        try:
            async with open_mixture(crash) as mixture:
                ended = await outcome.acapture(mixture.run_program, "asyncio.run", as_task)
        finally:
            _nursery.reset(before)
            coro.close()  # if it was cancelled before it began
    for failure in failures:
        raise failure
    return ended.unwrap()


class HostRun:
    """Stand in for `GuestRun`: Trio is no guest of asyncio's here, but its host."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery

    def start_soon(self, function: Callable[[], Awaitable[None]]) -> None:
        """As there."""
        self._nursery.start_soon(function)

    async def leave(self, lost: Callable[[BaseException], None]) -> None:
        """As there; the run goes on."""


async def join(lost: Callable[[BaseException], None]) -> HostRun:
    """Stand in for `GuestRun.join`."""
    del lost
    nursery = _nursery.get(None)
    if nursery is None:
        raise RuntimeError("not in a simulation: no asyncio loop runs here. Use autonomy.open_node().")
    return HostRun(nursery)
