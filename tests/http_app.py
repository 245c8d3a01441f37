"""The FastAPI application of `test_http.py` and `test_http_server.py`: an endpoint for each thing that they ask.

Served by uvicorn as ``tests.http_app:app``, which opens a node by its lifespan, or by `Node.start` with what
`application` returns and `start_workers` in ``main``.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from fastapi import FastAPI, Request, WebSocket
from fastapi.responses import PlainTextResponse

from autonomy import Context, DeadlineExceeded, Escalate, Node, NoReply, WorkerFailed, WorkerNotFound
from autonomy.aio import NodeDep, lifespan


class Echo:
    """Replies with the message, after a turn of asyncio's loop."""

    async def handle_message(self, context: Context, message: str) -> None:
        await asyncio.sleep(0)
        await context.reply(message)


class Sum:
    """Adds numbers up as an asyncio program would: asks another worker for each at once, and adds in a thread."""

    async def on_start(self, context: Context) -> None:
        self.started = asyncio.get_running_loop().create_future()
        self.started.set_result(None)

    async def handle_message(self, context: Context, message: str) -> None:
        await asyncio.shield(self.started)
        async with asyncio.timeout(10):
            numbers = await asyncio.gather(*(context.send_and_receive("echo", part) for part in message.split("+")))
            await context.reply(str(await asyncio.to_thread(sum, map(int, numbers))))


class Slow:
    """Replies after as many seconds as the message says. Says when it begins."""

    async def handle_message(self, context: Context, message: str) -> None:
        sys.stdout.write("began\n")
        await asyncio.sleep(float(message))
        await context.reply(message)


class Failing:
    """Raises ValueError with the message."""

    async def handle_message(self, context: Context, message: str) -> None:
        await asyncio.sleep(0)
        raise ValueError(message)


class Closing:
    """Says when it stops."""

    async def handle_message(self, context: Context, message: str) -> None:
        await context.reply(message)

    async def on_stop(self, context: Context) -> None:
        await asyncio.sleep(0.01)
        sys.stdout.write("closed\n")


async def start_workers(node: Node) -> None:
    """Start the workers that the application asks."""
    await node.start_worker("closing", Closing())
    await node.start_worker("echo", Echo())
    await asyncio.gather(node.start_worker("sum", Sum()), node.start_worker("failing", Failing()))
    for number in range(10):
        await node.start_worker(f"slow-{number}", Slow())
    await node.start_worker("fatal", Failing(), supervision=Escalate())


def status_of(error: NoReply) -> int:
    """Return what HTTP says to such an error."""
    match error:
        case WorkerNotFound():
            return 404
        case WorkerFailed():
            return 500
        case DeadlineExceeded():
            return 504
        case _:
            return 503


async def answer_no_reply(_: Request, error: Exception) -> PlainTextResponse:
    """Answer a request that no worker answers."""
    assert isinstance(error, NoReply)
    return PlainTextResponse(str(error), status_of(error))


def application(living: Callable[[Any], AbstractAsyncContextManager[None]] | None = None) -> FastAPI:
    """Make the application, with a lifespan or without one."""
    app = FastAPI(lifespan=living, exception_handlers={NoReply: answer_no_reply})

    @app.get("/ask/{worker}/{message}", response_class=PlainTextResponse)
    async def ask(worker: str, message: str, node: NodeDep, timeout: float = 20.0) -> str:
        return await node.send_and_receive(worker, message, timeout=timeout)

    @app.get("/stop", response_class=PlainTextResponse)
    async def stop(node: NodeDep) -> str:
        await node.stop()
        return "stopped"

    @app.websocket("/talk/{worker}")
    async def talk(worker: str, websocket: WebSocket, node: NodeDep) -> None:
        await websocket.accept()
        async for message in websocket.iter_text():
            await websocket.send_text(await node.send_and_receive(worker, message, timeout=20))

    return app


app = application(lifespan(start_workers, "web"))


async def fail_to_start_workers(node: Node) -> None:
    """Start a worker, then fail."""
    await node.start_worker("closing", Closing())
    raise ValueError("no database")


broken = application(lifespan(fail_to_start_workers))
