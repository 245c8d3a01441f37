"""The workloads: what is measured against what, how much of it, and which ratio is the goal.

A workload takes a number of rounds and a scale (1 for the usual amount of work) and returns its figures. To add one:
its two sides go to a file of the hand-written side, such as `raw`, and to one of the library's, such as `local`, its
line here into `WORKLOADS`, its goal into `GOALS`, its meaning into ``docs/explanation/performance.md``.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from statistics import median

import uvloop

from . import hosted, local, raw, raw_asyncio, raw_links, remote, undriven
from .far_side import FarSide, far_side
from .measure import LoopFactory, Rates, in_process_of_its_own, in_turns, median_ratio

REQUESTS = 5_000
MESSAGES = 200_000
CONCURRENT_REQUESTS = 10_000
WORKERS = 10_000
BATCH = 500
BATCHES = 40
"""A1 takes turns by batches of so many requests, so many of them in a round, for its difference is small."""
FAR_REQUESTS = 1_000
FAR_MESSAGES = 100_000
FAR_MESSAGES_BY_HAND = 5_000
"""At one websocket message each, a twentieth takes as long, and the rate does not depend on it."""
FAR_CONCURRENT_REQUESTS = 12_800
FAR_CONCURRENT_REQUESTS_BY_HAND = 2_560
"""The same."""
MEBIBYTES = 20
PROBES = 600
PROBES_UNDER_LOAD = 1_000
LOOPS: dict[str, LoopFactory] = {"": asyncio.new_event_loop, "_uvloop": uvloop.new_event_loop}
"""The loops that asyncio programs run on, by what they add to the name of a workload."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What came out of one workload.

    Attributes:
        workload: Its name.
        library: The library's figure, the median of the rounds.
        raw: That of its hand-written counterpart.
        ratio: How well the library does, 1 for as well as by hand and more for better; the median of the ratios of each
            round, for A1 of each batch, which is not the ratio of the medians.
        unit: Of `library` and `raw`.
        rounds: How many.
        ratio_fail_after: The ratio to a counterpart that has a timeout by ``fail_after``, where that is a goal too.
    """

    workload: str
    library: float
    raw: float
    ratio: float
    unit: str
    rounds: int
    ratio_fail_after: float | None = None

    def as_json(self) -> str:
        """Return the figures as one line."""
        fields = {key: value for key, value in asdict(self).items() if value is not None}
        return json.dumps(
            {key: round(value, 3) if isinstance(value, float) else value for key, value in fields.items()}
        )


@dataclass(frozen=True, slots=True)
class Goal:
    """What is aimed at: a ratio at least, or what the library's own figure ought to be.

    Attributes:
        work: What is done.
        ratio: The least ratio; None if there is no goal for it.
        against: The counterpart.
        ratio_fail_after: The same for the counterpart with ``fail_after``.
        at_least: The least figure of the library, of those that are the better the greater they are.
        at_most: The greatest, of those that are the better the smaller they are.
    """

    work: str
    ratio: float | None
    against: str
    ratio_fail_after: float | None = None
    at_least: float | None = None
    at_most: float | None = None


GOALS = {
    "L1": Goal("one caller, request and reply with a timeout", 1.0, "two channels without a timeout", 2.0),
    "L2": Goal("messages to one worker that want no reply", 5.0, "send_nowait and async for"),
    "L3": Goal("100 callers, 100 workers, request and reply with a timeout", 3.0, "reply channel and fail_after", 3.0),
    "L4": Goal("start and stop a worker", 0.5, "a task and its channel"),
    "L4_memory": Goal("memory of an idle worker", 0.5, "a task and its channel"),
    "A1": Goal("L1, to a worker that could await asyncio and does not", 0.95, "the library, its driver switched off"),
    "R1": Goal("one caller, request and reply, to another process", 0.9, "a websocket message each way"),
    "R2": Goal("messages to another process that want no reply", 25.0, "a websocket message each"),
    "R3": Goal("64 callers, request and reply, to another process", 10.0, "a websocket message each, numbered"),
    "R4": Goal("a mebibyte echoed by another process", 2.5, "a websocket message each way"),
    "R4_p99": Goal("small requests beside such mebibytes", 0.5, "the library, without the mebibytes"),
    "R5": Goal("requests on a full link, beside a stalled worker", 0.5, "the library, without the stalled worker"),
    "aio": Goal("L1 in an asyncio program, the median", None, "two queues and asyncio.timeout", at_most=250.0),
    "aio_gather": Goal("requests by asyncio.gather of 100", None, "queue, futures, asyncio.timeout", at_least=10_000.0),
    "aio_uvloop": Goal("aio on uvloop", None, "two queues and asyncio.timeout", at_most=250.0),
    "aio_gather_uvloop": Goal("aio_gather on uvloop", None, "queue, futures, asyncio.timeout", at_least=10_000.0),
}


def one_caller(rounds: int, scale: float = 1.0) -> list[Figures]:
    """L1: what one request costs when nothing else happens."""
    requests = _scaled(REQUESTS, scale)
    rates = in_turns(
        {
            "library": lambda: local.one_caller(requests),
            "raw": lambda: raw.one_caller(requests),
            "fail_after": lambda: raw.one_caller_with_fail_after(requests),
        },
        rounds,
    )
    ratio_fail_after = median_ratio(rates["library"], rates["fail_after"])
    return [_rates("L1", rates["library"], rates["raw"], "requests/s", ratio_fail_after)]


def fire_and_forget(rounds: int, scale: float = 1.0) -> list[Figures]:
    """L2: how fast messages go by that nobody waits for."""
    messages = _scaled(MESSAGES, scale)
    rates = in_turns(
        {"library": lambda: local.fire_and_forget(messages), "raw": lambda: raw.fire_and_forget(messages)}, rounds
    )
    return [_rates("L2", rates["library"], rates["raw"], "messages/s")]


def many_callers(rounds: int, scale: float = 1.0) -> list[Figures]:
    """L3: what one request costs when many are on their way."""
    requests = _scaled(CONCURRENT_REQUESTS, scale)
    rates = in_turns(
        {"library": lambda: local.many_callers(requests), "raw": lambda: raw.many_callers(requests)}, rounds
    )
    ratio = median_ratio(rates["library"], rates["raw"])
    return [_rates("L3", rates["library"], rates["raw"], "requests/s", ratio)]


def many_workers(rounds: int, scale: float = 1.0) -> list[Figures]:
    """L4: what a worker costs that does nothing, in time and in memory."""
    workers = _scaled(WORKERS, scale)
    found = in_turns(
        {
            "library": lambda: in_process_of_its_own(local.many_workers, workers),
            "raw": lambda: in_process_of_its_own(raw.many_workers, workers),
        },
        rounds,
    )
    times = {side: [each.microseconds for each in footprints] for side, footprints in found.items()}
    memory = {side: [each.kib for each in footprints] for side, footprints in found.items()}
    return [
        _costs("L4", times["library"], times["raw"], "µs/worker"),
        _costs("L4_memory", memory["library"], memory["raw"], "KiB/worker"),
    ]


def asyncio_support(rounds: int, scale: float = 1.0) -> list[Figures]:
    """A1: what a request costs more because its worker could await asyncio things too."""
    on: Rates = []
    off: Rates = []
    for _ in range(rounds):  # each with a new pair of nodes
        rates = undriven.one_caller(_scaled(BATCH, scale), BATCHES)
        on += rates["on"]
        off += rates["off"]
    return [Figures("A1", median(on), median(off), median_ratio(on, off), "requests/s", rounds)]


def far_one_caller(rounds: int, scale: float = 1.0) -> list[Figures]:
    """R1: what one request to another process costs when nothing else happens."""
    requests = _scaled(FAR_REQUESTS, scale)
    rates = _far_in_turns(
        lambda far: remote.one_caller(far, requests), lambda far: raw_links.one_caller(far, requests), rounds
    )
    return [_rates("R1", rates["library"], rates["raw"], "requests/s")]


def far_fire_and_forget(rounds: int, scale: float = 1.0) -> list[Figures]:
    """R2: how fast messages go to another process that nobody waits for."""
    messages, by_hand = _scaled(FAR_MESSAGES, scale), _scaled(FAR_MESSAGES_BY_HAND, scale)
    rates = _far_in_turns(
        lambda far: remote.fire_and_forget(far, messages), lambda far: raw_links.fire_and_forget(far, by_hand), rounds
    )
    return [_rates("R2", rates["library"], rates["raw"], "messages/s")]


def far_many_callers(rounds: int, scale: float = 1.0) -> list[Figures]:
    """R3: what one request to another process costs when many are on their way."""
    requests, by_hand = _scaled(FAR_CONCURRENT_REQUESTS, scale), _scaled(FAR_CONCURRENT_REQUESTS_BY_HAND, scale)
    rates = _far_in_turns(
        lambda far: remote.many_callers(far, requests), lambda far: raw_links.many_callers(far, by_hand), rounds
    )
    return [_rates("R3", rates["library"], rates["raw"], "requests/s")]


def far_large_messages(rounds: int, scale: float = 1.0) -> list[Figures]:
    """R4: how fast large messages go to another process, and what they do to small ones."""
    requests, probes = _scaled(MEBIBYTES, scale), _scaled(PROBES, scale)
    rates = _far_in_turns(
        lambda far: remote.large_messages(far, requests), lambda far: raw_links.large_messages(far, requests), rounds
    )
    with far_side(remote.serve) as far:
        waits = in_turns(
            {
                "beside": lambda: remote.small_beside_large(far, probes),
                "alone": lambda: remote.small_messages(far, probes),
            },
            rounds,
        )
    return [
        _rates("R4", rates["library"], rates["raw"], "MB/s"),
        _costs("R4_p99", waits["beside"], waits["alone"], "ms p99"),
    ]


def far_stalled_worker(rounds: int, scale: float = 1.0) -> list[Figures]:
    """R5: what a worker that takes nothing does to the others on its link."""
    probes = _scaled(PROBES_UNDER_LOAD, scale)

    waits = in_turns(  # each with a new far side, for a worker that has stalled once stays so
        {
            "beside": lambda: _with_far_side(remote.saturated_beside_stalled, probes),
            "alone": lambda: _with_far_side(remote.saturated, probes),
        },
        rounds,
    )
    return [_costs("R5", waits["beside"], waits["alone"], "ms p99")]


def _with_far_side(measure: Callable[[FarSide, int], float], count: int) -> float:
    with far_side(remote.serve) as far:
        return measure(far, count)


def _far_in_turns(
    library: Callable[[FarSide], float], by_hand: Callable[[FarSide], float], rounds: int
) -> dict[str, Rates]:
    with far_side(remote.serve) as far, far_side(raw_links.serve) as far_by_hand:
        return in_turns({"library": lambda: library(far), "raw": lambda: by_hand(far_by_hand)}, rounds)


def in_asyncio(rounds: int, scale: float = 1.0) -> list[Figures]:
    """aio: what a request costs in an asyncio program, alone and with others, on either loop."""
    return [figures for loop in LOOPS for figures in _on_loop(loop, rounds, scale)]


def _on_loop(loop: str, rounds: int, scale: float) -> list[Figures]:
    requests, at_once, new_loop = _scaled(REQUESTS, scale), _scaled(CONCURRENT_REQUESTS, scale), LOOPS[loop]
    medians = in_turns(
        {
            "library": lambda: hosted.one_caller(requests, new_loop),
            "raw": lambda: raw_asyncio.one_caller(requests, new_loop),
        },
        rounds,
    )
    rates = in_turns(
        {
            "library": lambda: hosted.gathered(at_once, new_loop),
            "raw": lambda: raw_asyncio.gathered(at_once, new_loop),
        },
        rounds,
    )
    return [
        _costs(f"aio{loop}", medians["library"], medians["raw"], "µs p50"),
        _rates(f"aio_gather{loop}", rates["library"], rates["raw"], "requests/s"),
    ]


def _scaled(count: int, scale: float) -> int:
    return max(int(count * scale), 1)


def _rates(
    workload: str, library: list[float], counterpart: list[float], unit: str, ratio_fail_after: float | None = None
) -> Figures:
    ratio = median_ratio(library, counterpart)
    return Figures(workload, median(library), median(counterpart), ratio, unit, len(library), ratio_fail_after)


def _costs(workload: str, library: list[float], counterpart: list[float], unit: str) -> Figures:
    # Of costs, the smaller one is the better: the ratio is the other way round.
    ratio = median_ratio(counterpart, library)
    return Figures(workload, median(library), median(counterpart), ratio, unit, len(library))


WORKLOADS: dict[str, Callable[[int, float], list[Figures]]] = {
    "L1": one_caller,
    "L2": fire_and_forget,
    "L3": many_callers,
    "L4": many_workers,
    "A1": asyncio_support,
    "R1": far_one_caller,
    "R2": far_fire_and_forget,
    "R3": far_many_callers,
    "R4": far_large_messages,
    "R5": far_stalled_worker,
    "aio": in_asyncio,
}
PROFILED: dict[str, Callable[[], object]] = {
    "L1": lambda: local.one_caller(REQUESTS),
    "L2": lambda: local.fire_and_forget(MESSAGES),
    "L3": lambda: local.many_callers(CONCURRENT_REQUESTS),
    "L4": lambda: local.many_workers(WORKERS),
    "R1": lambda: _with_far_side(remote.one_caller, FAR_REQUESTS),
    "R2": lambda: _with_far_side(remote.fire_and_forget, FAR_MESSAGES),
    "R3": lambda: _with_far_side(remote.many_callers, FAR_CONCURRENT_REQUESTS),
    "R4": lambda: _with_far_side(remote.large_messages, MEBIBYTES),
    "aio": lambda: hosted.one_caller(REQUESTS, asyncio.new_event_loop),
    "aio_gather": lambda: hosted.gathered(CONCURRENT_REQUESTS, asyncio.new_event_loop),
}
"""The library's side alone; of two processes, the near one."""
