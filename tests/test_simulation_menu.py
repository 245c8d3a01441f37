"""Each kind of fault does what its name says, to what it names, and no longer than it lasts."""

from __future__ import annotations

import errno
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random

import pytest
import trio

from autonomy import Context, Node, NodeDown, NoReply
from autonomy.identity.private_files import append_private, write_private
from autonomy.testing import Fault, Report, Simulation, Story
from autonomy.testing.chaos import swizzle
from autonomy.testing.faults import KINDS


class Log:
    def __init__(self) -> None:
        self.heard: list[tuple[str, float]] = []

    async def handle_message(self, context: Context, message: str) -> None:
        self.heard.append((message, trio.current_time()))
        await context.reply(str(len(self.heard)))


def two_hosts(scenario: Callable[[Simulation, Node, Log], Awaitable[None]]) -> Report:
    """Run a scenario beside ``a``, which has a link to ``b``, where worker ``log`` is."""

    async def run(sim: Simulation) -> None:
        a, b = await sim.host("a").up(), await sim.host("b").up()
        log = Log()
        await b.start_worker("log", log)
        await a.send_and_receive("log@b", "hello")
        await scenario(sim, a, log)

    sim = Simulation(3)
    sim.node("a")
    sim.node("b")
    return sim.run(run)


def test_what_is_held_back_arrives_later_in_order() -> None:
    async def scenario(sim: Simulation, a: Node, log: Log) -> None:
        with sim.hold("a", "b"):
            for number in range(5):
                await a.send_message("log@b", str(number))
            await trio.sleep(3)
            assert len(log.heard) == 1
        released = trio.current_time()
        await trio.sleep(0.1)
        assert [message for message, _ in log.heard] == ["hello", *"01234"]
        assert log.heard[1][1] >= released

    two_hosts(scenario)


def test_a_clogged_host_neither_sends_nor_receives_and_its_links_stay() -> None:
    async def scenario(sim: Simulation, a: Node, log: Log) -> None:
        with sim.clog("b"), pytest.raises(NoReply):
            await a.send_and_receive("log@b", "clogged", timeout=3)
        await a.send_and_receive("log@b", "free", timeout=1)

    report = two_hosts(scenario)

    assert len([moment for moment in report.moments if moment.kind == "link"]) == 1


def test_who_is_refused_hears_at_once_that_nobody_listens() -> None:
    async def scenario(sim: Simulation, a: Node, log: Log) -> None:
        with sim.refuse("a", "b"), sim.refuse("b", "a"):
            await a.send_and_receive("log@b", "the link is there", timeout=1)
            sim.reset("a", "b")
            with pytest.raises(NodeDown):
                await a.send_and_receive("log@b", "anybody?")
        await a.send_and_receive("log@b", "again", timeout=3)

    two_hosts(scenario)


def test_while_links_are_stalled_those_there_work_and_none_comes_about() -> None:
    async def scenario(sim: Simulation, a: Node, log: Log) -> None:
        with sim.stall("a", "b"), sim.stall("b", "a"):
            await a.send_and_receive("log@b", "the link is there", timeout=1)
            sim.reset("a", "b")
            with pytest.raises(NoReply):
                await a.send_and_receive("log@b", "anybody?", timeout=4)
        await a.send_and_receive("log@b", "again", timeout=1)

    two_hosts(scenario)


def test_narrow_links_take_one_message_at_a_time() -> None:
    async def scenario(sim: Simulation, a: Node, log: Log) -> None:
        sim.slow("a", "b", (0.5, 0.5))
        assert await burst(a) < 1.5
        with sim.narrow("a", "b"):
            assert await burst(a) > 2

    async def burst(a: Node) -> float:
        """Return how long it takes until something is answered behind other things."""
        began = trio.current_time()
        for number in range(3):
            await a.send_message("log@b", str(number))
            await trio.sleep(0.01)
        await a.send_and_receive("log@b", "answer")
        return trio.current_time() - began

    two_hosts(scenario)


def test_jitter_makes_each_message_as_late_as_it_likes() -> None:
    async def scenario(sim: Simulation, a: Node, log: Log) -> None:
        with sim.jitter("a", "b", 2.0):
            delays = [sim.network.delay(("a", "b")) for _ in range(100)]
        assert min(delays) < 0.2
        assert 1.8 < max(delays) <= 2.0
        assert sim.network.delay(("a", "b")) < 0.1

    two_hosts(scenario)


