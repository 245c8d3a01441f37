"""A zone whose directory is in etcd: whole nodes, and an etcd that is killed, wiped, cut to pieces and mended."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pytest
import trio

from autonomy import AmbiguousWorker, Node, WorkerNotFound
from tests.directory.etcd_server import EtcdServer, etcd, etcd_cluster, needs_etcd
from tests.workers import Echo
from tests.zone import dead_letters_of
from tests.zone_in_etcd import LEASE, EtcdZoneOfNodes, answered, is_refused, seen, sees, tell
from tests.zoned import Where

pytestmark = [pytest.mark.network, pytest.mark.slow, needs_etcd]


def url_of(*servers: EtcdServer) -> str:
    return "etcd://" + ",".join(f"127.0.0.1:{server.port}" for server in servers)


async def test_nodes_find_each_other_and_their_workers(tmp_path: Path, etcd_server: EtcdServer) -> None:
    zone = EtcdZoneOfNodes(tmp_path, url_of(etcd_server))

    async with zone.nodes("a", "b", "c") as (a, b, c):
        await b.start_worker("where", Where())
        assert await a.send_and_receive("where", "?") == b.name
        with pytest.raises(WorkerNotFound):
            await a.send_and_receive("nobody", "?")

        await c.start_worker("where", Where())
        await trio.sleep(0.3)  # what was known of it is told to be old
        with pytest.raises(AmbiguousWorker, match=f"{b.name}.*{c.name}"):
            await a.send_and_receive("where", "?")
        assert {await a.any("where", "?") for _ in range(2)} == {b.name, c.name}
        assert await a.all("where", "?") == {b.name: b.name, c.name: c.name}

        await b.stop_worker("where")
        await trio.sleep(0.3)
        assert await a.send_and_receive("where", "?") == c.name


async def test_programs_that_start_together_need_no_retry(tmp_path: Path, etcd_server: EtcdServer) -> None:
    zone = EtcdZoneOfNodes(tmp_path, url_of(etcd_server))

    async with zone.open("a", ready=False) as a, zone.open("b", ready=False) as b, trio.open_nursery() as nursery:

        async def start_late() -> None:
            await trio.sleep(0.5)
            await b.start_worker("echo", Echo())

        nursery.start_soon(start_late)
        assert await a.send_and_receive("echo", "hello") == "hello"

        await b.ready()
        begun = trio.current_time()
        with pytest.raises(WorkerNotFound):
            await a.send_and_receive("nobody", "?")
        assert trio.current_time() - begun < 2


async def test_a_node_that_leaves_is_gone_at_once_and_one_that_dies_after_its_lease(
    tmp_path: Path, etcd_server: EtcdServer
) -> None:
    zone = EtcdZoneOfNodes(tmp_path, url_of(etcd_server))
    dying = trio.CancelScope()

    async def die_later(*, task_status: trio.TaskStatus[Node]) -> None:
        with dying:
            async with zone.open("b") as node:
                task_status.started(node)
                await trio.sleep_forever()

    async with zone.nodes("a") as (a,), trio.open_nursery() as nursery:
        async with zone.open("c"):
            await sees(a, "a", "c")
        assert await sees(a, "a") < 1

        b = await nursery.start(die_later)
        await b.start_worker("echo", Echo())
        assert await a.send_and_receive("echo", "hello") == "hello"
        dying.cancel()
        took = await sees(a, "a", within=LEASE + 2)
        with pytest.raises(WorkerNotFound):
            await a.send_and_receive("echo", "hello")
        tell(f"a node that died was gone after {took:.1f} s, with a lease of {LEASE:.0f} s")

        async with zone.open("b") as again:
            await again.start_worker("echo", Echo())
            assert await a.send_and_receive("echo", "hello") == "hello"


async def test_an_older_start_of_a_node_is_displaced_and_says_so(
    tmp_path: Path, etcd_server: EtcdServer, caplog: pytest.LogCaptureFixture
) -> None:
    zone = EtcdZoneOfNodes(tmp_path, url_of(etcd_server))

    async with zone.nodes("b") as (old,):
        await old.start_worker("old", Echo())
        async with zone.open("b") as new, zone.open("a") as a:
            await new.start_worker("new", Echo())
            with caplog.at_level(logging.ERROR):
                await old.start_worker("later", Echo())
            assert "another start of this node has taken its place in the zone" in caplog.text

            assert await a.send_and_receive("new", "hello") == "hello"
            for worker in ("old", "later"):
                with pytest.raises(WorkerNotFound):
                    await a.send_and_receive(worker, "hello")


async def test_an_etcd_that_is_killed_and_started_again_costs_nothing_but_time(tmp_path: Path) -> None:
    with etcd(tmp_path) as server:
        zone = EtcdZoneOfNodes(tmp_path, url_of(server))
        async with zone.nodes("a", "b") as (a, b):
            letters = dead_letters_of(a)
            await b.start_worker("echo", Echo())
            await a.send_and_receive("echo", "hello")

            server.kill()
            for number in range(100):
                assert await a.send_and_receive("echo", f"{number}") == f"{number}"
            refused = await is_refused(lambda: a.send_and_receive("nobody", "?"), 6)
            await b.start_worker("late", Echo())  # it warns, and publishes when it can
            assert await seen(a) == ["a", "b"]

            server.start()
            took = await answered(a, "late")
            with pytest.raises(WorkerNotFound):
                await a.send_and_receive("nobody", "?")
            assert await seen(a) == ["a", "b"]
            assert letters == []
    tell(f"killed: an unknown name was refused after {refused:.2f} s; started: a new one known in {took:.1f} s")


async def test_an_etcd_that_has_lost_everything_is_told_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with etcd(tmp_path) as server:
        zone = EtcdZoneOfNodes(tmp_path, url_of(server))
        async with zone.nodes("a", "b") as (a, b):
            for i in range(20):
                await b.start_worker(f"echo-{i}", Echo())

            server.kill()
            shutil.rmtree(tmp_path / "one")
            server.start()
            server.wait()

            for worker in ("echo-0", "echo-19"):
                await answered(a, worker)
            await sees(a, "a", "b")
            await b.start_worker("new", Echo())
            assert await a.send_and_receive("new", "hello") == "hello"
    assert "etcd has lost what it knew" in caplog.text


async def test_a_cluster_may_lose_one_member_unnoticed_and_comes_back_from_losing_most(tmp_path: Path) -> None:
    with etcd_cluster(tmp_path) as servers:
        zone = EtcdZoneOfNodes(tmp_path, url_of(*servers))
        async with zone.nodes("a", "b") as (a, b):
            await b.start_worker("echo", Echo())
            await a.send_and_receive("echo", "hello")

            # one is lost, the one that is asked first
            servers[0].kill()
            begun = trio.current_time()
            await b.start_worker("second", Echo())
            assert await a.send_and_receive("second", "hello") == "hello"
            one_lost = trio.current_time() - begun
            async with zone.open("c"):
                await sees(a, "a", "b", "c")
            await sees(a, "a", "b")

            # most are lost
            servers[1].kill()
            refused = await is_refused(lambda: a.send_and_receive("nobody", "?"), 12)
            for number in range(100):
                assert await a.send_and_receive("echo", f"{number}") == f"{number}"
            assert await seen(a) == ["a", "b"]

            # one of these is back
            servers[1].start()
            begun = trio.current_time()
            await b.start_worker("third", Echo())
            await answered(a, "third", 30)
            back = trio.current_time() - begun
            async with zone.open("c"):
                await sees(a, "a", "b", "c", within=10)
    tell(
        f"of three members, one lost: a worker started and found after {one_lost:.2f} s; most lost: an unknown"
        f" name refused after {refused:.2f} s; one back: found again after {back:.1f} s"
    )
