"""How things are measured here: warmed up, in turns, and as ratios of neighbours.

Absolute figures drift by a factor of two from hour to hour on a machine that others use too. So the things to compare
take turns within one run, and what counts is the median of their ratios round by round. Nothing in here knows what is
measured.
"""

from __future__ import annotations

import asyncio
import gc
import math
import os
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, ParamSpec, TypeVar

import trio

T = TypeVar("T")
P = ParamSpec("P")
Rates = list[float]
LoopFactory = Callable[[], asyncio.AbstractEventLoop]


async def rate(run: Callable[[int], Awaitable[object]], count: int) -> float:
    """Return how many of `count` things a second ``run(count)`` does, after a tenth of them to warm up."""
    await run(max(count // 10, 1))
    gc.collect()
    started = perf_counter()
    await run(count)
    return count / (perf_counter() - started)


async def p50(run: Callable[[], Awaitable[object]], count: int) -> float:
    """Return the median of the microseconds that ``run()`` takes each of `count` times, after a tenth to warm up."""
    for _ in range(max(count // 10, 1)):
        await run()
    gc.collect()
    seconds: list[float] = []
    for _ in range(count):
        started = perf_counter()
        await run()
        seconds.append(perf_counter() - started)
    return median(seconds) * 1e6


async def p99(run: Callable[[], Awaitable[object]], count: int, callers: int = 1) -> float:
    """Return the 99th percentile of the milliseconds that ``run()`` takes, `count` times among so many callers.

    A tenth warms up.
    """
    seconds: list[float] = []

    async def call(times: int) -> None:
        for _ in range(times):
            started = perf_counter()
            await run()
            seconds.append(perf_counter() - started)

    async def call_all(times: int) -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(callers):
                nursery.start_soon(call, max(times // callers, 1))

    await call_all(count // 10)
    seconds.clear()
    gc.collect()
    await call_all(count)
    return sorted(seconds)[len(seconds) * 99 // 100] * 1e3


async def rates_in_turns(
    variants: Mapping[str, Callable[[int], Awaitable[object]]], count: int, batches: int
) -> dict[str, Rates]:
    """Return how many of `count` things a second each variant does, batch by batch, by name.

    For differences of a few percent: the batches are short, so that neighbours are milliseconds apart. The order is
    reversed every other time, and a first batch of each warms up.
    """
    rates: dict[str, Rates] = {name: [] for name in variants}
    for run in variants.values():
        await run(count)
    gc.collect()
    for number in range(batches):
        for name in sorted(variants, reverse=number % 2 == 1):
            started = perf_counter()
            await variants[name](count)
            rates[name].append(count / (perf_counter() - started))
    return rates


def run_in_asyncio(main: Callable[[], Coroutine[Any, Any, T]], new_loop: LoopFactory) -> T:
    """Run an asyncio program on a loop of its own."""
    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(main())


def in_turns(variants: Mapping[str, Callable[[], T]], rounds: int) -> dict[str, list[T]]:
    """Run every variant once a round, and return what each returned, by name.

    The order is reversed every other round, so that a machine that becomes slower, or a variant that leaves the memory
    in disorder, does not always hit the same one.
    """
    results: dict[str, list[T]] = {name: [] for name in variants}
    for number in range(rounds):
        for name in sorted(variants, reverse=number % 2 == 1):
            results[name].append(variants[name]())
    return results


def median_ratio(above: Sequence[float], below: Sequence[float]) -> float:
    """Return the median of the ratios of what was measured in the same round; infinity for what was too small."""
    return median(a / b if b else math.inf for a, b in zip(above, below, strict=True))


def in_process_of_its_own(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call an importable function in a fresh Python process, whose memory nothing else has used."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(function, *args, **kwargs).result()


def resident_kib() -> float:
    """Return how much memory this process occupies at this moment. Linux only."""
    # Not getrusage: its ru_maxrss is a peak, and a child process begins with that of its parent.
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024
