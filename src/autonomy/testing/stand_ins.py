"""What a program asks of the world, answered by the simulation: time, chance, threads.

While a simulation runs, the functions of the standard library that would let the world in are exchanged, in this
process and for everybody in it. Some have a stand-in that follows the seed and the virtual time; the others say what to
use instead. What a program has taken before (``from time import time``) is out of reach.
"""

from __future__ import annotations

import asyncio
import queue
import random
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextlib import ExitStack, contextmanager, nullcontext
from contextvars import ContextVar, copy_context
from random import Random
from typing import Any, Final, TypeVar
from unittest.mock import patch

import outcome
import trio

from .._mixed.guest import GuestRun
from . import calendars, draws, folders, outside, processes, shipping
from .loops import join, run_in_loop
from .outside import refusing

T = TypeVar("T")
EPOCH: Final = 1_767_225_600.0
"""When every simulation begins, by the clocks on its walls: 1 January 2026, in UTC."""

here: ContextVar[str] = ContextVar("autonomy_simulated_host", default="")
"""The host whose program runs."""


@contextmanager
def stand_ins(
    chance: Random, skew: Callable[[str], float], printed: Callable[[str, str], object] = lambda _host, _line: None
) -> Generator[None]:
    """Let the simulation answer while the block runs. To be entered within Trio.

    Args:
        chance: For all that programs draw by themselves.
        skew: Returns the seconds by which the clock on a host's wall is ahead.
        printed: Told of each line that a host writes to stdout.
    """
    clock = trio.lowlevel.current_clock().current_time
    began = clock()

    def elapsed() -> float:
        return clock() - began

    def wall() -> float:
        return EPOCH + elapsed() + skew(here.get())

    lines = _Lines(printed)
    state = random.getstate()
    random.seed(chance.getrandbits(64))
    with ExitStack() as stack:
        stack.callback(random.setstate, state)
        for target, name, stand_in in (
            (time, "time", wall),
            (time, "time_ns", lambda: int(wall() * 1e9)),
            (time, "monotonic", elapsed),
            (time, "monotonic_ns", lambda: int(elapsed() * 1e9)),
            (time, "perf_counter", elapsed),
            (time, "perf_counter_ns", lambda: int(elapsed() * 1e9)),
            *_other_clocks(wall, elapsed),
            (time, "sleep", _sleep),
            (trio.to_thread, "run_sync", run_in_step),
            (trio.lowlevel, "start_thread_soon", _run_now),  # asyncio's executor, within Trio
            (trio, "run", _run_trio),
            (asyncio, "run", _run_asyncio),
            (asyncio.Runner, "run", lambda _runner, coro, **_options: _run_asyncio(coro)),
            (GuestRun, "join", join),
            (trio.from_thread, "run", _run_from_thread),
            (trio.from_thread, "run_sync", _run_sync_from_thread),
            *draws.stand_ins(chance, here.get),
            *outside.stand_ins(),
            *processes.stand_ins(lines.write),
            *shipping.stand_ins(),
            *folders.stand_ins(),
            *calendars.stand_ins(wall),
        ):
            stack.enter_context(patch.object(target, name, stand_in))
        yield


def _other_clocks(wall: Callable[[], float], elapsed: Callable[[], float]) -> list[tuple[object, str, object]]:
    """Return stand-ins for clocks that are asked for by number, and for those of the processor, which stand still."""

    def clock_gettime(clock: int) -> float:
        return wall() if clock == time.CLOCK_REALTIME else elapsed()

    return [
        (time, "clock_gettime", clock_gettime),
        (time, "clock_gettime_ns", lambda clock: int(clock_gettime(clock) * 1e9)),
        *((time, name, lambda: 0.0) for name in ("process_time", "thread_time")),
        *((time, name, lambda: 0) for name in ("process_time_ns", "thread_time_ns")),
    ]


