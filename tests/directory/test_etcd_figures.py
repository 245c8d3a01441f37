"""What a directory in etcd costs in time: figures to look at, with bounds that only a mistake would pass.

``make soak ARGS="-s tests/directory/test_etcd_figures.py"`` prints them.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from uuid import uuid4

import pytest
import trio

from autonomy.directory import EtcdDirectory
from tests.zone import FaultyNetwork
from tests.zone_in_etcd import tell

from .etcd_server import EtcdServer, needs_etcd
from .world import Visitor, visiting

pytestmark = [pytest.mark.network, pytest.mark.soak, needs_etcd]


async def timed(call: Callable[[int], Awaitable[object]], times: int) -> list[float]:
    """Return how long each of many calls took, one after another, in order of that."""
    taken = []
    for number in range(times):
        begun = time.perf_counter()
        await call(number)
        taken.append(time.perf_counter() - begun)
    return sorted(taken)


def shown(taken: list[float]) -> str:
    """Return the figures of calls, in order of their time."""
    return f"p50 {taken[len(taken) // 2] * 1e3:.1f} ms, p99 {taken[int(len(taken) * 0.99)] * 1e3:.1f} ms"


async def test_what_is_done_often_takes_milliseconds(etcd_server: EtcdServer) -> None:
    zone, network = uuid4().hex, FaultyNetwork()
    directory = EtcdDirectory(f"etcd://127.0.0.1:{etcd_server.port}")
    async with visiting(network, directory, "a", zone) as a, visiting(network, directory, "b", zone) as b:
        await a.join()
        await b.join()
        figures = {
            "enter": await timed(lambda i: a.client.join(a.member, ("x",), ()), 50),
            "own a name": await timed(lambda i: a.client.publish((f"x{i}",), (), ready=True), 200),
            "look one up": await timed(lambda i: b.client.find(f"x{i}"), 200),
            "renew": await timed(lambda i: b.client.publish((), (), ready=True), 100),
            "hear that a node has come": sorted([await heard_of(b, a) for _ in range(50)]),
        }
    for what, taken in figures.items():
        tell(f"{what}: {shown(taken)}")
    assert all(taken[len(taken) // 2] < 0.5 for taken in figures.values())


async def heard_of(new: Visitor, who: Visitor) -> float:
    """Return how long after a node began to enter another one hears of it."""
    await new.client.leave()
    known = await who.client.changes("", 0)
    ended = 0.0

    async def hear() -> None:
        nonlocal ended
        epoch, revision = known.epoch, known.revision
        while True:
            changes = await who.client.changes(epoch, revision)
            epoch, revision = changes.epoch, changes.revision
            if any(member.name == new.member.name for member in changes.joined):
                ended = time.perf_counter()
                return

    async with trio.open_nursery() as nursery:
        nursery.start_soon(hear)
        begun = time.perf_counter()
        await new.client.join(new.member, (), ())
    return ended - begun


async def test_ten_thousand_names_take_seconds(etcd_server: EtcdServer) -> None:
    names = [f"worker-{i}" for i in range(10_000)]
    async with visiting(FaultyNetwork(), EtcdDirectory(f"etcd://127.0.0.1:{etcd_server.port}"), "a", uuid4().hex) as a:
        begun = time.perf_counter()
        await a.join(*names)
        entered = time.perf_counter()
        await a.join(*names)
        again = time.perf_counter()
        await a.publish(removed=tuple(names))
        removed = time.perf_counter()
    tell(
        f"10,000 names: entered in {entered - begun:.1f} s, again in {again - entered:.1f} s,"
        f" removed in {removed - again:.1f} s"
    )
    assert removed - begun < 60
