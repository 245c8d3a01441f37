"""The end of a node that does not wait: by an exception, by cancellation, by a worker; and `Node.stop`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from autonomy import Context, DeadLetter, Escalate, Node, open_node

from .test_closing import Leaving, Noting
from .workers import Echo, Failing, Recorder, Sleeper


class Raising:
    """Raises the exception that it was made with."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    async def handle_message(self, context: Context, message: str) -> None:
        raise self.error


class OddError(Exception):
    """An exception that nobody else raises."""


async def run_node(body: Callable[[Node], Awaitable[None]], name: str = "n") -> None:
    """Run `body` as the block of a node."""
    async with open_node(name, stall_warning=None) as node:
        await body(node)


# ---- O4: exceptions of the body


@pytest.mark.parametrize("error", [OddError("odd"), KeyboardInterrupt(), SystemExit(3), GeneratorExit()])
async def test_what_the_body_raises_comes_out_bare(error: BaseException, autojump_clock: MockClock) -> None:
    async def body(node: Node) -> None:
        await node.start_worker("echo", Echo())
        raise error

    with pytest.raises(type(error)) as caught:
        await run_node(body)

    assert caught.value is error


async def test_a_group_that_the_body_raises_comes_out_as_it_is(autojump_clock: MockClock) -> None:
    group = ExceptionGroup("two", [OddError("one"), OddError("other")])

    async def body(node: Node) -> None:
        raise group

    with pytest.raises(ExceptionGroup) as caught:
        await run_node(body)

    assert caught.value is group


async def test_leaving_by_an_exception_does_not_drain(autojump_clock: MockClock) -> None:
    sleeper, lost = Sleeper(), list[DeadLetter]()

    async def body(node: Node) -> None:
        node.on_dead_letter = lost.append
        await node.start_worker("sleeper", sleeper)
        await node.send_message("sleeper", "5")
        await node.send_message("sleeper", "5")
        await wait_all_tasks_blocked()
        raise OddError

    with pytest.raises(OddError):
        await run_node(body)

    assert (sleeper.began, sleeper.ended) == (1, 0)
    assert trio.current_time() == 0
    assert len(lost) == 2


# ---- O3: leaving by cancellation


async def test_leaving_by_cancellation_does_not_drain(autojump_clock: MockClock) -> None:
    sleeper = Sleeper()
    with trio.move_on_after(3) as scope:
        async with open_node("n", stall_warning=None) as node:
            await node.start_worker("sleeper", sleeper)
            await node.send_message("sleeper", "5")
            await node.send_message("sleeper", "5")
            await trio.sleep_forever()

    assert scope.cancelled_caught
    assert (sleeper.began, sleeper.ended) == (1, 0)
    assert trio.current_time() == 3


async def test_a_cancelled_node_lets_on_stop_have_one_second(autojump_clock: MockClock) -> None:
    log: list[str] = []
    with trio.move_on_after(3):
        async with open_node("n", stall_warning=None) as node:
            await node.start_worker("quick", Noting("quick", log, on_stop_takes=0.9))
            await node.start_worker("slow", Noting("slow", log, on_stop_takes=1.1))
            await node.send_message("quick", "inf")
            await trio.sleep_forever()

    assert log == ["quick stopped"]
    assert trio.current_time() == pytest.approx(4)


async def test_cancelling_a_node_that_drains_ends_it_at_once(autojump_clock: MockClock) -> None:
    sleeper = Sleeper()
    with trio.move_on_after(3):
        async with open_node("n", stall_warning=None) as node:
            await node.start_worker("sleeper", sleeper)
            await node.send_message("sleeper", "5")

    assert (sleeper.began, sleeper.ended) == (1, 0)
    assert trio.current_time() == 3


# ---- O4, L3, L5: what workers end the node with


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)])
async def test_an_exit_raised_in_a_handler_ends_the_node_with_it(
    error: BaseException, autojump_clock: MockClock
) -> None:
    async def body(node: Node) -> None:
        await node.start_worker("exit", Raising(error))
        await node.send_message("exit", "now")
        await trio.sleep(60)

    with pytest.raises(type(error)) as caught:
        await run_node(body)

    assert caught.value is error
    assert trio.current_time() == 0


async def test_an_exit_raised_in_a_plain_handler_ends_the_node_with_it(autojump_clock: MockClock) -> None:
    class Exit:
        def handle_message(self, context: Context, message: str) -> None:
            raise SystemExit(3)

    async def body(node: Node) -> None:
        await node.start_worker("exit", Exit())
        await node.send_message("exit", "now")
        await trio.sleep_forever()

    with pytest.raises(SystemExit) as caught:
        await run_node(body)

    assert caught.value.code == 3


