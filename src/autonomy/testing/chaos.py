"""Stories drawn by chance, and how a story happens to a simulation: beside the scenario, and then all is mended.

First safety, then liveness: while things break nothing wrong may happen, and once they are mended what was begun must
come to its end.

Source: the two modes of TigerBeetle's VOPR.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from random import Random
from typing import TYPE_CHECKING, Final

import trio

from .._sansio.border import check_awaitable
from .faults import KINDS, Fault, Story, kinds_for

if TYPE_CHECKING:
    from .simulation import Simulation

GRACE: Final = 45.0
"""Seconds that a zone has to recover, unless it is told otherwise."""
_SWIZZLES: Final = 0.5
"""The share of clogs that become several."""
_LENGTHS: Final = (0.5, 3.0, 15.0)
"""A blink; less than the window after which a silent host is given up; more than that."""


class NotRecovered(AssertionError):
    """Everything was mended, and still the scenario did not come to its end."""


def draw(
    chance: Random,
    hosts: Sequence[str],
    *,
    rate: float,
    for_: float,
    kinds: Iterable[str] | None = None,
) -> Story:
    """Draw a story.

    Args:
        chance: Where it is drawn from.
        hosts: To which it may happen.
        rate: Faults a second, on average.
        for_: Seconds until the last one is mended.
        kinds: Some of `faults.KINDS`; None for all usual ones for which there are hosts enough.
    """
    able = kinds_for(len(hosts), kinds)
    drawn: list[Fault] = []
    at = chance.expovariate(rate)
    while at < for_:
        kind = chance.choice(able)
        length = min(chance.choice(_LENGTHS) * chance.uniform(0.2, 1), for_ - at)
        if kind == "clog" and chance.random() < _SWIZZLES:
            drawn += swizzle(chance, hosts, at=at, for_=length)
        else:
            drawn.append(_drawn(chance, kind, hosts, at, length))
        at += chance.expovariate(rate)
    return Story(tuple(drawn))


def _drawn(chance: Random, name: str, hosts: Sequence[str], at: float, length: float) -> Fault:
    kind = KINDS[name]
    places = tuple(chance.sample(list(hosts), kind.hosts))
    said = tuple((parameter, round(chance.uniform(*span), 1)) for parameter, span in kind.drawn.items())
    return Fault(name, places, round(at, 2), max(0.01, round(length, 2)) if kind.lasts else 0.0, said)


def swizzle(chance: Random, hosts: Sequence[str], *, at: float, for_: float) -> list[Fault]:
    """Clog some hosts one after the other, and unclog them in another order.

    Source: FoundationDB, which calls it swizzle-clogging.

    Args:
        chance: Where it is drawn from.
        hosts: Some of these.
        at: When it begins.
        for_: Seconds until the last one is free.
    """
    clogged = chance.sample(list(hosts), chance.randint(min(2, len(hosts)), len(hosts)))
    halfway = at + for_ / 2
    spans = [(chance.uniform(at, halfway), chance.uniform(halfway, at + for_)) for _ in clogged]
    return [
        Fault("clog", (host,), round(begin, 2), max(0.01, round(end - begin, 2)))
        for host, (begin, end) in zip(clogged, spans, strict=True)
    ]


async def tell(sim: Simulation, story: Story) -> None:
    """Let it happen, from now on."""
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        for fault in story.faults:
            nursery.start_soon(_happen, sim, fault, began)


async def _happen(sim: Simulation, fault: Fault, began: float) -> None:
    await trio.sleep_until(began + fault.at)
    mend = fault.begin(sim)
    if mend is not None:
        await trio.sleep(fault.for_seconds)
        mend()


async def play_out(
    sim: Simulation,
    story: Story,
    scenario: Callable[[Simulation], Awaitable[object]] | None,
    *,
    calm: trio.Event,
    grace: float,
) -> None:
    """Let a story happen beside a scenario, mend everything, set `calm`, and wait for the end of the scenario.

    Without a scenario it goes on for `grace` seconds.

    Raises:
        NotRecovered: The scenario has not ended `grace` seconds later.
    """
    returned = trio.Event()

    async def trouble() -> None:
        await tell(sim, story)
        sim.heal()
        calm.set()
        with trio.move_on_after(grace):
            await returned.wait()
        if scenario is not None and not returned.is_set():
            raise NotRecovered(f"the scenario has not ended {grace:g} s after everything was mended")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trouble)
        if scenario is not None:
            await check_awaitable(scenario(sim), "scenario", scenario)
            returned.set()
