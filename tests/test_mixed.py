"""asyncio both ways: what `mixed_spec` lists, wherever a program's code may run.

Trio runs the node, or asyncio does, or uvloop; and the code is a program's ``main``, a worker's handler or hook, a
nursery child of one, an asyncio task that one of them made, or an asyncio task of the application. Time is virtual
where Trio runs and nothing real is waited for.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import uvloop
from trio.testing import MockClock

import autonomy
from autonomy import Context, Mailbox, Node, Watch, Zone, aio, open_node

from . import mixed_io, mixed_methods, mixed_worlds
from .mixed_places import check_nothing_was_forgotten, leave_logging_alone
from .mixed_spec import BEHAVIOURS, TICK, Behaviour
from .workers import Echo

PARTS = (mixed_io, mixed_methods, mixed_worlds)
"""What fills `BEHAVIOURS` when it is imported."""

PATIENCE = 20.0
Way = Callable[[Context, Behaviour], Awaitable[None]]


@pytest.fixture(autouse=True)
def _programs_leave_logging_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    leave_logging_alone(monkeypatch)


# --- ways from a handler to the code that runs a behaviour


async def handler(context: Context, behaviour: Behaviour) -> None:
    await behaviour.run(node_of(context))


async def nursery_child(context: Context, behaviour: Behaviour) -> None:
    failures: list[BaseException] = []

    async def child() -> None:
        try:
            await behaviour.run(node_of(context))
        except Exception as error:  # noqa: BLE001  # raised below, bare
            failures.append(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(child)
    for failure in failures:
        raise failure


async def asyncio_task(context: Context, behaviour: Behaviour) -> None:
    async def task() -> None:
        await behaviour.run(node_of(context))

    await asyncio.create_task(task())


def node_of(context: Context) -> Node:
    assert isinstance(context.node, Node)
    return context.node


class Runner:
    """A worker that runs a behaviour; its errors are kept, to be raised in the test."""

    def __init__(self, behaviour: Behaviour, way: Way) -> None:
        self._behaviour = behaviour
        self._way = way
        self.failure: Exception | None = None

    async def handle_message(self, context: Context, message: str) -> None:
        try:
            await self._way(context, self._behaviour)
        except Exception as error:
            self.failure = error
            raise
        await context.reply("kept")


class Starter(Runner):
    """The same in ``on_start``."""

    async def on_start(self, context: Context) -> None:
        await self._way(context, self._behaviour)


async def by_worker(node: Node, behaviour: Behaviour, way: Way) -> None:
    runner = Runner(behaviour, way)
    await node.start_worker("runner", runner)
    try:
        assert await node.send_and_receive("runner", "run", timeout=PATIENCE) == "kept"
    except autonomy.NoReply as error:
        raise (runner.failure or error) from None


# --- the directions


def under_trio(behaviour: Behaviour, way: Way) -> None:
    async def program() -> None:
        async with open_node(stall_warning=None) as node:
            await by_worker(node, behaviour, way)

    trio.run(program, clock=None if behaviour.real else MockClock(autojump_threshold=0))


def in_main(behaviour: Behaviour) -> None:
    async def main(node: Node) -> None:
        with trio.fail_after(PATIENCE):
            await behaviour.run(node)

    Node.start(main, wait_until_interrupted=False, stall_warning=None)


def in_main_s_task(behaviour: Behaviour) -> None:
    async def main(node: Node) -> None:
        async def task() -> None:
            await behaviour.run(node)

        await asyncio.wait_for(asyncio.create_task(task()), PATIENCE)

    Node.start(main, wait_until_interrupted=False, stall_warning=None)


def in_on_start(behaviour: Behaviour) -> None:
    async def program() -> None:
        async with open_node(stall_warning=None) as node:
            with trio.fail_after(PATIENCE):
                await node.start_worker("starter", Starter(behaviour, handler))

    trio.run(program, clock=None if behaviour.real else MockClock(autojump_threshold=0))


def in_handler(behaviour: Behaviour) -> None:
    under_trio(behaviour, handler)


def in_nursery_child(behaviour: Behaviour) -> None:
    under_trio(behaviour, nursery_child)


def in_asyncio_task(behaviour: Behaviour) -> None:
    under_trio(behaviour, asyncio_task)


def run_asyncio(program: Awaitable[None], new_loop: Callable[[], asyncio.AbstractEventLoop] | None = None) -> None:
    async def within_time() -> None:
        await asyncio.wait_for(program, PATIENCE)

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(within_time())


async def application(behaviour: Behaviour) -> None:
    async with aio.open_node(stall_warning=None) as node:
        await behaviour.run(node)


async def application_s_worker(behaviour: Behaviour, way: Way = handler) -> None:
    async with aio.open_node(stall_warning=None) as node:
        await by_worker(node, behaviour, way)


def in_handler_under_asyncio(behaviour: Behaviour) -> None:
    run_asyncio(application_s_worker(behaviour))


def in_handler_under_uvloop(behaviour: Behaviour) -> None:
    run_asyncio(application_s_worker(behaviour), uvloop.new_event_loop)


def in_asyncio_task_of_handler_under_asyncio(behaviour: Behaviour) -> None:
    run_asyncio(application_s_worker(behaviour, asyncio_task))


def in_application(behaviour: Behaviour) -> None:
    run_asyncio(application(behaviour))


def in_application_under_uvloop(behaviour: Behaviour) -> None:
    run_asyncio(application(behaviour), uvloop.new_event_loop)


STEPPED_BY_TRIO = [
    in_main,
    in_handler,
    in_on_start,
    in_nursery_child,
    in_handler_under_asyncio,
    in_handler_under_uvloop,
]
STEPPED_BY_ASYNCIO = [
    in_main_s_task,
    in_asyncio_task,
    in_asyncio_task_of_handler_under_asyncio,
    in_application,
    in_application_under_uvloop,
]


def all_cases() -> list[Any]:
    return [
        pytest.param(
            direction,
            behaviour,
            id=f"{direction.__name__}-{behaviour.name}",
            marks=[pytest.mark.network] if behaviour.network else [],
        )
        for behaviour in BEHAVIOURS
        for direction in [*STEPPED_BY_TRIO, *([] if behaviour.wants_trio else STEPPED_BY_ASYNCIO)]
    ]


@pytest.mark.parametrize(("direction", "behaviour"), all_cases())
def test_in_every_place(
    direction: Callable[[Behaviour], None], behaviour: Behaviour, caplog: pytest.LogCaptureFixture
) -> None:
    direction(behaviour)

    if behaviour.real:  # what libraries leave behind
        check_nothing_was_forgotten(caplog)


# --- the list is complete


def test_every_public_async_method_is_in_the_list() -> None:
    listed = {behaviour.name for behaviour in BEHAVIOURS}

    public = {
        f"{kind.__name__}.{name}"
        for kind in (Node, Mailbox, Context, Watch, Zone)
        for name, function in inspect.getmembers(kind)
        if (not name.startswith("_") or name in ("__aenter__", "__aexit__", "__anext__"))
        and (inspect.iscoroutinefunction(function) or name == "watch")
    }

    assert "Node.send_message" in public
    # The one ends the node that the others are tried on: see below. The other needs a second node: test_aio_linked.py.
    assert public - listed == {"Node.stop", "Node.connect"}


# --- what ends the node


def test_a_node_is_stopped_from_an_asyncio_task_of_main() -> None:
    steps: list[str] = []

    async def main(node: Node) -> None:
        await node.start_worker("echo", Echo())
        stopping = asyncio.create_task(node.stop())
        try:
            await asyncio.gather(stopping, asyncio.sleep(PATIENCE))
        finally:
            steps.append("main cancelled")

    Node.start(main, stall_warning=None)

    assert steps == ["main cancelled"]


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_node_is_stopped_from_an_asyncio_task_of_the_application(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def program() -> None:
        async with aio.open_node(stall_warning=None) as node:
            await node.start_worker("echo", Echo())

            await asyncio.gather(node.stop(), node.stop())

            with pytest.raises(autonomy.NodeDown):
                await node.send_and_receive("echo", "too late")

    run_asyncio(program(), new_loop)


async def test_a_worker_s_asyncio_task_may_stop_its_node(autojump_clock: MockClock) -> None:
    class Stopping:
        async def handle_message(self, context: Context, message: str) -> None:
            await asyncio.create_task(node_of(context).stop())
            await context.reply("stopping")

    async with open_node(stall_warning=None) as node:
        await node.start_worker("stopping", Stopping())

        assert await node.send_and_receive("stopping", "now") == "stopping"

        with pytest.raises(autonomy.NodeDown):
            await node.send_and_receive("stopping", "again")


# --- time


async def test_asyncio_s_timers_follow_trio_s_clock(autojump_clock: MockClock) -> None:
    class Sleepy:
        async def handle_message(self, context: Context, message: str) -> None:
            began = trio.current_time()
            await asyncio.gather(asyncio.sleep(1000), asyncio.create_task(asyncio.sleep(2000)))
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.Event().wait(), 500)
            await trio.sleep(250)
            await context.reply(f"{trio.current_time() - began:.0f}")

    async with open_node(stall_warning=None) as node:
        await node.start_worker("sleepy", Sleepy())

        assert await node.send_and_receive("sleepy", "", timeout=10_000) == "2750"


async def test_a_clean_up_that_takes_too_long_is_told_again(autojump_clock: MockClock) -> None:
    class Stubborn:
        def __init__(self) -> None:
            self.told: list[float] = []

        async def handle_message(self, context: Context, message: str) -> None:
            began = trio.current_time()
            with trio.move_on_after(TICK):
                try:
                    await asyncio.sleep(1000)
                except asyncio.CancelledError:
                    self.told.append(trio.current_time() - began)
                    try:
                        await asyncio.sleep(1000)
                    except asyncio.CancelledError:
                        self.told.append(trio.current_time() - began)
                        raise
            await context.reply("at last")

    stubborn = Stubborn()
    async with open_node(stall_warning=None) as node:
        await node.start_worker("stubborn", stubborn)

        assert await node.send_and_receive("stubborn", "", timeout=5000) == "at last"

    first, second = stubborn.told
    assert first == pytest.approx(TICK)
    assert 0.5 < second < 5
