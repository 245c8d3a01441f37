"""Names of workers in a zone, asked for by asyncio tasks: the same as by Trio's."""

from __future__ import annotations

import asyncio

import pytest
from trio.testing import MockClock

from autonomy import AmbiguousWorker, Context, Node, WorkerNotFound, Zone
from tests.zoned import Three, Where


class Does:
    """Looks for workers and nodes as asyncio programs do."""

    async def handle_message(self, context: Context, message: str) -> None:
        await context.reply(str(await asyncio.create_task(getattr(self, message)(context.node))))

    async def ask(self, node: Node) -> str:
        return await node.send_and_receive("where", "?")

    async def ask_in_time(self, node: Node) -> str:
        try:
            async with asyncio.timeout(1):
                return await node.send_and_receive("nobody-yet", "?")
        except TimeoutError:
            return "not in time"

    async def ask_many(self, node: Node) -> str:
        answers = await asyncio.gather(*(node.send_and_receive("where", "?") for _ in range(100)))
        return " ".join(sorted(set(answers)))

    async def tell(self, node: Node) -> None:
        await node.send_message("where", "?")

    async def converse(self, node: Node) -> str:
        async with await node.send("where", "?") as mailbox:
            return await mailbox.receive(timeout=5)

    async def any_and_all(self, node: Node) -> str:
        return f"{await node.any('where', '?')} {await node.all('where', '?')}"

    async def fail(self, node: Node) -> str:
        kinds = []
        for name in ("nobody", "both"):
            for send in (node.send_and_receive, node.send_message):
                try:
                    await send(name, "?")
                except (WorkerNotFound, AmbiguousWorker) as error:
                    kinds.append(type(error).__name__)
        return " ".join(kinds)

    async def watch(self, node: Node) -> str:
        async with node.watch("where") as watch:
            await asyncio.sleep(0.1)
            await (await Zone.node(node, "b")).stop_worker("where")  # type: ignore[union-attr]
            return (await watch.down()).name

    async def start(self, node: Node) -> str:
        await node.start_worker("new", Where())
        found = await node.send_and_receive("new", "?")
        await node.stop_worker("new")
        return found


@pytest.fixture
async def does(autojump_clock: MockClock, three: Three) -> Node:
    """A node with the worker ``does``; another one of its zone has ``where``."""
    main, a, b = three
    await a.start_worker("does", Does())
    await b.start_worker("where", Where())
    for node in (main, b):
        await node.start_worker("both", Where())
    return a


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("ask", "b"),
        ("ask_many", "b"),
        ("tell", "None"),
        ("converse", "b"),
        ("any_and_all", "b {'b': 'b'}"),
        ("fail", "WorkerNotFound WorkerNotFound AmbiguousWorker AmbiguousWorker"),
        ("watch", "where@b"),
        ("start", "a"),
    ],
)
async def test_asyncio_tasks_find_workers_of_the_zone(
    autojump_clock: MockClock, does: Node, what: str, said: str
) -> None:
    assert await does.send_and_receive("does", what, timeout=10) == said


async def test_an_asyncio_task_that_waits_for_a_starting_node_may_give_up(
    autojump_clock: MockClock, does: Node, late: Node
) -> None:
    assert await does.send_and_receive("does", "ask_in_time", timeout=10) == "not in time"
    await late.start_worker("nobody-yet", Where())
    assert await does.send_and_receive("does", "ask_in_time", timeout=10) == "late"
