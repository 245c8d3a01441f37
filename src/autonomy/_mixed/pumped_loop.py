"""A stock asyncio loop that Trio pumps: one turn after the other, none of which waits.

The loop's selector is one file descriptor, its timers are deadlines, and both wait in Trio. So asyncio has Trio's
clock, virtual in tests, and an idle loop costs nothing. Nothing of asyncio is replaced: `PumpedLoop` only hears of what
makes a turn due.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import selectors
import sys
from collections.abc import Callable
from typing import Any, NoReturn, TypeVarTuple

import trio
from trio.lowlevel import ParkingLot

from .belongings import AsyncioTasks, create_owned
from .private import has_ready_callbacks, next_timer, outside_of_trio_tasks, set_running_loop
from .threads import TrioThreads

Ts = TypeVarTuple("Ts")
_TURNS = 16
"""Turns of the loop at most until other Trio tasks run."""


class PumpedLoop(asyncio.SelectorEventLoop):
    """The asyncio loop of one Trio run.

    Args:
        token: Of the run that pumps it.
        crash: Told of what a callback raised and asyncio does not handle: `SystemExit`, `KeyboardInterrupt`.
    """

    def __init__(self, token: trio.lowlevel.TrioToken, crash: Callable[[BaseException], None]) -> None:
        selector = selectors.DefaultSelector()
        if not hasattr(selector, "fileno"):
            raise RuntimeError(f"asyncio inside Trio needs epoll or kqueue; {sys.platform} has {selector!r} alone")
        self._looks_idle = True
        self.tasks = AsyncioTasks("the program")
        self.pump = _Pump(self, selector.fileno(), crash)
        super().__init__(selector)
        self._looks_idle = False
        self.set_default_executor(TrioThreads(min(32, (os.cpu_count() or 1) + 4)))  # as many as asyncio's own
        if trio.lowlevel.in_trio_run():
            self.pump.start()
        else:
            token.run_sync_soon(self.pump.start)

    def time(self) -> float:
        """Return Trio's time, virtual in tests."""
        return trio.current_time() if trio.lowlevel.in_trio_run() else super().time()

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        """Call back in the next turn."""
        handle = super().call_soon(callback, *args, context=context)
        self.pump.wake()
        return handle

    def call_at(
        self,
        when: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        """Call back in the first turn after `when`."""
        handle = super().call_at(when, callback, *args, context=context)
        self.pump.wake()
        return handle

    def create_task(self, coro: Any, **options: Any) -> Any:
        """Make a task, and give it to the worker or program whose code asks for it."""
        return create_owned(super().create_task, coro, self.tasks, **options)

    def is_running(self) -> bool:
        """Whether it is open: whoever asks runs inside it."""
        return super().is_running() or not (self._looks_idle or self.is_closed())

    def turn(self) -> None:
        """Run what is due, and do not wait."""
        self._looks_idle = True
        set_running_loop(None)
        self.stop()
        try:
            with outside_of_trio_tasks():
                self.run_forever()
        finally:
            set_running_loop(self)
            self._looks_idle = False

    def close_for_good(self) -> None:
        """Close it, now that its pump has stopped."""
        self._looks_idle = True
        self.close()

    def add_signal_handler(self, sig: int, callback: Callable[[*Ts], object], *args: *Ts) -> NoReturn:
        """Refuse: signals reach the Trio run, and asyncio's way of hearing of them would cut Trio off."""
        raise RuntimeError(
            "signals belong to the Trio run that this asyncio loop lives in: Node.start ends the node on SIGINT and "
            "SIGTERM; for others use trio.open_signal_receiver()"
        )


class UnusedLoop(PumpedLoop):
    """The loop as long as nobody has asked it for anything: no selector, no descriptor, no pump.

    The first look at any of its attributes makes it what it is. Until then it costs one object.
    """

    def __init__(self, token: trio.lowlevel.TrioToken, crash: Callable[[BaseException], None]) -> None:
        object.__setattr__(self, "_first_use", (token, crash))

    def __getattribute__(self, name: str) -> Any:
        """Become a loop."""
        token, crash = object.__getattribute__(self, "_first_use")
        object.__setattr__(self, "__class__", PumpedLoop)
        PumpedLoop.__init__(self, token, crash)
        return getattr(self, name)

    def __del__(self) -> None:
        """Nothing to close."""


class _Pump:
    """The two Trio tasks behind a loop: one turns it, one watches its descriptor."""

    def __init__(self, loop: PumpedLoop, descriptor: int, crash: Callable[[BaseException], None]) -> None:
        self._loop = loop
        self._descriptor = descriptor
        self._crash = crash
        self._scope = trio.CancelScope()
        self._stopped = trio.Event()
        self._turner = ParkingLot()
        self._watcher = ParkingLot()
        self._due = True

    def start(self) -> None:
        """Start both tasks."""
        trio.lowlevel.spawn_system_task(self._run, name="asyncio loop", context=contextvars.Context())

    async def stop(self) -> None:
        """End both tasks."""
        self._scope.cancel()
        with trio.CancelScope(shield=True):
            await self._stopped.wait()

    def wake(self) -> None:
        """There is something to do for the loop."""
        if not self._due:
            self._due = True
            self._turner.unpark()

    async def _run(self) -> None:
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._watch, name="asyncio selector")
                    await self._turn()
        finally:
            self._stopped.set()

    async def _turn(self) -> None:
        while True:
            self._due = False
            self._run_turns()
            self._watcher.unpark()
            if self._due or has_ready_callbacks(self._loop):
                await trio.lowlevel.checkpoint()
            else:
                with trio.CancelScope(deadline=next_timer(self._loop)):
                    await self._turner.park()

    def _run_turns(self) -> None:
        try:
            for _ in range(_TURNS):
                self._loop.turn()
                if not has_ready_callbacks(self._loop):
                    return
        except BaseException as error:  # noqa: BLE001  # goes to the node, which ends with it (L5)
            self._crash(error)

    async def _watch(self) -> None:
        while True:
            await trio.lowlevel.wait_readable(self._descriptor)
            self.wake()
            await self._watcher.park()  # until it has been read
