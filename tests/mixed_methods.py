"""Every public async method, awaited wherever its caller runs: the fourth part of `mixed_spec`.

The table of promises is the API itself: `test_mixed` compares the names here with what the classes have.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

import autonomy
from autonomy import (
    ChildSpec,
    Context,
    DeadlineExceeded,
    MailboxFull,
    Node,
    WorkerExists,
    WorkerFailed,
    WorkerNotFound,
    WorkerStopped,
    Zone,
)

from .mixed_spec import LONG, TICK, anywhere, fail_with, method, takes
from .workers import Echo, Failing, Recorder


class Does:
    """Handles a message in an asyncio task of its own, and waits for that."""

    def __init__(self, action: Callable[[Context], Awaitable[None]]) -> None:
        self._action = action

    async def handle_message(self, context: Context, message: str) -> None:
        async def act() -> None:
            await self._action(context)

        await asyncio.create_task(act())


async def until(condition: Callable[[], object]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(LONG):
        while not condition():  # noqa: ASYNC110  # what workers of either world do sets no event of asyncio's
            await asyncio.sleep(TICK)


@anywhere
async def asyncio_gather_takes_methods_of_the_node(node: Node) -> None:
    await node.start_worker("first", Echo())
    reply, nothing = await asyncio.gather(node.send_and_receive("first", "hello"), node.start_worker("second", Echo()))
    assert (reply, nothing) == ("hello", None)
    assert await node.send_and_receive("second", "hello") == "hello"


@anywhere
async def a_coroutine_made_here_may_run_in_a_task_and_the_other_way_round(node: Node) -> None:
    await node.start_worker("echo", Echo())
    made_here = node.send_and_receive("echo", "made here")

    async def make() -> list[Awaitable[object]]:
        return [node.send_and_receive("echo", "made there"), node.list_workers()]

    made_there = await asyncio.create_task(make())
    assert await asyncio.create_task(made_here) == "made here"
    reply, workers = [await coroutine for coroutine in made_there]
    assert reply == "made there"
    assert [str(worker) for worker in workers if str(worker) == "echo"] == ["echo"]  # type: ignore[attr-defined]


@anywhere
async def errors_of_requests_come_out_bare(node: Node) -> None:
    await node.start_worker("failing", Failing())
    await node.start_worker("held", Held())

    async def ask(name: str, seconds: float) -> None:
        await node.send_and_receive(name, "why", timeout=seconds)

    for kind, name, seconds in (
        (WorkerFailed, "failing", LONG),
        (WorkerNotFound, "nobody", LONG),
        (DeadlineExceeded, "held", TICK),
    ):
        with pytest.raises(kind, match="timeout"):
            await ask(name, seconds)
        with pytest.raises(kind, match="timeout"):
            await asyncio.create_task(ask(name, seconds))
    await node.stop_worker("held", timeout=0)


class Held:
    """Waits until it may go on, then replies with the message; keeps what it has begun and ended."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.began: list[str] = []
        self.ended: list[str] = []

    async def handle_message(self, context: Context, message: str) -> None:
        self.began.append(message)
        await self.go.wait()
        self.ended.append(message)
        await context.reply(message)


@anywhere
async def a_cancelled_request_is_withdrawn(node: Node) -> None:
    held = Held()
    await node.start_worker("held", held)
    running = asyncio.create_task(node.send_and_receive("held", "running"))
    await until(lambda: held.began)
    queued = asyncio.create_task(node.send_and_receive("held", "queued"))
    await asyncio.sleep(TICK)
    queued.cancel()
    with pytest.raises(asyncio.CancelledError):
        await queued
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(node.send_and_receive("held", "timed out"), TICK)
    held.go.set()
    assert await running == "running"
    assert await node.send_and_receive("held", "last") == "last"
    assert held.began == ["running", "last"]