def test_clocks_go_wrong_for_a_while_or_for_good() -> None:
    clocks: list[float] = []

    async def clock(node: Node) -> None:
        while True:
            clocks.append(time.time() - trio.current_time())
            await trio.sleep(1)

    sim = Simulation(1)
    sim.node("a", clock)
    sim.apply(
        Story(
            (
                Fault("skew", ("a",), 1.5, 2, (("seconds", -30.0),)),
                Fault("skew", ("a",), 2.5, 2),
                Fault("clock jump", ("a",), 5.5, 0, (("seconds", 7.0),)),
            )
        ),
        grace=2,
    )
    sim.run()

    assert [round(clock - clocks[0]) for clock in clocks[:8]] == [0, 0, -30, -25, 5, 0, 7, 7]


def test_a_second_host_of_the_same_name_is_not_let_in_and_dies_when_it_is_mended() -> None:
    refused: list[str] = []

    async def main(node: Node) -> None:
        await node.start_worker("log", Log())
        try:
            await node.send_message("log@a", "here I am")
        except NodeDown as error:
            refused.append(str(error))

    async def scenario(sim: Simulation) -> None:
        a = await sim.host("a").up()
        await sim.host("b").up()
        log = Log()
        await a.start_worker("log", log)
        await a.send_and_receive("log@b", "hello")
        with sim.duplicate("b"):
            await trio.sleep(10)
            assert await a.send_and_receive("log@b", "still you?") == "2"
        assert len(log.heard) == 1
        assert "a node 'b' is connected and alive" in refused[0]

    sim = Simulation(1)
    sim.node("a")
    sim.node("b", main)
    report = sim.run(scenario)

    assert [moment.text for moment in report.faults] == ["duplicate", "duplicate"]
    assert len(refused) == 1
    assert {moment.node for moment in report.moments if moment.kind == "start"} == {"a", "b", "b.twin-1"}


def test_on_a_full_disk_half_is_written_and_what_was_there_still_is(tmp_path: Path) -> None:
    log, key = tmp_path / "serials.log", tmp_path / "key.pem"

    async def main(node: Node) -> None:
        append_private(log, b"line one")
        write_private(key, b"the old key")
        await trio.sleep(2)
        for write in (append_private, write_private):
            with pytest.raises(OSError, match="No space left") as caught:
                write(log if write is append_private else key, b"something new")
            assert caught.value.errno == errno.ENOSPC
        await trio.sleep(2)
        append_private(log, b"line two")

    sim = Simulation(1)
    sim.node("a", main)
    sim.apply(Story((Fault("full disk", ("a",), 1, 2),)), grace=2)
    sim.run()

    assert log.read_bytes() == b"line one\nsomethi\nline two\n"
    assert key.read_bytes() == b"the old key"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["key.pem", "serials.log"]


def test_a_swizzle_clogs_some_one_by_one_and_frees_them_in_another_order() -> None:
    faults = swizzle(Random(2), ["a", "b", "c", "d"], at=10, for_=8)

    assert len(faults) >= 2
    assert len({fault.hosts for fault in faults}) == len(faults)
    assert all(10 <= fault.at <= 14 <= fault.ends_at <= 18.01 for fault in faults)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_written_read_back_happens_and_is_mended(kind: str, tmp_path: Path) -> None:
    hosts = ("a", "b")[: KINDS[kind].hosts]
    fault = Fault(kind, hosts, 2, 3 if KINDS[kind].lasts else 0, tuple(KINDS[kind].parameters.items()))
    Story((fault,), seed=1).save(tmp_path / "one.story")
    sim = Simulation(story=Story.load(tmp_path / "one.story"), wire="tls" if KINDS[kind].needs_tls else "messages")
    sim.node("a")
    sim.node("b")
    report = sim.run(Simulation.calm)

    assert sim.story == Story((fault,), seed=1)
    assert [moment.kind for moment in report.faults] == ["fault", "heal"][: 1 + KINDS[kind].lasts]
    assert report.faults[0].text.startswith(kind)


def test_a_swizzle_is_applied_beside_what_there_is() -> None:
    sim = Simulation(1)
    sim.nodes("host", 4)
    sim.apply(Story((Fault("reset", ("host-0", "host-1"), 1),)), grace=1)
    story = sim.swizzle(at=2, for_=3, hosts=["host-1", "host-2"])

    assert [fault.hosts for fault in sorted(story, key=lambda fault: fault.hosts)] == [("host-1",), ("host-2",)]
    assert len(sim.run().faults) == 5


def test_what_needs_a_reason_is_drawn_only_when_it_is_asked_for() -> None:
    def drawn(*kinds: str) -> set[str]:
        sim = Simulation(1)
        sim.nodes("host", 4)
        return {fault.kind for fault in sim.chaos(rate=10, kinds=kinds or None)}

    assert set(KINDS) - drawn() == {"duplicate", "full disk", "renewal", "expiry", "revocation"}
    assert drawn("duplicate") == {"duplicate"}
