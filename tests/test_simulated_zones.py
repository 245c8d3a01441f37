"""Zones with a directory, simulated with every fault there is: names go on meaning what they should."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator

import pytest
import trio

from autonomy import AutonomyError, Context, Node, Zone
from autonomy.directory import EmbeddedDirectory
from autonomy.testing import Simulation

pytestmark = pytest.mark.slow

HOSTS = ["main", "a", "b", "c"]


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Log nothing: what goes wrong is wanted, thousands of times."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def simulated_zone(seed: int, handled: Counter[str], ended: Counter[str]) -> Simulation:
    """Return a zone in which each node has a worker and asks all the others' for ever, each request once."""
    simulation = Simulation(seed)

    class Handles:
        async def handle_message(self, context: Context, message: str) -> None:
            handled[message] += 1
            await context.reply(context.node.name)

    async def main(node: Node) -> None:
        await node.start_worker(f"of-{node.name}", Handles())
        await node.ready()
        chance, number = simulation.chance("asks", node.incarnation), 0
        while True:
            await trio.sleep(chance.uniform(0.05, 0.5))
            number += 1
            other, text = chance.choice(HOSTS), f"{number} of {node.incarnation}"
            try:
                assert await node.send_and_receive(f"of-{other}", text, timeout=5) == other
                ended["answered"] += 1
                assert handled[text] == 1
            except AutonomyError as error:
                ended[type(error).__name__] += 1

    for name in HOSTS:
        simulation.node(name, main, directory=EmbeddedDirectory("main", "wss://main:1"), ready=False)
    return simulation


@pytest.mark.parametrize("seed", range(1, 6))
def test_after_all_faults_each_node_sees_all_and_finds_every_worker(seed: int) -> None:
    handled: Counter[str] = Counter()
    ended: Counter[str] = Counter()
    simulation = simulated_zone(seed, handled, ended)
    simulation.chaos(for_=90.0)

    async def scenario(sim: Simulation) -> None:
        await sim.calm()
        await trio.sleep(30)
        for name in HOSTS:
            node = await sim.host(name).up()
            assert [each.name for each in await Zone.nodes(node)] == sorted(HOSTS), name
            for other in HOSTS:
                assert await node.send_and_receive(f"of-{other}", f"last to {other} of {name}", timeout=5) == other

    simulation.run(scenario, until=400.0)

    assert max(handled.values()) == 1
    assert ended["answered"] > 100
