"""A worker that ends badly ends alone: D7, L5, L7."""

from __future__ import annotations

import sys

import pytest
import trio.testing
from trio.testing import MockClock

from autonomy import Context, Node, Restart, open_node
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


class OddHooks(Echo):
    """Raises when the hook that it was made with is looked up."""

    def __init__(self, hook: str, error: BaseException) -> None:
        self.hook = hook
        self.error = error

    def __getattr__(self, name: str) -> object:
        if name == self.hook:
            raise self.error
        raise AttributeError(name)


@pytest.mark.parametrize("error", [OSError("odd"), KeyboardInterrupt()])
async def test_an_on_start_that_cannot_be_looked_up_fails_the_start_and_leaves_nothing(
    node: Node, autojump_clock: MockClock, error: BaseException
) -> None:
    worker = OddHooks("on_start", error)

    for _ in range(2):
        with pytest.raises(type(error)) as caught:
            await node.start_worker("odd", worker)
        assert caught.value is error

    worker.hook = "none"
    await node.start_worker("odd", worker)
    assert await node.send_and_receive("odd", "well now") == "well now"


async def test_so_it_is_when_supervision_makes_the_objects(node: Node, autojump_clock: MockClock) -> None:
    with pytest.raises(OSError, match="odd"):
        await node.start_worker("odd", lambda: OddHooks("on_start", OSError("odd")), supervision=Restart())

    assert await node.list_workers() == []


async def test_an_on_stop_that_cannot_be_looked_up_fails_like_any_other(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_node("n", stall_warning=None) as node:
        for name in ("stopped", "left to the node"):
            await node.start_worker(name.replace(" ", "-"), OddHooks("on_stop", OSError("odd")))
        await node.start_worker("echo", Echo())

        await node.stop_worker("stopped")

        assert await node.send_and_receive("echo", "still here") == "still here"

    assert caplog.text.count("on_stop failed") == 2


async def test_a_handler_that_cannot_be_looked_up_any_more_fails_the_start(
    node: Node, autojump_clock: MockClock
) -> None:
    class Forgetful(Echo):
        async def on_start(self, context: Context) -> None:
            self.__class__ = Forgotten  # type: ignore[assignment]  # a worker that is no worker any more

    class Forgotten:
        pass

    with pytest.raises(AttributeError, match="handle_message"):
        await node.start_worker("forgetful", Forgetful())

    assert await node.list_workers() == []


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


async def test_a_failure_of_the_node_itself_comes_out_though_the_block_waits_in_a_nursery_of_its_own() -> None:
    async def fail() -> None:
        raise ValueError("a task of the node failed")

    async def run() -> None:
        async with open_node(stall_warning=None) as node, trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            node._nursery.start_soon(fail)
            await trio.sleep_forever()

    with pytest.raises(BaseExceptionGroup) as caught:
        await run()
    assert caught.value.subgroup(ValueError) is not None
