"""What a zone costs as its nodes grow: the figures of docs/explanation/capacity.md.

``AUTONOMY_SOAK=1 pytest -m soak -s tests/test_zone_capacity.py`` prints a table of them, up to a thousand nodes.
"""

from __future__ import annotations

import gc
import logging
import resource
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from time import process_time

import msgspec
import pytest
import trio

from autonomy import Node, Zone, ZoneInfo, open_node
from autonomy._links.peers import Peers
from autonomy._sansio.members import LEASE, Member
from autonomy.identity import ZoneAuthority
from autonomy.testing import Simulation
from tests.traffic import until
from tests.workers import Echo
from tests.zone import FaultyNetwork, nodes

KEEPER = "zone_authority"
REST = 30.0


@dataclass(frozen=True)
class Cost:
    """What a zone of so many nodes took.

    Attributes:
        nodes: So many, beside the one that keeps the directory.
        up: Seconds of computing until each knew all others, for all nodes together.
        messages: To the directory and from it, until then.
        bytes: In these.
        rest: Messages to the directory and from it in a second in which nothing happens.
        megabytes: Of memory for all of them.
    """

    nodes: int
    up: float
    messages: int
    bytes: int
    rest: float
    megabytes: float


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Log nothing: so many nodes come and go."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def memory() -> float:
    """Return the most memory that this process has had, in megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def cost_of(count: int) -> Cost:
    """Let so many nodes start at once, rest, ask a worker of one of them each, and one of them leave."""
    logging.disable(logging.CRITICAL)
    at: dict[str, float] = {}
    before, began = memory(), process_time()

    async def main(node: Node) -> None:
        if node.name == "n-0":
            await node.start_worker("echo", Echo())

    async def scenario(sim: Simulation) -> None:
        up = [await host.up() for host in hosts]
        for node in up:
            while len(await Zone.nodes(node)) < count:  # noqa: ASYNC110  # a zone has no event for it
                await trio.sleep(0.05)
        at["up"], at["computed"] = trio.current_time(), process_time() - began
        await trio.sleep(REST)
        at["rested"] = trio.current_time()
        for node in up:
            assert await node.send_and_receive("echo", "there") == "there"
        await up[-1].stop()
        await trio.sleep(1)
        assert [len(await Zone.nodes(node)) for node in up[:-1]] == [count - 1] * (count - 1)

    sim = Simulation(1, zone=ZoneInfo(), buggify=0.0)
    hosts = sim.nodes("n", count, main)
    report = sim.run(scenario, until=600.0)
    sent = [
        (each.at, int(each.text.split()[0]))
        for each in report.moments
        if each.kind == "send" and KEEPER in (each.node, each.peer)
    ]

    def within(start: float, end: float) -> list[int]:
        return [size for time, size in sent if start <= time < end]

    return Cost(
        nodes=count,
        up=at["computed"],
        messages=len(within(0.0, at["up"])),
        bytes=sum(within(0.0, at["up"])),
        rest=len(within(at["up"] + LEASE, at["rested"])) / (REST - LEASE),
        megabytes=memory() - before,
    )


def in_a_process_of_its_own(count: int) -> Cost:
    """Measure that in another process, whose memory nobody has used before."""
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(cost_of, [count])


@pytest.mark.slow
def test_at_rest_a_zone_costs_the_same_for_each_node_however_many_there_are() -> None:
    few, many = cost_of(10), cost_of(40)

    assert many.rest / 40 < 1.1 * few.rest / 10
    assert many.messages / 40 < 2 * few.messages / 10  # all come at once, and are told of each other a few times
    assert many.bytes < 1.1 * 16 * few.bytes  # each is told of each other one


@pytest.mark.soak
def test_a_zone_of_a_thousand_nodes_holds() -> None:
    row = "{:>6} {:>9} {:>10} {:>10} {:>10} {:>10}"
    titles = ("nodes", "up, CPU-s", "messages", "kilobytes", "rest, 1/s", "megabytes")
    print(row.format(*titles))  # noqa: T201  # the figures are what it is run for
    for count in (50, 100, 200, 500, 1000):
        cost = in_a_process_of_its_own(count)
        figures = (f"{cost.up:.1f}", cost.messages, cost.bytes // 1000, f"{cost.rest:.0f}", f"{cost.megabytes:.0f}")
        print(row.format(count, *figures), flush=True)  # noqa: T201
        assert cost.rest / count < 4


# ---- memory


def bytes_each(make: Callable[[int], object], count: int = 1000) -> float:
    """Return the bytes of what is made, each."""
    gc.collect()
    tracemalloc.start()
    try:
        kept = [make(number) for number in range(count)]
        size = tracemalloc.get_traced_memory()[0]
        assert len(kept) == count
    finally:
        tracemalloc.stop()
    return size / count


@pytest.mark.slow
async def test_a_node_that_is_only_known_costs_far_less_than_one_that_was_spoken_to(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with nodes("a", network=FaultyNetwork()) as (a,):
        assert a._remoting is not None
        peers: Peers = a._remoting._peers

        def know(number: int) -> Member:
            text = msgspec.json.encode(
                Member(f"n-{number}", f"{number:032x}", f"wss://10.0.0.1:{number}", f"n-{number}")
            )
            member = msgspec.json.decode(text, type=Member)
            peers.introduce(member.name, member.address)
            return member

        known = bytes_each(know)
        spoken_to = bytes_each(lambda number: peers.get(f"n-{number}"))

    print(f"a node that is known: {known:.0f} bytes; one that was spoken to: {spoken_to:.0f} bytes")  # noqa: T201
    assert known < 1000
    assert spoken_to < 16_000


@pytest.mark.soak
@pytest.mark.network
async def test_a_link_with_its_tls_takes_about_a_tenth_of_a_megabyte_at_each_end(tmp_path: Path) -> None:
    authority, count = ZoneAuthority.create(tmp_path / "zone", "capacity.example"), 60
    async with AsyncExitStack() as stack:

        async def opened(name: str) -> Node:
            credentials = authority.credentials(name)
            return await stack.enter_async_context(
                open_node(credentials=credentials, listen="wss://127.0.0.1:0", stall_warning=None, drain_timeout=0.1)
            )

        hub, spokes = await opened("hub"), [await opened(f"spoke-{number}") for number in range(count)]
        assert hub.address is not None
        gc.collect()
        before = resident()
        for spoke in spokes:
            await spoke.connect(hub.address)
        await until(lambda: hub.statistics().links == count, 5)
        gc.collect()
        each = (resident() - before) / count / 2

        print(f"{each / 1000:.0f} KB for each end of a link")  # noqa: T201
        assert each < 200_000


def resident() -> int:
    """Return the bytes of memory that this process has just now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
