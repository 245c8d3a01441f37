"""A zone of fifty nodes with ten thousand workers: what that costs, for a node and for a name."""

from __future__ import annotations

import time
import tracemalloc
from collections import Counter
from contextlib import AsyncExitStack

import pytest
import trio
from trio.testing import MockClock

from autonomy import Context, Node, Zone
from autonomy._sansio.members import Member
from autonomy._sansio.roster import Roster
from autonomy._zone.seat import NodeSeat
from autonomy.directory import EmbeddedDirectory
from autonomy.directory.embedded import DirectoryWorker
from tests.workers import Echo
from tests.zone import FaultyNetwork, on
from tests.zoned import ALL

NODES, NAMES = 50, 10_000


@pytest.fixture
def traffic(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Messages and bytes that the directory was asked, and bytes that it answered, by what was asked."""
    counted: Counter[str] = Counter()
    handle, ask = DirectoryWorker.handle_message, NodeSeat.ask

    async def handled(self: DirectoryWorker, context: Context, message: str) -> None:
        kind = message.partition('"type":"')[2].partition('"')[0]
        counted[kind] += 1
        counted["bytes asked"] += len(message)
        await handle(self, context, message)

    async def asked(self: NodeSeat, address: str, message: str, timeout: float) -> str:
        answer = await ask(self, address, message, timeout)
        counted["bytes answered"] += len(answer)
        return answer

    monkeypatch.setattr(DirectoryWorker, "handle_message", handled)
    monkeypatch.setattr(NodeSeat, "ask", asked)
    return counted


def test_a_name_in_the_directory_costs_less_than_half_a_kilobyte() -> None:
    names = [[f"worker-{node}-{i}" for i in range(NAMES // NODES)] for node in range(NODES)]
    roster = Roster("epoch")
    tracemalloc.start()

    for node, owned in enumerate(names):
        roster.join(Member(f"node-{node}", "1"), owned, [], 0.0)
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()

    print(f"{size / NAMES:.0f} bytes a name")  # noqa: T201
    assert size < 512 * NAMES


@pytest.mark.slow
async def test_what_a_zone_costs_grows_with_what_happens_in_it_and_not_with_its_size_squared(
    autojump_clock: MockClock, traffic: Counter[str]
) -> None:
    network, directory = FaultyNetwork(), EmbeddedDirectory("main", "wss://main:1")

    def report(what: str, begun: float) -> None:
        print(f"{what}: {time.process_time() - begun:.2f} s of CPU, {dict(sorted(traffic.items()))}")  # noqa: T201

    async with AsyncExitStack() as stack:
        # nodes come
        begun = time.process_time()
        names = ["main", *(f"node-{i}" for i in range(1, NODES))]
        opened = [await stack.enter_async_context(on(network, name, directory=directory, rights=ALL)) for name in names]
        await trio.sleep(1)
        report(f"{NODES} nodes", begun)
        assert [len(await Zone.nodes(node)) for node in opened] == [NODES] * NODES
        assert traffic["join"] == NODES
        assert traffic["look"] <= NODES * NODES + NODES

        # workers start, on each node one after another, all nodes at once
        traffic.clear()
        begun = time.process_time()

        async def start(node: Node, number: int) -> None:
            for i in range(NAMES // NODES):
                await node.start_worker(f"worker-{number}-{i}", Echo())

        async with trio.open_nursery() as nursery:
            for number, node in enumerate(opened):
                nursery.start_soon(start, node, number)
        report(f"{NAMES} workers", begun)
        assert traffic["publish"] <= NAMES + NODES
        assert traffic["look"] == 0

        # each node asks for a hundred workers of four others and itself, twice
        traffic.clear()
        begun = time.process_time()
        asked = 0
        for _ in range(2):
            for number, node in enumerate(opened):
                for i in range(100):
                    owner = (number + i % 5) % NODES
                    name = f"worker-{owner}-{i}"
                    assert await node.send_and_receive(name, "?") == "?"
                    asked += 1
        report(f"{asked} requests", begun)
        assert traffic["find"] == NODES * 80

        # nothing happens
        traffic.clear()
        begun = time.process_time()
        await trio.sleep(20)
        report("20 s of rest", begun)
        assert traffic["publish"] <= NODES * 20 / (10 / 3) + NODES
        assert traffic["look"] == traffic["join"] == 0

        # one node leaves
        traffic.clear()
        begun = time.process_time()
        await opened[-1].stop()
        await trio.sleep(1)
        report("a node leaves", begun)
        assert [len(await Zone.nodes(node)) for node in opened[:-1]] == [NODES - 1] * (NODES - 1)
        assert traffic["look"] <= NODES
