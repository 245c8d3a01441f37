"""Around a node: what runs while it is open, and which exception comes out when it closes.

A failure of the body comes out bare, never wrapped by the nursery (O4); a failure of the node itself ends the body.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, TypeVar

import trio
from trio.lowlevel import in_trio_task

from ._actors.exits import apart, one_comes_out
from ._mixed.mixture import Mixture, open_mixture

N = TypeVar("N", bound=Any)
"""The node: it has `stop`, and for here alone `_run`, `_listen`, `_hurry` and `_abandon`."""


class Crash:
    """Ends a node with an exception, when called with one.

    Attributes:
        errors: What it was called with.
    """

    def __init__(self, everything: trio.CancelScope) -> None:
        self.errors: list[BaseException] = []
        self._everything = everything

    def __call__(self, error: BaseException) -> None:
        self.errors.append(error)
        self._everything.cancel()


@asynccontextmanager
async def opened(make: Callable[[trio.Nursery, Crash, Mixture], N]) -> AsyncGenerator[N]:
    """Make a node and keep it open as long as the block runs; see `open_node`."""
    if not in_trio_task():
        raise RuntimeError("open_node is for Trio programs; in asyncio: async with autonomy.aio.open_node() as node")
    everything = trio.CancelScope()
    crash = Crash(everything)
    with one_comes_out(crash.errors), everything:
        outcome: BaseException | None = None
        try:
            async with AsyncExitStack() as afterwards:
                mixture = await afterwards.enter_async_context(open_mixture(crash))
                async with trio.open_nursery() as nursery:
                    node = make(nursery, crash, mixture)
                    afterwards.callback(node._abandon)
                    node._run()
                    try:
                        await node._listen()
                        yield node
                        await node.stop()
                    except BaseException as error:  # noqa: BLE001  # kept, so that the nursery does not wrap it (O4)
                        _, rest = apart(error)
                        if not crash.errors or rest is None:
                            outcome = error
                        elif not isinstance(rest, Exception):  # else it came of the crash
                            crash.errors.append(rest)
                    node._hurry()
                    nursery.cancel_scope.cancel()
        except BaseException:  # a cancellation; or a failure of the node itself, which has cancelled the block
            if outcome is None or apart(outcome)[1] is None:
                raise
        if outcome is not None:
            raise outcome