@anywhere
async def a_full_mailbox_makes_senders_wait(node: Node) -> None:
    held = Held()
    await node.start_worker("held", held, mailbox_capacity=1)
    await node.send_message("held", "0")
    await until(lambda: held.began)
    await node.send_message("held", "1")
    waiting = [asyncio.create_task(node.send_message("held", str(number))) for number in (2, 3)]
    cancelled = asyncio.create_task(node.send_message("held", "cancelled"))
    await asyncio.sleep(TICK)
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    with pytest.raises(MailboxFull):
        await node.send_message("held", "too late", timeout=TICK)
    assert not any(task.done() for task in waiting)
    held.go.set()
    await asyncio.gather(*waiting)
    await until(lambda: len(held.ended) == 4)
    assert held.ended[:2] == ["0", "1"]
    assert sorted(held.ended[2:]) == ["2", "3"]


@anywhere
async def many_requests_at_once_get_each_its_own_reply(node: Node) -> None:
    await node.start_worker("echo", Echo())
    requests = [node.send_and_receive("echo", str(number)) for number in range(100)]
    assert await asyncio.gather(*requests) == [str(number) for number in range(100)]


# --- Node


@method("Node.identifier")
async def identifier(node: Node) -> None:
    assert node.incarnation in await node.identifier()


@method("Node.send_message")
async def send_message(node: Node) -> None:
    recorder = Recorder()
    await node.start_worker("recorder", recorder)
    for number in range(50):
        await node.send_message("recorder", str(number))
    await until(lambda: len(recorder.received) == 50)
    assert recorder.received == [str(number) for number in range(50)]


@method("Node.send_and_receive")
async def send_and_receive(node: Node) -> None:
    await node.start_worker("echo", Echo())
    assert await node.send_and_receive("echo", "hello", timeout=LONG) == "hello"


@method("Node.send")
@method("Mailbox.receive")
@method("Mailbox.__aenter__")
@method("Mailbox.__aexit__")
async def send(node: Node) -> None:
    await node.start_worker("echo", Echo())
    async with await node.send("echo", "hello") as mailbox:
        assert await mailbox.receive(timeout=LONG) == "hello"
        with takes(TICK), pytest.raises(DeadlineExceeded):
            await mailbox.receive(timeout=TICK)
        waiting = asyncio.create_task(mailbox.receive())
        await asyncio.sleep(TICK)
    with pytest.raises(WorkerStopped):
        await waiting


@method("Node.create_mailbox")
@method("Mailbox.send")
@method("Mailbox.__anext__")
async def create_mailbox(node: Node) -> None:
    await node.start_worker("echo", Echo())
    mailbox = await node.create_mailbox("letters")
    with pytest.raises(WorkerExists):
        await node.create_mailbox("letters")
    for number in range(3):
        await mailbox.send("echo", str(number))
    seen = []
    async for message in mailbox:
        seen.append(message)
        if len(seen) == 3:
            mailbox.close()
    assert seen == ["0", "1", "2"]


@method("Node.any")
@method("Node.all")
async def any_and_all(node: Node) -> None:
    await node.start_worker("echo", Echo())
    assert await node.any("echo", "one", timeout=LONG) == "one"
    assert await node.all("echo", "each", timeout=LONG) == {node.name: "each"}
    with pytest.raises(WorkerNotFound):
        await node.all("nobody", "each")


@method("Node.start_worker")
async def start_worker(node: Node) -> None:
    class Started(Echo):
        async def on_start(self, context: Context) -> None:
            await asyncio.sleep(TICK)
            if context.name == "refuses":
                raise PermissionError("not here")

    with takes(TICK):
        await node.start_worker("starts", Started())
    with pytest.raises(PermissionError, match="not here"):
        await node.start_worker("refuses", Started())
    starting = asyncio.create_task(node.start_worker("cancelled", Started()))
    await asyncio.sleep(0)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert {"refuses", "cancelled"}.isdisjoint(map(str, await node.list_workers()))


