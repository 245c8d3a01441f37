"""The hand-written side inside an asyncio program: queues, futures and a task, as somebody would write it without us.

Timeouts are by ``asyncio.timeout``: ``asyncio.wait_for`` makes a task for each request on Python 3.11.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from .measure import LoopFactory, p50, rate, run_in_asyncio
from .terms import GATHERED, PAYLOAD, TIMEOUT

Request = tuple[str, asyncio.Future[str]]


@asynccontextmanager
async def _running(work: Coroutine[Any, Any, None]) -> AsyncGenerator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


def one_caller(requests: int, new_loop: LoopFactory) -> float:
    """`aio`: two queues, and a timeout around the reply. Returns the median of the microseconds of a request."""

    async def main() -> float:
        to_echo, replies = asyncio.Queue[str](), asyncio.Queue[str]()

        async def echo() -> None:
            while True:
                replies.put_nowait(await to_echo.get())

        async def ask() -> str:
            to_echo.put_nowait(PAYLOAD)
            async with asyncio.timeout(TIMEOUT):
                return await replies.get()

        async with _running(echo()):
            return await p50(ask, requests)

    return run_in_asyncio(main, new_loop)


def gathered(requests: int, new_loop: LoopFactory) -> float:
    """`aio_gather`: a future for each request, a queue to the worker, and a timeout. Returns requests a second."""

    async def main() -> float:
        loop = asyncio.get_running_loop()
        to_echo = asyncio.Queue[Request]()

        async def echo() -> None:
            while True:
                message, reply = await to_echo.get()
                if not reply.done():  # else its caller has gone
                    reply.set_result(message)

        async def ask() -> str:
            reply: asyncio.Future[str] = loop.create_future()
            to_echo.put_nowait((PAYLOAD, reply))
            async with asyncio.timeout(TIMEOUT):
                return await reply

        async def ask_all(times: int) -> None:
            for _ in range(times):
                await asyncio.gather(*(ask() for _ in range(GATHERED)))

        async with _running(echo()):
            return GATHERED * await rate(ask_all, max(requests // GATHERED, 1))

    return run_in_asyncio(main, new_loop)
