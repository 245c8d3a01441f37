"""How things are measured here: warmed up, in turns, and as ratios of neighbours.

Absolute figures drift by a factor of two from hour to hour on a machine that others use too. So the things to compare
take turns within one run, and what counts is the median of their ratios round by round. Nothing in here knows what is
measured.
"""

from __future__ import annotations

import gc
import math
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import ParamSpec, TypeVar

T = TypeVar("T")
P = ParamSpec("P")


async def rate(run: Callable[[int], Awaitable[object]], count: int) -> float:
    """Return how many of `count` things a second ``run(count)`` does, after a tenth of them to warm up."""
    await run(max(count // 10, 1))
    gc.collect()
    started = perf_counter()
    await run(count)
    return count / (perf_counter() - started)


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
