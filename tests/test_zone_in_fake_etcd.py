"""A zone whose directory is in an etcd, in virtual time: how long it may be away, and how often it is asked."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import httpx
import pytest
import trio
from trio.testing import MockClock

from autonomy import Node, WorkerNotFound, Zone, ZoneInfo
from autonomy.directory import EtcdDirectory
from autonomy.errors import DirectoryUnavailable
from tests.directory.fake_etcd import FakeEtcd
from tests.workers import Echo, Recorder
from tests.zone import FaultyNetwork
from tests.zoned import zone


@asynccontextmanager
async def kept_in(etcd: FakeEtcd, *names: str) -> AsyncGenerator[list[Node]]:
    """Open nodes of a zone that is kept in an etcd, once they see each other."""
    directory = EtcdDirectory("etcd://fake:1", transport=etcd.transport)
    full = [f"z-{name}" for name in names]
    async with zone(*full, network=FaultyNetwork(), directory=directory, zone=ZoneInfo("z")) as nodes:
        await trio.sleep(0.5)
        assert [each.short_name for each in await Zone.nodes(nodes[0])] == sorted(names)
        yield nodes


@pytest.mark.parametrize("seconds", [1, 9, 11, 600])
async def test_etcd_may_be_away_for_any_time(autojump_clock: MockClock, seconds: float) -> None:
    etcd = FakeEtcd()
    async with kept_in(etcd, "a", "b") as (a, b):
        await b.start_worker("known", Echo())
        await a.send_and_receive("known", "hello")
        await trio.sleep(5)

        etcd.go_away()
        await b.start_worker("new", Echo())
        await trio.sleep(seconds)
        with pytest.raises((DirectoryUnavailable, WorkerNotFound)):
            await a.send_and_receive("new", "hello")
        assert await a.send_and_receive("known", "hello") == "hello"
        assert len(await Zone.nodes(a)) == 2

        etcd.come_back()
        await trio.sleep(4)
        assert await a.send_and_receive("new", "hello") == "hello"
        assert await a.send_and_receive("known", "hello") == "hello"
        assert len(await Zone.nodes(a)) == 2


class Wire(httpx.AsyncBaseTransport):
    """A host's way to an etcd. What is asked while it is cut has no answer, also when it is whole again.

    Attributes:
        is_cut: Whether nothing comes through.
    """

    def __init__(self, etcd: FakeEtcd) -> None:
        self._etcd = etcd.transport()
        self.is_cut = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self.is_cut:
            await trio.sleep(request.extensions["timeout"]["read"] or math.inf)
            raise httpx.ReadTimeout("nobody answered")
        return await self._etcd.handle_async_request(request)


@pytest.mark.parametrize("back", [0.5, 1.0, 2.0])
async def test_cuts_that_each_return_within_the_window_end_no_session_however_close_they_are(
    autojump_clock: MockClock, back: float
) -> None:
    etcd, network, log = FakeEtcd(), FaultyNetwork(), Recorder()
    wire = Wire(etcd)
    there = EtcdDirectory("etcd://fake:1", transport=etcd.transport)
    here = EtcdDirectory("etcd://fake:1", transport=lambda: wire)
    async with (
        zone("z-a", network=network, directory=there, zone=ZoneInfo("z")) as (a,),
        zone("z-b", network=network, directory=here, zone=ZoneInfo("z")) as (b,),
        trio.open_nursery() as nursery,
    ):
        await b.start_worker("log", log)

        async def send() -> None:
            for number in range(180):
                await a.send_message("log@z-b", str(number), timeout=60)
                await trio.sleep(0.2)

        nursery.start_soon(send)
        await trio.sleep(2)
        for _ in range(4):
            network.part("z-a", "z-b")
            wire.is_cut = True
            await trio.sleep(7.5)
            network.heal("z-a", "z-b")
            wire.is_cut = False
            await trio.sleep(back)

        await trio.sleep(10)
        assert log.received == [*map(str, range(180))]


async def test_a_name_is_asked_for_once_and_a_known_one_never(autojump_clock: MockClock) -> None:
    etcd = FakeEtcd()
    async with kept_in(etcd, "a", "b") as (a, b):
        await b.start_worker("echo", Echo())
        await trio.sleep(0.1)
        before = dict(etcd.asked)

        await a.send_and_receive("echo", "hello")
        assert etcd.asked["/v3/kv/txn"] == before["/v3/kv/txn"] + 1
        for _ in range(100):
            await a.send_and_receive("echo", "hello")
        assert etcd.asked["/v3/kv/txn"] == before["/v3/kv/txn"] + 1


async def test_nodes_at_rest_ask_for_little_and_write_nothing(autojump_clock: MockClock) -> None:
    etcd = FakeEtcd()
    async with kept_in(etcd, "a", "b", "c"):
        await trio.sleep(10)
        before, revision = sum(etcd.asked.values()), etcd.revision

        await trio.sleep(100)

        assert sum(etcd.asked.values()) - before <= 3 * 2 * 31
        assert etcd.revision == revision


async def test_many_workers_are_published_together(autojump_clock: MockClock) -> None:
    etcd = FakeEtcd()
    async with kept_in(etcd, "a", "b") as (a, b):
        before = etcd.asked["/v3/kv/txn"]

        async with trio.open_nursery() as nursery:
            for i in range(200):
                nursery.start_soon(b.start_worker, f"echo-{i}", Echo())

        assert etcd.asked["/v3/kv/txn"] - before < 10
        assert await a.send_and_receive("echo-199", "hello") == "hello"


async def test_a_node_that_comes_while_etcd_is_away_goes_on_alone_and_enters_later(autojump_clock: MockClock) -> None:
    etcd = FakeEtcd()
    etcd.is_away = True
    directory = EtcdDirectory("etcd://fake:1", transport=etcd.transport)
    begun = trio.current_time()
    async with zone("z-a", network=FaultyNetwork(), directory=directory, zone=ZoneInfo("z")) as (a,):
        assert trio.current_time() - begun == pytest.approx(10, abs=0.5)
        await a.start_worker("echo", Echo())
        assert await a.send_and_receive("echo", "hello") == "hello"

        etcd.come_back()
        await trio.sleep(4)
        with pytest.raises(WorkerNotFound):
            await a.send_and_receive("nobody", "?")
