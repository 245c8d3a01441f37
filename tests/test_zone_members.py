"""Who is in a zone: as programs see it, and when nodes come, go, are lost, or cannot reach the directory."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from autonomy import (
    AmbiguousWorker,
    DirectoryUnavailable,
    Node,
    NoReply,
    RemoteNode,
    WorkerNotFound,
    Zone,
    ZoneInfo,
    open_node,
)
from autonomy._sansio.roster import Standing
from autonomy.abc import Seat
from autonomy.directory import EmbeddedDirectory, MemoryDirectory
from autonomy.directory.memory import MemoryClient
from autonomy.identity import ZoneAuthority
from tests.workers import Echo, Sleeper
from tests.zone import FaultyNetwork, nodes, on
from tests.zoned import ALL, Three, Where, zone

MAIN = EmbeddedDirectory("main", "wss://main:1")


async def seen(node: Node, filter: str | None = None) -> list[str]:
    """Return the names of the nodes that a node sees."""
    return [each.name for each in await Zone.nodes(node, filter)]


class Hosts:
    """Nodes that can be started, killed and started anew, each by itself."""

    def __init__(self, network: FaultyNetwork, nursery: trio.Nursery) -> None:
        self.network = network
        self._nursery = nursery
        self._lives: dict[str, trio.CancelScope] = {}

    async def start(self, name: str, **options: Any) -> Node:
        """Start a node; it lives until it is killed."""
        node: Node = await self._nursery.start(self._live, name, options)
        return node

    async def _live(self, name: str, options: dict[str, Any], *, task_status: trio.TaskStatus[Node]) -> None:
        options = {"directory": MAIN, "rights": ALL} | options
        with trio.CancelScope() as life:
            self._lives[name] = life
            async with on(self.network, name, **options) as node:
                task_status.started(node)
                await trio.sleep_forever()

    async def kill(self, name: str) -> None:
        """End a node without a word, as kill -9 does: its host then says that nobody listens there."""
        self._lives.pop(name).cancel()
        others = [other for other in ("main", "a", "b", "c") if other != name]
        for other in others:
            self.network.part(name, other)  # so that nothing that it may say on its way out is heard
        await trio.sleep(0.01)
        for other in others:
            self.network.heal(name, other)
            self.network.cut(name, other)

    async def lose_power(self, name: str) -> None:
        """End a node and its host."""
        for other in ("main", "a", "b", "c"):
            if other != name:
                self.network.part(name, other)
        self._lives.pop(name).cancel()
        await trio.sleep(0.01)


@asynccontextmanager
async def running(*names: str, **options: Any) -> AsyncGenerator[tuple[Hosts, list[Node]]]:
    """Start nodes of one zone; the first one keeps the directory."""
    async with trio.open_nursery() as nursery:
        hosts = Hosts(FaultyNetwork(), nursery)
        yield hosts, [await hosts.start(name, **options) for name in names]
        nursery.cancel_scope.cancel()


# --- N4: as programs see it


@pytest.fixture
async def podded(autojump_clock: MockClock) -> AsyncIterator[list[Node]]:
    """Nodes of cluster ``east``, zone ``prod``, in pods and containers."""
    network, directory = FaultyNetwork(), MemoryDirectory()

    def info(pod: str, container: str, index: int | None = None) -> ZoneInfo:
        return ZoneInfo("prod", "east", pod, container, index)

    async with (
        on(network, "east-prod-main", zone=info("", ""), directory=directory) as main,
        on(network, "east-prod-runner-1", zone=info("Pool", "runner", 1), directory=directory) as one,
        on(network, "east-prod-runner-0", zone=info("Pool", "runner", 0), directory=directory) as zero,
        on(network, "east-prod-db", zone=info("storage", "box"), directory=directory) as db,
    ):
        await trio.sleep(0.1)
        yield [main, one, zero, db]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (None, ["db", "main", "runner-0", "runner-1"]),
        ("", ["db", "main", "runner-0", "runner-1"]),
        ("runner", ["runner-0", "runner-1"]),
        ("unner-1", ["runner-1"]),
        ("Pool", ["runner-0", "runner-1"]),
        ("pool", []),
        ("box", ["db"]),
        ("stor", ["db"]),
        ("main", ["main"]),
        ("east", []),
        ("prod", []),
        ("east-prod-main", []),
        ("nothing", []),
    ],
)
async def test_nodes_are_filtered_by_pod_container_and_short_name(
    autojump_clock: MockClock, podded: list[Node], text: str | None, found: list[str]
) -> None:
    for node in podded:
        assert await seen(node, text) == [f"east-prod-{name}" for name in found]


async def test_this_node_is_itself_and_others_are_remote_nodes(autojump_clock: MockClock, podded: list[Node]) -> None:
    main = podded[0]
    db, here, zero, one = await Zone.nodes(main)

    assert here is main
    assert [type(each) for each in (db, zero, one)] == [RemoteNode] * 3
    assert isinstance(zero, RemoteNode)
    assert (zero.name, zero.short_name, zero.pod) == ("east-prod-runner-0", "runner-0", "Pool")


async def test_one_node_is_found_by_its_short_name(autojump_clock: MockClock, podded: list[Node]) -> None:
    main = podded[0]

    assert await Zone.node(main, "main") is main
    found = await Zone.node(main, "runner-1")
    assert found is not None
    assert found.name == "east-prod-runner-1"
    for name in ("runner", "east-prod-db", ""):
        assert await Zone.node(main, name) is None


async def test_what_is_no_text_is_no_filter(autojump_clock: MockClock, podded: list[Node]) -> None:
    with pytest.raises(TypeError, match="filter"):
        await Zone.nodes(podded[0], 1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="short_name"):
        await Zone.node(podded[0], None)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="node must be a node"):
        await Zone.nodes("main")  # type: ignore[arg-type]


async def test_without_a_zone_a_node_sees_itself_alone(autojump_clock: MockClock) -> None:
    async with nodes("a", "b") as (a, _):
        assert await Zone.nodes(a) == [a]
        assert await Zone.nodes(a, "a") == [a]
        assert await Zone.nodes(a, "b") == []


async def test_a_remote_node_sees_what_the_node_that_looks_at_it_sees(
    autojump_clock: MockClock, podded: list[Node]
) -> None:
    remote = (await Zone.nodes(podded[0], "db"))[0]

    assert await Zone.nodes(remote) == await Zone.nodes(podded[0])


# --- who comes and goes


async def test_nodes_are_seen_by_all_when_they_have_opened(autojump_clock: MockClock) -> None:
    async with running("main", "a", "b") as (hosts, opened):
        await trio.sleep(0.1)
        for node in opened:
            assert await seen(node) == ["a", "b", "main"]
        c = await hosts.start("c")
        assert await seen(c) == ["a", "b", "c", "main"]


async def test_a_node_that_leaves_is_gone_at_once(autojump_clock: MockClock) -> None:
    async with zone("main", "a") as (main, a):
        async with on_zone_of(main, "b"):
            await trio.sleep(0.1)
            assert await seen(a) == ["a", "b", "main"]
            begun = trio.current_time()
        await trio.sleep(0.1)

        for node in (main, a):
            assert await seen(node) == ["a", "main"]
        assert trio.current_time() - begun < 1


def on_zone_of(node: Node, name: str, **options: Any) -> Any:
    """Open another node on the network and in the zone of one."""
    remoting = node._remoting
    assert remoting is not None
    network = remoting._peers._settings.transport._network  # type: ignore[attr-defined]
    return on(network, name, **{"directory": MAIN, "rights": ALL} | options)


async def test_a_node_that_is_killed_is_gone_within_a_second(autojump_clock: MockClock) -> None:
    async with running("main", "a", "b") as (hosts, (main, a, b)):
        await b.start_worker("where", Where())
        assert await a.send_and_receive("where", "?") == "b"

        await hosts.kill("b")
        await trio.sleep(1)

        for node in (main, a):
            assert await seen(node) == ["a", "main"]
        with pytest.raises(WorkerNotFound):
            await a.send_and_receive("where", "?")


async def test_a_node_without_power_is_gone_when_its_lease_has_run_out(autojump_clock: MockClock) -> None:
    async with running("main", "a", "b") as (hosts, (main, a, b)):
        await b.start_worker("where", Where())
        assert await a.send_and_receive("where", "?") == "b"

        await hosts.lose_power("b")
        await trio.sleep(5)
        assert await seen(a) == ["a", "b", "main"]
        await trio.sleep(5.5)

        for node in (main, a):
            assert await seen(node) == ["a", "main"]
        with pytest.raises(NoReply):
            await a.send_and_receive("where", "?")
        await a.start_worker("where", Where())
        assert await main.send_and_receive("where", "?") == "a"


async def test_a_node_that_is_started_anew_elsewhere_is_reached_there(autojump_clock: MockClock) -> None:
    async with running("main", "a", "b") as (hosts, (main, a, b)):
        await b.start_worker("where", Where())
        assert await a.send_and_receive("where", "?") == "b"

        await hosts.kill("b")
        again = await hosts.start("b", listen="wss://b:2")
        await again.start_worker("where", Where())
        await trio.sleep(1)

        for node in (main, a):
            assert await seen(node) == ["a", "b", "main"]
            assert await node.send_and_receive("where", "?") == "b"
            assert await node.send_and_receive("where@b", "?") == "b"
        assert again.incarnation != b.incarnation


async def test_of_two_starts_of_one_node_the_second_one_waits_until_the_first_is_gone(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    # given a node, and another start of it elsewhere
    async with running("main", "a", "b") as (hosts, (main, a, b)), trio.open_nursery() as nursery:
        await b.start_worker("where", Where())
        first = hosts._lives["b"]
        second: list[Node] = []

        async def start_again() -> None:
            second.append(await hosts.start("b", listen="wss://b:2"))

        with caplog.at_level(logging.WARNING):
            nursery.start_soon(start_again)
            await trio.sleep(30)

        # then that one opens, says that it is alone, and takes nothing away from the first one
        assert "goes on alone" in caplog.text
        assert await a.send_and_receive("where", "?") == "b"
        with trio.fail_after(5):
            await second[0].start_worker("other", Echo())
        with pytest.raises(WorkerNotFound):
            await a.send_and_receive("other", "?")

        # when the first one has ended, the second one takes its place
        first.cancel()
        await trio.sleep(15)
        assert await a.send_and_receive("other", "?") == "?"
        assert await seen(main) == ["a", "b", "main"]


async def test_a_start_that_was_displaced_says_so_and_does_not_fight(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    # given two starts of one node that cannot see each other, and a directory that both reach
    directory, here, there = MemoryDirectory(), FaultyNetwork(), FaultyNetwork()
    async with (
        on(here, "a", directory=directory) as a,
        on(here, "b", directory=directory) as old,
        on(there, "b", directory=directory) as new,
    ):
        await old.start_worker("where", Where())
        with caplog.at_level(logging.ERROR):
            await trio.sleep(60)

        # then the older one has said once that it is out, and both go on with what they have
        said = [record for record in caplog.records if "another start" in record.getMessage()]
        assert len(said) == 1
        with trio.fail_after(1):
            await old.start_worker("more", Echo())
            await old.stop_worker("more")
        assert await old.send_and_receive("where", "?") == "b"
        with pytest.raises(WorkerNotFound):
            await a.send_and_receive("more", "?")
        with pytest.raises(DirectoryUnavailable):
            await old.send_and_receive("nobody", "?")
        assert await seen(new) == ["a", "b"]


class SlowDirectory(MemoryDirectory):
    """Takes two seconds to let a node in."""

    @asynccontextmanager
    async def open(self, seat: Seat) -> AsyncGenerator[MemoryClient]:
        async with super().open(seat) as client:
            join = client.join

            async def slowly(*what: Any) -> Standing:
                await trio.sleep(2)
                return await join(*what)

            client.join = slowly  # type: ignore[method-assign, assignment]
            yield client


async def test_a_node_that_leaves_while_it_is_being_let_in_is_gone_all_the_same(autojump_clock: MockClock) -> None:
    # given a node that the directory has lost, and that enters it again
    directory = SlowDirectory()
    async with zone("a", "b", directory=directory) as (a, b):
        await b.start_worker("sleeper", Sleeper())
        await b.send_message("sleeper", "5")
        directory._keeper.lose("b")
        await trio.sleep(0.1)

        # when it leaves meanwhile, and has still something to finish
        await b.stop()
        await trio.sleep(0.1)

        assert await seen(a) == ["a"]


# --- when the directory is away


async def cut_off(hosts: Hosts) -> None:
    for name in ("a", "b"):
        hosts.network.part("main", name)


async def refuse(hosts: Hosts) -> None:
    for name in ("a", "b"):
        hosts.network.stop_listening("main", name)


async def kill(hosts: Hosts) -> None:
    await hosts.kill("main")


async def come_back(hosts: Hosts, went: Any) -> None:
    if went is kill:
        await hosts.start("main")
    for name in ("a", "b"):
        hosts.network.heal("main", name)


AWAY = [cut_off, refuse, kill]


@pytest.mark.parametrize("go_away", AWAY)
async def test_without_the_directory_what_is_known_goes_on_and_all_recovers_by_itself(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, go_away: Any
) -> None:
    async with running("main", "a", "b") as (hosts, (_main, a, b)):
        await b.start_worker("known", Where())
        await b.start_worker("unasked", Where())
        assert await a.send_and_receive("known", "?") == "b"

        # when the directory is away
        with caplog.at_level(logging.INFO):
            await go_away(hosts)
            for _ in range(20):
                await trio.sleep(1)
                assert await a.send_and_receive("known", "?") == "b"
            assert "directory is away" in caplog.text

        # then what is not known is refused soon, and workers start all the same
        begun = trio.current_time()
        with pytest.raises(DirectoryUnavailable, match="unasked"):
            await a.send_and_receive("unasked", "?")
        assert trio.current_time() - begun < 6
        with trio.fail_after(6):
            await a.start_worker("new", Where())
            await b.stop_worker("unasked")
        assert "not published yet" in caplog.text
        assert await a.send_and_receive("new", "?") == "a"
        assert await a.send_and_receive("known@b", "?") == "b"

        # when it is back
        await come_back(hosts, go_away)
        await trio.sleep(10)

        # then all is as it should be
        back = await hosts.start("c")
        for node in (a, b, back):
            assert await seen(node) == ["a", "b", "c", "main"]
            assert await node.send_and_receive("new", "?") == "a"
            assert await node.send_and_receive("known", "?") == "b"
            with pytest.raises(WorkerNotFound):
                await node.send_and_receive("unasked", "?")


@pytest.mark.parametrize("go_away", AWAY)
async def test_a_name_that_is_asked_for_just_then_is_answered_or_refused_soon(
    autojump_clock: MockClock, go_away: Any
) -> None:
    async with running("main", "a", "b") as (hosts, (_main, a, b)):
        await b.start_worker("where", Where())
        await go_away(hosts)
        begun = trio.current_time()

        async def ask() -> None:
            with pytest.raises(DirectoryUnavailable):
                await a.send_and_receive("where", "?")
            assert trio.current_time() - begun < 12

        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(ask)


async def test_a_directory_that_was_started_anew_says_of_no_name_that_nobody_has_it_before_it_has_heard_from_all(
    autojump_clock: MockClock,
) -> None:
    # given three nodes, one of which cannot reach the directory when that is started anew
    async with running("main", "a", "b", "c") as (hosts, (_main, a, b, _c)):
        await b.start_worker("where", Where())
        await trio.sleep(1)
        for name in ("a", "c"):
            hosts.network.part("b", name)
        hosts.network.part("b", "main")
        await hosts.kill("main")
        hosts.network.part("b", "main")
        await hosts.start("main")
        await trio.sleep(3)

        # when another one looks for a worker of that one, it waits, and does not hear that there is none
        found: list[str] = []

        async def ask() -> None:
            found.append(await a.send_and_receive("where", "?"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await trio.sleep(2)
            assert found == []
            for name in ("a", "c", "main"):
                hosts.network.heal("b", name)

        assert found == ["b"]


async def test_a_second_owner_that_came_while_the_directory_was_away_is_known_afterwards(
    autojump_clock: MockClock,
) -> None:
    async with running("main", "a", "b", "c") as (hosts, (_main, a, b, c)):
        await b.start_worker("where", Where())
        assert await a.send_and_receive("where", "?") == "b"
        await hosts.kill("main")
        await trio.sleep(5)
        await c.start_worker("where", Where())
        assert await a.send_and_receive("where", "?") == "b"

        await hosts.start("main")
        await trio.sleep(10)
        with pytest.raises(AmbiguousWorker):
            await a.send_and_receive("where", "?")

        # and the other way round
        await hosts.kill("main")
        await trio.sleep(5)
        await c.stop_worker("where")
        await hosts.start("main")
        await trio.sleep(10)
        assert await a.send_and_receive("where", "?") == "b"


async def test_a_node_that_opens_without_its_directory_goes_on_alone_and_enters_when_it_can(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with running() as (hosts, _):
        begun = trio.current_time()
        with caplog.at_level(logging.WARNING):
            a = await hosts.start("a")
        assert trio.current_time() - begun <= 11
        assert "goes on alone" in caplog.text
        await a.start_worker("where", Where())
        assert await a.send_and_receive("where", "?") == "a"
        assert await seen(a) == ["a"]

        main = await hosts.start("main")
        await trio.sleep(5)

        assert await seen(a) == ["a", "main"]
        assert await main.send_and_receive("where", "?") == "a"


async def test_the_directory_s_node_may_stop_in_good_order_and_come_back(autojump_clock: MockClock) -> None:
    async with running("main", "a", "b") as (hosts, (main, a, b)):
        await b.start_worker("where", Where())
        await main.stop()
        hosts._lives["main"].cancel()
        await trio.sleep(20)

        again = await hosts.start("main")
        await trio.sleep(10)

        for node in (again, a, b):
            assert await seen(node) == ["a", "b", "main"]
            assert await node.send_and_receive("where", "?") == "b"


async def test_without_the_directory_s_node_the_others_go_on(autojump_clock: MockClock, three: Three) -> None:
    main, a, b = three
    await b.start_worker("where", Where())
    assert await a.send_and_receive("where", "?") == "b"

    await main.stop()
    await trio.sleep(20)

    assert await a.send_and_receive("where", "?") == "b"
    with pytest.raises(DirectoryUnavailable):
        await a.send_and_receive("nobody", "?")


# --- addresses


async def test_others_reach_a_node_where_it_says_that_they_can(autojump_clock: MockClock) -> None:
    network = FaultyNetwork()
    async with zone("a", network=network) as (a,):
        place = ZoneInfo(address="wss://c:1")
        async with on(network, "c", directory=EmbeddedDirectory("a", "wss://a:1"), zone=place, listen=None) as c:
            assert c.address is None
            assert await seen(a) == ["a", "c"]
            assert a._membership is not None
            assert [member.address for member in a._membership.members] == ["wss://a:1", "wss://c:1"]


@pytest.mark.network
@pytest.mark.parametrize("listens", ["wss://0.0.0.0:0", "wss://[::]:0"])
async def test_a_node_that_listens_everywhere_has_to_say_where_others_reach_it(listens: str, tmp_path: Path) -> None:
    authority = ZoneAuthority.create(tmp_path / "ca", "demo")
    authority.sign_crl()

    with pytest.raises(ValueError, match=r"ZoneInfo\(address="):
        async with open_node(credentials=authority.credentials("a"), listen=listens, directory=MemoryDirectory()):
            pytest.fail("nobody could reach it")
