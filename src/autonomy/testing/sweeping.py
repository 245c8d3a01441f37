"""Many seeds of one play, in several processes; and one seed in two that differ in all that must not matter."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from .faults import Story
from .plays import Performance, Play, perform

_HASH_SEEDS: Final = ("1", "2")


def load(target: str) -> Play:
    """Return the play that ``module:function`` names.

    Raises:
        ValueError: There is none.
    """
    module, _, name = target.partition(":")
    if not (module and name):
        raise ValueError(f"{target!r} names no function. Write module:function, such as tests.locks:leases.")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"there is no {target!r}: {error}. It is imported from {str(Path.cwd())!r}.") from error
    if not callable(found):
        raise ValueError(f"{target!r} is no function that takes a Simulation")
    play: Play = found
    return play


@dataclass(frozen=True)
class Result:
    """What a seed came to, in a form that other processes understand.

    Attributes:
        seed: Of the run.
        failure: What went wrong, in a line; empty if nothing did.
        story: What broke.
        virtual_seconds: How long the run was.
        trace_hash: What tells it from others.
        sometimes: How often each condition was seen to hold.
    """

    seed: int
    failure: str
    story: Story
    virtual_seconds: float
    trace_hash: str
    sometimes: dict[str, int]

    @classmethod
    def of(cls, performance: Performance) -> Result:
        """Return what a performance came to."""
        report = performance.report
        failure = "" if performance.error is None else f"{type(performance.cause).__name__}: {performance.cause}"
        return cls(report.seed, failure, performance.story, report.ended_at, report.trace_hash, dict(report.sometimes))


def sweep(target: str, seeds: Sequence[int], *, jobs: int = 1) -> Iterator[Result]:
    """Yield the result of each seed, in order.

    Args:
        target: ``module:function``, imported anew in each process.
        seeds: One run each.
        jobs: Processes; with 1 it runs in this one.
    """
    one: Callable[[int], Result] = partial(_one, target)
    if jobs == 1:
        yield from map(one, seeds)
        return
    # Not forked: a fork inherits whatever the play's modules have set up here, and a run by itself would not.
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(one, seeds)


def _one(target: str, seed: int) -> Result:
    return Result.of(perform(load(target), seed))


def never(results: Iterable[Result]) -> list[str]:
    """Return the conditions of `Simulation.sometimes` that held in none of the runs."""
    totals: dict[str, int] = {}
    for result in results:
        for name, count in result.sometimes.items():
            totals[name] = totals.get(name, 0) + count
    return [name for name, count in totals.items() if not count]


def difference(target: str, seed: int) -> str:
    """Run a seed in two processes with other hash seeds and other memory; returns how they differ, if they do.

    Raises:
        ValueError: It could not be run.
    """
    first, second = (_trace(target, seed, hash_seed) for hash_seed in _HASH_SEEDS)
    if first == second:
        return ""
    number = next(
        (at for at, (one, other) in enumerate(zip(first, second, strict=False)) if one != other),
        min(len(first), len(second)),
    )
    one, other = ((*trace, "(it ended)")[number] for trace in (first, second))
    before = "".join(f"  {line}\n" for line in first[max(0, number - 5) : number])
    return f"the runs part at moment {number + 1}:\n{before}- {one}\n+ {other}"


def _trace(target: str, seed: int, hash_seed: str) -> list[str]:
    environment = os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "autonomy.testing", "trace", target, "--seed", str(seed), "--perturb"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if ended.returncode > 1:
        raise ValueError(f"seed {seed} could not be run:\n{ended.stderr.strip()}")
    return ended.stdout.splitlines()


def perturbed() -> list[object]:
    """Return things of odd sizes with holes between them: as long as they are kept, addresses are others each time."""
    chance = random.SystemRandom()
    kept: list[object] = [bytearray(chance.randrange(1, 512)) for _ in range(chance.randrange(50_000))]
    chance.shuffle(kept)
    del kept[::2]
    return kept
