"""The library's side of the workloads inside an asyncio program: `autonomy.aio`, and no word of Trio."""

from __future__ import annotations

import asyncio

from autonomy import aio

from .local import Echo
from .measure import LoopFactory, p50, rate, run_in_asyncio
from .terms import GATHERED, PAYLOAD, TIMEOUT


def one_caller(requests: int, new_loop: LoopFactory) -> float:
    """`aio`: request and reply with a timeout, one after the other. Returns the median of their microseconds."""

    async def main() -> float:
        async with aio.open_node("n") as node:
            await node.start_worker("echo", Echo())
            return await p50(lambda: node.send_and_receive("echo", PAYLOAD, timeout=TIMEOUT), requests)

    return run_in_asyncio(main, new_loop)


def gathered(requests: int, new_loop: LoopFactory) -> float:
    """`aio_gather`: requests with a timeout, so many at once, to one worker. Returns requests a second."""

    async def main() -> float:
        async with aio.open_node("n") as node:
            await node.start_worker("echo", Echo())

            async def ask(times: int) -> None:
                for _ in range(times):
                    await asyncio.gather(
                        *(node.send_and_receive("echo", PAYLOAD, timeout=TIMEOUT) for _ in range(GATHERED))
                    )

            return GATHERED * await rate(ask, max(requests // GATHERED, 1))

    return run_in_asyncio(main, new_loop)
