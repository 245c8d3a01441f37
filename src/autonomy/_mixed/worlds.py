"""Which world steps the running coroutine, and how what is written for Trio is awaited from asyncio.

Public methods work in both: ``asyncio.gather(node.send_and_receive(...), ...)`` steps them in asyncio tasks. The choice
is made when a coroutine runs, for it may be made in one world and run in the other. The hottest methods choose for
themselves; for all others there is `both`.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

import trio
from trio.lowlevel import checkpoint, in_trio_run, in_trio_task, spawn_system_task

P = ParamSpec("P")
T = TypeVar("T")


def both(function: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Make an async function that is written for Trio one that asyncio tasks can await as well."""

    @functools.wraps(function)
    async def in_either_world(*args: P.args, **kwargs: P.kwargs) -> T:
        if in_trio_task():
            return await function(*args, **kwargs)
        return await call_trio(functools.partial(function, *args, **kwargs))

    return in_either_world


def in_asyncio() -> bool:
    """Whether an asyncio loop runs in this thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


async def pause() -> None:
    """A checkpoint in either world: let others run, be cancelled."""
    if in_trio_task():
        await checkpoint()
    else:
        check_world()
        await asyncio.sleep(0)


def check_world() -> None:
    """Raise RuntimeError unless this thread runs the Trio of some node."""
    if not in_trio_run():
        raise RuntimeError(
            "a node's methods are awaited where it runs: in its Trio program, or in tasks of the asyncio loop that it "
            "was opened on by autonomy.aio.open_node(). There is no node in this thread"
        )


async def call_trio(function: Callable[[], Awaitable[T]]) -> T:
    """Await something of Trio's in an asyncio task: in a Trio task of its own, in this context.

    Cancelling the asyncio task cancels that one and waits for it. If it ends well all the same, its result counts.
    """
    check_world()
    answer: _Answer[T] = _Answer(loop=asyncio.get_running_loop())
    spawn_system_task(answer.fetch, function, name=f"{function!r:.60}", context=contextvars.copy_context())
    return await answer


class _Answer(asyncio.Future[T]):
    """What a Trio task will bring. Cancelled itself only when that task has seen its cancellation through."""

    def __init__(self, *, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self._scope = trio.CancelScope()

    async def fetch(self, function: Callable[[], Awaitable[T]]) -> None:
        """Run in a Trio task; end as `function` ends. Raises nothing but a cancellation that comes from outside."""
        try:
            with self._scope:
                try:
                    result = await function()
                except trio.Cancelled:
                    raise
                except BaseException as error:  # noqa: BLE001  # it comes out over there
                    self._fail(error)
                else:
                    self.set_result(result)
        finally:
            if not self.done():
                super().cancel()

    def _fail(self, error: BaseException) -> None:
        if isinstance(error, StopIteration):  # a future cannot hold one
            error = RuntimeError(f"{error!r} came out of an async function")
        self.set_exception(error)

    def cancel(self, msg: object = None) -> bool:
        """Cancel the Trio task. Return whether it was still at work."""
        if self.done():
            return False
        self._scope.cancel()
        return True
