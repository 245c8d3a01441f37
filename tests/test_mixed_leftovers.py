"""asyncio tasks that are left over end with whoever made them, and not before: workers, ``main``, nodes.

Each scenario runs on a Trio program's node, in virtual time, and on nodes of asyncio and uvloop applications.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from autonomy import Context, Node, Restart, aio, open_node

from .mixed_places import (
    LONG,
    NEW_LOOPS,
    PLACES,
    TICK,
    TRIO,
    Leaves,
    NewLoop,
    Place,
    check_nothing_was_forgotten,
    leave_logging_alone,
    run_in,
)
from .workers import Echo, Recorder


@pytest.fixture(params=PLACES, ids=lambda place: place.name)
def place(request: pytest.FixtureRequest) -> Place:
    found = request.param
    assert isinstance(found, Place)
    return found


@pytest.fixture(autouse=True)
def _nothing_is_leaked(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    leave_logging_alone(monkeypatch)
    yield
    check_nothing_was_forgotten(caplog)


# --- a worker's tasks end with it


def test_tasks_left_by_a_worker_have_ended_when_it_is_stopped(place: Place) -> None:
    leaves = Leaves()

    async def scenario() -> None:
        async with place.open_node(stall_warning=None) as node:
            await node.start_worker("leaves", leaves)
            await node.start_worker("echo", Echo())
            for name in ("a", "b"):
                await node.send_and_receive("leaves", name)
            assert not any(task.done() for task in leaves.tasks)

            await node.stop_worker("leaves")

            leaves.check("a", "b")
            assert await node.send_and_receive("echo", "goes on") == "goes on"

    place.run(scenario)


def test_tasks_left_by_a_worker_have_ended_when_it_stops_itself(place: Place) -> None:
    class LeavesAndGoes(Leaves):
        async def handle_message(self, context: Context, message: str) -> None:
            await super().handle_message(context, message)
            context.stop()

    leaves = LeavesAndGoes()

    async def scenario() -> None:
        async with place.open_node(stall_warning=None) as node:
            await node.start_worker("leaves", leaves)
            async with node.watch("leaves") as watch:
                await node.send_and_receive("leaves", "a")

                await watch.down()

            leaves.check("a")

    place.run(scenario)


def test_tasks_left_by_one_life_have_ended_before_the_next_begins(place: Place) -> None:
    lives: list[Leaves] = []
    steps_at_start: list[list[str]] = []

    class Fails(Leaves):
        def __init__(self) -> None:
            super().__init__()
            steps_at_start.append([step for life in lives for step in life.steps])
            lives.append(self)

        async def handle_message(self, context: Context, message: str) -> None:
            await super().handle_message(context, message)
            if message == "fail":
                raise ValueError("this life is over")

    async def scenario() -> None:
        async with place.open_node(stall_warning=None) as node:
            await node.start_worker("fails", Fails, supervision=Restart())

            for name in ("a", "fail", "b"):
                await node.send_and_receive("fails", name)

            lives[0].check("a", "fail")
            assert [task.done() for task in lives[1].tasks] == [False]
        lives[1].check("b")

    place.run(scenario)

    assert steps_at_start[0] == []
    assert sorted(steps_at_start[1]) == ["a ended", "a told", "fail ended", "fail told"]


def test_tasks_left_by_workers_have_ended_when_the_node_was_left(place: Place) -> None:
    first, second = Leaves(), Leaves()

    async def scenario() -> None:
        async with place.open_node(stall_warning=None) as node:
            await node.start_worker("first", first)
            await node.start_worker("second", second)
            await node.send_and_receive("first", "a")
            await node.send_and_receive("second", "b")

        first.check("a")
        second.check("b")
        if place is not TRIO:
            assert asyncio.all_tasks() == {asyncio.current_task()}

    place.run(scenario)

    assert not asyncio.all_tasks(first.tasks[0].get_loop())


def test_tasks_left_by_workers_have_ended_when_the_node_was_cancelled(place: Place) -> None:
    leaves = Leaves()
    ended: list[str] = []

    async def scenario() -> None:
        async with place.cut_short() as cut, place.open_node(stall_warning=None) as node:
            await node.start_worker("leaves", leaves)
            await node.send_and_receive("leaves", "a")
            cut()
            await place.sleep(LONG)

        leaves.check("a")
        ended.append("by the cancellation")
        if place is not TRIO:
            assert asyncio.all_tasks() == {asyncio.current_task()}

    place.run(scenario)

    assert ended == ["by the cancellation"]


def test_tasks_of_a_handler_that_is_cut_short_have_ended(place: Place) -> None:
    class Stays(Leaves):
        async def handle_message(self, context: Context, message: str) -> None:
            await self.leave(message)
            async with asyncio.TaskGroup() as group:
                self.tasks.append(group.create_task(self.linger("grouped")))

    stays = Stays()

    async def scenario() -> None:
        async with place.open_node(stall_warning=None) as node:
            await node.start_worker("stays", stays)
            await node.send_message("stays", "a")
            while len(stays.tasks) < 2:
                await place.sleep(TICK)
            await place.sleep(TICK)

            await node.stop_worker("stays", timeout=0)

            stays.check("a", "grouped")

    place.run(scenario)


def test_tasks_that_tasks_and_callbacks_and_hooks_make_are_the_worker_s_too(place: Place) -> None:
    class Nested(Leaves):
        async def on_start(self, context: Context) -> None:
            await self.leave("of on_start")

        async def handle_message(self, context: Context, message: str) -> None:
            async def make() -> None:
                await self.leave("of a task")
                asyncio.get_running_loop().call_soon(
                    lambda: self.tasks.append(asyncio.ensure_future(self.linger("of a callback")))
                )

            await asyncio.create_task(make())
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.leave, "of a nursery child")
            await asyncio.sleep(TICK)
            await context.reply("left")

        async def on_stop(self, context: Context) -> None:
            await self.leave("of on_stop")

    nested = Nested()

    async def scenario() -> None:
        async with place.open_node(stall_warning=None) as node:
            await node.start_worker("nested", nested)
            await node.send_and_receive("nested", "")

            await node.stop_worker("nested")

            nested.check("of on_start", "of a task", "of a callback", "of a nursery child", "of on_stop")

    place.run(scenario)


needs_eager_tasks = pytest.mark.skipif(sys.version_info < (3, 12), reason="asyncio has no eager tasks before 3.12")


class GoesPast(Leaves):
    """Makes its tasks as libraries do that want them to begin at once: the loop is not asked."""

    async def leave(self, name: str) -> None:
        loop = asyncio.get_running_loop()
        await loop.create_task(asyncio.sleep(0))
        at_once: Any = {"eager_start": True}  # Python 3.11, for which types are checked, has none
        self.tasks.append(asyncio.Task(self.linger(name), loop=loop, **at_once))
        await asyncio.sleep(0)


@needs_eager_tasks
def test_tasks_that_a_library_makes_past_the_loop_are_the_worker_s_too(place: Place) -> None:
    goes_past = GoesPast()

    async def scenario() -> None:
        async with place.open_node(stall_warning=None) as node:
            await node.start_worker("goes-past", goes_past)
            await node.send_and_receive("goes-past", "a")

            await node.stop_worker("goes-past")

            goes_past.check("a")

    place.run(scenario)


def test_tasks_that_nobody_was_told_of_have_ended_when_the_loop_has() -> None:
    tasks: list[asyncio.Task[None]] = []

    class Silent:
        async def handle_message(self, context: Context, message: str) -> None:
            tasks.append(asyncio.Task(self.linger(), loop=asyncio.get_running_loop()))
            await context.reply("left")

        async def linger(self) -> None:
            await asyncio.sleep(LONG)

    async def scenario() -> None:
        async with open_node(stall_warning=None) as node:
            await node.start_worker("silent", Silent())
            await node.send_and_receive("silent", "")

    TRIO.run(scenario)

    assert [task.cancelled() for task in tasks] == [True]


def test_a_task_that_ends_may_make_another_and_still_use_the_node(place: Place) -> None:
    recorder = Recorder()

    class Parting(Leaves):
        async def handle_message(self, context: Context, message: str) -> None:
            async def part() -> None:
                try:
                    await asyncio.sleep(LONG)
                finally:
                    await self.leave("made at the end")
                    await context.node.send_message("recorder", await context.node.send_and_receive("echo", "bye"))

            self.parting = asyncio.create_task(part())
            await asyncio.sleep(0)
            await context.reply("left")

    parting = Parting()

    async def scenario() -> None:
        async with place.open_node(stall_warning=None) as node:
            await node.start_worker("recorder", recorder)
            await node.start_worker("echo", Echo())
            await node.start_worker("parting", parting)
            await node.send_and_receive("parting", "")

            await node.stop_worker("parting")

            parting.check("made at the end")
            assert parting.parting.cancelled()
        assert recorder.received == ["bye"]

    place.run(scenario)


def test_a_worker_s_tasks_outlive_its_handlers_and_other_workers(place: Place) -> None:
    recorder = Recorder()

    class Later:
        async def handle_message(self, context: Context, message: str) -> None:
            async def tell() -> None:
                await asyncio.sleep(3 * TICK)
                await context.node.send_message("recorder", message)

            asyncio.create_task(tell())  # noqa: RUF006  # the node keeps it

    async def scenario() -> None:
        async with place.open_node(stall_warning=None) as node:
            await node.start_worker("recorder", recorder)
            await node.start_worker("leaves", Leaves())
            await node.start_worker("later", Later())
            for message in ("a", "b"):
                await node.send_message("later", message)

            await node.stop_worker("leaves")
            while len(recorder.received) < 2:
                await place.sleep(TICK)

            assert recorder.received == ["a", "b"]

    place.run(scenario)


# --- main's tasks, and the application's


@pytest.mark.parametrize("how", ["returns", "raises"])
def test_tasks_left_by_main_have_ended_when_it_ends(how: str) -> None:
    leaves = Leaves()

    async def main(node: Node) -> None:
        await leaves.leave("a")
        await asyncio.create_task(leaves.leave("b"))
        if how == "raises":
            raise KeyError("main")

    if how == "raises":
        with pytest.raises(KeyError, match="main"):
            Node.start(main, wait_until_interrupted=False, stall_warning=None)
    else:
        Node.start(main, wait_until_interrupted=False, stall_warning=None)

    leaves.check("a", "b")


def test_tasks_of_main_go_on_while_the_program_waits_for_a_signal() -> None:
    steps: list[str] = []

    async def main(node: Node) -> None:
        async def stop() -> None:
            await asyncio.sleep(3 * TICK)
            steps.append("task")
            await node.stop()

        asyncio.create_task(stop())  # noqa: RUF006  # the node keeps it
        steps.append("main")

    Node.start(main, stall_warning=None)

    assert steps == ["main", "task"]


@pytest.mark.parametrize("new_loop", NEW_LOOPS)
def test_tasks_of_the_application_are_left_alone(new_loop: NewLoop) -> None:
    async def scenario() -> None:
        before = asyncio.create_task(asyncio.sleep(LONG))
        async with aio.open_node(stall_warning=None) as node:
            await node.start_worker("echo", Echo())
            within = asyncio.create_task(asyncio.sleep(LONG))
            await node.send_and_receive("echo", "hello")

        assert asyncio.all_tasks() == {asyncio.current_task(), before, within}
        before.cancel()
        within.cancel()

    run_in(new_loop)(scenario)


@pytest.mark.parametrize("new_loop", NEW_LOOPS)
def test_the_application_s_task_factory_is_used_and_given_back(
    new_loop: NewLoop,
) -> None:
    made: list[str] = []

    def factory(loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> asyncio.Task[Any]:
        made.append(coro.__name__)
        return asyncio.Task(coro, loop=loop, **options)

    class Makes:
        async def handle_message(self, context: Context, message: str) -> None:
            await asyncio.create_task(self.made_by_a_worker())
            await context.reply("made")

        async def made_by_a_worker(self) -> None:
            await asyncio.sleep(0)

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        loop.set_task_factory(factory)
        async with aio.open_node(stall_warning=None) as node:
            await node.start_worker("makes", Makes())
            await node.send_and_receive("makes", "")

        assert "made_by_a_worker" in made
        assert loop.get_task_factory() is factory

    run_in(new_loop)(scenario)


# --- a task that refuses to end


class Refuses:
    """Leaves a task that goes on whatever it is told, as long as `go_on` is true."""

    def __init__(self) -> None:
        self.go_on = True
        self.told = 0

    async def handle_message(self, context: Context, message: str) -> None:
        async def refuse() -> None:
            while self.go_on:
                try:
                    await asyncio.sleep(TICK)
                except asyncio.CancelledError:
                    self.told += 1

        self.task = asyncio.create_task(refuse(), name="the stubborn one")
        await asyncio.sleep(0)
        await context.reply("left")


def complaints(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if "cancelled" in record.getMessage()]


@pytest.mark.slow
def test_a_task_that_refuses_to_end_is_reported_within_the_time_of_the_stop(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    refuses = Refuses()

    async def scenario() -> None:
        async with place.open_node(stall_warning=None) as node:
            await node.start_worker("refuses", refuses)
            await node.send_and_receive("refuses", "")
            began = trio.current_time()

            with caplog.at_level(logging.ERROR, logger="autonomy"):
                await node.stop_worker("refuses", timeout=1.5)

            assert 1.4 <= trio.current_time() - began < 5
            (line,) = complaints(caplog)
            assert "asyncio tasks went on although they were cancelled" in line
            assert "owner=refuses" in line
            assert "the stubborn one" in line
            assert refuses.told == 1
            await node.start_worker("refuses", Echo())
            assert await node.send_and_receive("refuses", "the name is free") == "the name is free"
            refuses.go_on = False
            while not refuses.task.done():
                await place.sleep(TICK)

    place.run(scenario)


async def test_a_task_that_refuses_does_not_keep_the_node_from_ending(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    refuses = Refuses()

    with trio.move_on_after(1), caplog.at_level(logging.ERROR, logger="autonomy"):
        async with open_node(stall_warning=None) as node:
            await node.start_worker("refuses", refuses)
            await node.send_and_receive("refuses", "")
            began = trio.current_time()
            await trio.sleep_forever()

    assert trio.current_time() - began < 10
    assert len(complaints(caplog)) == 1
    assert not refuses.task.done()
    del refuses, node
    gc.collect()
    caplog.clear()  # of what asyncio says of a task that its loop did not outlive


# --- nobody needs to hold a task


def test_a_task_that_nobody_holds_is_not_collected(place: Place) -> None:
    collected: list[str] = []
    found: list[weakref.ref[asyncio.Task[None]]] = []

    async def scenario() -> None:
        class Lonely:
            async def handle_message(self, context: Context, message: str) -> None:
                async def wait() -> None:
                    future = asyncio.get_running_loop().create_future()
                    weakref.finalize(future, collected.append, "collected")
                    await future

                found.append(weakref.ref(asyncio.create_task(wait())))
                await asyncio.sleep(0)
                await context.reply("left")

        async with place.open_node(stall_warning=None) as node:
            await node.start_worker("lonely", Lonely())
            await node.send_and_receive("lonely", "")

            gc.collect()

            task = found[0]()
            assert task is not None
            assert not task.done()
            assert collected == []

    place.run(scenario)

    gc.collect()
    assert found[0]() is None


def test_a_task_that_has_ended_is_let_go(place: Place) -> None:
    found: list[weakref.ref[asyncio.Task[None]]] = []

    class Brief:
        async def handle_message(self, context: Context, message: str) -> None:
            found.append(weakref.ref(asyncio.create_task(asyncio.sleep(0))))
            await asyncio.sleep(TICK)
            await context.reply("ended")

    async def scenario() -> None:
        async with place.open_node(stall_warning=None) as node:
            await node.start_worker("brief", Brief())
            await node.send_and_receive("brief", "")

            gc.collect()

            assert found[0]() is None

    place.run(scenario)
