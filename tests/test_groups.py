"""Groups: who is restarted with whom, in which order, how often, and when a group gives up (L4)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Sequence

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from autonomy import ChildSpec, Context, Node, NoReply, WorkerExists, WorkerNotFound, WorkerStopped
from autonomy._sansio.restarts import ChildRestart, Strategy

from .workers import Echo, Recorder


class Member:
    """Notes in `log` when it starts and stops; fails or stops itself when told to."""

    def __init__(self, log: list[str], fails_to_start: Callable[[], bool] = lambda: False) -> None:
        self.log = log
        self.fails_to_start = fails_to_start

    async def on_start(self, context: Context) -> None:
        if self.fails_to_start():
            self.log.append(f"!{context.name}")
            raise OSError("cannot start")
        self.log.append(f"+{context.name}")

    async def handle_message(self, context: Context, message: str) -> None:
        self.log.append(f"{context.name} {message}")
        if message == "fail":
            raise ValueError("told to")
        if message == "stop":
            context.stop()
        if message.isdigit():
            await trio.sleep(float(message))
        await context.reply(message)

    async def on_stop(self, context: Context) -> None:
        self.log.append(f"-{context.name}")


def specs(log: list[str], restart: ChildRestart = "permanent") -> list[ChildSpec]:
    return [ChildSpec(name, lambda: Member(log), restart) for name in ("a", "b", "c")]


async def names(node: Node) -> list[str]:
    return [str(info) for info in await node.list_workers()]


@pytest.fixture(autouse=True)
def quiet() -> Generator[None]:
    logging.getLogger("autonomy").setLevel(logging.CRITICAL)
    yield
    logging.getLogger("autonomy").setLevel(logging.NOTSET)


# ---- start and stop --------------------------------------------------------------------------------------------------


async def test_members_start_in_order_and_stop_in_reverse(node: Node, autojump_clock: MockClock) -> None:
    log: list[str] = []
    await node.start_group("group", specs(log))
    assert log == ["+a", "+b", "+c"]
    assert await names(node) == ["a", "b", "c"]

    log.clear()
    await node.stop_worker("group")

    assert log == ["-c", "-b", "-a"]
    assert await names(node) == []
    await node.start_worker("group", Echo())


async def test_when_a_member_cannot_start_those_before_it_stop_and_the_caller_gets_it(
    node: Node, autojump_clock: MockClock
) -> None:
    log: list[str] = []
    children = [*specs(log), ChildSpec("d", lambda: Member(log, lambda: True)), ChildSpec("e", lambda: Member(log))]

    with pytest.raises(OSError, match="cannot start"):
        await node.start_group("group", children)

    assert log == ["+a", "+b", "+c", "!d", "-c", "-b", "-a"]
    assert await names(node) == []
    await node.start_group("group", specs(log))


async def test_a_group_whose_name_or_members_are_taken_starts_nothing(node: Node, autojump_clock: MockClock) -> None:
    log: list[str] = []
    await node.start_worker("b", Echo())

    with pytest.raises(WorkerExists):
        await node.start_group("group", specs(log))
    with pytest.raises(WorkerExists):
        await node.start_group("b", [ChildSpec("x", lambda: Member(log))])

    assert log == []
    assert await names(node) == ["b"]


async def test_a_group_cannot_be_sent_messages(node: Node, autojump_clock: MockClock) -> None:
    await node.start_group("group", specs([]))

    with pytest.raises(WorkerNotFound, match="it is a group; address its workers"):
        await node.send_message("group", "hello")


async def test_a_temporary_member_may_be_an_object_others_need_a_factory(node: Node, autojump_clock: MockClock) -> None:
    await node.start_group("group", [ChildSpec("echo", Echo(), "temporary")])
    assert await node.send_and_receive("echo", "hello") == "hello"

    for restart in ("permanent", "transient"):
        with pytest.raises(TypeError, match="class or a factory"):
            ChildSpec("x", Echo(), restart)


# ---- who is restarted ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("strategy", "after"),
    [
        ("one_for_one", ["-b", "+b"]),
        ("rest_for_one", ["-b", "-c", "+b", "+c"]),
        ("one_for_all", ["-b", "-c", "-a", "+a", "+b", "+c"]),
    ],
)
async def test_the_strategy_says_who_is_restarted_with_the_one_that_failed(
    node: Node, autojump_clock: MockClock, strategy: Strategy, after: list[str]
) -> None:
    log: list[str] = []
    await node.start_group("group", specs(log), strategy=strategy)

    log.clear()
    await node.send_message("b", "fail")
    await wait_all_tasks_blocked()

    assert log == ["b fail", *after]


@pytest.mark.parametrize(
    ("restart", "ending", "expected"),
    [
        ("permanent", "fail", "restarted"),
        ("permanent", "stop", "restarted"),
        ("transient", "fail", "restarted"),
        ("transient", "stop", "gone"),
        ("temporary", "fail", "gone"),
        ("temporary", "stop", "gone"),
    ],
)
@pytest.mark.parametrize("strategy", ["one_for_one", "one_for_all", "rest_for_one"])
async def test_the_kind_of_child_says_whether_it_is_restarted(
    node: Node, autojump_clock: MockClock, strategy: Strategy, restart: ChildRestart, ending: str, expected: str
) -> None:
    log: list[str] = []
    await node.start_group("group", specs(log, restart), strategy=strategy)

    log.clear()
    await node.send_message("b", ending)
    await wait_all_tasks_blocked()

    assert ("+b" in log) == (expected == "restarted")
    assert ("b" in await names(node)) == (expected == "restarted")
    assert "a" in await names(node)


async def test_temporary_members_that_are_taken_along_do_not_come_back(node: Node, autojump_clock: MockClock) -> None:
    log: list[str] = []
    children = [ChildSpec("a", lambda: Member(log), "temporary"), ChildSpec("b", lambda: Member(log))]
    await node.start_group("group", children, strategy="one_for_all")

    log.clear()
    await node.send_message("b", "fail")
    await wait_all_tasks_blocked()

    assert log == ["b fail", "-b", "-a", "+b"]
    assert await names(node) == ["b"]


async def test_a_member_stopped_by_the_user_is_not_restarted(node: Node, autojump_clock: MockClock) -> None:
    log: list[str] = []
    await node.start_group("group", specs(log), strategy="one_for_all")

    await node.stop_worker("b")
    await node.send_message("a", "fail")
    await wait_all_tasks_blocked()

    assert await names(node) == ["a", "c"]
    assert log == ["+a", "+b", "+c", "-b", "a fail", "-a", "-c", "+a", "+c"]


async def test_a_group_without_members_ends(node: Node, autojump_clock: MockClock) -> None:
    await node.start_group("group", specs([]))

    async with node.watch("group") as watch:
        for name in ("a", "b", "c"):
            await node.stop_worker(name)
        down = await watch.down()

    assert down.reason == "stopped"
    await node.start_worker("group", Echo())


async def test_members_keep_their_mailboxes_and_finish_the_message_at_hand(
    node: Node, autojump_clock: MockClock
) -> None:
    log: list[str] = []
    await node.start_group("group", specs(log), strategy="one_for_all")
    answers: list[str] = []

    async def ask(message: str) -> None:
        answers.append(await node.send_and_receive("c", message))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, "3")
        await trio.sleep(1)
        nursery.start_soon(ask, "after")
        await node.send_message("a", "fail")

    assert answers == ["3", "after"]
    assert log[3:] == ["c 3", "a fail", "-a", "-c", "-b", "+a", "+b", "+c", "c after"]
    assert trio.current_time() == 3


async def test_a_member_that_will_not_rest_is_cancelled_after_five_seconds(
    node: Node, autojump_clock: MockClock
) -> None:
    log: list[str] = []
    await node.start_group("group", specs(log), strategy="one_for_all")

    async def ask() -> None:
        with pytest.raises(WorkerStopped) as caught:
            await node.send_and_receive("c", "100", timeout=200)
        errors.append(caught.value)

    errors: list[NoReply] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await trio.sleep(1)
        await node.send_message("a", "fail")

    assert [(error.outcome, error.elapsed) for error in errors] == [("maybe_handled", 6)]
    assert await node.send_and_receive("c", "well") == "well"


# ---- when it goes on -------------------------------------------------------------------------------------------------


async def test_a_second_failure_while_a_group_restarts_is_part_of_the_same_restart(
    node: Node, autojump_clock: MockClock
) -> None:
    log: list[str] = []
    await node.start_group("group", specs(log), strategy="one_for_all", max_restarts=1)
    await node.send_message("c", "3")
    await node.send_message("b", "2")
    await wait_all_tasks_blocked()

    log.clear()
    await node.send_message("a", "fail")  # c is waited for, and b goes on until it is its turn
    await node.send_message("b", "fail")
    await trio.sleep(4)

    assert log == ["a fail", "-a", "b fail", "-b", "-c", "+a", "+b", "+c"]
    assert await names(node) == ["a", "b", "c"]


async def test_two_members_that_fail_at_once_are_one_restart_of_all(node: Node, autojump_clock: MockClock) -> None:
    log: list[str] = []
    await node.start_group("group", specs(log), strategy="one_for_all", max_restarts=1)

    node.send_nowait("a", "fail")
    node.send_nowait("b", "fail")
    await wait_all_tasks_blocked()

    assert [event for event in log if event.startswith("+")] == ["+a", "+b", "+c"] * 2
    assert await names(node) == ["a", "b", "c"]


async def test_a_member_that_cannot_start_again_counts_until_the_limit(node: Node, autojump_clock: MockClock) -> None:
    log: list[str] = []
    starts = 0

    def fails_to_start() -> bool:
        nonlocal starts
        starts += 1
        return starts > 1

    children = [ChildSpec("a", lambda: Member(log, fails_to_start)), ChildSpec("b", lambda: Member(log))]
    await node.start_group("group", children, max_restarts=3)
    async with node.watch("group") as watch:
        await node.send_message("a", "fail")
        down = await watch.down()

    assert starts == 4
    assert down.reason.endswith("more than 3 restarts within 30 s; last failure: OSError: cannot start")
    assert log == ["+a", "+b", "a fail", "-a", "!a", "!a", "!a", "-b"]


async def test_members_after_one_that_cannot_start_again_wait_for_it(node: Node, autojump_clock: MockClock) -> None:
    log: list[str] = []
    starts = 0

    def fails_to_start() -> bool:
        nonlocal starts
        starts += 1
        return starts in (2, 3)

    children = [ChildSpec("a", lambda: Member(log, fails_to_start)), ChildSpec("b", lambda: Member(log))]
    await node.start_group("group", children, strategy="rest_for_one")

    log.clear()
    await node.send_message("a", "fail")
    await wait_all_tasks_blocked()

    assert log == ["a fail", "-a", "-b", "!a", "!a", "+a", "+b"]


async def test_restarts_farther_apart_than_the_window_do_not_add_up(node: Node, autojump_clock: MockClock) -> None:
    await node.start_group("group", specs([]), max_restarts=1, within=30)

    for _ in range(5):
        await node.send_message("a", "fail")
        await trio.sleep(30)

    assert await names(node) == ["a", "b", "c"]


async def test_too_many_restarts_stop_the_group_and_its_callers_get_the_cause(
    node: Node, autojump_clock: MockClock
) -> None:
    log: list[str] = []
    await node.start_group("group", specs(log), max_restarts=1)
    await node.send_message("a", "fail")
    await wait_all_tasks_blocked()

    async def ask() -> None:
        with pytest.raises(WorkerStopped, match=r"timeout.*more than 1 restarts within 30 s.*ValueError: told to"):
            await node.send_and_receive("c", "waits")

    log.clear()
    async with node.watch("group") as of_group, node.watch("b") as of_b, trio.open_nursery() as nursery:
        await node.send_message("c", "2")
        await node.send_message("a", "fail")
        await trio.sleep(1)
        nursery.start_soon(ask)
        downs = [await of_group.down(), await of_b.down()]

    reason = "restart limit reached: more than 1 restarts within 30 s; last failure: ValueError: told to"
    assert [down.reason for down in downs] == [reason, reason]
    assert [event for event in log if event.startswith("-")] == ["-a", "-c", "-b"]
    assert await names(node) == []


async def test_stopping_a_group_while_it_restarts_starts_nobody_again(node: Node, autojump_clock: MockClock) -> None:
    for _ in range(20):  # in whatever order the tasks run
        log: list[str] = []
        await node.start_group("group", specs(log), strategy="one_for_all")
        await node.send_message("b", "3")
        await wait_all_tasks_blocked()
        await node.send_message("a", "fail")
        await trio.sleep(1)
        begun = trio.current_time()

        await node.stop_worker("group")

        assert trio.current_time() - begun == 2
        assert await names(node) == []
        assert sorted(event for event in log if event[0] in "+-") == ["+a", "+b", "+c", "-a", "-b", "-c"]


async def test_stopping_one_member_while_the_group_restarts_brings_the_others_back(
    node: Node, autojump_clock: MockClock
) -> None:
    log: list[str] = []
    await node.start_group("group", specs(log), strategy="one_for_all")
    await node.send_message("a", "3")
    await wait_all_tasks_blocked()
    await node.send_message("b", "fail")
    await trio.sleep(1)

    for name in ("c", "b"):  # one at rest because of the other, and the one that failed
        await node.stop_worker(name)
    await trio.sleep(5)

    assert trio.current_time() == 6
    assert await names(node) == ["a"]


@pytest.mark.parametrize("children", [[], [Recorder], "ab", None])
async def test_children_must_be_specifications(
    node: Node, autojump_clock: MockClock, children: Sequence[ChildSpec]
) -> None:
    with pytest.raises(TypeError, match="must be a list of ChildSpec"):
        await node.start_group("group", children)
