"""Trio as a guest on an asyncio loop: one run for each loop, shared by whoever needs it and counted.

All of this but `GuestRun._main` runs in the asyncio tasks of the host. Trio's thread is the same one, so its nurseries,
events and cancel scopes may be used from there, as long as nothing is awaited.

Source: Trio's guest mode, ``trio.lowlevel.start_guest_run``.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable
from typing import Any
from weakref import WeakKeyDictionary

import outcome
import trio

_runs: WeakKeyDictionary[asyncio.AbstractEventLoop, GuestRun] = WeakKeyDictionary()


class GuestRun:
    """One Trio run on an asyncio loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._ready: asyncio.Future[None] = loop.create_future()
        self._done: asyncio.Future[None] = loop.create_future()
        self._users: list[Callable[[BaseException], None]] = []
        self._is_ending = False
        self._stop = trio.Event()
        self._nursery: trio.Nursery | None = None

    @classmethod
    async def join(cls, lost: Callable[[BaseException], None]) -> GuestRun:
        """Return the run on this loop, started if need be. To be left, by `leave`.

        Args:
            lost: Told if the run ends before that, and why. Names this user.

        Raises:
            RuntimeError: Trio runs in this thread already, and not as our guest.
        """
        loop = asyncio.get_running_loop()
        while (run := _runs.get(loop)) is not None and run._is_ending:
            await asyncio.shield(run._done)
        if run is None:
            run = _runs[loop] = cls(loop)
            loop.call_soon(run._begin, context=contextvars.Context())
        run._users.append(lost)
        try:
            await asyncio.shield(run._ready)
        except BaseException:
            await run.leave(lost)
            raise
        return run

    async def leave(self, lost: Callable[[BaseException], None]) -> None:
        """Need the run no more. The last one to leave waits until it has ended; cancelled, he does all the same."""
        self._users.remove(lost)
        if self._users:
            return
        self._is_ending = True
        self._stop.set()
        await see_through(self._done)

    def start_soon(self, function: Callable[[], Awaitable[None]]) -> None:
        """Start a Trio task. What it raises ends the run."""
        assert self._nursery is not None
        self._nursery.start_soon(function)

    def _begin(self) -> None:
        try:
            trio.lowlevel.start_guest_run(
                self._main,
                run_sync_soon_threadsafe=self._loop.call_soon_threadsafe,
                run_sync_soon_not_threadsafe=self._loop.call_soon,
                done_callback=self._end,
                host_uses_signal_set_wakeup_fd=True,
            )
        except RuntimeError as error:
            refusal = RuntimeError("Trio runs in this thread already; open the node there, with autonomy.open_node()")
            refusal.__cause__ = error
            self._ready.set_exception(refusal)
            self._finish()

    async def _main(self) -> None:
        async with trio.open_nursery() as self._nursery:
            self._ready.set_result(None)
            await self._stop.wait()

    def _end(self, result: outcome.Outcome[None]) -> None:
        if not self._is_ending or isinstance(result, outcome.Error):
            error = result.error if isinstance(result, outcome.Error) else None
            for lost in list(self._users):
                lost(error or RuntimeError("the Trio run of this asyncio loop has ended"))
        self._finish()

    def _finish(self) -> None:
        self._is_ending = True
        if _runs.get(self._loop) is self:
            del _runs[self._loop]
        self._done.set_result(None)


async def see_through(future: asyncio.Future[Any], hurry: Callable[[], object] = lambda: None) -> None:
    """Wait until a future is done, even if this task is cancelled; a cancellation is raised afterwards.

    Args:
        future: Never cancelled by this.
        hurry: Called at each cancellation, to let the future be done sooner.
    """
    cancelled: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.shield(future)
        except asyncio.CancelledError as error:
            cancelled = error
            hurry()
    if cancelled is not None:
        raise cancelled
