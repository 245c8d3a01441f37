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

from .faults import KINDS, Fault, Story

if TYPE_CHECKING:
    from .simulation import Simulation

GRACE: Final = 45.0
"""Seconds that a zone has to recover, unless it is told otherwise."""
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
        kinds: Some of `faults.KINDS`; None for all for which there are hosts enough.
    """
    able = [kind for kind in (KINDS if kinds is None else kinds) if KINDS[kind].hosts <= len(hosts)]
    if not able:
        raise ValueError("there are too few hosts for such faults: add the nodes first")
    drawn: list[Fault] = []
    at = chance.expovariate(rate)
    while at < for_:
        kind = chance.choice(able)
        places = tuple(chance.sample(list(hosts), KINDS[kind].hosts))
        length = min(chance.choice(_LENGTHS) * chance.uniform(0.2, 1), for_ - at)
        begins, lasts = round(at, 2), max(0.01, round(length, 2)) if KINDS[kind].lasts else 0.0
        drawn.append(Fault(kind, places, begins, lasts))
        at += chance.expovariate(rate)
    return Story(tuple(drawn))


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
            await scenario(sim)
            returned.set()