@method("Node.stop_worker")
@method("Node.list_workers")
async def stop_worker(node: Node) -> None:
    await node.start_worker("echo", Echo())
    assert "echo" in map(str, await node.list_workers())
    await node.stop_worker("echo")
    assert "echo" not in map(str, await node.list_workers())
    with pytest.raises(WorkerNotFound):
        await node.stop_worker("echo")


@method("Node.start_group")
async def start_group(node: Node) -> None:
    await node.start_group("group", [ChildSpec("member", Echo)])
    assert await node.send_and_receive("member", "hello") == "hello"
    await node.stop_worker("group")


@method("Node.ready")
async def ready(node: Node) -> None:
    await node.ready()


@method("Node.announce")
async def announce(node: Node) -> None:
    with pytest.raises(ValueError, match="does not listen"):
        await node.announce("wss://b:1")


@method("Node.watch")
@method("Watch.down")
async def watch(node: Node) -> None:
    await node.start_worker("echo", Echo())
    async with node.watch("echo") as lookout:
        seeing = asyncio.create_task(lookout.down())
        await asyncio.sleep(TICK)
        assert not seeing.done()
        await node.stop_worker("echo")
        assert (await lookout.down()).reason == (await seeing).reason == "stopped"


# --- Context


async def done_by_a_worker(node: Node, action: Callable[[Context], Awaitable[None]]) -> str:
    """Let a worker do something in an asyncio task, and return its reply."""
    await node.start_worker("does", Does(action))
    return await node.send_and_receive("does", "do", timeout=LONG)


@method("Context.reply")
async def reply(node: Node) -> None:
    async def act(context: Context) -> None:
        with pytest.raises(TypeError):
            await context.reply(3)  # type: ignore[arg-type]
        await context.reply("from a task")

    assert await done_by_a_worker(node, act) == "from a task"


@method("Context.forward")
async def forward(node: Node) -> None:
    async def act(context: Context) -> None:
        with pytest.raises(WorkerNotFound):
            await context.forward("nobody")
        await context.forward("echo")

    await node.start_worker("echo", Echo())
    assert await done_by_a_worker(node, act) == "do"


@method("Context.send_message")
@method("Context.send_and_receive")
async def send_by_context(node: Node) -> None:
    recorder = Recorder()

    async def act(context: Context) -> None:
        await context.send_message("recorder", "noted")
        await context.reply(await context.send_and_receive("echo", "asked"))

    await node.start_worker("echo", Echo())
    await node.start_worker("recorder", recorder)
    assert await done_by_a_worker(node, act) == "asked"
    await until(lambda: recorder.received)
    assert recorder.received == ["noted"]


@method("Context.start_worker")
@method("Context.watch")
async def child_by_context(node: Node) -> None:
    async def act(context: Context) -> None:
        await context.start_worker("child", Echo())
        async with context.watch("child") as lookout:
            await context.node.stop_worker("child")
            await context.reply((await lookout.down()).reason)

    assert await done_by_a_worker(node, act) == "stopped"


# --- the rest


@method("Zone.nodes")
@method("Zone.node")
async def zone(node: Node) -> None:
    assert await Zone.nodes(node) == [node]
    assert await Zone.node(node, node.short_name) is node


@method("gather")
async def gather(node: Node) -> None:
    await node.start_worker("echo", Echo())
    sleeps = [asyncio.sleep(number * TICK, str(number)) for number in (2, 0, 1)]
    assert await autonomy.gather(*sleeps, node.send_and_receive("echo", "3"), batch_size=2) == ["2", "0", "1", "3"]
    assert await autonomy.gather() == []
    error, ended = ValueError("bare"), list[str]()

    async def endless() -> None:
        try:
            await asyncio.sleep(LONG)
        finally:
            ended.append("cancelled")

    with takes(TICK), pytest.raises(ValueError, match="bare") as caught:
        await autonomy.gather(endless(), fail_with(error))
    assert caught.value is error
    assert ended == ["cancelled"]
