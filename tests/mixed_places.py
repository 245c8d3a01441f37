"""Where asyncio and Trio meet: a Trio program in virtual time, an asyncio application, one on uvloop.

A scenario for all of them awaits nothing but the node and what `Place` offers. `Leaves` is the worker that leaves
asyncio tasks behind.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trio
import uvloop
from trio.testing import MockClock

from autonomy import Context, Node, aio, open_node

TICK = 0.01
CLEAN_UP = 0.05
LONG = 3600.0
"""Seconds that nothing here waits out."""
NewLoop = Callable[[], asyncio.AbstractEventLoop]
NEW_LOOPS: list[NewLoop] = [asyncio.new_event_loop, uvloop.new_event_loop]


@dataclass(frozen=True)
class Place:
    """Where a scenario runs."""

    name: str
    run: Callable[[Callable[[], Awaitable[None]]], None] = field(repr=False)
    open_node: Callable[..., AbstractAsyncContextManager[Node]] = field(repr=False)
    sleep: Callable[[float], Awaitable[None]] = field(repr=False)
    cut_short: Callable[[], AbstractAsyncContextManager[Callable[[], None]]] = field(repr=False)


def run_in_trio(program: Callable[[], Awaitable[None]]) -> None:
    trio.run(program, clock=MockClock(autojump_threshold=0))


def run_in(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> Callable[[Callable[[], Awaitable[None]]], None]:
    def run(program: Callable[[], Awaitable[None]]) -> None:
        async def within_time() -> None:
            await program()

        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(within_time())

    return run


@asynccontextmanager
async def cut_short_by_trio() -> AsyncGenerator[Callable[[], None]]:
    with trio.CancelScope() as scope:
        yield scope.cancel


@asynccontextmanager
async def cut_short_by_asyncio() -> AsyncGenerator[Callable[[], None]]:
    with suppress(TimeoutError):
        async with asyncio.timeout(None) as timeout:
            yield lambda: timeout.reschedule(0)


TRIO = Place("trio", run_in_trio, open_node, trio.sleep, cut_short_by_trio)
ASYNCIO = Place("asyncio", run_in(asyncio.new_event_loop), aio.open_node, asyncio.sleep, cut_short_by_asyncio)
UVLOOP = Place("uvloop", run_in(uvloop.new_event_loop), aio.open_node, asyncio.sleep, cut_short_by_asyncio)
PLACES = [TRIO, ASYNCIO, UVLOOP]


def leave_logging_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep `Node.start` from reading the environment of these tests, and from writing log lines."""
    for variable in ("AUTONOMY_WAIT_UNTIL_INTERRUPTED", "AUTONOMY_LOG_LEVEL", "CLUSTER", "ZONE", "NODE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("AUTONOMY_LOGGING", "0")


def check_nothing_was_forgotten(caplog: pytest.LogCaptureFixture) -> None:
    """asyncio complains of what is forgotten once it is collected: by a warning, which is an error here, or a line."""
    gc.collect()
    assert [record.getMessage() for record in caplog.records if record.name == "asyncio"] == []


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


class Leaves:
    """Leaves an asyncio task behind at each message. The task takes a moment to clean up."""

    def __init__(self) -> None:
        self.tasks: list[asyncio.Task[Any]] = []
        self.steps: list[str] = []

    async def handle_message(self, context: Context, message: str) -> None:
        await self.leave(message)
        await context.reply("left")

    async def leave(self, name: str) -> None:
        self.tasks.append(asyncio.create_task(self.linger(name)))
        await asyncio.sleep(0)

    async def linger(self, name: str) -> None:
        try:
            await asyncio.sleep(LONG)
        except asyncio.CancelledError:
            self.steps.append(f"{name} told")
            await asyncio.sleep(CLEAN_UP)
            self.steps.append(f"{name} ended")
            raise

    def check(self, *names: str) -> None:
        """Check that exactly these tasks were made, that each was told once, and that all have ended."""
        assert sorted(self.steps) == sorted(f"{name} {what}" for name in names for what in ("told", "ended"))
        assert [task.cancelled() for task in self.tasks] == [True] * len(names)


class Does:
    """Does one thing in its handler, and replies with what that returns."""

    def __init__(self, action: Callable[[Context], Awaitable[object]]) -> None:
        self._action = action

    async def handle_message(self, context: Context, message: str) -> None:
        await context.reply(str(await self._action(context)))


async def does(node: Node, action: Callable[[Context], Awaitable[object]], timeout: float = LONG) -> str:
    """Let a worker do something, and return what that returned."""
    await node.start_worker("does", Does(action))
    try:
        return await node.send_and_receive("does", "", timeout=timeout)
    finally:
        await node.stop_worker("does")
