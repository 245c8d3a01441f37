"""The asyncio side of one Trio run, shared by its nodes and counted.

The first node to open makes it, the last one to close ends it. If Trio is a guest on somebody's asyncio loop, that loop
is the one; otherwise there is a loop that Trio pumps, as soon as anybody uses it. Workers, ``main`` and whatever Trio
tasks they open are stepped by `driver` with that loop in reach.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, ParamSpec, TypeVar

import trio
from trio.abc import Instrument
from trio.lowlevel import Task

from .belongings import AsyncioTasks, create_owned, owner
from .driver import drive
from .private import get_running_loop_or_none, replace_coroutine, set_running_loop, trio_is_guest
from .pumped_loop import PumpedLoop, UnusedLoop

P = ParamSpec("P")
T = TypeVar("T")
_PATIENCE = 5.0
"""Seconds that asyncio tasks have to end when their program does, or when the last node closes."""
_current: trio.lowlevel.RunVar[Mixture | None] = trio.lowlevel.RunVar("autonomy_mixture", default=None)


class Mixture:
    """Both worlds of one Trio run.

    Attributes:
        loop: The asyncio loop within reach of driven code.
        crashes: What ends each of its nodes with an exception, oldest first.
    """

    def __init__(self) -> None:
        self.crashes: list[Callable[[BaseException], None]] = []
        self._instrument = _DrivesChildren(self)
        self._outside = get_running_loop_or_none()
        host = self._outside if trio_is_guest() else None
        self.loop = host or UnusedLoop(trio.lowlevel.current_trio_token(), self._crash)
        self._factory_of_host = None if host is None else host.get_task_factory()

    def _crash(self, error: BaseException) -> None:
        self.crashes[0](error)

    async def run(self, function: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Await ``function(...)``, which may await what belongs to either world."""
        if asyncio.current_task(self.loop) is not None:  # a child of driven code: it is driven already
            return await function(*args, **kwargs)
        return await drive(self.loop, _coroutine(function(*args, **kwargs)))

    async def run_program(self, name: str, function: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """As `run`; the asyncio tasks that ``function(...)`` makes end with it."""
        tasks = AsyncioTasks(name)
        before = owner.set(tasks)
        try:
            return await self.run(function, *args, **kwargs)
        finally:
            owner.reset(before)
            await tasks.close(_PATIENCE)

    async def _driven(self, coro: Coroutine[Any, Any, T]) -> T:
        return await drive(self.loop, coro)  # a real coroutine around it: Trio's locks look at that of their task

    def drive_child(self, task: Task) -> None:
        """Let a task that driven code has just spawned be driven as well."""
        if task.context.get(owner) is not None:
            replace_coroutine(task, self._driven)

    def open(self) -> None:
        """Put the loop within reach."""
        trio.lowlevel.add_instrument(self._instrument)
        if isinstance(self.loop, PumpedLoop):
            set_running_loop(self.loop)
        else:
            self.loop.set_task_factory(self._make_task)

    async def close(self) -> None:
        """End what is left in the loop, and the loop, unless it is somebody else's."""
        trio.lowlevel.remove_instrument(self._instrument)
        if not isinstance(self.loop, PumpedLoop):
            if self.loop.get_task_factory() == self._make_task:
                self.loop.set_task_factory(self._factory_of_host)
            return
        if type(self.loop) is PumpedLoop:  # it has been used
            self.loop.tasks.adopt(self.loop)
            await self.loop.tasks.close(_PATIENCE)
            with trio.CancelScope(shield=True), trio.move_on_after(_PATIENCE):
                await drive(self.loop, self.loop.shutdown_asyncgens())
            await self.loop.pump.stop()
            self.loop.close_for_good()
        if get_running_loop_or_none() is self.loop:
            set_running_loop(self._outside)

    def _make_task(self, loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> asyncio.Future[Any]:
        make = self._factory_of_host or _make_task
        return create_owned(partial(make, loop), coro, **options)


@asynccontextmanager
async def open_mixture(crash: Callable[[BaseException], None]) -> AsyncGenerator[Mixture]:
    """Have a part in the asyncio side of this Trio run, which is there as long as anybody has.

    Args:
        crash: Told of what asyncio callbacks raise and asyncio does not handle: `SystemExit`, `KeyboardInterrupt`.
    """
    mixture = _current.get()
    if mixture is None:
        mixture = Mixture()
        _current.set(mixture)
        mixture.open()
    mixture.crashes.append(crash)
    try:
        yield mixture
    finally:
        if len(mixture.crashes) == 1:  # the last one out; whoever comes now has another
            _current.set(None)
            await mixture.close()
        mixture.crashes.remove(crash)


def current_mixture() -> Mixture:
    """Return the asyncio side of this Trio run, in which a node is open."""
    mixture = _current.get()
    assert mixture is not None
    return mixture


class _DrivesChildren(Instrument):
    """Sees every task that is spawned, and no step of any."""

    def __init__(self, mixture: Mixture) -> None:
        self._mixture = mixture

    def task_spawned(self, task: Task) -> None:
        """Trio calls this."""
        self._mixture.drive_child(task)


def _make_task(loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> asyncio.Future[Any]:
    return asyncio.Task(coro, loop=loop, **options)


def _coroutine(awaitable: Awaitable[T]) -> Coroutine[Any, Any, T]:
    if isinstance(awaitable, Coroutine):
        return awaitable

    async def awaits() -> T:
        return await awaitable

    return awaits()
