"""What a node ends with when several things end it: no exit is lost (L5), and it comes out bare (O4)."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from autonomy import Context, Escalate, Node
from tests.test_closing_cut_short import run_node
from tests.test_start import start
from tests.workers import Echo, Failing


class ExitingAtTheEnd(Echo):
    """Raises when it is stopped or cancelled."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    async def on_stop(self, context: Context) -> None:
        raise self.error


class Exiting:
    """Raises when it is cancelled."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    async def handle_message(self, context: Context, message: str) -> None:
        await exit_when_cancelled(self.error)


async def fail(node: Node) -> None:
    """Let a worker end its node with a ValueError, soon."""
    await node.start_worker("failing", Failing(), supervision=Escalate())
    node.send_nowait("failing", "first")


async def exit_when_cancelled(error: BaseException) -> None:
    """Wait for a cancellation and raise something else."""
    try:
        await trio.sleep_forever()
    finally:
        raise error


exits = pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)])


@exits
async def test_an_exit_is_not_lost_behind_a_failure_that_ends_the_node(
    error: BaseException, autojump_clock: MockClock
) -> None:
    async def body(node: Node) -> None:
        await node.start_worker("exiting", Exiting(error))
        node.send_nowait("exiting", "go")
        await trio.sleep(1)
        await fail(node)
        await trio.sleep_forever()

    with pytest.raises(type(error)) as caught:
        await run_node(body)

    assert caught.value is error
    assert trio.current_time() == 1


@exits
async def test_an_exit_is_not_lost_behind_what_the_body_raises(error: BaseException, autojump_clock: MockClock) -> None:
    async def body(node: Node) -> None:
        await node.start_worker("exiting", ExitingAtTheEnd(error))
        raise ValueError("the body's own")

    with pytest.raises(type(error)) as caught:
        await run_node(body)

    assert caught.value is error
    assert isinstance(error.__context__, ValueError)


@exits
async def test_an_exit_is_not_lost_behind_a_cancellation(error: BaseException, autojump_clock: MockClock) -> None:
    async def body(node: Node) -> None:
        await node.start_worker("exiting", ExitingAtTheEnd(error))
        await trio.sleep_forever()

    with pytest.raises(type(error)) as caught, trio.move_on_after(1):
        await run_node(body)

    assert caught.value is error


@exits
async def test_an_exit_of_the_body_is_not_lost_behind_a_failure_that_ends_the_node(
    error: BaseException, autojump_clock: MockClock
) -> None:
    async def body(node: Node) -> None:
        await fail(node)
        await exit_when_cancelled(error)

    with pytest.raises(type(error)) as caught:
        await run_node(body)

    assert caught.value is error


@exits
async def test_an_exit_of_a_task_of_the_body_is_not_lost_either(
    error: BaseException, autojump_clock: MockClock
) -> None:
    async def body(node: Node) -> None:
        await fail(node)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            nursery.start_soon(exit_when_cancelled, error)

    with pytest.raises(BaseExceptionGroup) as caught:
        await run_node(body)

    assert caught.value.exceptions == (error,)


async def test_of_several_exits_the_first_comes_out(autojump_clock: MockClock) -> None:
    first, second, third = KeyboardInterrupt(), SystemExit(2), SystemExit(3)

    async def body(node: Node) -> None:
        await node.start_worker("second", Exiting(second))
        await node.start_worker("third", ExitingAtTheEnd(third))
        node.send_nowait("second", "go")
        await trio.sleep(1)
        raise first

    with pytest.raises(KeyboardInterrupt) as caught:
        await run_node(body)

    assert caught.value is first


def test_an_exit_of_main_is_not_lost_behind_a_failure_while_the_node_drains() -> None:
    async def main(node: Node) -> None:
        await node.start_worker("failing", Failing(), supervision=Escalate())
        node.send_nowait("failing", "while it drains")
        raise SystemExit(3)

    with pytest.raises(SystemExit) as caught:
        start(main)

    assert caught.value.code == 3
