"""A small simulated zone for tests: a counter on one host, clients on others, and faults.

``python -m tests.simulated SEED`` prints what tells its run from others, and the same of a `World`. It perturbs its own
memory first, for what only looks the same because nothing moved.
"""

from __future__ import annotations

import logging
import sys
from contextlib import ExitStack, suppress

import trio

from autonomy import Context, Node, NoReply
from autonomy.testing import Report, Simulation
from autonomy.testing.sweeping import perturbed


class Counter:
    def __init__(self) -> None:
        self.count = 0

    async def handle_message(self, context: Context, message: str) -> None:
        self.count += 1
        await context.reply(str(self.count))


async def bank(node: Node) -> None:
    await node.start_worker("counter", Counter())


async def client(node: Node) -> None:
    """Ask and ask, whatever becomes of it."""

    async def ask(number: int) -> None:
        while True:
            with suppress(NoReply):
                await node.send_and_receive("counter@bank", f"{node.name} {number}", timeout=3)
            await trio.sleep(0.5)

    async with trio.open_nursery() as nursery:
        for number in range(2):
            nursery.start_soon(ask, number)


def small_zone(seed: int, clients: int = 3) -> Simulation:
    """Return a zone of a bank and its clients."""
    sim = Simulation(seed)
    sim.node("bank", bank)
    sim.nodes("client", clients, client)
    return sim


async def troubles(sim: Simulation) -> None:
    """Break one thing after the other, for a minute or so."""
    chance = sim.chance("troubles")
    for _ in range(12):
        await trio.sleep(chance.uniform(1, 4))
        one, other = chance.sample(["bank", "client-0", "client-1", "client-2"], 2)
        with ExitStack() as mended:
            kind = chance.choice(["partition", "crash", "power loss", "slow", "reset", "black hole"])
            if kind == "partition":
                mended.enter_context(sim.partition(one, other))
            elif kind == "crash":
                mended.enter_context(sim.crash(one))
            elif kind == "power loss":
                mended.enter_context(sim.power_loss(one))
            elif kind == "slow":
                mended.enter_context(sim.slow(one, other))
            elif kind == "reset":
                sim.reset(one, other)
            else:
                sim.blackhole(one, other)
            await trio.sleep(chance.uniform(0.1, 6))


def troubled(seed: int) -> Report:
    """Return what happens in the small zone with troubles."""
    return small_zone(seed).run(troubles)


if __name__ == "__main__":
    from .simulated_world import Plan, World

    logging.disable(logging.CRITICAL)  # what goes wrong is wanted
    kept = perturbed()
    for report in (
        troubled(int(sys.argv[1])),
        World(int(sys.argv[1]), Plan(nodes=3, clients=6, seconds=25)).run().report,
        World(int(sys.argv[1]) + 42, Plan()).run().report,  # large enough for many to be cancelled at once
    ):
        print(report.trace_hash, len(report.moments), len(report.faults))  # noqa: T201  # it is a program
    kept.clear()
