"""Nodes as such: their names, their figures, what they lost, and that several of them keep apart."""

from __future__ import annotations

import re

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from autonomy import (
    Context,
    DeadLetter,
    Node,
    NodeDown,
    Unreachable,
    WorkerNotFound,
    WorkerStopped,
    open_node,
)

from .workers import Echo, Recorder, Sleeper


class Introducing:
    """Replies with the names it knows: the node's, its own, the sender's."""

    async def handle_message(self, context: Context, message: str) -> None:
        await context.reply(f"{context.node.name} {context.name} {context.sender}")


class Asking:
    """Sends the message to the worker it was made for, and replies with that one's reply."""

    def __init__(self, whom: str) -> None:
        self.whom = whom

    async def handle_message(self, context: Context, message: str) -> None:
        await context.reply(await context.send_and_receive(self.whom, message))


# ---- N2: names


async def test_a_node_has_the_name_that_it_was_given(node: Node, autojump_clock: MockClock) -> None:
    assert node.name == "n"
    assert node.short_name == "n"


async def test_a_node_without_a_name_gets_a_new_one(autojump_clock: MockClock) -> None:
    async with open_node(stall_warning=None) as one, open_node(stall_warning=None) as other:
        names = {one.name, other.name}

    assert len(names) == 2
    assert all(re.fullmatch("[A-Za-z0-9_-]+", name) for name in names)


async def test_each_start_of_a_node_has_an_incarnation_of_its_own(autojump_clock: MockClock) -> None:
    incarnations = set()
    for _ in range(3):
        async with open_node("n", stall_warning=None) as node:
            incarnations.add(node.incarnation)

    assert len(incarnations) == 3


async def test_the_incarnation_comes_from_the_caller_where_he_wants_the_same_run_again(
    autojump_clock: MockClock,
) -> None:
    async with open_node("n", stall_warning=None, new_incarnation=lambda: "first") as node:
        assert node.incarnation == "first"


async def test_a_node_without_a_certificate_is_identified_by_its_incarnation(
    node: Node, autojump_clock: MockClock
) -> None:
    assert await node.identifier() == f"local:{node.incarnation}"


async def test_workers_see_the_same_full_names_as_everybody_else(autojump_clock: MockClock) -> None:
    async with open_node("cluster-zone-short", stall_warning=None) as node:
        await node.start_worker("inner", Introducing())
        await node.start_worker("outer", Asking("inner"))

        of_program = await node.send_and_receive("inner", "who?")
        of_worker = await node.send_and_receive("outer@cluster-zone-short", "who?")

    assert of_program == "cluster-zone-short inner @cluster-zone-short"
    assert of_worker == "cluster-zone-short inner outer@cluster-zone-short"


@pytest.mark.parametrize("name", ["", "a b", "a@b", "a.b", "ü", "a\n", "x" * 256])
def test_a_name_that_cannot_be_is_refused_before_anything_opens(name: str) -> None:
    with pytest.raises(ValueError, match=r"node name .* is not allowed: write 1 to 255 of the characters"):
        open_node(name)


@pytest.mark.parametrize("name", [7, b"n", ["n"]])
def test_a_name_that_is_no_text_is_refused_before_anything_opens(name: object) -> None:
    with pytest.raises(TypeError, match="node name must be a str"):
        open_node(name)  # type: ignore[arg-type]  # that is the point


def test_a_name_may_be_255_characters_long() -> None:
    async def main() -> None:
        async with open_node("x" * 255, stall_warning=None) as node:
            assert node.name == "x" * 255

    trio.run(main)


# ---- statistics


async def test_a_new_node_has_nothing_in_its_statistics(node: Node, autojump_clock: MockClock) -> None:
    figures = node.statistics()

    assert (figures.name, figures.incarnation) == ("n", node.incarnation)
    assert figures.workers == figures.mailboxes == figures.queued == figures.waiting_requests == 0
    assert figures.timers == figures.dead_letters == figures.dropped_replies == 0


