"""Requests to workers of another node: each has one outcome, which says what it would say here."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from autonomy import (
    CallCycle,
    ChildSpec,
    Context,
    DeadlineExceeded,
    MailboxFull,
    Node,
    NodeDown,
    NoReply,
    Unreachable,
    WorkerFailed,
    WorkerNotFound,
    WorkerStopped,
)
from tests.workers import Echo, Failing, Recorder, Silent, Sleeper
from tests.zone import FaultyNetwork, nodes, on, two_nodes

Two = tuple[Node, Node]


@pytest.fixture
async def two(autojump_clock: MockClock) -> AsyncIterator[Two]:
    """Nodes ``a`` and ``b``, linked, in virtual time."""
    async with two_nodes() as both:
        yield both


class Sender:
    """Replies with who asks."""

    async def handle_message(self, context: Context, message: str) -> None:
        await context.reply(context.sender)


class Asks:
    """Asks the worker that a message names, and replies with what that said; keeps its errors."""

    def __init__(self) -> None:
        self.errors: list[NoReply] = []

    async def handle_message(self, context: Context, message: str) -> None:
        try:
            await context.reply(await context.send_and_receive(message, f"relay@{context.node.name}"))
        except NoReply as error:
            self.errors.append(error)
            raise


class Probe:
    """Replies with the seconds that are left of the request."""

    async def handle_message(self, context: Context, message: str) -> None:
        await context.reply(f"{context.deadline - trio.current_time():.6f}")


class Late:
    """Keeps the contexts of its messages, for a reply later."""

    def __init__(self) -> None:
        self.contexts: list[Context] = []

    async def handle_message(self, context: Context, message: str) -> None:
        self.contexts.append(context)


async def failure(node: Node, address: str, message: str = "hello", timeout: float | None = None) -> NoReply:
    """Return the error of a request, which always has the word that programs look for."""
    with pytest.raises(NoReply) as caught:
        await node.send_and_receive(address, message, timeout=timeout)
    assert "timeout" in str(caught.value)
    return caught.value


# --- replies


async def test_a_request_to_another_node_has_its_reply_either_way(autojump_clock: MockClock, two: Two) -> None:
    a, b = two
    for node in two:
        await node.start_worker("echo", Echo())

    assert await a.send_and_receive("echo@b", "hello") == "hello"
    assert await b.send_and_receive("echo@a", "") == ""


async def test_there_are_three_ways_to_name_a_worker_of_another_node(autojump_clock: MockClock, two: Two) -> None:
    a, b = two
    await b.start_worker("echo", Echo())
    far = await a.connect("wss://b:1")

    assert await a.send_and_receive("echo@b", "address") == "address"
    assert await a.send_and_receive("echo", "node=", node="b") == "node="
    assert await a.send_and_receive("echo@b", "both", node="b") == "both"
    assert await far.send_and_receive("echo", "far node") == "far node"
    with pytest.raises(ValueError, match="two nodes"):
        await a.send_and_receive("echo@b", "hello", node="a")


async def test_the_far_worker_sees_who_asks(autojump_clock: MockClock, two: Two) -> None:
    a, b = two
    await b.start_worker("sender", Sender())
    await a.start_worker("asks", Asks())

    assert await a.send_and_receive("sender@b", "who?") == "@a"
    assert await a.send_and_receive("asks", "sender@b") == "asks@a"


async def test_many_requests_at_once_each_have_their_own_reply(autojump_clock: MockClock, two: Two) -> None:
    a, b = two
    await b.start_worker("echo", Echo(), mailbox_capacity=3)
    replies: dict[int, str] = {}

    async def ask(number: int) -> None:
        replies[number] = await a.send_and_receive("echo@b", str(number))

    async with trio.open_nursery() as nursery:
        for number in range(300):
            nursery.start_soon(ask, number)
    assert replies == {number: str(number) for number in range(300)}


async def test_a_worker_may_reply_to_another_node_after_its_handler_returned(
    autojump_clock: MockClock, two: Two
) -> None:
    a, b = two
    late = Late()
    await b.start_worker("late", late)

    async with trio.open_nursery() as nursery:
        answers: list[str] = []
        nursery.start_soon(failure, a, "late@b", "dropped", 5.0)
        await wait_all_tasks_blocked()

        async def ask() -> None:
            answers.append(await a.send_and_receive("late@b", "kept"))

        nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        await trio.sleep(1)
        await late.contexts[1].reply("at last")
        late.contexts.clear()
    assert answers == ["at last"]
    assert trio.current_time() == pytest.approx(5.0)


async def test_a_second_reply_to_another_node_is_dropped_and_counted_where_it_was_made(
    autojump_clock: MockClock, two: Two
) -> None:
    class Twice:
        async def handle_message(self, context: Context, message: str) -> None:
            await context.reply("first")
            await context.reply("second")

    a, b = two
    await b.start_worker("twice", Twice())

    assert await a.send_and_receive("twice@b", "go") == "first"
    assert b.statistics().dropped_replies == 1
    assert a.statistics().dropped_replies == 0


# --- errors


async def test_a_far_worker_that_raises_is_told_as_text(autojump_clock: MockClock, two: Two) -> None:
    a, b = two
    await b.start_worker("failing", Failing())

    error = await failure(a, "failing@b", "no such table")

    assert isinstance(error, WorkerFailed)
    assert (error.remote_type, error.remote_message) == ("ValueError", "no such table")
    assert "Traceback" in error.remote_traceback
    assert "handle_message" in error.remote_traceback
    assert (error.worker, error.node, error.outcome) == ("failing", "b", "handled")
    assert str(error).startswith("no reply from 'failing@b' before timeout=30s: ")


async def test_a_far_worker_that_returns_without_replying_is_an_error_at_once(
    autojump_clock: MockClock, two: Two
) -> None:
    a, b = two
    await b.start_worker("silent", Silent())

    error = await failure(a, "silent@b")

    assert isinstance(error, WorkerFailed)
    assert "without replying" in str(error)
    assert trio.current_time() < 0.1


async def test_a_worker_that_is_not_there_is_not_found_at_once(autojump_clock: MockClock, two: Two) -> None:
    a, b = two
    await b.start_group("group", [ChildSpec("member", Echo)])

    for name in ("nobody", "group"):
        error = await failure(a, f"{name}@b")
        assert isinstance(error, WorkerNotFound)
        assert (error.worker, error.node, error.outcome) == (name, "b", "not_sent")
        with pytest.raises(WorkerNotFound):
            await a.send_message(f"{name}@b", "hello")
    assert trio.current_time() < 0.1


async def test_a_worker_that_starts_after_it_was_not_found_is_found(autojump_clock: MockClock, two: Two) -> None:
    a, b = two
    await failure(a, "echo@b")

    await b.start_worker("echo", Echo())

    assert await a.send_and_receive("echo@b", "hello") == "hello"


async def test_a_worker_that_was_stopped_and_started_again_is_found(autojump_clock: MockClock, two: Two) -> None:
    a, b = two
    for _ in range(3):
        await b.start_worker("echo", Echo())
        assert await a.send_and_receive("echo@b", "hello") == "hello"
        await b.stop_worker("echo")
        assert isinstance(await failure(a, "echo@b"), WorkerNotFound)


async def test_a_worker_that_stops_answers_what_is_queued_and_what_runs(autojump_clock: MockClock, two: Two) -> None:
    a, b = two
    await b.start_worker("sleeper", Sleeper())
    errors: dict[str, NoReply] = {}

    async def ask(name: str) -> None:
        errors[name] = await failure(a, "sleeper@b", "1000")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, "running")
        await wait_all_tasks_blocked()
        nursery.start_soon(ask, "queued")
        await wait_all_tasks_blocked()
        await b.stop_worker("sleeper", timeout=1)
    assert {name: (type(error), error.outcome, error.node) for name, error in errors.items()} == {
        "running": (WorkerStopped, "maybe_handled", "b"),
        "queued": (WorkerStopped, "not_sent", "b"),
    }


async def test_a_far_mailbox_that_stays_full_is_an_error_when_the_time_is_up(
    autojump_clock: MockClock, two: Two
) -> None:
    a, b = two
    await b.start_worker("sleeper", Sleeper(), mailbox_capacity=1)
    await a.send_message("sleeper@b", "1000")
    await wait_all_tasks_blocked()
    await a.send_message("sleeper@b", "0")

    started = trio.current_time()
    error = await failure(a, "sleeper@b", timeout=3)

    assert isinstance(error, (MailboxFull, DeadlineExceeded))
    assert (error.worker, error.node, error.outcome) == ("sleeper", "b", "not_sent")
    assert trio.current_time() - started == pytest.approx(3)
    with pytest.raises(MailboxFull, match=r"'sleeper' on node 'b' granted no room within 2 s") as caught:
        await a.send_message("sleeper@b", "0", timeout=2)
    assert caught.value.outcome == "not_sent"


async def test_a_request_whose_time_is_up_may_have_been_handled(autojump_clock: MockClock, two: Two) -> None:
    a, b = two
    sleeper = Sleeper()
    await b.start_worker("sleeper", sleeper)

    error = await failure(a, "sleeper@b", "10", timeout=2)

    assert isinstance(error, DeadlineExceeded)
    assert (error.outcome, error.node) == ("maybe_handled", "b")
    assert error.elapsed == pytest.approx(2)
    await trio.sleep(20)
    assert (sleeper.began, sleeper.ended) == (1, 1)


async def test_a_request_with_no_time_is_not_sent(autojump_clock: MockClock, two: Two) -> None:
    a, b = two
    echo = Sleeper()
    await b.start_worker("echo", echo)

    error = await failure(a, "echo@b", "0", timeout=0)

    assert (type(error), error.outcome) == (DeadlineExceeded, "not_sent")
    await trio.sleep(1)
    assert echo.began == 0


async def test_a_node_that_was_never_met_is_unreachable_at_once(autojump_clock: MockClock, two: Two) -> None:
    a, _ = two

    error = await failure(a, "echo@elsewhere")

    assert isinstance(error, Unreachable)
    assert (error.worker, error.node, error.outcome) == ("echo", "elsewhere", "not_sent")
    with pytest.raises(Unreachable):
        await a.send_message("echo@elsewhere", "hello")
    with pytest.raises(Unreachable):
        await a.send("echo@elsewhere", "hello")


async def test_a_node_that_is_lost_ends_what_it_was_asked_as_maybe_handled(autojump_clock: MockClock) -> None:
    network = FaultyNetwork()
    async with two_nodes(network) as (a, b):
        await b.start_worker("sleeper", Sleeper())
        async with trio.open_nursery() as nursery:
            errors: list[NoReply] = []

            async def ask() -> None:
                errors.append(await failure(a, "sleeper@b", "1000", timeout=500))

            nursery.start_soon(ask)
            await trio.sleep(1)
            network.part("a", "b")

        assert [(type(error), error.outcome, error.node) for error in errors] == [(NodeDown, "maybe_handled", "b")]
        assert trio.current_time() < 13
        network.heal("a", "b")


async def test_what_waits_for_a_place_when_the_node_is_lost_was_not_sent(autojump_clock: MockClock) -> None:
    network = FaultyNetwork()
    async with two_nodes(network) as (a, b):
        await b.start_worker("sleeper", Sleeper(), mailbox_capacity=1)
        await a.send_message("sleeper@b", "1000")
        await trio.sleep(0.1)
        await a.send_message("sleeper@b", "0")
        errors: list[NoReply] = []

        async def ask() -> None:
            errors.append(await failure(a, "sleeper@b", "0", timeout=500))

        async def tell() -> None:
            with pytest.raises(NodeDown) as caught:
                await a.send_message("sleeper@b", "0", timeout=500)
            errors.append(caught.value)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            nursery.start_soon(tell)
            await trio.sleep(1)
            network.part("a", "b")

        assert [(type(error), error.outcome, error.node) for error in errors] == [(NodeDown, "not_sent", "b")] * 2
        network.heal("a", "b")


async def test_a_request_that_never_left_was_not_sent(autojump_clock: MockClock) -> None:
    network = FaultyNetwork()
    async with two_nodes(network) as (a, b):
        await b.start_worker("sleeper", Sleeper())
        await a.send_and_receive("sleeper@b", "0")
        await trio.sleep(1)
        network.part("a", "b")
        network.cut("a", "b")
        await wait_all_tasks_blocked()

        error = await failure(a, "sleeper@b", "0", timeout=500)

        assert (type(error), error.outcome, error.node) == (NodeDown, "not_sent", "b")
        network.heal("a", "b")


# --- deadlines and chains


async def test_a_deadline_travels_as_the_seconds_that_are_left(autojump_clock: MockClock, two: Two) -> None:
    a, b = two
    await b.start_worker("probe", Probe())
    await a.start_worker("asks", Asks())

    assert float(await a.send_and_receive("probe@b", "?", timeout=7)) == pytest.approx(7, abs=0.1)
    assert float(await a.send_and_receive("asks", "probe@b", timeout=5)) == pytest.approx(5, abs=0.1)


async def test_the_time_that_a_request_waits_for_a_place_counts(autojump_clock: MockClock, two: Two) -> None:
    class SleepsThenProbes(Probe):
        async def handle_message(self, context: Context, message: str) -> None:
            if message == "sleep":
                await trio.sleep(4)
            else:
                await super().handle_message(context, message)

    a, b = two
    await b.start_worker("worker", SleepsThenProbes(), mailbox_capacity=1)
    await a.send_message("worker@b", "sleep")
    await wait_all_tasks_blocked()
    await a.send_message("worker@b", "sleep")

    assert float(await a.send_and_receive("worker@b", "?", timeout=20)) == pytest.approx(12, abs=0.1)


async def test_a_request_that_comes_back_through_another_node_is_a_cycle_at_once(
    autojump_clock: MockClock, two: Two
) -> None:
    a, b = two

    class AsksBack(Asks):
        async def handle_message(self, context: Context, message: str) -> None:
            await super().handle_message(context, "near@a")

    far = AsksBack()
    await a.start_worker("near", Asks())
    await b.start_worker("far", far)

    error = await failure(a, "near", "far@b")

    assert isinstance(error, WorkerFailed)
    assert [type(each) for each in far.errors] == [CallCycle]
    assert far.errors[0].outcome == "not_sent"
    assert "timeout" in str(far.errors[0])
    assert "near@a → far@b → near@a" in str(far.errors[0])
    assert trio.current_time() < 0.1


async def test_a_cycle_through_three_nodes_is_noticed(autojump_clock: MockClock) -> None:
    class AsksNext(Asks):
        async def handle_message(self, context: Context, message: str) -> None:
            following = {"a": "b", "b": "c", "c": "a"}[context.node.name]
            await super().handle_message(context, f"next@{following}")

    async with nodes("a", "b", "c") as zone:
        workers = [AsksNext() for _ in zone]
        for node, worker in zip(zone, workers, strict=True):
            await node.start_worker("next", worker)

        await failure(zone[0], "next")

        assert [type(error) for error in workers[2].errors] == [CallCycle]
        assert trio.current_time() < 1


# --- withdrawal


async def test_a_cancelled_request_that_is_queued_there_is_skipped(autojump_clock: MockClock, two: Two) -> None:
    a, b = two
    sleeper = Sleeper()
    await b.start_worker("sleeper", sleeper)
    await a.send_message("sleeper@b", "5")
    with trio.move_on_after(1):
        await a.send_and_receive("sleeper@b", "1")
    await failure(a, "sleeper@b", "1", timeout=1)

    await trio.sleep(10)

    assert (sleeper.began, sleeper.ended) == (1, 1)
    assert a.statistics().waiting_requests == b.statistics().waiting_requests == 0


async def test_a_cancelled_request_that_runs_there_goes_on_and_its_reply_is_dropped(
    autojump_clock: MockClock, two: Two
) -> None:
    a, b = two
    sleeper = Sleeper()
    await b.start_worker("sleeper", sleeper)
    with trio.move_on_after(1):
        await a.send_and_receive("sleeper@b", "5")

    await trio.sleep(10)

    assert sleeper.ended == 1
    assert a.statistics().dropped_replies + b.statistics().dropped_replies == 1


async def test_a_request_that_is_cancelled_while_it_waits_for_a_place_is_not_sent(
    autojump_clock: MockClock, two: Two
) -> None:
    a, b = two
    sleeper = Sleeper()
    await b.start_worker("sleeper", sleeper, mailbox_capacity=1)
    await a.send_message("sleeper@b", "5")
    await wait_all_tasks_blocked()
    await a.send_message("sleeper@b", "0")
    with trio.move_on_after(1) as scope:
        await a.send_and_receive("sleeper@b", "0")
    assert scope.cancelled_caught

    await trio.sleep(10)

    assert sleeper.ended == 2
    assert await a.send_and_receive("sleeper@b", "0") == "0"


# --- what is left behind


async def test_requests_leave_nothing_behind_on_either_node(autojump_clock: MockClock, two: Two) -> None:
    a, b = two
    await b.start_worker("echo", Echo())
    await b.start_worker("failing", Failing())
    for _ in range(20):
        await a.send_and_receive("echo@b", "hello")
        await failure(a, "failing@b")
        await failure(a, "nobody@b")

    for node in two:
        assert node.statistics().waiting_requests == 0
        assert node.statistics().dropped_replies == 0
        assert node.statistics().dead_letters == 0


async def test_a_node_may_ask_itself_by_its_full_address_and_by_node(autojump_clock: MockClock, two: Two) -> None:
    a, _ = two
    recorder = Recorder()
    await a.start_worker("echo", Echo())
    await a.start_worker("recorder", recorder)

    assert await a.send_and_receive("echo@a", "hello") == "hello"
    await a.send_message("recorder", "hello", node="a")
    await wait_all_tasks_blocked()

    assert recorder.received == ["hello"]


async def test_a_node_that_listens_nowhere_is_reached_by_the_link_it_made(autojump_clock: MockClock) -> None:
    network = FaultyNetwork()
    async with on(network, "a") as a, on(network, "client", listen=None) as client:
        await client.start_worker("echo", Echo())
        await a.start_worker("echo", Echo())
        await client.connect("wss://a:1")

        assert await client.send_and_receive("echo@a", "hello") == "hello"
        assert await a.send_and_receive("echo@client", "hello") == "hello"
