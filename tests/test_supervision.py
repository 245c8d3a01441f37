"""What follows when a handler raises: `Resume`, `Restart`, `Stop`, `Escalate` (L3, L4)."""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar

import pytest
import trio
from trio.testing import MockClock

from autonomy import (
    Backoff,
    Context,
    DeadLetter,
    Escalate,
    Node,
    Restart,
    Resume,
    Stop,
    WorkerFailed,
    WorkerNotFound,
    WorkerStopped,
    open_node,
)
from autonomy._sansio.restarts import RestartWindow

from .workers import Echo, Failing, Recorder


class Counter:
    """Counts up, and raises ValueError when it is told to; notes when each of its objects started and stopped."""

    lives: ClassVar[list[tuple[str, float]]] = []

    def __init__(self) -> None:
        self.count = 0

    async def on_start(self, context: Context) -> None:
        self.lives.append(("start", trio.current_time()))

    async def handle_message(self, context: Context, message: str) -> None:
        if message == "fail":
            raise ValueError("told to")
        if message == "stop":
            context.stop()
        self.count += 1
        await context.reply(str(self.count))

    async def on_stop(self, context: Context) -> None:
        self.lives.append(("stop", trio.current_time()))


@pytest.fixture
def lives() -> list[tuple[str, float]]:
    Counter.lives = []
    return Counter.lives


async def figures(node: Node, name: str) -> tuple[object, object, object, object]:
    [info] = [info for info in await node.list_workers() if str(info) == name]
    return info["state"], info["handled"], info["failed"], info["restarts"]


# ---- Resume, Stop, Escalate ------------------------------------------------------------------------------------------


async def test_a_worker_that_resumes_keeps_its_state_and_handles_the_next_message(
    node: Node, autojump_clock: MockClock
) -> None:
    await node.start_worker("by-default", Counter())
    await node.start_worker("explicitly", Counter(), supervision=Resume())

    for name in ("by-default", "explicitly"):
        await node.send_and_receive(name, "up")
        with pytest.raises(WorkerFailed, match=r"timeout.*ValueError: told to") as caught:
            await node.send_and_receive(name, "fail")

        assert (caught.value.outcome, caught.value.remote_type) == ("handled", "ValueError")
        assert await node.send_and_receive(name, "up") == "2"
        assert await figures(node, name) == ("running", 2, 1, 0)


async def test_a_worker_that_stops_at_a_failure_frees_its_name_and_answers_its_queue(
    node: Node, autojump_clock: MockClock
) -> None:
    async def ask() -> None:
        with pytest.raises(WorkerStopped, match=r"timeout.*ValueError: first") as caught:
            await node.send_and_receive("failing", "second")
        assert caught.value.outcome == "not_sent"

    lost: list[DeadLetter] = []
    node.on_dead_letter = lost.append
    await node.start_worker("failing", Failing(), supervision=Stop())

    await node.send_message("failing", "first")
    node.send_nowait("failing", "third")
    await ask()

    assert [letter.message for letter in lost] == ["third"]
    with pytest.raises(WorkerNotFound):
        await node.send_message("failing", "fourth")


async def test_escalate_ends_the_node_with_the_bare_exception(autojump_clock: MockClock) -> None:
    async def program() -> None:
        async with open_node(stall_warning=None) as node:
            await node.start_worker("failing", Failing(), supervision=Escalate())
            await node.send_message("failing", "boom")
            await trio.sleep_forever()

    with pytest.raises(ValueError, match=r"^boom$") as caught:
        await program()

    assert type(caught.value) is ValueError


async def test_escalate_ends_the_node_with_the_exception_also_when_the_program_awaits_the_answer(
    autojump_clock: MockClock,
) -> None:
    async def program() -> None:
        async with open_node(stall_warning=None) as node:
            await node.start_worker("failing", Failing(), supervision=Escalate())
            await node.send_and_receive("failing", "boom")

    with pytest.raises(ValueError, match=r"^boom$"):
        await program()


async def test_escalate_lets_on_stop_run_and_ends_no_other_node(autojump_clock: MockClock) -> None:
    class Last(Failing):
        stopped = False

        async def on_stop(self, context: Context) -> None:
            await trio.sleep(0.5)
            self.stopped = True

    last, bystander = Last(), Last()

    async def program() -> None:
        async with open_node(stall_warning=None) as node:
            await node.start_worker("bystander", bystander)
            await node.start_worker("last", last, supervision=Escalate())
            await node.send_message("last", "boom")
            await trio.sleep_forever()

    async with open_node("other", stall_warning=None) as other:
        await other.start_worker("echo", Echo())
        with pytest.raises(ValueError, match="boom"):
            await program()
        assert await other.send_and_receive("echo", "unharmed") == "unharmed"

    assert last.stopped
    assert bystander.stopped


