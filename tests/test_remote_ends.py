"""Ends, seen from another node: of workers, of nodes; and what is lost with them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from autonomy import ChildSpec, Context, Down, Node, NodeDown, NoReply, Restart, Unreachable, WorkerStopped
from tests.workers import Echo, Recorder, Sleeper
from tests.zone import FaultyNetwork, dead_letters_of, on, two_nodes

Two = tuple[Node, Node]


@pytest.fixture
async def two(autojump_clock: MockClock) -> AsyncIterator[Two]:
    """Nodes ``a`` and ``b``, linked, in virtual time."""
    async with two_nodes() as both:
        yield both


class Breaks:
    """Raises when it is told to."""

    async def handle_message(self, context: Context, message: str) -> None:
        raise ValueError(message)


# --- watches


async def test_a_far_worker_that_is_stopped_is_down_with_its_incarnation(autojump_clock: MockClock, two: Two) -> None:
    a, b = two
    await b.start_worker("echo", Echo())

    async with a.watch("echo@b") as far, b.watch("echo") as near:
        await trio.sleep(1)
        await b.stop_worker("echo")

        assert (await far.down()) == (await near.down())
        assert (await far.down()).name == "echo@b"
        assert (await far.down()).reason == "stopped"


async def test_a_far_worker_that_is_not_there_is_down_at_once(autojump_clock: MockClock, two: Two) -> None:
    a, _ = two

    async with a.watch("nobody@b") as watch:
        assert await watch.down() == Down("nobody@b", "", "not found")
    assert trio.current_time() < 0.1


async def test_a_far_worker_past_its_restart_limit_is_down_with_the_cause(autojump_clock: MockClock, two: Two) -> None:
    a, b = two
    await b.start_worker("breaks", Breaks, supervision=Restart(max_restarts=1))

    async with a.watch("breaks@b") as watch:
        for _ in range(2):
            await a.send_message("breaks@b", "no good")
        down = await watch.down()

    assert "restart limit reached" in down.reason
    assert "ValueError: no good" in down.reason


async def test_a_far_group_can_be_watched(autojump_clock: MockClock, two: Two) -> None:
    a, b = two
    await b.start_group("group", [ChildSpec("member", Echo)])

    async with a.watch("group@b") as watch:
        await trio.sleep(1)
        await b.stop_worker("group")
        assert (await watch.down()).reason == "stopped"


async def test_a_worker_watches_a_far_worker_by_its_context(autojump_clock: MockClock, two: Two) -> None:
    class Watches:
        async def handle_message(self, context: Context, message: str) -> None:
            async with context.watch(message) as watch:
                await context.reply((await watch.down()).reason)

    a, b = two
    await a.start_worker("watches", Watches())
    await b.start_worker("echo", Echo())
    reasons: list[str] = []

    async def ask() -> None:
        reasons.append(await a.send_and_receive("watches", "echo@b"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await trio.sleep(1)
        await b.stop_worker("echo")
    assert reasons == ["stopped"]


async def test_a_watch_that_has_ended_keeps_nothing_on_either_node(autojump_clock: MockClock, two: Two) -> None:
    a, b = two
    await b.start_worker("echo", Echo())
    for _ in range(20):
        async with a.watch("echo@b"):
            await wait_all_tasks_blocked()
    await trio.sleep(1)

    process = b._system.registry.workers["echo"]
    assert not process.watchers
    await b.stop_worker("echo")
    await trio.sleep(1)


async def test_watched_workers_are_down_when_their_node_is_lost(autojump_clock: MockClock) -> None:
    network = FaultyNetwork()
    async with two_nodes(network) as (a, b):
        await b.start_worker("echo", Echo())
        async with a.watch("echo@b") as watch:
            await trio.sleep(1)
            network.part("a", "b")
            started = trio.current_time()
            down = await watch.down()

        assert down.name == "echo@b"
        assert down.reason.startswith("node 'b' is down: ")
        assert trio.current_time() - started <= 10.1
        network.heal("a", "b")


async def test_a_watch_survives_a_short_cut_and_tells_once(autojump_clock: MockClock) -> None:
    network = FaultyNetwork()
    async with two_nodes(network) as (a, b):
        await b.start_worker("echo", Echo())
        async with a.watch("echo@b") as watch:
            await trio.sleep(1)
            network.part("a", "b")
            network.cut("a", "b")
            await b.stop_worker("echo")
            await trio.sleep(5)
            network.heal("a", "b")
            assert (await watch.down()).reason == "stopped"


async def test_watching_a_worker_of_an_unknown_node_is_unreachable(autojump_clock: MockClock, two: Two) -> None:
    a, _ = two

    with pytest.raises(Unreachable):
        async with a.watch("echo@elsewhere"):
            pass


# --- a node that leaves


async def test_a_node_that_leaves_finishes_what_is_queued_and_answers_it(autojump_clock: MockClock) -> None:
    network = FaultyNetwork()
    async with on(network, "a") as a:
        answers: list[str] = []

        async def ask(seconds: str) -> None:
            answers.append(await a.send_and_receive("sleeper@b", seconds))

        async with trio.open_nursery() as nursery, on(network, "b") as b:
            await b.start_worker("sleeper", Sleeper())
            await a.connect("wss://b:1")
            for seconds in ("1", "2", "3"):
                nursery.start_soon(ask, seconds)
                await wait_all_tasks_blocked()
        assert answers == ["1", "2", "3"]


async def test_a_node_that_leaves_says_goodbye_and_is_down_at_once(autojump_clock: MockClock) -> None:
    network = FaultyNetwork()
    async with on(network, "a") as a:
        async with on(network, "b") as b:
            await b.start_worker("echo", Echo())
            await a.connect("wss://b:1")
            await a.send_and_receive("echo@b", "hello")
            watching = a.watch("echo@b")
            watch = await watching.__aenter__()
            await wait_all_tasks_blocked()
        left = trio.current_time()

        assert (await watch.down()).reason in ("stopped", "node 'b' is down: closed")
        await watching.__aexit__(None, None, None)
        with pytest.raises((NodeDown, Unreachable), match="timeout") as caught:
            await a.send_and_receive("echo@b", "hello")
        assert caught.value.outcome == "not_sent"
        assert trio.current_time() - left < 1.1
        assert a.statistics().links == 0


async def test_what_a_leaving_node_cannot_finish_is_an_error_at_the_caller(autojump_clock: MockClock) -> None:
    network = FaultyNetwork()
    async with on(network, "a") as a, trio.open_nursery() as nursery:
        errors: list[NoReply] = []

        async def ask() -> None:
            with pytest.raises(NoReply, match="timeout") as caught:
                await a.send_and_receive("sleeper@b", "1000", timeout=500)
            errors.append(caught.value)

        async with on(network, "b", drain_timeout=2) as b:
            await b.start_worker("sleeper", Sleeper())
            await a.connect("wss://b:1")
            nursery.start_soon(ask)
            nursery.start_soon(ask)
            await trio.sleep(1)
        await wait_all_tasks_blocked()

        assert sorted((type(error).__name__, error.outcome) for error in errors) == [
            ("WorkerStopped", "maybe_handled"),
            ("WorkerStopped", "not_sent"),
        ]


async def test_a_leaving_node_refuses_new_requests_from_afar(autojump_clock: MockClock) -> None:
    network = FaultyNetwork()
    async with on(network, "a") as a, trio.open_nursery() as nursery:
        errors: list[NoReply] = []

        async def ask_later() -> None:
            await trio.sleep(3)
            for send in (a.send_and_receive, a.send_message):
                with pytest.raises(NodeDown) as caught:
                    await send("echo@b", "hello")
                errors.append(caught.value)
            with pytest.raises(NodeDown) as caught:
                await a.send_and_receive("sleeper@b", "0")
            errors.append(caught.value)

        async with on(network, "b") as b:
            await b.start_worker("sleeper", Sleeper())
            await b.start_worker("echo", Echo())
            await a.connect("wss://b:1")
            await a.send_and_receive("sleeper@b", "0")
            await a.send_message("sleeper@b", "8")
            nursery.start_soon(ask_later)
            await trio.sleep(1)

        assert [error.outcome for error in errors] == ["not_sent"] * 3
        assert all("is stopping" in str(error) for error in errors)


async def test_workers_of_a_leaving_node_still_reach_others_while_it_drains(autojump_clock: MockClock) -> None:
    class AsksLater:
        async def handle_message(self, context: Context, message: str) -> None:
            await trio.sleep(2)
            await context.send_message("recorder@a", await context.send_and_receive("echo@a", message))

    network = FaultyNetwork()
    async with on(network, "a") as a:
        recorder = Recorder()
        await a.start_worker("echo", Echo())
        await a.start_worker("recorder", recorder)
        async with on(network, "b") as b:
            await b.connect("wss://a:1")
            await b.start_worker("asks", AsksLater())
            await b.send_message("asks", "last words")
        await wait_all_tasks_blocked()

        assert recorder.received == ["last words"]


async def test_a_node_that_leaves_brings_over_what_it_has_sent(autojump_clock: MockClock) -> None:
    network = FaultyNetwork()
    async with on(network, "a") as a:
        recorder = Recorder()
        letters = dead_letters_of(a)
        await a.start_worker("recorder", recorder)
        async with on(network, "b") as b:
            letters_of_b = dead_letters_of(b)
            await b.connect("wss://a:1")
            for number in range(500):
                await b.send_message("recorder@a", str(number))
            await b.send_message("recorder@a", "x" * 2**21)
            await b.send_message("recorder@a", "last")
        await trio.sleep(1)

        assert recorder.received == [*map(str, range(500)), "x" * 2**21, "last"]
        assert letters == letters_of_b == []


async def test_two_nodes_that_leave_at_the_same_time_do_so_in_order(autojump_clock: MockClock) -> None:
    network = FaultyNetwork()

    async def run(name: str, other: str) -> None:
        async with on(network, name) as node:
            await node.start_worker("echo", Echo())
            await node.connect(f"wss://{other}:1")
            assert await node.send_and_receive(f"echo@{other}", "hello") == "hello"
            await trio.sleep(1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, "a", "b")
        nursery.start_soon(run, "b", "a")
    assert trio.current_time() < 4


async def test_a_node_that_is_cancelled_is_noticed_within_a_second(autojump_clock: MockClock) -> None:
    network = FaultyNetwork()
    async with on(network, "a") as a:
        errors: list[NoReply] = []

        async def ask() -> None:
            with pytest.raises(NoReply) as caught:
                await a.send_and_receive("sleeper@b", "1000", timeout=500)
            errors.append(caught.value)

        async with trio.open_nursery() as nursery:
            with trio.CancelScope() as scope:
                async with on(network, "b") as b:
                    await b.start_worker("sleeper", Sleeper())
                    await a.connect("wss://b:1")
                    nursery.start_soon(ask)
                    await trio.sleep(5)
                    scope.cancel()
                    await trio.sleep_forever()
        assert [(type(error), error.outcome) for error in errors] in (
            [(NodeDown, "maybe_handled")],
            [(WorkerStopped, "maybe_handled")],
        )
        assert trio.current_time() < 7


async def test_a_program_cannot_send_through_a_node_that_has_left(autojump_clock: MockClock) -> None:
    network = FaultyNetwork()
    async with on(network, "a") as a:
        await a.start_worker("echo", Echo())
        async with on(network, "b") as b:
            far = await b.connect("wss://a:1")
        with pytest.raises(NodeDown):
            await b.send_message("echo@a", "hello")
        with pytest.raises(NodeDown, match="timeout"):
            await far.send_and_receive("echo", "hello")
        with pytest.raises(NodeDown):
            await b.connect("wss://a:1")


# --- dead letters


async def test_messages_that_are_lost_with_the_session_are_dead_letters_at_the_sender(
    autojump_clock: MockClock,
) -> None:
    network = FaultyNetwork()
    async with two_nodes(network) as (a, b):
        recorder = Recorder()
        letters = dead_letters_of(a)
        await b.start_worker("recorder", recorder)
        await a.send_message("recorder@b", "arrives")
        await trio.sleep(1)
        network.part("a", "b")
        for number in range(5):
            await a.send_message("recorder@b", str(number))
        await trio.sleep(20)

        assert recorder.received == ["arrives"]
        assert [(letter.to, letter.sender, letter.message) for letter in letters] == [
            ("recorder@b", "@a", str(number)) for number in range(5)
        ]
        assert all("node 'b' is down" in letter.reason for letter in letters)
        assert a.statistics().dead_letters == 5
        network.heal("a", "b")
        await trio.sleep(20)
        assert recorder.received == ["arrives"]


async def test_a_large_message_that_is_lost_is_one_dead_letter_and_whole(autojump_clock: MockClock) -> None:
    network = FaultyNetwork()
    async with two_nodes(network) as (a, b):
        letters = dead_letters_of(a)
        await b.start_worker("recorder", Recorder())
        await a.send_message("recorder@b", "arrives")
        await trio.sleep(1)
        network.silence("a", "b")
        await a.send_message("recorder@b", "x" * 300_000)
        network.part("a", "b")
        await trio.sleep(20)

        assert [len(letter.message) for letter in letters] == [300_000]
        network.heal("a", "b")


async def test_messages_for_a_worker_that_has_stopped_meanwhile_are_dead_letters_there(
    autojump_clock: MockClock, two: Two
) -> None:
    a, b = two
    letters = dead_letters_of(b)
    await b.start_worker("sleeper", Sleeper())
    await a.send_message("sleeper@b", "100")
    for number in range(5):
        await a.send_message("sleeper@b", f"{number}")
    await trio.sleep(1)
    await b.stop_worker("sleeper", timeout=0)

    assert [(letter.to, letter.sender) for letter in letters] == [("sleeper@b", "@a")] * 6


async def test_every_message_sent_around_the_end_of_a_worker_is_handled_or_reported(
    autojump_clock: MockClock, two: Two
) -> None:
    a, b = two
    letters = [dead_letters_of(a), dead_letters_of(b)]
    recorders = [Recorder() for _ in range(5)]
    sent: list[str] = []

    async def send() -> None:
        for number in range(2000):
            try:
                await a.send_message("recorder@b", str(number))
                sent.append(str(number))
            except NoReply:
                await trio.sleep(0.01)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        for recorder in recorders:
            await b.start_worker("recorder", recorder, mailbox_capacity=10)
            for _ in range(50):
                await trio.lowlevel.checkpoint()
            await b.stop_worker("recorder")
    await trio.sleep(1)

    handled = [message for recorder in recorders for message in recorder.received]
    reported = [letter.message for some in letters for letter in some]
    assert sorted(handled + reported, key=int) == sent
    assert handled == sorted(handled, key=int)


async def test_replies_that_are_lost_with_the_session_are_no_dead_letters(autojump_clock: MockClock) -> None:
    network = FaultyNetwork()
    async with two_nodes(network) as (a, b):
        letters = dead_letters_of(b)
        await b.start_worker("sleeper", Sleeper())
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                with pytest.raises(NodeDown):
                    await a.send_and_receive("sleeper@b", "2")

            nursery.start_soon(ask)
            await trio.sleep(1)
            network.part("a", "b")
        await trio.sleep(20)
        assert letters == []
        network.heal("a", "b")
