"""The hand-written side: the same work in plain Trio, as somebody would write it who needs nothing else.

Channels are unbounded and sent to by `send_nowait`, for that is the fastest that Trio offers: ``await send`` costs a
turn of its loop. None of these has names, back-pressure, supervision, withdrawal, or an answer for a worker that fails.
"""

from __future__ import annotations

import gc
import math
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from statistics import median
from time import perf_counter

import trio
from trio.testing import wait_all_tasks_blocked

from .measure import rate, resident_kib
from .terms import CALLERS, PAYLOAD, READ, TIMEOUT, Footprint

Ask = trio.MemorySendChannel[str]
Answers = trio.MemoryReceiveChannel[str]
Request = tuple[str, trio.MemorySendChannel[str]]


@asynccontextmanager
async def _echo() -> AsyncGenerator[tuple[Ask, Answers]]:
    """A task that sends back what it is sent, on a channel for each way."""
    requests, incoming = trio.open_memory_channel[str](math.inf)
    outgoing, replies = trio.open_memory_channel[str](math.inf)

    async def echo() -> None:
        async for message in incoming:
            outgoing.send_nowait(message)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(echo)
        yield requests, replies
        nursery.cancel_scope.cancel()


def one_caller(requests: int, payload: str = PAYLOAD) -> float:
    """L1 without a timeout: two channels. Returns requests a second."""

    async def main() -> float:
        async with _echo() as (to_echo, replies):

            async def ask(count: int) -> None:
                for _ in range(count):
                    to_echo.send_nowait(payload)
                    await replies.receive()

            return await rate(ask, requests)

    return trio.run(main)


def one_caller_with_fail_after(requests: int) -> float:
    """L1 with a timeout as Trio has it. Returns requests a second."""

    async def main() -> float:
        async with _echo() as (to_echo, replies):

            async def ask(count: int) -> None:
                for _ in range(count):
                    with trio.fail_after(TIMEOUT):
                        to_echo.send_nowait(PAYLOAD)
                        await replies.receive()

            return await rate(ask, requests)

    return trio.run(main)


def fire_and_forget(messages: int) -> float:
    """L2: everything into a channel, and ``async for`` at its other end. Returns messages a second."""

    async def main() -> float:
        to_tally, incoming = trio.open_memory_channel[str](math.inf)
        outgoing, replies = trio.open_memory_channel[int](1)

        async def tally() -> None:
            handled = 0
            async for message in incoming:
                if message == READ:
                    outgoing.send_nowait(handled)
                    handled = 0
                else:
                    handled += 1

        async def send(count: int) -> None:
            for _ in range(count):
                to_tally.send_nowait(PAYLOAD)
            to_tally.send_nowait(READ)
            assert await replies.receive() == count

        async with trio.open_nursery() as nursery:
            nursery.start_soon(tally)
            result = await rate(send, messages)
            nursery.cancel_scope.cancel()
        return result

    return trio.run(main)


async def _answer(requests: trio.MemoryReceiveChannel[Request]) -> None:
    async for message, reply_to in requests:
        reply_to.send_nowait(message)


def many_callers(requests: int) -> float:
    """L3: a reply channel for each request, under ``fail_after``. Returns requests a second."""

    async def main() -> float:
        workers: list[trio.MemorySendChannel[Request]] = []

        async def call(first: int, count: int) -> None:
            for number in range(first, first + count):
                # One channel for all requests of a caller would be faster and wrong: after a timeout the late reply
                # would pass for the next one's.
                reply_to, reply = trio.open_memory_channel[str](1)
                with trio.fail_after(TIMEOUT):
                    workers[number % CALLERS].send_nowait((PAYLOAD, reply_to))
                    await reply.receive()

        async def call_all(count: int) -> None:
            async with trio.open_nursery() as callers:
                for first in range(CALLERS):
                    callers.start_soon(call, first, max(count // CALLERS, 1))

        async with trio.open_nursery() as nursery:
            for _ in range(CALLERS):
                to_worker, incoming = trio.open_memory_channel[Request](math.inf)
                workers.append(to_worker)
                nursery.start_soon(_answer, incoming)
            result = await rate(call_all, requests)
            nursery.cancel_scope.cancel()
        return result

    return trio.run(main)


async def _start_and_stop(count: int) -> Footprint:
    workers: list[trio.MemorySendChannel[Request]] = []
    gc.collect()
    before, began = resident_kib(), perf_counter()
    async with trio.open_nursery() as nursery:
        for _ in range(count):
            to_worker, incoming = trio.open_memory_channel[Request](math.inf)
            workers.append(to_worker)
            nursery.start_soon(_answer, incoming)
        await wait_all_tasks_blocked()
        starting, occupied = perf_counter() - began, resident_kib() - before
        gc.collect()
        began = perf_counter()
        nursery.cancel_scope.cancel()
    stopping = perf_counter() - began
    return Footprint((starting + stopping) / count * 1e6, occupied / count)


def many_workers(workers: int) -> Footprint:
    """L4: a task and its channel for each worker. To be called in a process of its own."""

    async def main() -> Footprint:
        await _start_and_stop(max(workers // 100, 1))
        return await _start_and_stop(workers)

    return trio.run(main)


def among_many(workers: int, requests: int, rounds: int) -> float:
    """One caller that asks one of many workers after the other. Returns requests a second, the median of the rounds."""

    async def main() -> float:
        to_workers: list[trio.MemorySendChannel[Request]] = []
        reply_to, replies = trio.open_memory_channel[str](math.inf)

        async def ask(count: int) -> None:
            for number in range(count):
                to_workers[number % workers].send_nowait((PAYLOAD, reply_to))
                await replies.receive()

        async with trio.open_nursery() as nursery:
            for _ in range(workers):
                to_worker, incoming = trio.open_memory_channel[Request](math.inf)
                to_workers.append(to_worker)
                nursery.start_soon(_answer, incoming)
            result = median([await rate(ask, requests) for _ in range(rounds)])
            nursery.cancel_scope.cancel()
        return result

    return trio.run(main)
