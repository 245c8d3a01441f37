"""A worker that ends badly ends alone: D7, L5, L7."""

from __future__ import annotations

import sys

import pytest
import trio.testing
from trio.testing import MockClock

from autonomy import Context, Node, open_node
from tests.test_closing_cut_short import run_node
from tests.workers import Echo


async def fail_when_cancelled() -> None:
    """Wait in two tasks, one of which fails when both are cancelled."""

    async def fail() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("the cleanup failed")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        nursery.start_soon(fail)


class Untidy(Echo):
    async def handle_message(self, context: Context, message: str) -> None:
        await fail_when_cancelled()


class UntidyAtTheEnd(Echo):
    async def on_stop(self, context: Context) -> None:
        await fail_when_cancelled()


@pytest.mark.parametrize("kind", [Untidy, UntidyAtTheEnd])
async def test_a_worker_whose_cleanup_fails_while_it_is_stopped_ends_alone(
    node: Node, autojump_clock: MockClock, kind: type[Echo]
) -> None:
    worker = kind()
    await node.start_worker("untidy", worker)
    await node.start_worker("echo", Echo())
    if kind is Untidy:
        await node.send_message("untidy", "hello")
        await trio.sleep(1)

    await node.stop_worker("untidy", timeout=1)

    assert await node.send_and_receive("echo", "still here") == "still here"
    await node.start_worker("again", worker)  # it is free


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)])
async def test_a_worker_whose_on_stop_exits_leaves_nothing_behind(
    error: BaseException, autojump_clock: MockClock
) -> None:
    class Exiting(Echo):
        exits = True

        async def on_stop(self, context: Context) -> None:
            if self.exits:
                raise error

    async def body(node: Node) -> None:
        await node.start_worker("exiting", worker)
        await node.stop_worker("exiting")
        await trio.sleep_forever()

    worker = Exiting()
    with pytest.raises(type(error)):
        await run_node(body)

    worker.exits = False
    async with open_node("n", stall_warning=None) as node:
        await node.start_worker("again", worker)  # it is free


async def test_a_stop_whose_caller_gives_up_is_bounded_all_the_same(node: Node, autojump_clock: MockClock) -> None:
    class Endless:
        async def handle_message(self, context: Context, message: str) -> None:
            await trio.sleep_forever()

    await node.start_worker("endless", Endless())
    await node.send_message("endless", "hello")
    await trio.sleep(1)

    with trio.move_on_after(1):
        await node.stop_worker("endless", timeout=2)
    await trio.sleep(1.5)

    assert await node.list_workers() == []


async def test_a_kept_context_is_known_as_kept_whatever_watches_the_interpreter(
    node: Node, autojump_clock: MockClock
) -> None:
    class Keeper:
        def __init__(self) -> None:
            self.kept: list[tuple[str, Context]] = []

        async def handle_message(self, context: Context, message: str) -> None:
            self.kept.append((message, context))

    keeper, answers = Keeper(), {}
    before = sys.getprofile()
    sys.setprofile(lambda *_: None)
    await node.start_worker("keeper", keeper)
    await trio.testing.wait_all_tasks_blocked()
    sys.setprofile(before)

    async def ask(message: str) -> None:
        answers[message] = await node.send_and_receive("keeper", message, timeout=10)

    async with trio.open_nursery() as nursery:
        for message in "ABC":
            nursery.start_soon(ask, message)
        await trio.sleep(1)
        for message, context in keeper.kept:
            await context.reply(f"answer to {message}")

    assert answers == {message: f"answer to {message}" for message in "ABC"}


@pytest.mark.parametrize("period", [5e-324, 1e-9])
async def test_a_period_shorter_than_anything_can_be_due_is_refused(
    node: Node, autojump_clock: MockClock, period: float
) -> None:
    with pytest.raises(ValueError, match="at least a millionth of a second"):
        node.send_every(period, "echo", "tick")
