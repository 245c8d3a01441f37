"""A directory in etcd, when the way there breaks, when etcd forgets, and when others write into it."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
import trio

from autonomy._sansio.etcd_messages import text64
from autonomy._sansio.roster import Changes
from autonomy.abc import NotAMember
from autonomy.directory import EtcdDirectory
from autonomy.errors import DirectoryUnavailable
from tests.cutting import Way, way_to
from tests.zone import FaultyNetwork

from .etcd_server import EtcdServer, etcd, free_ports, needs_etcd
from .world import Visitor, visiting

pytestmark = [pytest.mark.network, pytest.mark.slow, needs_etcd]
QUIET = 0.3
"""Seconds in which whatever is under way arrives."""


def through(way: Way) -> str:
    return f"etcd://127.0.0.1:{way.address.rpartition(':')[2]}"


def names_in(changes: Changes) -> list[str]:
    return sorted(member.name for member in changes.joined)


async def put(server: EtcdServer, key: str, value: str) -> None:
    """Write something into an etcd by hand."""
    async with httpx.AsyncClient(trust_env=False) as client:
        body = {"key": text64(key), "value": text64(value)}
        (await client.post(f"{server.url}/v3/kv/put", json=body)).raise_for_status()


async def test_a_watch_that_was_cut_goes_on_where_it_ended(etcd_server: EtcdServer) -> None:
    zone, network = uuid4().hex, FaultyNetwork()
    direct = EtcdDirectory(f"etcd://127.0.0.1:{etcd_server.port}")
    async with (
        way_to(etcd_server.port) as way,
        visiting(network, EtcdDirectory(through(way)), "a", zone) as a,
        visiting(network, direct, "b", zone) as b,
        visiting(network, direct, "c", zone) as c,
    ):
        await a.join("x")
        before = await a.client.changes("", 0)
        await trio.sleep(QUIET)

        # when much happens while a hears nothing
        way.stall()
        await b.join("x")
        await b.client.leave()
        await c.join("x")
        way.cut(by_reset=True)
        way.flow()

        # then it is told all of it, and nothing twice
        with trio.fail_after(5):
            changes = await a.client.changes(before.epoch, before.revision)
            while not changes.joined:
                changes = await a.client.changes(changes.epoch, changes.revision)
        assert not changes.whole
        assert names_in(changes) == ["c"]
        assert "b" not in names_in(changes)
        with trio.move_on_after(QUIET):
            more = await a.client.changes(changes.epoch, changes.revision)
            raise AssertionError(more)


async def test_what_etcd_has_forgotten_meanwhile_is_read_again(etcd_server: EtcdServer) -> None:
    zone, network = uuid4().hex, FaultyNetwork()
    direct = EtcdDirectory(f"etcd://127.0.0.1:{etcd_server.port}")
    async with (
        way_to(etcd_server.port) as way,
        visiting(network, EtcdDirectory(through(way)), "a", zone) as a,
        visiting(network, direct, "b", zone) as b,
        visiting(network, direct, "c", zone) as c,
    ):
        await a.join("x")
        await b.join()
        before = await a.client.changes("", 0)
        assert names_in(before) == ["a", "b"]
        await trio.sleep(QUIET)

        # when a watch is behind what is still known
        way.stall()
        await b.client.leave()
        await c.join("x")
        latest = int(json.loads(etcd_server.control("get", "/", "-w", "json"))["header"]["revision"])
        etcd_server.control("compact", str(latest))
        way.cut(by_reset=True)
        way.flow()

        # then the node is told everything
        with trio.fail_after(5):
            changes = await a.client.changes(before.epoch, before.revision)
        assert changes.whole
        assert names_in(changes) == ["a", "c"]
        assert changes.contested == ("x",)
        await b.join()
        with trio.fail_after(5):
            assert names_in(await a.client.changes(changes.epoch, changes.revision)) == ["b"]


async def test_a_member_that_does_not_answer_is_passed_over(etcd_server: EtcdServer) -> None:
    # given one where nobody listens, and one that takes connections and never answers
    (nobody,) = free_ports(1)
    zone, network = uuid4().hex, FaultyNetwork()
    async with way_to(etcd_server.port) as silent:
        silent.stall()
        url = f"etcd://127.0.0.1:{nobody},{through(silent).removeprefix('etcd://')},127.0.0.1:{etcd_server.port}"
        async with visiting(network, EtcdDirectory(url), "a", zone) as a:
            with trio.fail_after(6):
                assert await a.client.join(a.member, ("x",), ()) == "member"

            begun = trio.current_time()
            assert await a.client.find("x") == ("a",)
            assert trio.current_time() - begun < 2  # the silent one is not tried again, which takes 2 s


async def test_with_nobody_there_it_is_said_within_six_seconds() -> None:
    (nobody,) = free_ports(1)
    async with way_to(nobody) as silent, way_to(nobody):
        silent.stall()
        url = f"{through(silent)},127.0.0.1:{nobody}"
        async with visiting(FaultyNetwork(), EtcdDirectory(url), "a", "z") as a:
            with trio.fail_after(6), pytest.raises(DirectoryUnavailable, match=r"does not answer: http://127\.0\.0\.1"):
                await a.client.join(a.member, (), ())


async def test_a_name_that_is_waited_for_is_found_when_the_way_breaks_meanwhile(etcd_server: EtcdServer) -> None:
    zone, network = uuid4().hex, FaultyNetwork()
    direct = EtcdDirectory(f"etcd://127.0.0.1:{etcd_server.port}")
    found: list[tuple[str, ...]] = []
    async with (
        way_to(etcd_server.port) as way,
        visiting(network, EtcdDirectory(through(way)), "a", zone) as a,
        visiting(network, direct, "b", zone) as b,
        trio.open_nursery() as nursery,
    ):

        async def find() -> None:
            found.append(await a.find("x"))  # again, if the directory is away

        await b.join(ready=False)
        await a.join()
        nursery.start_soon(find)
        await trio.sleep(QUIET)
        for _ in range(3):
            way.cut(by_reset=True)
            await trio.sleep(QUIET)
        assert found == []
        await b.publish("x", ready=False)
        await trio.sleep(2 * QUIET)
        assert found == [("b",)]


async def test_a_hundred_names_can_be_waited_for(etcd_server: EtcdServer) -> None:
    zone, network = uuid4().hex, FaultyNetwork()
    directory = EtcdDirectory(f"etcd://127.0.0.1:{etcd_server.port}")
    names = [f"x{i}" for i in range(100)]
    found: dict[str, tuple[str, ...]] = {}
    async with (
        visiting(network, directory, "a", zone) as a,
        visiting(network, directory, "b", zone) as b,
        trio.open_nursery() as nursery,
    ):

        async def find(name: str) -> None:
            found[name] = await a.find(name)

        await b.join(ready=False)
        await a.join()
        for name in names:
            nursery.start_soon(find, name)
        await trio.sleep(QUIET)
        assert found == {}
        await b.publish(*names, ready=False)
        await trio.sleep(1.5)
        assert found == dict.fromkeys(names, ("b",))


async def test_what_others_write_there_by_hand_harms_nobody(
    etcd_server: EtcdServer, caplog: pytest.LogCaptureFixture
) -> None:
    zone, network = uuid4().hex, FaultyNetwork()
    root = f"/autonomy/{zone}/"
    async with visiting(network, EtcdDirectory(f"etcd://127.0.0.1:{etcd_server.port}"), "a", zone) as a:
        await a.join("x")
        before = await a.client.changes("", 0)
        for key, value in (
            ("nodes/c", "no JSON"),
            ("nodes/d", '{"name": "a", "incarnation": "other"}'),
            ("nodes/e", '{"name": "e", "incarnation": "' + "x" * 2000 + '"}'),
            ("nodes/no name", '{"name": "no name", "incarnation": "x"}'),
            ("nodes/", "{}"),
            ("nodes/f/g", '{"name": "f/g", "incarnation": "x"}'),
            ("shared/", ""),
            ("zzz", "what is that?"),
            ("nodes/b", '{"name": "b", "incarnation": "x", "address": "wss://b:1", "ready": true}'),
        ):
            await put(etcd_server, root + key, value)

        with trio.fail_after(5):
            changes = await a.client.changes(before.epoch, before.revision)
            while "b" not in names_in(changes):
                assert names_in(changes) == []
                changes = await a.client.changes(changes.epoch, changes.revision)
        assert await a.seen() == ["a", "b"]
        assert await a.publish("y") == "member"
        assert caplog.text.count("the directory has an entry that cannot be") >= 6


async def test_a_record_that_another_one_has_overwritten_is_noticed_by_its_node(etcd_server: EtcdServer) -> None:
    zone, network = uuid4().hex, FaultyNetwork()
    async with visiting(network, EtcdDirectory(f"etcd://127.0.0.1:{etcd_server.port}"), "a", zone) as a:
        await a.join("x")
        await a.client.changes("", 0)

        await put(etcd_server, f"/autonomy/{zone}/nodes/a", "garbage")
        await trio.sleep(QUIET)

        with pytest.raises(NotAMember):
            await a.find("x")
        assert await a.publish("y") == "unknown"


async def test_a_lease_that_ran_out_is_noticed_at_once_and_the_node_enters_anew(tmp_path: Path) -> None:
    with etcd(tmp_path) as server:
        url = f"etcd://127.0.0.1:{server.port}"
        async with visiting(FaultyNetwork(), EtcdDirectory(url), "a", "z") as a:
            await a.join("x")
            before = await a.client.changes("", 0)

            for lease in server.control("lease", "list").split()[3:]:
                server.control("lease", "revoke", lease)

            await trio.sleep(QUIET)
            with pytest.raises(NotAMember):
                await a.client.changes(before.epoch, before.revision)
            assert await a.join("x") == "member"
            assert await a.find("x") == ("a",)
            assert await a.seen() == ["a"]


def leases_of(server: EtcdServer) -> int:
    return len(server.control("lease", "list").split()[3:])


async def test_no_lease_is_left_behind(tmp_path: Path) -> None:
    with etcd(tmp_path) as server:
        network, directory = FaultyNetwork(), EtcdDirectory(f"etcd://127.0.0.1:{server.port}")

        async def some_life(visitor: Visitor) -> None:
            for i in range(5):
                await visitor.join(f"x{i}")
            await visitor.publish("y")

        async with visiting(network, directory, "a", "z") as old, visiting(network, directory, "a", "z") as new:
            await some_life(old)
            assert leases_of(server) == 1
            await some_life(new)
            assert await old.join() == "displaced"
            assert leases_of(server) == 1
            await new.client.leave()
        assert leases_of(server) == 0
        assert "/autonomy" not in server.control("get", "--prefix", "/")