async def test_statistics_count_what_is_there_at_this_moment(node: Node, autojump_clock: MockClock) -> None:
    await node.start_worker("sleeper", Sleeper())
    async with await node.create_mailbox("box"), trio.open_nursery() as nursery:
        nursery.start_soon(node.send_and_receive, "sleeper", "5")
        await wait_all_tasks_blocked()
        node.send_nowait("sleeper", "0")
        node.send_nowait("sleeper", "0")
        node.send_after(60, "sleeper", "0")

        figures = node.statistics()

    assert figures.workers == 1
    assert figures.mailboxes == 1
    assert figures.queued == 2
    assert figures.waiting_requests == 1
    assert figures.timers == 1


async def test_statistics_are_a_snapshot_that_does_not_change(node: Node, autojump_clock: MockClock) -> None:
    before = node.statistics()

    await node.start_worker("echo", Echo())

    assert before.workers == 0
    with pytest.raises(AttributeError):
        before.workers = 1  # type: ignore[misc]  # that is the point


async def test_statistics_return_to_nothing_when_all_is_done(node: Node, autojump_clock: MockClock) -> None:
    await node.start_worker("sleeper", Sleeper())
    await node.send_and_receive("sleeper", "1")
    timer = node.send_after(60, "sleeper", "0")
    async with await node.create_mailbox():
        pass

    timer.cancel()
    await node.stop_worker("sleeper")

    figures = node.statistics()
    assert figures.workers == figures.mailboxes == figures.queued == figures.waiting_requests == figures.timers == 0


async def test_dropped_replies_are_counted(node: Node, autojump_clock: MockClock) -> None:
    await node.start_worker("echo", Echo())

    await node.send_message("echo", "nobody waits for the reply to this")
    await wait_all_tasks_blocked()

    assert node.statistics().dropped_replies == 1


# ---- dead letters


async def test_a_lost_message_is_handed_to_the_hook_and_counted(node: Node, autojump_clock: MockClock) -> None:
    lost: list[DeadLetter] = []
    node.on_dead_letter = lost.append
    await node.start_worker("sleeper", Sleeper())
    node.send_nowait("sleeper", "60")
    await wait_all_tasks_blocked()

    node.send_nowait("sleeper", "never handled")
    await node.stop_worker("sleeper", timeout=1)

    assert [(letter.to, letter.sender, letter.message) for letter in lost] == [
        ("sleeper@n", "@n", "60"),
        ("sleeper@n", "@n", "never handled"),
    ]
    assert all(letter.reason for letter in lost)
    assert node.statistics().dead_letters == 2


async def test_a_request_is_no_dead_letter_for_its_caller_gets_an_error(node: Node, autojump_clock: MockClock) -> None:
    lost: list[DeadLetter] = []
    node.on_dead_letter = lost.append
    await node.start_worker("sleeper", Sleeper())
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def _() -> None:
            with pytest.raises(WorkerStopped):
                await node.send_and_receive("sleeper", "60")

        await wait_all_tasks_blocked()
        await node.stop_worker("sleeper", timeout=1)

    assert lost == []
    assert node.statistics().dead_letters == 0


