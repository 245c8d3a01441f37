"""A zone for which nothing is run: DNS leads to its nodes, which tell each other what they are."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from autonomy import AmbiguousWorker, DirectoryUnavailable, Node, WorkerNotFound, ZoneInfo, open_node
from autonomy.directory import DnsDirectory
from tests.directory.fake_dns import FakeDns
from tests.test_zone_members import Hosts, seen
from tests.workers import Echo, Sleeper
from tests.zone import FaultyNetwork, on
from tests.zoned import ALL, Where

NAMES = ("main", "a", "b", "c")


class DnsHosts(Hosts):
    """Hosts whose addresses are in DNS, each under its own name, from when its node starts."""

    def __init__(self, network: FaultyNetwork, nursery: trio.Nursery) -> None:
        super().__init__(network, nursery)
        self.dns = FakeDns()
        self.directory = DnsDirectory("dns://zone:1", resolve=self.dns.resolve)

    async def start(self, name: str, *, listed: bool = True, **options: Any) -> Node:
        """Start a node, and have it in DNS."""
        if listed and name not in self.dns.addresses:
            self.dns.addresses.append(name)
        return await super().start(name, **{"directory": self.directory} | options)

    def cut_off(self, name: str) -> None:
        """Let nothing go between a host and any other."""
        for other in NAMES:
            if other != name:
                self.network.part(name, other)

    def reconnect(self, name: str) -> None:
        """Let everything go again."""
        for other in NAMES:
            if other != name:
                self.network.heal(name, other)


@asynccontextmanager
async def running(*names: str, **options: Any) -> AsyncGenerator[tuple[DnsHosts, list[Node]]]:
    """Start nodes of one zone, one after the other."""
    async with trio.open_nursery() as nursery:
        hosts = DnsHosts(FaultyNetwork(), nursery)
        yield hosts, [await hosts.start(name, **options) for name in names]
        nursery.cancel_scope.cancel()


# --- who comes and goes


async def test_nodes_see_each_other_as_soon_as_they_are_open(autojump_clock: MockClock) -> None:
    async with running("main", "a", "b") as (hosts, opened):
        begun = trio.current_time()
        c = await hosts.start("c", zone=ZoneInfo(pod="runner", container="worker", index=3))

        assert trio.current_time() - begun < 0.5
        assert await seen(c) == ["a", "b", "c", "main"]
        for node in opened:
            assert await seen(node, "runner") == ["c"]


async def test_nodes_that_start_at_the_same_moment_find_each_other(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        hosts = DnsHosts(FaultyNetwork(), nursery)
        hosts.dns.addresses.extend(NAMES)
        opened: list[Node] = []

        async def start(name: str) -> None:
            opened.append(await hosts.start(name))

        async with trio.open_nursery() as starting:
            for name in NAMES:
                starting.start_soon(start, name)
        await trio.sleep(0.1)

        for node in opened:
            assert await seen(node) == sorted(NAMES)
        nursery.cancel_scope.cancel()


async def test_a_node_that_leaves_is_gone_at_once(autojump_clock: MockClock) -> None:
    async with running("main", "a") as (hosts, (main, a)):
        with hosts.dns.knows("b"):
            async with on(hosts.network, "b", directory=hosts.directory):
                assert await seen(main) == ["a", "b", "main"]
            for node in (main, a):
                assert await seen(node) == ["a", "main"]


async def test_a_node_that_is_killed_is_gone_within_a_second(autojump_clock: MockClock) -> None:
    async with running("main", "a", "b") as (hosts, (main, a, b)):
        await b.start_worker("where", Where())
        assert await a.send_and_receive("where", "?") == "b"

        await hosts.kill("b")
        await trio.sleep(1)

        for node in (main, a):
            assert await seen(node) == ["a", "main"]
            with pytest.raises(WorkerNotFound):
                await node.send_and_receive("where", "?")


async def test_a_node_without_power_is_gone_when_its_session_is_down(autojump_clock: MockClock) -> None:
    async with running("main", "a", "b") as (hosts, (main, a, _)):
        await hosts.lose_power("b")
        await trio.sleep(7)
        assert await seen(a) == ["a", "b", "main"]
        await trio.sleep(4)

        for node in (main, a):
            assert await seen(node) == ["a", "main"]


async def test_a_node_that_starts_anew_has_its_place_again(autojump_clock: MockClock) -> None:
    async with running("main", "a") as (hosts, (main, a)):
        await a.start_worker("old", Echo())
        await hosts.kill("a")
        a = await hosts.start("a")
        await a.start_worker("new", Echo())

        assert await main.send_and_receive("new", "hello", timeout=3) == "hello"
        assert await seen(main) == ["a", "main"]
        with pytest.raises(WorkerNotFound):
            await main.send_and_receive("old", "hello", timeout=3)


async def test_nodes_that_were_parted_find_each_other_again(autojump_clock: MockClock) -> None:
    async with running("main", "a", "b") as (hosts, (main, a, b)):
        await b.start_worker("before", Where())
        hosts.cut_off("b")
        await trio.sleep(20)
        assert await seen(main) == ["a", "main"]
        assert await seen(b) == ["b"]
        await b.start_worker("meanwhile", Where())
        await a.start_worker("other", Where())

        hosts.reconnect("b")
        await trio.sleep(12)

        for node in (main, a, b):
            assert await seen(node) == ["a", "b", "main"]
        assert await main.send_and_receive("before", "?") == "b"
        assert await a.send_and_receive("meanwhile", "?") == "b"
        assert await b.send_and_receive("other", "?") == "a"


async def test_a_session_that_ends_parts_nodes_for_a_moment_only(autojump_clock: MockClock) -> None:
    async with running("main", "a") as (_, (main, a)):
        await a.start_worker("where", Where())
        remoting = main._remoting
        assert remoting is not None
        remoting._peers._peers["a"].give_up("for no reason")
        await trio.sleep(2)

        assert await seen(main) == await seen(a) == ["a", "main"]
        assert await main.send_and_receive("where", "?") == "a"


async def test_a_node_that_leaves_looks_for_nobody_any_more(autojump_clock: MockClock) -> None:
    async with running("main") as (hosts, _):
        with hosts.dns.knows("a"), hosts.dns.knows("nobody"):
            async with on(hosts.network, "a", directory=hosts.directory) as a:
                await a.start_worker("slow", Sleeper())
                await a.send_message("slow", "8")
                await trio.sleep(3)
                asked = hosts.dns.asked
                begun = trio.current_time()
            seconds = trio.current_time() - begun

            assert seconds > 4
            assert hosts.dns.asked - asked <= seconds + 2  # only the other one does


# --- names


async def test_a_name_is_found_by_all_as_soon_as_its_worker_has_started(autojump_clock: MockClock) -> None:
    async with running(*NAMES) as (_, (main, a, b, c)):
        for owner in (a, b):
            await owner.start_worker("where", Where())
            for node in (main, c):
                assert await node.send_and_receive("where", "?") == owner.name
            await owner.stop_worker("where")
            for node in (main, c):
                with pytest.raises(WorkerNotFound):
                    await node.send_and_receive("where", "?")


async def test_a_name_of_several_nodes_is_ambiguous_also_where_it_was_found_before(autojump_clock: MockClock) -> None:
    async with running("main", "a", "b") as (_, (main, a, b)):
        await a.start_worker("where", Where())
        assert await main.send_and_receive("where", "?") == "a"

        await b.start_worker("where", Where())
        await trio.sleep(0.1)

        with pytest.raises(AmbiguousWorker, match="a, b"):
            await main.send_and_receive("where", "?")
        assert await main.all("where", "?") == {"a": "a", "b": "b"}


async def test_who_comes_late_knows_all_names(autojump_clock: MockClock) -> None:
    async with running("main", "a") as (hosts, (_, a)):
        async with trio.open_nursery() as nursery:
            for i in range(300):
                nursery.start_soon(a.start_worker, f"echo-{i}", Echo())

        b = await hosts.start("b")

        for i in (0, 150, 299):
            assert await b.send_and_receive(f"echo-{i}", "hello", timeout=1) == "hello"


async def test_programs_that_start_together_need_no_retry_loop(autojump_clock: MockClock) -> None:
    async with running("main") as (hosts, (main,)):
        a = await hosts.start("a", ready=False)
        answers: list[str] = []

        async def ask() -> None:
            answers.append(await main.send_and_receive("late", "?"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await trio.sleep(3)
            assert not answers
            await a.start_worker("late", Where())

        assert answers == ["a"]
        await a.ready()
        with pytest.raises(WorkerNotFound):
            await main.send_and_receive("nobody", "?", timeout=1)


async def test_a_node_that_was_long_starting_keeps_nobody_waiting_who_comes_later(autojump_clock: MockClock) -> None:
    async with running("main", ready=False) as (hosts, _):
        await trio.sleep(11)
        a = await hosts.start("a")
        begun = trio.current_time()

        with pytest.raises(WorkerNotFound):
            await a.send_and_receive("nobody", "?")

        assert trio.current_time() - begun < 0.1


async def test_a_node_that_does_not_answer_holds_up_nobody_for_long(autojump_clock: MockClock) -> None:
    async with running("main", "a", "b") as (hosts, (main, a, _)):
        hosts.cut_off("b")
        await trio.sleep(0.1)
        begun = trio.current_time()
        await a.start_worker("first", Where())
        assert trio.current_time() - begun < 5.5
        assert await main.send_and_receive("first", "?") == "a"

        begun = trio.current_time()
        for i in range(10):
            await a.start_worker(f"next-{i}", Where())
        assert trio.current_time() - begun < 0.1

        hosts.reconnect("b")
        await trio.sleep(12)
        async with trio.open_nursery() as nursery:
            for i in range(10):
                nursery.start_soon(main.send_and_receive, f"next-{i}", "?")


# --- DNS


async def test_while_dns_is_away_all_that_is_known_goes_on(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with running("main", "a") as (hosts, (main, a)):
        hosts.dns.is_away = True
        await trio.sleep(60)
        await a.start_worker("new", Where())

        assert await main.send_and_receive("new", "?") == "a"
        assert await seen(main) == ["a", "main"]
        with pytest.raises(WorkerNotFound):
            await main.send_and_receive("nobody", "?")
        said = [line for line in caplog.messages if "cannot be looked up" in line]
        assert len(said) == 2  # one of each node
        assert "Temporary failure" in said[0]


async def test_who_comes_while_dns_is_away_goes_on_alone_and_finds_the_others_later(autojump_clock: MockClock) -> None:
    async with running("main") as (hosts, (main,)):
        hosts.dns.is_away = True
        begun = trio.current_time()
        a = await hosts.start("a")
        assert trio.current_time() - begun == pytest.approx(10, abs=0.1)
        await a.start_worker("here", Where())
        assert await a.send_and_receive("here", "?") == "a"
        with pytest.raises(DirectoryUnavailable):
            await a.send_and_receive("nobody", "?")

        hosts.dns.is_away = False
        await trio.sleep(4)

        assert await seen(a) == await seen(main) == ["a", "main"]
        assert await main.send_and_receive("here", "?") == "a"


async def test_dns_that_says_nothing_at_all_is_away(autojump_clock: MockClock) -> None:
    async with running("main") as (hosts, (main,)):
        hosts.dns.is_silent = True
        a = await hosts.start("a")
        with pytest.raises(DirectoryUnavailable):
            await a.send_and_receive("nobody", "?")

        hosts.dns.is_silent = False
        await trio.sleep(8)
        assert await seen(a) == await seen(main) == ["a", "main"]


async def test_an_address_at_which_nobody_is_holds_up_nobody_for_long(autojump_clock: MockClock) -> None:
    async with running("main") as (hosts, _):
        hosts.network.part("b", "main")
        hosts.network.part("b", "a")
        hosts.dns.addresses.extend(["b", "c"])  # of b nothing comes back; at c nobody listens
        begun = trio.current_time()

        a = await hosts.start("a")

        assert trio.current_time() - begun < 3.5
        assert await seen(a) == ["a", "main"]


async def test_a_node_that_dns_does_not_name_any_more_stays_as_long_as_it_lives(autojump_clock: MockClock) -> None:
    async with running("main", "a") as (hosts, (main, a)):
        hosts.dns.addresses.remove("a")
        await trio.sleep(60)
        await a.start_worker("where", Where())
        assert await main.send_and_receive("where", "?") == "a"

        await hosts.kill("a")
        await trio.sleep(1)
        assert await seen(main) == ["main"]


async def test_a_node_that_dns_does_not_name_finds_the_others(autojump_clock: MockClock) -> None:
    async with running("main") as (hosts, (main,)):
        a = await hosts.start("a", listed=False)

        assert await seen(a) == await seen(main) == ["a", "main"]


async def test_nodes_at_rest_look_dns_up_every_second_and_dial_nobody(autojump_clock: MockClock) -> None:
    async with running("main", "a", "b") as (hosts, _):
        await trio.sleep(5)
        asked, dials = hosts.dns.asked, hosts.network.dials

        await trio.sleep(100)

        assert hosts.dns.asked - asked == pytest.approx(3 * 100, abs=5)
        assert hosts.network.dials == dials


async def test_a_node_with_two_addresses_is_one_node(autojump_clock: MockClock) -> None:
    async with running("main", "a") as (hosts, (main, a)):
        hosts.network._hosts["other"] = "a"
        hosts.network._servers["wss://other:1"] = hosts.network._servers["wss://a:1"]
        dials = hosts.network.dials
        hosts.dns.addresses.append("other")
        await trio.sleep(100)

        assert await seen(main) == await seen(a) == ["a", "main"]
        assert hosts.network.dials - dials <= 6  # a look at it now and then


# --- who is not of this zone


async def test_a_node_of_another_zone_is_not_met(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    network, dns = FaultyNetwork(), FakeDns("y-a", "z-a")
    ours = DnsDirectory("dns://zone:1", resolve=dns.resolve)
    theirs = DnsDirectory("dns://other:1", resolve=FakeDns("y-a").resolve)
    async with (
        on(network, "z-a", zone=ZoneInfo("z"), directory=ours) as here,
        on(network, "y-a", zone=ZoneInfo("y"), directory=theirs) as there,
    ):
        await there.start_worker("secret", Echo())
        await trio.sleep(170)

        assert await seen(here) == ["z-a"]
        assert await seen(there) == ["y-a"]
        with pytest.raises(WorkerNotFound):
            await here.send_and_receive("secret", "?")
        refused = [line for line in caplog.messages if line.startswith("node not met")]
        assert len(refused) == 3  # once a minute
        assert "in the zone 'y'" in refused[0] or "in the zone 'z'" in refused[0]


async def test_a_name_that_leads_to_thousands_is_no_zone(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    dns = FakeDns(*(f"host-{i}" for i in range(1001)))
    directory = DnsDirectory("dns://zone:1", resolve=dns.resolve)
    network = FaultyNetwork()
    async with on(network, "a", directory=directory, rights=ALL) as a:
        with pytest.raises(DirectoryUnavailable):
            await a.send_and_receive("nobody", "?")
        assert any("goes on alone" in line and "1001 addresses" in line for line in caplog.messages)
        assert network.dials == 0


# --- as programs say it


@pytest.mark.parametrize("url", ["dns://zone", "dns://zone:1?x=y", "dns://a:1,b:1", "dns://node@zone:1", "etcd://a:1"])
def test_what_is_no_name_and_port_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"dns://NAME:PORT|with a port from"):
        DnsDirectory(url)


def test_what_cannot_look_up_is_refused() -> None:
    with pytest.raises(TypeError, match="resolve must be"):
        DnsDirectory("dns://zone:1", resolve="127.0.0.1")  # type: ignore[arg-type]


def test_a_node_without_credentials_cannot_be_in_such_a_zone() -> None:
    with pytest.raises(ValueError, match="needs credentials"):
        open_node("a", directory="dns://zone:1")
