"""Points at which a simulation has the library, or a program, take a turn that is right, and rare."""

from __future__ import annotations

from timeit import timeit

import trio

from autonomy import Node, buggify
from autonomy.testing import Report, Simulation

from .simulated import bank, client, troubles

LIBRARY = {"early ack", "short frame", "short message"}


def run(seed: int, alive: float) -> tuple[Report, list[bool]]:
    """Run a zone whose program has a point of its own; returns what it said each time."""
    said: list[bool] = []

    async def main(node: Node) -> None:
        for _ in range(200):
            said.append(buggify("of my own", 0.5))
            await trio.sleep(0.01)

    sim = Simulation(seed, buggify=alive)
    sim.node("a", main)
    return sim.run(until=5), said


def test_outside_of_a_simulation_no_point_ever_says_yes_and_it_costs_next_to_nothing() -> None:
    assert not any(buggify("anything", 1.0) for _ in range(1000))

    cost = min(timeit(lambda: buggify("anything"), number=10_000) for _ in range(5)) / 10_000

    print(f"\n{cost * 1e9:.0f} ns a point")  # noqa: T201  # the figure
    assert cost < 5e-6


def test_a_point_that_is_alive_says_yes_now_and_then_and_the_report_counts() -> None:
    report, said = run(1, 1.0)

    assert 60 < sum(said) < 140
    assert report.points == {"of my own": sum(said)}
    assert not buggify("of my own", 1.0)


def test_a_point_that_is_not_alive_says_no_and_is_in_the_report() -> None:
    report, said = run(1, 0.0)

    assert not any(said)
    assert report.points == {"of my own": 0}


def test_the_same_seed_has_the_same_points_say_yes() -> None:
    assert run(3, 1.0)[1] == run(3, 1.0)[1] != run(4, 1.0)[1]


def test_the_points_of_the_library_are_come_by_and_say_yes() -> None:
    sim = Simulation(1, buggify=1.0)
    sim.node("bank", bank)
    sim.nodes("client", 3, client)
    report = sim.run(troubles)

    assert {name for name, count in report.points.items() if count} >= LIBRARY