# ---- Restart ---------------------------------------------------------------------------------------------------------


async def test_a_restarted_worker_is_a_fresh_object_behind_the_same_mailbox(
    node: Node, autojump_clock: MockClock, lives: list[tuple[str, float]]
) -> None:
    await node.start_worker("counter", Counter, supervision=Restart())
    assert await node.send_and_receive("counter", "up") == "1"

    await node.send_message("counter", "fail")
    await node.send_message("counter", "up")
    answer = await node.send_and_receive("counter", "up")

    assert answer == "2"
    assert [what for what, _ in lives] == ["start", "stop", "start"]
    assert await figures(node, "counter") == ("running", 3, 1, 1)


async def test_the_message_that_failed_is_not_tried_again(node: Node, autojump_clock: MockClock) -> None:
    class Picky(Recorder):
        seen: ClassVar[list[str]] = []

        async def handle_message(self, context: Context, message: str) -> None:
            self.seen.append(message)
            if message == "bad":
                raise ValueError(message)

    await node.start_worker("picky", Picky, supervision=Restart())

    for message in ("good", "bad", "better"):
        await node.send_message("picky", message)
    await trio.sleep(1)

    assert Picky.seen == ["good", "bad", "better"]


async def test_restarts_wait_twice_as_long_each_time_up_to_the_longest(
    node: Node, autojump_clock: MockClock, lives: list[tuple[str, float]]
) -> None:
    begun = trio.current_time()
    restart = Restart(max_restarts=6, within=1000, backoff=Backoff(1, 10))

    await node.start_worker("counter", Counter, supervision=restart)
    for _ in range(6):
        await node.send_message("counter", "fail")
        await trio.sleep(50)

    waits = [
        later - earlier
        for (what, earlier), (_, later) in pairwise(lives)
        if what == "stop"  # then it is started again
    ]
    assert waits == [1, 2, 4, 8, 10, 10]
    assert lives[0] == ("start", begun)


async def test_failures_that_lie_farther_apart_than_the_window_are_no_crash_loop(
    node: Node, autojump_clock: MockClock, lives: list[tuple[str, float]]
) -> None:
    restart = Restart(max_restarts=1, within=30, backoff=Backoff(1, 10))
    await node.start_worker("counter", Counter, supervision=restart)

    for _ in range(10):
        await node.send_message("counter", "fail")
        await trio.sleep(30)

    assert await figures(node, "counter") == ("running", 0, 10, 10)
    assert [b - a for (what, a), (_, b) in pairwise(lives) if what == "stop"] == [1] * 10


async def test_too_many_restarts_stop_the_worker_and_callers_and_watchers_get_the_cause(
    node: Node, autojump_clock: MockClock
) -> None:
    async def ask() -> None:
        with pytest.raises(WorkerStopped, match=r"timeout.*more than 3 restarts within 30 s.*ValueError: told to"):
            await node.send_and_receive("counter", "up")

    await node.start_worker("counter", Counter, supervision=Restart())
    await node.start_worker("echo", Echo())

    async with node.watch("counter") as watch, trio.open_nursery() as nursery:
        for _ in range(4):
            node.send_nowait("counter", "fail")
        nursery.start_soon(ask)
        down = await watch.down()

    assert down.name == "counter@n"
    assert down.reason == "restart limit reached: more than 3 restarts within 30 s; last failure: ValueError: told to"
    assert [str(info) for info in await node.list_workers()] == ["echo"]
    assert await node.send_and_receive("echo", "the node is up") == "the node is up"


async def test_a_crash_loop_in_on_start_counts_as_restarts(node: Node, autojump_clock: MockClock) -> None:
    class Flaky(Echo):
        starts = 0

        async def on_start(self, context: Context) -> None:
            Flaky.starts += 1
            if Flaky.starts > 1:
                raise ValueError(f"start {Flaky.starts}")

        async def handle_message(self, context: Context, message: str) -> None:
            raise ValueError(message)

    await node.start_worker("flaky", Flaky, supervision=Restart(max_restarts=2))
    async with node.watch("flaky") as watch:
        await node.send_message("flaky", "boom")
        down = await watch.down()

    assert down.reason.endswith("last failure: ValueError: start 3")
    assert Flaky.starts == 3