class _Lines:
    """What hosts write, put together line by line."""

    def __init__(self, printed: Callable[[str, str], object]) -> None:
        self._printed = printed
        self._begun: dict[str, str] = {}

    def write(self, text: str) -> bool:
        """Take what is written here; returns False if that is on no host."""
        host = here.get()
        if not host:
            return False
        *whole, self._begun[host] = (self._begun.get(host, "") + text).split("\n")
        for line in whole:
            self._printed(host, line)
        return True


# --- threads, in step: while one runs nothing else does, so that nobody can tell who was faster

_start_thread = threading.Thread.start
_mine = threading.local()


class _Step:
    """One thread, and what it says and is told, in turns with Trio's."""

    def __init__(self, function: Callable[[], object]) -> None:
        self.said: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self.told: queue.SimpleQueue[tuple[bool, Any]] = queue.SimpleQueue()
        self._function = function
        self._context = copy_context()

    def run(self) -> None:
        """Run the function, and say how it ended."""
        _mine.step = self
        try:
            self.said.put(("returned", self._context.run(self._function)))
        except BaseException as error:  # noqa: BLE001  # raised over there
            self.said.put(("raised", error))


async def run_in_step(
    sync_fn: Callable[..., T],
    *args: object,
    thread_name: str | None = None,
    abandon_on_cancel: bool = False,
    limiter: trio.CapacityLimiter | None = None,
) -> T:
    """Stand in for ``trio.to_thread.run_sync``: what the function does takes no virtual time, but for what it calls
    back into Trio for.
    """
    del abandon_on_cancel
    await trio.lowlevel.checkpoint_if_cancelled()
    step = _Step(lambda: sync_fn(*args))
    thread = threading.Thread(target=step.run, name=thread_name, daemon=True)
    async with limiter or trio.CapacityLimiter(1):
        _start_thread(thread)
        while True:
            kind, what = step.said.get()
            if kind == "call":
                await _call(step, what)
            elif kind == "raised":
                raise what
            else:
                return what  # type: ignore[no-any-return]


def _run_now(fn: Callable[[], T], deliver: Callable[[outcome.Outcome[T]], object], name: str | None = None) -> None:
    del name
    deliver(outcome.capture(fn))


async def _call(step: _Step, function: Callable[[], Awaitable[object]]) -> None:
    try:
        result = await function()
    except BaseException as error:  # noqa: BLE001  # it is the thread's
        step.told.put((False, error))
    else:
        step.told.put((True, result))


def _run_from_thread(afn: Callable[..., Awaitable[T]], *args: object, trio_token: object = None) -> T:
    del trio_token
    step: _Step | None = getattr(_mine, "step", None)
    if step is None:
        raise RuntimeError("this is a thread that no simulated program started")
    own = processes.process.get()
    with nullcontext() if own is None else own.modules.out_of_reach():
        step.said.put(("call", lambda: afn(*args)))
        is_fine, result = step.told.get()
    if not is_fine:
        raise result
    return result  # type: ignore[no-any-return]


def _run_sync_from_thread(fn: Callable[..., T], *args: object, trio_token: object = None) -> T:
    async def run() -> T:
        return fn(*args)

    return _run_from_thread(run, trio_token=trio_token)


_usual_run = trio.run


def _run_trio(async_fn: Callable[..., Awaitable[T]], *args: object, **options: Any) -> T:
    """Stand in for ``trio.run``: in a thread of a program, the simulation's own Trio runs it."""
    if getattr(_mine, "step", None) is None:
        return _usual_run(async_fn, *args, **options)  # which says that there is one already
    return _run_from_thread(async_fn, *args)


def _sleep(seconds: float) -> None:
    if getattr(_mine, "step", None) is None:
        refusing("time.sleep holds the whole zone", "await trio.sleep(…)")()
    _run_from_thread(trio.sleep, seconds)


def _run_asyncio(coro: Coroutine[Any, Any, T], **options: object) -> T:
    del options
    if getattr(_mine, "step", None) is None:
        coro.close()  # or it would complain that nobody awaited it
        refusing("an asyncio loop has a time of its own", "await: what a handler awaits may be asyncio's")()
    result: T = _run_from_thread(run_in_loop, coro)
    return result
