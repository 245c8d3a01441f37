"""The library's side of the workloads on one node: public names, default options, nothing set for speed."""

from __future__ import annotations

import gc
from statistics import median
from time import perf_counter, process_time

import trio
from trio.testing import wait_all_tasks_blocked

from autonomy import Context, Node, open_node

from .measure import rate, resident_kib
from .terms import CALLERS, PAYLOAD, READ, TIMEOUT, Footprint, Idleness


class Echo:
    """Replies with the message."""

    async def handle_message(self, context: Context, message: str) -> None:
        await context.reply(message)


class Tally:
    """Counts what it is sent, and replies with the count when it is asked to."""

    def __init__(self) -> None:
        self._handled = 0

    async def handle_message(self, context: Context, message: str) -> None:
        if message == READ:
            await context.reply(str(self._handled))
            self._handled = 0
        else:
            self._handled += 1


async def _start_echoes(node: Node, count: int) -> list[str]:
    names = [f"echo-{number}" for number in range(count)]
    for name in names:
        await node.start_worker(name, Echo())
    return names


def one_caller(requests: int, payload: str = PAYLOAD) -> float:
    """L1: request and reply with a timeout, one after the other. Returns requests a second."""

    async def main() -> float:
        async with open_node("n") as node:
            await node.start_worker("echo", Echo())

            async def ask(count: int) -> None:
                for _ in range(count):
                    await node.send_and_receive("echo", payload, timeout=TIMEOUT)

            return await rate(ask, requests)

    return trio.run(main)


def fire_and_forget(messages: int) -> float:
    """L2: messages to one worker that want no reply, then one that asks how many came. Returns messages a second."""

    async def main() -> float:
        async with open_node("n") as node:
            await node.start_worker("tally", Tally())

            async def send(count: int) -> None:
                for _ in range(count):
                    await node.send_message("tally", PAYLOAD)
                assert await node.send_and_receive("tally", READ, timeout=TIMEOUT) == str(count)

            return await rate(send, messages)

    return trio.run(main)


def many_callers(requests: int) -> float:
    """L3: request and reply with a timeout, many callers to as many workers. Returns requests a second."""

    async def main() -> float:
        async with open_node("n") as node:
            names = await _start_echoes(node, CALLERS)

            async def call(first: int, count: int) -> None:
                for number in range(first, first + count):
                    await node.send_and_receive(names[number % CALLERS], PAYLOAD, timeout=TIMEOUT)

            async def call_all(count: int) -> None:
                async with trio.open_nursery() as callers:
                    for first in range(CALLERS):
                        callers.start_soon(call, first, max(count // CALLERS, 1))

            return await rate(call_all, requests)

    return trio.run(main)


async def _start_and_stop(count: int) -> Footprint:
    gc.collect()
    before, began = resident_kib(), perf_counter()
    async with open_node("n") as node:
        await _start_echoes(node, count)
        await wait_all_tasks_blocked()
        starting, occupied = perf_counter() - began, resident_kib() - before
        gc.collect()
        began = perf_counter()
    stopping = perf_counter() - began
    return Footprint((starting + stopping) / count * 1e6, occupied / count)


def many_workers(workers: int) -> Footprint:
    """L4: start workers, leave them idle, stop all by leaving the node. To be called in a process of its own."""

    async def main() -> Footprint:
        await _start_and_stop(max(workers // 100, 1))
        return await _start_and_stop(workers)

    return trio.run(main)


def idle(workers: int, seconds: float = 1.0) -> Idleness:
    """Start workers, leave them alone for some seconds, and stop them."""

    async def main() -> Idleness:
        began = perf_counter()
        async with open_node("n") as node:
            await _start_echoes(node, workers)
            await wait_all_tasks_blocked()
            start = perf_counter() - began
            gc.collect()
            used = process_time()
            await trio.sleep(seconds)
            cpu = process_time() - used
            began = perf_counter()
        return Idleness(workers, start, cpu, seconds, perf_counter() - began)

    return trio.run(main)


def among_many(workers: int, requests: int, rounds: int) -> float:
    """One caller that asks one of many workers after the other. Returns requests a second, the median of the rounds."""

    async def main() -> float:
        async with open_node("n") as node:
            names = await _start_echoes(node, workers)

            async def ask(count: int) -> None:
                for number in range(count):
                    await node.send_and_receive(names[number % workers], PAYLOAD, timeout=TIMEOUT)

            return median([await rate(ask, requests) for _ in range(rounds)])

    return trio.run(main)
