"""The library's side of the workloads between two processes: public names, default options, nothing set for speed."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import cycle

import trio

from autonomy import Context, Node, open_node
from autonomy.identity import Credentials

from .far_side import FAR, FarSide
from .local import Echo, Tally
from .measure import p99, rate
from .terms import FAR_CALLERS, FAR_TIMEOUT, MEBIBYTE, PAYLOAD, READ

PROBERS = 10
"""Callers of R5, whose requests are timed."""
SENDERS = 8
"""Those of R5 that fill the link, and as many that wait for the stalled worker."""
STALLED_FOR = 600.0
"""Seconds that these would wait."""
OTHERS = [f"tally-{number}@{FAR}" for number in range(99)]
_ECHO, _LARGE, _TALLY, _STALLED = (f"{name}@{FAR}" for name in ("echo", "large", "tally", "stalled"))
_ANYWHERE = "wss://127.0.0.1:0"
_PAUSE = 0.2
"""Seconds in which a mailbox that takes no message is full."""


class Stalled:
    """Never comes to an end with its first message."""

    async def handle_message(self, context: Context, message: str) -> None:
        await trio.sleep_forever()


async def serve(credentials: Credentials, *, task_status: trio.TaskStatus[str]) -> None:
    """Be the far node, with all of the workers. Reports its address."""
    async with open_node(credentials.name, credentials=credentials, listen=_ANYWHERE) as node:
        await start_workers(node)
        assert node.address is not None
        task_status.started(node.address)
        await trio.sleep_forever()


async def start_workers(node: Node) -> None:
    """Start what the workloads send to."""
    workers = {_ECHO: Echo, _LARGE: Echo, _STALLED: Stalled} | dict.fromkeys([_TALLY, *OTHERS], Tally)
    for address, worker in workers.items():
        await node.start_worker(address.partition("@")[0], worker())


@asynccontextmanager
async def _linked(far: FarSide) -> AsyncGenerator[Node]:
    """A node that knows the far one."""
    async with open_node(far.credentials.name, credentials=far.credentials) as node:
        await node.connect(far.address)
        yield node


def _measured(far: FarSide, measure: Callable[[Node], Awaitable[float]]) -> float:
    async def main() -> float:
        async with _linked(far) as node:
            return await measure(node)

    return trio.run(main)


def one_caller(far: FarSide, requests: int) -> float:
    """R1: request and reply, one after the other. Returns requests a second."""
    return _measured(far, lambda node: _echoed(node, _ECHO, PAYLOAD, requests))


def large_messages(far: FarSide, requests: int) -> float:
    """R4: as R1, with a mebibyte each way. Returns MB a second, of which an echo is counted once."""
    return _measured(far, lambda node: _echoed(node, _LARGE, MEBIBYTE, requests)) * len(MEBIBYTE) / 1e6


async def _echoed(node: Node, address: str, payload: str, requests: int) -> float:
    async def ask(count: int) -> None:
        for _ in range(count):
            assert len(await node.send_and_receive(address, payload, timeout=FAR_TIMEOUT)) == len(payload)

    return await rate(ask, requests)


def fire_and_forget(far: FarSide, messages: int) -> float:
    """R2: messages to one worker that want no reply, then one that asks how many came. Returns messages a second."""

    async def measure(node: Node) -> float:
        async def send(count: int) -> None:
            for _ in range(count):
                await node.send_message(_TALLY, PAYLOAD)
            assert await node.send_and_receive(_TALLY, READ, timeout=FAR_TIMEOUT) == str(count)

        return await rate(send, messages)

    return _measured(far, measure)


def many_callers(far: FarSide, requests: int) -> float:
    """R3: request and reply, many callers. Returns requests a second."""

    async def measure(node: Node) -> float:
        async def call(count: int) -> None:
            for _ in range(count):
                await node.send_and_receive(_ECHO, PAYLOAD, timeout=FAR_TIMEOUT)

        async def call_all(count: int) -> None:
            async with trio.open_nursery() as callers:
                for _ in range(FAR_CALLERS):
                    callers.start_soon(call, max(count // FAR_CALLERS, 1))

        return await rate(call_all, requests)

    return _measured(far, measure)


async def _p99_of_small(node: Node, requests: int) -> float:
    async def ask() -> None:
        await node.send_and_receive(_ECHO, PAYLOAD, timeout=FAR_TIMEOUT)

    return await p99(ask, requests)


def small_messages(far: FarSide, requests: int) -> float:
    """R4_p99: small requests, nothing else on the link. Returns the 99th percentile of their milliseconds."""
    return _measured(far, lambda node: _p99_of_small(node, requests))


def small_beside_large(far: FarSide, requests: int) -> float:
    """R4_p99: the same while mebibytes are echoed, one after the other, by another worker."""

    async def measure(node: Node) -> float:
        async def echo_large() -> None:
            while True:
                await node.send_and_receive(_LARGE, MEBIBYTE, timeout=FAR_TIMEOUT)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(echo_large)
            result = await _p99_of_small(node, requests)
            nursery.cancel_scope.cancel()
        return result

    return _measured(far, measure)


async def _p99_under_load(node: Node, requests: int) -> float:
    async def flood(first: int) -> None:
        for number in cycle(range(len(OTHERS))):
            await node.send_message(OTHERS[(first + number) % len(OTHERS)], PAYLOAD)

    worker = cycle(OTHERS)

    async def ask() -> None:
        await node.send_and_receive(next(worker), READ, timeout=FAR_TIMEOUT)

    async with trio.open_nursery() as senders:
        for number in range(SENDERS):
            senders.start_soon(flood, number * len(OTHERS) // SENDERS)
        result = await p99(ask, requests, PROBERS)
        senders.cancel_scope.cancel()
    return result


def saturated(far: FarSide, requests: int) -> float:
    """R5: requests to 99 workers, on a link that is full of messages to them. Returns the p99 of their milliseconds."""
    return _measured(far, lambda node: _p99_under_load(node, requests))


def saturated_beside_stalled(far: FarSide, requests: int) -> float:
    """R5: the same while others wait for room in the full mailbox of a hundredth worker. Once for each far side."""

    async def measure(node: Node) -> float:
        sent = 0

        async def fill() -> None:
            nonlocal sent
            while True:
                await node.send_message(_STALLED, PAYLOAD, timeout=STALLED_FOR)
                sent += 1

        async with trio.open_nursery() as waiting:
            for _ in range(SENDERS):
                waiting.start_soon(fill)
            before = 0
            while not sent or before < sent:
                before = sent
                await trio.sleep(_PAUSE)
            result = await _p99_under_load(node, requests)
            assert sent == before, f"the stalled worker took {sent - before} messages"
            waiting.cancel_scope.cancel()
        return result

    return _measured(far, measure)
