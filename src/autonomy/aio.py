"""The same names for asyncio programs: a node inside ``asyncio.run``, under uvicorn, in a FastAPI application.

Trio runs as a guest on the application's own loop: there is no second thread, and workers may await asyncio things. The
node that is opened here is the `Node` that `autonomy.open_node` gives; its methods are awaited in asyncio tasks like
anything else. Nodes on the same loop share one Trio run.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Any

import trio
from trio.lowlevel import in_trio_task

from . import logs
from . import node as _node
from ._mixed.guest import GuestRun, see_through
from ._mixed.worlds import in_asyncio
from .errors import AutonomyError
from .node import Node

if TYPE_CHECKING:
    from fastapi import Depends

_log = logs.get_logger("aio")

__all__ = ["NodeDep", "lifespan", "open_node"]


def open_node(name: str | None = None, **options: Any) -> AbstractAsyncContextManager[Node]:
    """Open a node inside an asyncio program: ``async with open_node() as node:``.

    Leaving the block lets workers finish what waits for them, then stops them; cancelled meanwhile, it cancels them.
    Leaving it by an exception or by cancellation cancels them at once, and ``on_stop`` has one second. If the node
    itself fails, the block is cancelled, and the failure comes out of it, bare.

    Args:
        name: The node's full name; None for a new one.
        options: As for `autonomy.open_node`.

    Raises:
        TypeError, ValueError: A value that cannot be.
        RuntimeError: No asyncio loop runs here, or Trio itself does.

    Example:
        ```python
        import asyncio

        from autonomy import aio


        class Greeter:
            async def handle_message(self, context, message):
                await asyncio.sleep(0.1)
                await context.reply(f"Hello, {message}!")


        async def main():
            async with aio.open_node() as node:
                await node.start_worker("greeter", Greeter())
                print(await node.send_and_receive("greeter", "Alice", timeout=10))


        asyncio.run(main())
        ```
    """
    return _Opening(_node.open_node(name, **options))


class _Opening:
    """One block of `open_node`: in asyncio the block itself, in Trio a task that holds the node open meanwhile."""

    def __init__(self, opening: AbstractAsyncContextManager[Node]) -> None:
        self._opening = opening
        self._leave = trio.Event()
        self._everything = trio.CancelScope()
        self._is_left = False
        self._is_cancelled_by_us = False

    async def __aenter__(self) -> Node:
        if in_trio_task() or not in_asyncio():
            raise RuntimeError(
                "autonomy.aio.open_node is for asyncio programs; in Trio: async with autonomy.open_node() as node"
            )
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._started: asyncio.Future[Node] = loop.create_future()
        self._ended: asyncio.Future[BaseException | None] = loop.create_future()
        self._run = await GuestRun.join(self._lost)
        try:
            self._run.start_soon(self._live)
            return await asyncio.shield(self._started)
        except BaseException:
            self._is_left = True
            self._everything.cancel()
            await self._finish()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_left = True
        if self._is_cancelled_by_us:
            await self._take_back_cancellation()
        if error is None:
            self._leave.set()
        elif not self._started.result()._crash.errors:  # then it ends by itself, and says why
            self._everything.cancel()
        failure = await self._finish()
        if failure is not None and (error is None or self._is_cancelled_by_us or isinstance(error, AutonomyError)):
            raise failure  # the block's own error came of it, if it was one of the node's calls that failed

    async def _take_back_cancellation(self) -> None:
        self._task.uncancel()
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:  # the block ended before it came through
            if self._task.cancelling():
                raise

    async def _finish(self) -> BaseException | None:
        """Wait until the node has ended; return what it failed with. A cancellation makes that quicker."""
        try:
            await see_through(self._ended, self._everything.cancel)
        finally:
            await self._run.leave(self._lost)
        return self._ended.result()

    async def _live(self) -> None:
        failure: BaseException | None = None
        try:
            with self._everything:
                async with self._opening as node:
                    self._started.set_result(node)
                    await self._leave.wait()
        except trio.Cancelled:
            raise
        except BaseException as error:  # noqa: BLE001  # it comes out of the block
            failure = error
        finally:
            self._end(failure)

    def _lost(self, failure: BaseException) -> None:
        """The Trio run is over, whatever it was that ended it."""
        if not self._ended.done():
            self._end(failure)

    def _end(self, failure: BaseException | None) -> None:
        self._ended.set_result(failure)
        if not self._started.done():
            self._started.set_exception(failure or RuntimeError("the node was cancelled while it opened"))
        elif not self._is_left:
            self._is_cancelled_by_us = True
            self._task.cancel()


def lifespan(
    setup: Callable[[Node], Awaitable[object]] | None = None, name: str | None = None, **options: Any
) -> Callable[[Any], AbstractAsyncContextManager[None]]:
    """Give a FastAPI or Starlette application a node of its own: ``FastAPI(lifespan=lifespan(setup))``.

    The node opens when the application starts, and closes when it ends, as `open_node` has it. Endpoints get it as
    `NodeDep`, or as ``request.app.state.node``. If the node fails, the server is told to end, by SIGTERM. An
    application that `Node.start` serves gets that node instead.

    Args:
        setup: An async function of the node, called before the first request: it starts the workers.
        name: The node's full name; None for a new one.
        options: As for `autonomy.open_node`.
    """

    @asynccontextmanager
    async def live(app: Any) -> AsyncGenerator[None]:
        served = getattr(app.state, "node", None)
        if served is not None:
            await _set_up(served)
            yield
            return
        serves = False
        try:
            async with open_node(name, **options) as node:
                app.state.node = node
                try:
                    await _set_up(node)
                    serves = True
                    yield
                    serves = False
                finally:
                    del app.state.node
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            if serves:
                _end_server(error)
            raise

    async def _set_up(node: Node) -> None:
        if setup is not None:
            await setup(node)

    return live


def _end_server(error: BaseException) -> None:
    """Let the server end whose application has lost its node: ASGI has no word for that, but servers know SIGTERM."""
    _log.error("node failed, and its application ends", error=repr(error))
    if callable(signal.getsignal(signal.SIGTERM)):
        os.kill(os.getpid(), signal.SIGTERM)


def node_of(connection: Any) -> Node:
    """Return the node of the application that handles a request or a websocket; `NodeDep` calls this.

    Raises:
        RuntimeError: The application has none.
    """
    node = getattr(connection.app.state, "node", None)
    if node is None:
        raise RuntimeError(
            "this application has no node: pass lifespan=autonomy.aio.lifespan(...) to FastAPI, or start it with "
            "Node.start(main, http_server=HttpServer(app))"
        )
    assert isinstance(node, Node)
    return node


if TYPE_CHECKING:
    NodeDep = Annotated[Node, Depends(node_of)]


def __getattr__(attribute: str) -> Any:
    """Make `NodeDep` when it is asked for: only programs with FastAPI do."""
    if attribute != "NodeDep":
        raise AttributeError(f"module {__name__!r} has no attribute {attribute!r}")
    try:
        from fastapi import Depends  # noqa: PLC0415  # an optional client
        from fastapi.requests import HTTPConnection  # noqa: PLC0415
    except ImportError as error:
        raise ImportError("NodeDep needs FastAPI: pip install autonomy-actors[fastapi]") from error

    async def node_of_connection(connection: HTTPConnection) -> Node:  # async: a plain one costs a thread
        return node_of(connection)

    node_of_connection.__annotations__["connection"] = HTTPConnection
    globals()["NodeDep"] = Annotated[Node, Depends(node_of_connection)]
    return globals()["NodeDep"]