async def test_a_lost_message_is_logged_without_its_text(
    node: Node, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    node.send_after(1, "nobody", "a secret")

    await trio.sleep(2)

    (record,) = [record for record in caplog.records if "message lost" in record.getMessage()]
    assert record.levelname == "WARNING"
    assert "nobody@n" in record.getMessage()
    assert "a secret" not in record.getMessage()


async def test_a_hook_that_raises_is_logged_and_goes_no_further(
    node: Node, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    def hook(letter: DeadLetter) -> None:
        raise ValueError("the hook is broken")

    node.on_dead_letter = hook
    await node.start_worker("echo", Echo())

    node.send_after(1, "nobody", "lost")
    await trio.sleep(2)

    assert "on_dead_letter raised" in caplog.text
    assert "the hook is broken" in caplog.text
    assert await node.send_and_receive("echo", "still here") == "still here"


async def test_the_hook_can_be_taken_away_again(node: Node, autojump_clock: MockClock) -> None:
    lost: list[DeadLetter] = []
    node.on_dead_letter = lost.append
    assert node.on_dead_letter is not None

    node.on_dead_letter = None
    node.send_after(1, "nobody", "lost")
    await trio.sleep(2)

    assert lost == []
    assert node.on_dead_letter is None


async def test_a_hook_that_cannot_be_called_is_refused(node: Node, autojump_clock: MockClock) -> None:
    with pytest.raises(TypeError, match="on_dead_letter must be a function of one DeadLetter"):
        node.on_dead_letter = "print"  # type: ignore[assignment]  # that is the point

    assert node.on_dead_letter is None


# ---- O2: several nodes in one process


async def test_nodes_in_one_process_do_not_see_each_other(autojump_clock: MockClock) -> None:
    async with open_node("a", stall_warning=None) as a, open_node("b", stall_warning=None) as b:
        await a.start_worker("echo", Echo())

        with pytest.raises(WorkerNotFound):
            await b.send_and_receive("echo", "hello")
        with pytest.raises(Unreachable):
            await b.send_and_receive("echo@a", "hello")

        assert await b.list_workers() == []
        assert b.statistics().workers == 0


async def test_nodes_in_one_process_may_have_workers_of_the_same_name(autojump_clock: MockClock) -> None:
    of_a, of_b = Recorder(), Recorder()
    async with open_node("a", stall_warning=None) as a, open_node("b", stall_warning=None) as b:
        await a.start_worker("recorder", of_a)
        await b.start_worker("recorder", of_b)

        await a.send_message("recorder", "for a")
        await b.send_message("recorder@b", "for b")

    assert of_a.received == ["for a"]
    assert of_b.received == ["for b"]


async def test_nodes_in_one_process_may_even_have_the_same_name(autojump_clock: MockClock) -> None:
    async with open_node("n", stall_warning=None) as one, open_node("n", stall_warning=None) as other:
        await one.start_worker("echo", Echo())

        with pytest.raises(WorkerNotFound):
            await other.send_and_receive("echo@n", "hello")


async def test_a_node_that_ends_leaves_another_one_alone(autojump_clock: MockClock) -> None:
    async with open_node("a", stall_warning=None) as a:
        await a.start_worker("echo", Echo())
        async with open_node("b", stall_warning=None) as b:
            await b.start_worker("echo", Echo())

        assert await a.send_and_receive("echo", "still here") == "still here"


async def test_an_object_runs_as_one_worker_across_the_nodes_of_a_process(
    autojump_clock: MockClock,
) -> None:
    echo = Echo()
    async with open_node("a", stall_warning=None) as a, open_node("b", stall_warning=None) as b:
        await a.start_worker("echo", echo)

        with pytest.raises(ValueError, match="runs as a worker already"):
            await b.start_worker("echo", echo)


class Calling:
    """Sends the message to ``echo`` on another node of this process, and notes what came of it."""

    def __init__(self, other: Node) -> None:
        self.other = other
        self.results: list[object] = []

    async def handle_message(self, context: Context, message: str) -> None:
        try:
            self.results.append(await self.other.send_and_receive("echo", message))
        except Exception as error:  # noqa: BLE001  # whatever it is, the test looks at it
            self.results.append(error)


async def test_a_worker_is_the_program_for_every_node_but_its_own(autojump_clock: MockClock) -> None:
    async with open_node("a", stall_warning=None) as a:
        async with open_node("b", stall_warning=None) as b:
            calling = Calling(b)
            await a.start_worker("calling", calling)
            await b.start_worker("echo", Echo())
            await a.send_message("calling", "while it is up")
            await wait_all_tasks_blocked()

        await a.send_message("calling", "when it is down")
        await wait_all_tasks_blocked()

    assert calling.results[0] == "while it is up"
    assert isinstance(calling.results[1], NodeDown)


class Hosting:
    """Opens a node of its own for each message, stops it, and notes whether it had ended by then."""

    def __init__(self) -> None:
        self.ended: list[str] = []

    async def handle_message(self, context: Context, message: str) -> None:
        async with open_node("inner", stall_warning=None) as inner:
            sleeper = Sleeper()
            await inner.start_worker("sleeper", sleeper)
            await inner.send_message("sleeper", "1")
            await inner.stop()
            self.ended.append(f"{sleeper.ended} handled")


async def test_a_worker_may_open_a_node_and_is_the_program_of_that(node: Node, autojump_clock: MockClock) -> None:
    hosting = Hosting()
    await node.start_worker("hosting", hosting)

    await node.send_message("hosting", "go")
    await trio.sleep(5)

    assert hosting.ended == ["1 handled"]
