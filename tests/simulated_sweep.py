"""Many worlds, one after the other or in several processes, and what they came to in figures."""

from __future__ import annotations

import logging
import multiprocessing
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from time import perf_counter

from .simulated_history import violations_of_short_outages
from .simulated_world import RARE, SHORT, SMALL, Outcome, Plan, World

SMALL_SHORT = Plan(
    nodes=2,
    clients=6,
    seconds=40,
    outages=(0.1, 6.0),
    pauses=(1.0, 6.0),
    breaks=("reset", "reset", "black hole", "one way"),
    overlap=False,
    stops=False,
    is_short=True,
)


@dataclass(frozen=True)
class Run:
    """What a world came to.

    Attributes:
        broken: Promises, a line each.
        story: Of a run that broke any.
        seconds: Virtual.
        faults: How many of each kind.
        messages: That were sent.
    """

    seed: int
    broken: tuple[str, ...]
    story: str
    seconds: float
    faults: Counter[str]
    messages: int


def broken_in(outcome: Outcome, plan: Plan) -> list[str]:
    """Return the promises that were broken."""
    return outcome.broken + (violations_of_short_outages(outcome.history) if plan.is_short else [])


def run_one(case: tuple[int, Plan]) -> Run:
    """Run a world."""
    seed, plan = case
    try:
        outcome = World(seed, plan).run()
    except Exception as error:  # noqa: BLE001  # it broke more than a promise, and its text tells the story
        return Run(seed, (f"{type(error).__name__}: {error}",), "", 0.0, Counter(), 0)
    report, broken = outcome.report, tuple(broken_in(outcome, plan))
    kinds = Counter(re.split(":| of | for ", fault.text)[0] for fault in report.faults if fault.kind == "fault")
    return Run(seed, broken, report.story() if broken else "", report.ended_at, kinds, len(outcome.history.sent))


def run_all(cases: Iterable[tuple[int, Plan]], *, jobs: int = 1) -> None:
    """Run a world for each seed and plan; print the figures, and fail with what was broken."""
    began, done = perf_counter(), []
    for run in _runs(list(cases), jobs):
        done.append(run)
        if run.broken:
            _print(f"seed {run.seed}: {run.broken[0]:.500}")  # one need not wait for the end
        if not len(done) % 50:
            _print(_figures(done, perf_counter() - began))
    _print(_figures(done, perf_counter() - began))
    bad = next((run for run in done if run.broken), None)
    assert bad is None, "\n".join([f"seed {bad.seed}:", *bad.broken, bad.story])


def _figures(done: list[Run], seconds: float) -> str:
    virtual, faults = sum(run.seconds for run in done), sum((run.faults for run in done), Counter[str]())
    return (
        f"{len(done)} seeds, {virtual:.0f} virtual seconds, {sum(run.messages for run in done)} messages,"
        f" {faults.total()} faults ({', '.join(f'{count} {kind}' for kind, count in faults.most_common())}),"
        f" {sum(len(run.broken) for run in done)} violations in {sum(bool(run.broken) for run in done)} seeds;"
        f" {virtual / seconds:.0f} virtual seconds a second"
    )


def _print(line: str) -> None:
    print(f"\n{line}", flush=True)  # noqa: T201  # the figures


def _runs(cases: list[tuple[int, Plan]], jobs: int) -> Iterator[Run]:
    if jobs == 1:
        yield from map(run_one, cases)
        return
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), logging.disable) as pool:
        yield from pool.map(run_one, cases)


def found_by(seed: int) -> str:
    """Return the first promise that is seen to be broken in two small worlds, if there is one."""
    for plan in (SMALL, SMALL_SHORT):
        if broken := run_one((seed, plan)).broken:
            return f"seed {seed}: {broken[0]}"
    return ""


def _plan(seed: int) -> Plan:
    return {0: SHORT, 1: replace(RARE, seconds=Plan().seconds)}.get(seed % 5, Plan())


THOUSAND = [(seed, _plan(seed)) for seed in range(1, 1001)]
"""One in five is of short outages, which nobody must notice, and one of what befalls links in use and new ones."""
