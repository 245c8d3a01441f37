"""Several nodes on one asyncio loop share one Trio run; and nothing of the application's is changed for good."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest
import trio
import uvloop
from fastapi import FastAPI, Request

from autonomy import Context, Escalate, Node, aio, open_node

from .test_aio import Bomb, FatalError, Loops, node_with
from .test_aio import loops as loops  # a fixture
from .workers import Echo

pytestmark = [pytest.mark.network, pytest.mark.slow]  # loops have real descriptors, and real time


def trio_run() -> object:
    """Return what stands for the Trio run of this thread."""
    return trio.lowlevel.current_root_task()


def test_nested_nodes_share_one_run_and_reach_only_their_own_workers(loops: Loops) -> None:
    async def application() -> None:
        async with node_with(echo=Echo()) as outer:
            first = trio_run()
            async with aio.open_node("inner") as inner:
                assert trio_run() is first
                await inner.start_worker("other", Echo())
                assert await inner.send_and_receive("other", "1") == "1"
            assert trio_run() is first
            assert await outer.send_and_receive("echo", "2") == "2"
            assert [str(worker) for worker in await outer.list_workers()] == ["echo"]
        assert not trio.lowlevel.in_trio_run()

    loops.run(application)


def test_overlapping_nodes_share_one_run_until_the_last_has_left(loops: Loops) -> None:
    async def application() -> None:
        first, second = AsyncExitStack(), AsyncExitStack()
        a = await first.enter_async_context(node_with(echo=Echo()))
        run = trio_run()
        b = await second.enter_async_context(node_with(echo=Echo()))

        assert await a.send_and_receive("echo", "a") == "a"
        await first.aclose()
        assert trio_run() is run
        assert await b.send_and_receive("echo", "b") == "b"
        await second.aclose()

        assert not trio.lowlevel.in_trio_run()

    loops.run(application)


def test_many_nodes_may_open_and_close_at_the_same_time(loops: Loops) -> None:
    async def one(number: int) -> str:
        await asyncio.sleep(0.001 * (number % 5))
        async with node_with(echo=Echo()) as node:
            await asyncio.sleep(0.001 * (number % 3))
            return await node.send_and_receive("echo", str(number))

    async def application() -> list[str]:
        return await asyncio.gather(*map(one, range(20)))

    assert loops.run(application) == [str(number) for number in range(20)]


def test_a_node_may_open_again_after_another_has_closed_and_while_it_closes(loops: Loops) -> None:
    async def application() -> None:
        for turns in range(12):
            closing = AsyncExitStack()
            await closing.enter_async_context(node_with())
            task = asyncio.create_task(closing.aclose())
            for _ in range(turns):
                await asyncio.sleep(0)

            async with node_with(echo=Echo()) as node:
                assert await node.send_and_receive("echo", str(turns)) == str(turns)

            await task
            assert not trio.lowlevel.in_trio_run()

    loops.run(application)


def test_one_node_that_fails_leaves_the_other_alone(loops: Loops) -> None:
    async def application() -> None:
        async with node_with(echo=Echo()) as node:
            with pytest.raises(FatalError):  # noqa: PT012  # it comes out of the block's end
                async with aio.open_node() as other:
                    await other.start_worker("bomb", Bomb(), supervision=Escalate())
                    await other.send_message("bomb", "bang")
                    await asyncio.sleep(60)
            assert await node.send_and_receive("echo", "well") == "well"

    loops.run(application)


def test_a_program_may_use_one_loop_after_the_other(loops: Loops) -> None:
    async def application() -> str:
        async with node_with(echo=Echo()) as node:
            return await node.send_and_receive("echo", "hello")

    assert [loops.run(application) for _ in range(3)] == ["hello"] * 3


# --- the application's task factory


@pytest.mark.parametrize("kind", ["none", "its own", "eager"])
def test_the_applications_task_factory_is_used_and_put_back(loops: Loops, kind: str) -> None:
    if kind == "eager" and sys.version_info < (3, 12):
        pytest.skip("asyncio.eager_task_factory is new in Python 3.12")
    if kind == "eager" and loops.factory is uvloop.new_event_loop and (3, 13) <= sys.version_info < (3, 13, 3):
        pytest.skip("uvloop gives a factory options that this Python's does not take")
    made: list[str] = []

    def own(loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, Any], **options: Any) -> Any:
        made.append(getattr(coro, "__name__", ""))
        return asyncio.Task(coro, loop=loop, **options)

    class Worker:
        async def handle_message(self, context: Context, message: str) -> None:
            async def of_worker() -> str:
                await asyncio.sleep(0)
                await context.node.send_message("echo", "from a task")
                return message

            await context.reply(await asyncio.create_task(of_worker(), name="named"))

    async def application() -> None:
        loop = asyncio.get_running_loop()
        factory: Any = {"none": None, "its own": own, "eager": getattr(asyncio, "eager_task_factory", None)}[kind]
        loop.set_task_factory(factory)

        async with node_with(worker=Worker(), echo=Echo()) as node:
            asked = [asyncio.create_task(node.send_and_receive("worker", str(number))) for number in range(3)]
            assert await asyncio.gather(*asked) == ["0", "1", "2"]
            async with node_with():
                assert await node.send_and_receive("worker", "x") == "x"

        assert loop.get_task_factory() is factory

    loops.run(application)

    assert made.count("of_worker") == (4 if kind == "its own" else 0)


def test_a_task_factory_that_the_application_sets_meanwhile_stays(loops: Loops) -> None:
    def own(loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, Any], **options: Any) -> Any:
        return asyncio.Task(coro, loop=loop, **options)

    factory: Any = own

    async def application() -> None:
        loop = asyncio.get_running_loop()
        async with node_with():
            loop.set_task_factory(factory)
        assert loop.get_task_factory() is factory

    loops.run(application)


def test_tasks_that_a_worker_leaves_end_with_it_and_those_of_the_application_do_not(loops: Loops) -> None:
    class Leaves:
        async def handle_message(self, context: Context, message: str) -> None:
            asyncio.create_task(asyncio.sleep(60), name="of the worker")  # noqa: RUF006  # its worker keeps it
            await context.reply("")

    async def application() -> None:
        mine = asyncio.create_task(asyncio.sleep(60), name="mine")
        async with node_with(leaves=Leaves()) as node:
            await node.send_and_receive("leaves", "")
            assert "of the worker" in {task.get_name() for task in asyncio.all_tasks()}
            await node.stop_worker("leaves")
            assert {task.get_name() for task in asyncio.all_tasks()} >= {"mine"}
            assert "of the worker" not in {task.get_name() for task in asyncio.all_tasks()}
        assert not mine.done()
        mine.cancel()
        await asyncio.wait([mine])

    loops.run(application)


# --- where it is refused


async def test_in_a_trio_program_it_is_refused_with_the_name_of_what_is_meant() -> None:
    with pytest.raises(RuntimeError, match=r"asyncio|no running event loop"):
        async with aio.open_node():
            pass
    await trio.lowlevel.checkpoint()


def test_open_node_of_trio_is_refused_in_asyncio_with_the_name_of_what_is_meant() -> None:
    async def application() -> None:
        async with open_node():
            pass

    with pytest.raises(RuntimeError, match=r"autonomy\.aio\.open_node"):
        asyncio.run(application())


def test_wrong_options_are_refused_before_anything_is_started() -> None:
    async def application() -> None:
        with pytest.raises(ValueError, match="drain_timeout"):
            async with aio.open_node(drain_timeout=-1):
                pass
        assert not trio.lowlevel.in_trio_run()

    asyncio.run(application())


# --- FastAPI


async def start_echo(node: Node) -> None:
    await node.start_worker("echo", Echo())


def application_with_node() -> FastAPI:
    app = FastAPI(lifespan=aio.lifespan(start_echo, name="web", stall_warning=None))

    @app.get("/by-dependency/{message}")
    async def by_dependency(message: str, node: aio.NodeDep) -> str:
        return await node.send_and_receive("echo", message, timeout=5)

    @app.get("/by-function/{message}")
    async def by_function(message: str, request: Request) -> str:
        return await aio.node_of(request).send_and_receive("echo", message, timeout=5)

    @app.get("/by-state")
    async def by_state(request: Request) -> str:
        node: Node = request.app.state.node
        return node.name

    return app


def client_of(app: FastAPI) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://application")


def test_endpoints_get_the_node_of_their_application(loops: Loops) -> None:
    async def application() -> None:
        app = application_with_node()
        async with app.router.lifespan_context(app), client_of(app) as client:
            assert (await client.get("/by-dependency/one")).json() == "one"
            assert (await client.get("/by-function/two")).json() == "two"
            assert (await client.get("/by-state")).json() == "web"
            answers = await asyncio.gather(*[client.get(f"/by-dependency/{number}") for number in range(50)])
            assert [answer.json() for answer in answers] == [str(number) for number in range(50)]
        assert not hasattr(app.state, "node")
        assert not trio.lowlevel.in_trio_run()

    loops.run(application)


def test_two_applications_have_a_node_each(loops: Loops) -> None:
    async def application() -> None:
        one, two = application_with_node(), application_with_node()
        async with one.router.lifespan_context(one), two.router.lifespan_context(two):
            assert one.state.node is not two.state.node
            async with client_of(two) as client:
                assert (await client.get("/by-dependency/hello")).json() == "hello"

    loops.run(application)


def test_an_application_without_a_node_is_told_what_is_missing(loops: Loops) -> None:
    async def application() -> None:
        app = application_with_node()
        async with client_of(app) as client:
            with pytest.raises(RuntimeError, match=r"lifespan=autonomy\.aio\.lifespan"):
                await client.get("/by-dependency/hello")

    loops.run(application)


def test_a_setup_that_fails_fails_the_application_and_closes_the_node(loops: Loops) -> None:
    async def setup(node: Node) -> None:
        raise LookupError("no database")

    async def application() -> None:
        app = FastAPI(lifespan=aio.lifespan(setup))
        with pytest.raises(LookupError, match="no database"):
            async with app.router.lifespan_context(app):
                pass
        assert not hasattr(app.state, "node")
        assert not trio.lowlevel.in_trio_run()

    loops.run(application)