async def test_an_exit_raised_while_the_node_drains_comes_out_too(autojump_clock: MockClock) -> None:
    async def body(node: Node) -> None:
        await node.start_worker("exit", Raising(SystemExit(3)))
        node.send_nowait("exit", "now")

    with pytest.raises(SystemExit):
        await run_node(body)


async def test_a_failure_that_escalates_ends_the_node_with_it(autojump_clock: MockClock) -> None:
    async def body(node: Node) -> None:
        await node.start_worker("failing", Failing(), supervision=Escalate())
        await node.send_message("failing", "too bad")
        await trio.sleep(60)

    with pytest.raises(ValueError, match="too bad"):
        await run_node(body)

    assert trio.current_time() == 0


async def test_a_worker_that_ends_its_node_ends_no_other(autojump_clock: MockClock) -> None:
    async with open_node("a", stall_warning=None) as a:
        await a.start_worker("echo", Echo())

        async def body(b: Node) -> None:
            await b.start_worker("failing", Failing(), supervision=Escalate())
            await b.send_message("failing", "too bad")
            await trio.sleep(60)

        with pytest.raises(ValueError, match="too bad"):
            await run_node(body, "b")

        assert await a.send_and_receive("echo", "still here") == "still here"


async def test_whoever_cancels_around_a_node_still_catches_his_own_cancellation(autojump_clock: MockClock) -> None:
    with trio.CancelScope() as outer:
        with trio.CancelScope() as inner:
            async with open_node("n", stall_warning=None) as node:
                await node.start_worker("echo", Echo())
                inner.cancel()
                await trio.sleep_forever()
        assert inner.cancelled_caught
    assert not outer.cancelled_caught


# ---- Node.stop


async def test_stop_drains_and_returns_when_that_is_done(autojump_clock: MockClock) -> None:
    sleeper, log = Sleeper(), list[str]()
    async with open_node("n", stall_warning=None) as node:
        await node.start_worker("sleeper", sleeper)
        await node.start_worker("w", Noting("w", log, on_stop_takes=2))
        node.send_nowait("sleeper", "3")

        await node.stop()

        assert sleeper.ended == 1
        assert log == ["w stopped"]
        assert await node.list_workers() == []
    assert trio.current_time() == pytest.approx(5, abs=0.1)


async def test_stopping_twice_does_no_harm(autojump_clock: MockClock) -> None:
    sleeper = Sleeper()
    async with open_node("n", stall_warning=None) as node:
        await node.start_worker("sleeper", sleeper)
        node.send_nowait("sleeper", "3")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(node.stop)
            nursery.start_soon(node.stop)
        await node.stop()

    await node.stop()
    assert sleeper.ended == 1
    assert trio.current_time() == pytest.approx(3, abs=0.1)


async def test_a_worker_may_stop_its_node_twice_and_goes_on_with_its_message(autojump_clock: MockClock) -> None:
    async with open_node("n", stall_warning=None) as node:
        await node.start_worker("leaving", Leaving())

        assert await node.send_and_receive("leaving", "2") == "on it"
        await node.stop()

        assert await node.list_workers() == []


async def test_a_worker_that_stops_its_node_has_it_drain_even_if_the_body_ends_meanwhile(
    autojump_clock: MockClock,
) -> None:
    sleeper = Sleeper()
    async with open_node("n", stall_warning=None) as node:
        await node.start_worker("leaving", Leaving())
        await node.start_worker("sleeper", sleeper)
        node.send_nowait("sleeper", "3")

        await node.send_and_receive("leaving", "1")

    assert sleeper.ended == 1


async def test_another_task_that_stops_the_node_has_it_drain_even_if_the_body_ends_meanwhile(
    autojump_clock: MockClock,
) -> None:
    sleeper = Sleeper()
    async with trio.open_nursery() as outside, open_node("n", stall_warning=None) as node:
        await node.start_worker("sleeper", sleeper)
        node.send_nowait("sleeper", "3")
        outside.start_soon(node.stop)
        await wait_all_tasks_blocked()

    assert sleeper.ended == 1


async def test_a_stop_that_was_cancelled_can_be_asked_for_again(autojump_clock: MockClock) -> None:
    recorder = Recorder()
    async with open_node("n", stall_warning=None) as node:
        await node.start_worker("sleeper", Sleeper())
        await node.start_worker("recorder", recorder)
        node.send_nowait("sleeper", "3")
        with trio.move_on_after(1):
            await node.stop()

        with trio.fail_after(60):
            await node.stop()

    assert trio.current_time() == pytest.approx(3, abs=0.1)


def test_a_node_ends_with_its_block_whatever_else_the_program_does() -> None:
    async def main() -> Node:
        async with open_node("n", stall_warning=None) as node:
            await node.start_worker("echo", Echo())
        return node

    node = trio.run(main, clock=MockClock(autojump_threshold=0))

    assert node.statistics().workers == 0
