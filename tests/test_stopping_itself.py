"""`Context.stop`: a worker that stops itself has stopped, whatever comes after (L3, L4)."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import pytest
import trio
from trio.testing import MockClock

from autonomy import Backoff, ChildSpec, Context, Escalate, Node, Restart, Stop, WorkerStopped
from autonomy._sansio.restarts import ChildRestart, Supervision
from tests.test_closing_cut_short import run_node
from tests.workers import Echo


class Quitter:
    """Does what the message says, one word after the other; notes its lives."""

    log: ClassVar[list[str]]
    kept: ClassVar[Context]

    async def on_start(self, context: Context) -> None:
        self.log.append("+")

    async def handle_message(self, context: Context, message: str) -> None:
        for word in message.split():
            if word == "stop":
                context.stop()
            elif word == "keep":
                Quitter.kept = context
            elif word == "sleep":
                await trio.sleep(1)
            elif word == "fail":
                raise ValueError("told to")
        await context.reply(message)

    async def on_stop(self, context: Context) -> None:
        self.log.append("-")


@pytest.fixture
def log() -> list[str]:
    Quitter.log = []
    return Quitter.log


async def end_of(node: Node, name: str, do: Callable[[], object]) -> tuple[str, float]:
    """Do something and return why and when a worker is gone after that."""
    async with node.watch(name) as watch:
        do()
        with trio.fail_after(1000):
            down = await watch.down()
    return down.reason, trio.current_time()


@pytest.mark.parametrize("policy", [Restart(), Stop()])
async def test_a_worker_that_stops_itself_and_then_raises_has_stopped(
    node: Node, autojump_clock: MockClock, log: list[str], policy: Supervision
) -> None:
    await node.start_worker("quitter", Quitter if isinstance(policy, Restart) else Quitter(), supervision=policy)
    node.send_nowait("quitter", "stop fail")

    with pytest.raises(WorkerStopped) as caught:
        await node.send_and_receive("quitter", "too late")
    await trio.sleep(100)

    assert caught.value.outcome == "not_sent"
    assert "failed: ValueError: told to" in str(caught.value)
    assert log == ["+", "-"]
    assert await node.list_workers() == []


async def test_a_failure_that_escalates_does_so_also_after_a_stop(autojump_clock: MockClock, log: list[str]) -> None:
    async def body(node: Node) -> None:
        await node.start_worker("quitter", Quitter(), supervision=Escalate())
        node.send_nowait("quitter", "stop fail")
        await trio.sleep_forever()

    with pytest.raises(ValueError, match="told to"):
        await run_node(body)


@pytest.mark.parametrize(("restart", "lives"), [("permanent", 2), ("transient", 1), ("temporary", 1)])
async def test_a_member_that_stops_itself_and_then_raises_has_stopped(
    node: Node, autojump_clock: MockClock, log: list[str], restart: ChildRestart, lives: int
) -> None:
    await node.start_group("group", [ChildSpec("quitter", Quitter, restart)])

    await node.send_message("quitter", "stop fail")
    await trio.sleep(100)

    assert log.count("+") == lives


async def test_a_worker_that_stops_itself_between_two_lives_has_stopped_now(
    node: Node, autojump_clock: MockClock, log: list[str]
) -> None:
    await node.start_worker("quitter", Quitter, supervision=Restart(backoff=Backoff(10, 10)))
    await node.send_message("quitter", "keep fail")
    await trio.sleep(1)

    reason, when = await end_of(node, "quitter", lambda: Quitter.kept.stop())

    assert (reason, when) == ("stopped", 1)
    assert log == ["+", "-"]


async def test_so_it_has_at_the_instant_at_which_it_would_live_again(
    node: Node, autojump_clock: MockClock, log: list[str]
) -> None:
    for _ in range(10):  # who comes first at that instant is left to chance
        await node.start_worker("quitter", Quitter, supervision=Restart(backoff=Backoff(10, 10)))
        failed = trio.current_time()
        await node.send_message("quitter", "keep fail")
        await trio.sleep(10)

        reason, when = await end_of(node, "quitter", lambda: Quitter.kept.stop())

        assert (reason, when) == ("stopped", failed + 10)
    assert log.count("+") == log.count("-")


async def test_a_worker_that_stops_itself_in_on_stop_has_stopped(
    node: Node, autojump_clock: MockClock, log: list[str]
) -> None:
    class Final(Quitter):
        async def on_stop(self, context: Context) -> None:
            context.stop()
            await super().on_stop(context)

    await node.start_worker("final", Final, supervision=Restart())

    reason, when = await end_of(node, "final", lambda: node.send_nowait("final", "fail"))

    assert (reason, when) == ("failed: ValueError: told to", 0)
    assert log == ["+", "-"]


async def test_a_worker_that_stops_itself_and_fails_to_start_again_has_stopped(
    node: Node, autojump_clock: MockClock, log: list[str]
) -> None:
    class Unwilling(Quitter):
        async def on_start(self, context: Context) -> None:
            await super().on_start(context)
            if len(self.log) > 1:
                context.stop()
                raise OSError("not again")

    await node.start_worker("unwilling", Unwilling, supervision=Restart(backoff=Backoff(1, 1)))

    reason, when = await end_of(node, "unwilling", lambda: node.send_nowait("unwilling", "fail"))

    assert (reason, when) == ("failed: OSError: not again", 1)
    assert log == ["+", "-", "+"]


async def test_a_member_that_fails_while_it_is_taken_along_waits_for_those_before_it(
    node: Node, autojump_clock: MockClock, log: list[str]
) -> None:
    class First(Echo):
        async def on_start(self, context: Context) -> None:
            log.append("first")
            if log.count("first") == 2:
                raise OSError("not yet")

        async def handle_message(self, context: Context, message: str) -> None:
            raise ValueError(message)

    await node.start_group("group", [ChildSpec("first", First), ChildSpec("quitter", Quitter)], strategy="rest_for_one")
    await node.send_message("quitter", "sleep fail")
    await node.send_message("first", "fail")
    await trio.sleep(100)

    assert log == ["first", "+", "-", "first", "first", "+"]
