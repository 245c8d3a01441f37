"""What a zone costs its directory, in a simulation: it grows with nodes and names, and no faster."""

from __future__ import annotations

import logging
import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass
from time import process_time

import pytest
import trio

from autonomy import Context, Node, ZoneInfo
from autonomy._sansio.members import Member
from autonomy._sansio.roster import Roster
from autonomy.directory.memory import Keeper
from autonomy.testing import Simulation

AUTHORITY = "zone_authority"


@dataclass(frozen=True)
class Cost:
    """What a zone took to come up.

    Attributes:
        messages: To the directory and from it.
        bytes: In these.
        looks: How often somebody looked whether there was news at the directory.
        seconds: Of computing, for all nodes and the simulation itself.
    """

    messages: int
    bytes: int
    looks: int
    seconds: float


class Echo:
    async def handle_message(self, context: Context, message: str) -> None:
        await context.reply(message)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Log nothing: so many nodes come and go."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def cost_of(nodes: int, names: int, patch: pytest.MonkeyPatch) -> Cost:
    """Let nodes start so many workers each, and one find the last of them."""
    looks, settle = 0, Keeper._settle

    def count(self: Keeper) -> float:
        nonlocal looks
        looks += 1
        return settle(self)

    async def main(node: Node) -> None:
        for number in range(names):
            await node.start_worker(f"{node.name}-{number}", Echo())

    async def scenario(sim: Simulation) -> None:
        for host in hosts:
            await host.ready()
        first = await hosts[0].up()
        assert await first.send_and_receive(f"n-{nodes - 1}-{names - 1}", "there") == "there"
        assert trio.current_time() < 10

    with patch.context() as within:
        within.setattr(Keeper, "_settle", count)
        began = process_time()
        sim = Simulation(1, zone=ZoneInfo())
        hosts = sim.nodes("n", nodes, main)
        report = sim.run(scenario)
        seconds = process_time() - began
    sent = [each for each in report.moments if each.kind == "send" and AUTHORITY in (each.node, each.peer)]
    return Cost(len(sent), sum(int(each.text.split()[0]) for each in sent), looks, seconds)


@pytest.mark.slow
def test_twice_the_nodes_or_names_cost_twice_as_much(monkeypatch: pytest.MonkeyPatch) -> None:
    small = cost_of(8, 40, monkeypatch)
    nodes = cost_of(16, 40, monkeypatch)
    names = cost_of(8, 80, monkeypatch)

    for larger in (nodes, names):
        assert larger.messages < 2.2 * small.messages
        assert larger.looks < 2.5 * small.looks
        assert larger.bytes < 2.8 * small.bytes  # each node is told of each other one


@pytest.mark.soak
def test_a_zone_of_fifty_nodes_and_ten_thousand_names_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes, names = 50, 200

    cost = cost_of(nodes, names, monkeypatch)

    count = nodes * names
    print(  # noqa: T201  # the figures are what it is run for
        f"{nodes} nodes, {count} names: {cost.messages / count:.2f} messages and {cost.bytes / count:.0f} bytes a name "
        f"at the directory, {cost.seconds / count * 1000:.2f} ms of computing a name for all, "
        f"{cost.messages / nodes:.0f} messages and {cost.seconds / nodes * 1000:.0f} ms a node, "
        f"{memory_of(nodes, names):.0f} bytes of memory a name in the directory"
    )
    assert cost.messages < 3 * count
    assert cost.looks < 3 * count


def memory_of(nodes: int, names: int) -> float:
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        roster = Roster("epoch")
        for node in range(nodes):
            member = Member(f"n-{node}", f"{node:032x}", f"wss://n-{node}:1")
            roster.join(member, [f"n-{node}-{number}" for number in range(names)], [], 0.0)
        return (tracemalloc.get_traced_memory()[0] - before) / (nodes * names)
    finally:
        tracemalloc.stop()