async def test_a_crash_loop_in_the_factory_counts_as_restarts(node: Node, autojump_clock: MockClock) -> None:
    made: list[Failing] = []

    def make() -> Failing:
        if made:
            raise OSError("nothing to make it from")
        made.append(Failing())
        return made[0]

    await node.start_worker("failing", make, supervision=Restart(max_restarts=1))
    async with node.watch("failing") as watch:
        await node.send_message("failing", "boom")
        down = await watch.down()

    assert down.reason.endswith("last failure: OSError: nothing to make it from")


async def test_messages_wait_while_a_worker_is_restarted(node: Node, autojump_clock: MockClock) -> None:
    restart = Restart(backoff=Backoff(5, 5))
    await node.start_worker("counter", Counter, supervision=restart)
    await node.send_message("counter", "fail")
    await trio.sleep(1)
    assert await figures(node, "counter") == ("restarting", 0, 1, 0)

    answer = await node.send_and_receive("counter", "up")

    assert answer == "1"
    assert trio.current_time() == 5


async def test_stopping_a_worker_that_waits_for_its_restart_takes_no_time(
    node: Node, autojump_clock: MockClock
) -> None:
    await node.start_worker("counter", Counter, supervision=Restart(backoff=Backoff(100, 100)))
    await node.send_message("counter", "fail")
    await trio.sleep(1)

    await node.stop_worker("counter")

    assert trio.current_time() == 1
    assert await node.list_workers() == []


async def test_a_worker_that_stops_itself_is_not_restarted(
    node: Node, autojump_clock: MockClock, lives: list[tuple[str, float]]
) -> None:
    await node.start_worker("counter", Counter, supervision=Restart())

    assert await node.send_and_receive("counter", "stop") == "1"
    await trio.sleep(100)

    assert [what for what, _ in lives] == ["start", "stop"]
    assert await node.list_workers() == []


async def test_a_thread_handler_that_raises_is_supervised_alike() -> None:  # a jumping clock would not wait for threads
    class Plain:
        lives = 0
        lives_again = trio.Event()

        async def on_start(self, context: Context) -> None:
            Plain.lives += 1
            if Plain.lives == 2:
                self.lives_again.set()

        def handle_message(self, context: Context, message: str) -> None:
            raise ValueError(message)

    async with open_node(stall_warning=None) as node:
        await node.start_worker("plain", Plain, supervision=Restart(backoff=Backoff(0, 0)))

        with pytest.raises(WorkerFailed, match="ValueError: boom"):
            await node.send_and_receive("plain", "boom")
        await Plain.lives_again.wait()

        assert await figures(node, "plain") == ("running", 0, 1, 1)


# ---- what is refused -------------------------------------------------------------------------------------------------


async def test_restart_needs_a_class_or_factory_and_the_others_an_object(node: Node, autojump_clock: MockClock) -> None:
    with pytest.raises(TypeError, match="pass a class or a factory such as Echo"):
        await node.start_worker("echo", Echo(), supervision=Restart())
    for policy in (Resume(), Stop(), Escalate()):
        with pytest.raises(TypeError, match=r"is the class Echo, not an object of it\. Pass Echo\(\)"):
            await node.start_worker("echo", Echo, supervision=policy)

    assert await node.list_workers() == []


async def test_a_class_in_place_of_a_policy_is_told_apart(node: Node, autojump_clock: MockClock) -> None:
    for policy in (Resume, Restart, Stop, Escalate):
        with pytest.raises(TypeError, match=rf"Write {policy.__name__}\(\)"):
            await node.start_worker("echo", Echo(), supervision=policy)  # type: ignore[arg-type]  # the mistake


async def test_a_factory_must_make_workers(node: Node, autojump_clock: MockClock) -> None:
    with pytest.raises(TypeError, match="has no method handle_message"):
        await node.start_worker("none", lambda: object(), supervision=Restart())

    assert await node.list_workers() == []


# ---- a planted bug ---------------------------------------------------------------------------------------------------


async def test_a_window_that_never_closes_is_caught(
    node: Node, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RestartWindow, "allow", lambda self, now: 1)

    with pytest.RaisesGroup(pytest.fail.Exception, flatten_subgroups=True):  # the question was answered after all
        await test_too_many_restarts_stop_the_worker_and_callers_and_watchers_get_the_cause(node, autojump_clock)
