"""Names of workers that are not there yet: who waits for a node that is starting, how long, and who does not."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock

from autonomy import (
    Context,
    DeadlineExceeded,
    Node,
    NoReply,
    WorkerNotFound,
)
from autonomy.directory import EmbeddedDirectory
from tests.zone import FaultyNetwork, on
from tests.zoned import WAYS, Sends, Three, Where

# --- R4, R5: not there yet, or nowhere


async def test_a_name_that_nobody_has_is_not_found_at_once(autojump_clock: MockClock, three: Three) -> None:
    _main, _a, _b = three
    begun = trio.current_time()

    for node in three:
        for send in (node.send_and_receive, node.send_message, node.send, node.any, node.all):
            with pytest.raises(WorkerNotFound, match="where"):
                await send("where", "hello")
        async with node.watch("where") as watch:
            assert (await watch.down()).reason == "not found"

    assert trio.current_time() == begun


async def test_the_text_of_a_request_says_timeout_all_the_same(autojump_clock: MockClock, three: Three) -> None:
    for ask in (three[1].send_and_receive, three[1].any, three[1].all):
        with pytest.raises(WorkerNotFound, match="timeout=7s"):
            await ask("where", "hello", timeout=7)


@pytest.mark.parametrize("way", WAYS)
async def test_while_a_node_is_starting_its_workers_are_waited_for(
    autojump_clock: MockClock, three: Three, late: Node, way: Callable[[Node], Awaitable[None]]
) -> None:
    _main, a, _b = three
    worker = Where()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(way, a)
        await trio.sleep(3)
        assert worker.received == []
        begun = trio.current_time()
        await late.start_worker("where", worker)
    await trio.sleep(0.2)

    assert len(worker.received) == 1
    assert trio.current_time() - begun < 1


async def test_whoever_waits_is_told_at_once_when_the_last_node_is_ready(
    autojump_clock: MockClock, three: Three, late: Node
) -> None:
    begun = trio.current_time()

    async def ask(node: Node, address: str, at: str | None = None) -> None:
        with pytest.raises(WorkerNotFound):
            await node.send_and_receive(address, "hello", at)
        assert trio.current_time() == begun + 2

    async with trio.open_nursery() as nursery:
        for node in three:
            nursery.start_soon(ask, node, "where")
            nursery.start_soon(ask, node, "where@late")
            nursery.start_soon(ask, node, "where", "late")
        await trio.sleep(2)
        await late.ready()


async def test_whoever_waits_does_so_within_its_deadline(autojump_clock: MockClock, three: Three, late: Node) -> None:
    _main, a, _b = three
    begun = trio.current_time()

    for ask in (a.send_and_receive, a.any, a.all, a.send_message):
        with pytest.raises((DeadlineExceeded, NoReply)) as caught:
            await ask("where", "hello", timeout=1)
        assert caught.value.outcome == "not_sent"

    assert trio.current_time() == begun + 4


async def test_a_worker_waits_within_what_is_left_of_the_request_that_it_handles(
    autojump_clock: MockClock, three: Three, late: Node
) -> None:
    # given workers that send to one that is nowhere yet, by message and by request
    _main, a, b = three
    await a.start_worker("asks", Sends(lambda context: context.send_and_receive("where", "hello")))
    await a.start_worker("tells", Sends(lambda context: context.send_message("where", "hello")))
    begun = trio.current_time()

    for name in ("asks", "tells"):
        with pytest.raises(NoReply):
            await b.send_and_receive(f"{name}@a", "", timeout=1)
    assert trio.current_time() == begun + 2

    # when somebody is asked without being in a hurry, the node of the directory is still there to answer
    with trio.fail_after(60):
        await late.start_worker("where", Where())
        await trio.sleep(1)
        assert await a.send_and_receive("where", "?") == "late"


async def test_a_node_that_never_says_so_counts_as_ready_after_ten_seconds(
    autojump_clock: MockClock, three: Three, late: Node
) -> None:
    _main, a, _b = three
    begun = trio.current_time()

    for address in ("where", "where@late"):
        with pytest.raises(WorkerNotFound):
            await a.send_and_receive(address, "hello")
        assert 9 < trio.current_time() - begun <= 11


async def test_the_node_that_asks_does_not_wait_for_itself(autojump_clock: MockClock, three: Three, late: Node) -> None:
    begun = trio.current_time()

    with pytest.raises(WorkerNotFound):
        await late.send_and_receive("where", "hello")

    assert trio.current_time() == begun


async def test_nodes_that_start_together_find_each_other_s_workers(autojump_clock: MockClock) -> None:
    # given two nodes whose programs each ask the other's worker before they start their own
    network, directory = FaultyNetwork(), EmbeddedDirectory("main", "wss://main:1")
    answers: list[str] = []

    async def program(name: str, other: str) -> None:
        async with on(network, name, directory=directory, ready=False) as node, trio.open_nursery() as nursery:

            async def ask() -> None:
                answers.append(await node.send_and_receive(f"of-{other}", "?"))

            nursery.start_soon(ask)
            await trio.sleep(1)
            await node.start_worker(f"of-{name}", Where())
            await node.ready()
            await trio.sleep(5)

    async with on(network, "main", directory=directory), trio.open_nursery() as nursery:
        nursery.start_soon(program, "a", "b")
        nursery.start_soon(program, "b", "a")

    assert sorted(answers) == ["a", "b"]


# --- R1: on one node


async def test_a_node_that_is_named_is_the_only_one_that_is_asked(autojump_clock: MockClock, three: Three) -> None:
    main, a, b = three
    await a.start_worker("where", Where())
    await b.start_worker("where", Where())

    assert await a.send_and_receive("where", "?", node="b") == "b"
    assert await main.send_and_receive("where@a", "?") == "a"
    with pytest.raises(WorkerNotFound):
        await a.send_and_receive("where", "?", node="main")


async def test_a_worker_of_a_starting_node_is_waited_for_there(
    autojump_clock: MockClock, three: Three, late: Node
) -> None:
    _main, a, b = three
    await b.start_worker("where", Where())
    answers: list[str] = []

    async def ask(address: str, at: object) -> None:
        answers.append(await a.send_and_receive(address, "?", at))  # type: ignore[arg-type]

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, "where@late", None)
        nursery.start_soon(ask, "where", "late")
        nursery.start_soon(ask, "where", late)
        await trio.sleep(5)
        assert answers == []
        await late.start_worker("where", Where())

    assert answers == ["late"] * 3


async def test_a_request_that_was_handed_on_to_nobody_is_not_made_again(
    autojump_clock: MockClock, network: FaultyNetwork, three: Three, late: Node
) -> None:
    # given a worker on a starting node that hands requests on to one that is about to stop
    _main, a, b = three
    handled: list[str] = []

    class HandsOn:
        async def handle_message(self, context: Context, message: str) -> None:
            handled.append(message)
            await context.forward("where@b")

    await late.start_worker("hands-on", HandsOn())
    await b.start_worker("where", Where())
    assert await a.send_and_receive("hands-on@late", "one") == "b"

    # when a request is under way to it while it stops
    network.silence("b", "late")
    await b.stop_worker("where")
    async with trio.open_nursery() as nursery:

        async def ask() -> None:
            with pytest.raises(WorkerNotFound) as caught:
                await a.send_and_receive("hands-on@late", "two", timeout=20)
            assert caught.value.outcome == "maybe_handled"

        nursery.start_soon(ask)
        await trio.sleep(1)
        network.heal("b", "late")

    assert handled == ["one", "two"]
