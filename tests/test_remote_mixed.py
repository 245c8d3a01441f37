"""Other nodes, reached from asyncio tasks of a Trio program: all calls are there what they are elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock

from autonomy import Context, DeadlineExceeded, MailboxFull, Node, NodeDown, WorkerFailed, WorkerNotFound
from tests.mixed_methods import Does
from tests.workers import Echo, Failing, Recorder, Sleeper
from tests.zone import FaultyNetwork, on, two_nodes

Action = Callable[[Context], Awaitable[None]]


async def in_asyncio(node: Node, action: Action) -> None:
    """Let a worker of a node do something in an asyncio task."""

    async def act(context: Context) -> None:
        await action(context)
        await context.reply("done")

    await node.start_worker("does", Does(act))
    assert await node.send_and_receive("does", "do", timeout=300) == "done"
    await node.stop_worker("does")


async def test_requests_and_messages_go_to_far_workers(autojump_clock: MockClock) -> None:
    async with two_nodes() as (a, b):
        recorder = Recorder()
        await b.start_worker("recorder", recorder, mailbox_capacity=3)
        await b.start_worker("echo", Echo(), mailbox_capacity=3)

        async def act(context: Context) -> None:
            for number in range(50):
                await a.send_message("recorder@b", str(number))
            replies = await asyncio.gather(*(a.send_and_receive("echo@b", str(n)) for n in range(50)))
            assert replies == [str(number) for number in range(50)]

        await in_asyncio(a, act)
        await trio.sleep(1)
        assert recorder.received == [str(number) for number in range(50)]


async def test_nodes_are_connected_and_conversed_with(autojump_clock: MockClock) -> None:
    network = FaultyNetwork()
    async with on(network, "a") as a, on(network, "b") as b:
        await b.start_worker("echo", Echo())

        async def act(context: Context) -> None:
            far = await a.connect("wss://b:1")
            assert await far.identifier() == await (await a.connect("wss://b:1", "b")).identifier()
            async with await far.send("echo", "hello") as mailbox:
                assert await mailbox.receive() == "hello"
                await mailbox.send("echo@b", "again")
                assert await mailbox.receive() == "again"
            await far.send_message("echo", "hello")

        await in_asyncio(a, act)


async def test_large_messages_go_there_and_back(autojump_clock: MockClock) -> None:
    async with two_nodes() as (a, b):
        await b.start_worker("echo", Echo())

        async def act(context: Context) -> None:
            for size in (10, 2**20, 10, 2**22):
                assert len(await a.send_and_receive("echo@b", "x" * size)) == size

        await in_asyncio(a, act)


async def test_errors_come_out_bare(autojump_clock: MockClock) -> None:
    async with two_nodes() as (a, b):
        await b.start_worker("failing", Failing())
        await b.start_worker("sleeper", Sleeper())

        async def act(context: Context) -> None:
            with pytest.raises(WorkerFailed, match="timeout"):
                await a.send_and_receive("failing@b", "hello")
            with pytest.raises(WorkerNotFound, match="timeout"):
                await a.send_and_receive("nobody@b", "hello")
            with pytest.raises(DeadlineExceeded, match="timeout"):
                await a.send_and_receive("sleeper@b", "10", timeout=1)

        await in_asyncio(a, act)


async def test_full_far_mailboxes_make_asyncio_tasks_wait_and_give_up(autojump_clock: MockClock) -> None:
    async with two_nodes() as (a, b):
        sleeper = Sleeper()
        await b.start_worker("sleeper", sleeper, mailbox_capacity=1)

        async def act(context: Context) -> None:
            await a.send_message("sleeper@b", "20")
            await asyncio.sleep(0.1)
            await a.send_message("sleeper@b", "0")
            waiting = asyncio.create_task(a.send_message("sleeper@b", "0", timeout=100))
            cancelled = asyncio.create_task(a.send_message("sleeper@b", "0", timeout=100))
            await asyncio.sleep(0.1)
            with pytest.raises(MailboxFull):
                await a.send_message("sleeper@b", "0", timeout=1)
            cancelled.cancel()
            with pytest.raises(asyncio.CancelledError):
                await cancelled
            assert not waiting.done()
            await waiting

        await in_asyncio(a, act)
        await trio.sleep(1)
        assert sleeper.ended == 3


async def test_a_cancelled_request_is_withdrawn_from_a_far_worker(autojump_clock: MockClock) -> None:
    async with two_nodes() as (a, b):
        sleeper = Sleeper()
        await b.start_worker("sleeper", sleeper)

        async def act(context: Context) -> None:
            running = asyncio.create_task(a.send_and_receive("sleeper@b", "5"))
            await asyncio.sleep(0.1)
            queued = asyncio.create_task(a.send_and_receive("sleeper@b", "1"))
            await asyncio.sleep(0.1)
            queued.cancel()
            with pytest.raises(asyncio.CancelledError):
                await queued
            assert await running == "5"

        await in_asyncio(a, act)
        await trio.sleep(10)
        assert sleeper.began == 1


async def test_far_workers_are_watched_and_lost(autojump_clock: MockClock) -> None:
    network = FaultyNetwork()
    async with two_nodes(network) as (a, b):
        await b.start_worker("echo", Echo())
        await b.start_worker("sleeper", Sleeper())

        async def act(context: Context) -> None:
            async with a.watch("echo@b") as watch:
                await asyncio.sleep(0.1)
                await b.stop_worker("echo")
                assert (await watch.down()).reason == "stopped"
            asking = asyncio.create_task(a.send_and_receive("sleeper@b", "1000", timeout=100))
            async with a.watch("sleeper@b") as watch:
                await asyncio.sleep(1)
                network.part("a", "b")
                assert (await watch.down()).reason.startswith("node 'b' is down")
            with pytest.raises(NodeDown, match="timeout"):
                await asking
            network.heal("a", "b")

        await in_asyncio(a, act)


async def test_a_far_worker_may_answer_from_an_asyncio_task(autojump_clock: MockClock) -> None:
    async def act(context: Context) -> None:
        await asyncio.sleep(1)
        await context.reply(await context.send_and_receive("echo@a", "and back"))

    async with two_nodes() as (a, b):
        await a.start_worker("echo", Echo())
        await b.start_worker("does", Does(act))

        assert await a.send_and_receive("does@b", "do") == "and back"
