"""What a node asks of another one's workers as a whole: list them, stop them; and who may."""

from __future__ import annotations

import asyncio
import logging
from functools import partial

import pytest
import trio
from trio.testing import MockClock

from autonomy import (
    CodeRefused,
    Context,
    Node,
    NodeDown,
    NoReply,
    NotAllowed,
    RemoteNode,
    WorkerExists,
    WorkerFailed,
    WorkerNotFound,
    Zone,
    gather,
)
from autonomy._sansio.rights import Rights
from autonomy.errors import ProtocolError
from tests.workers import Echo, Sleeper
from tests.zone import FaultyNetwork
from tests.zoned import Three, zone

PREFIX = "Remote node error: "


class Stubborn:
    """Takes ten seconds to stop."""

    async def handle_message(self, context: Context, message: str) -> None:
        await context.reply(message)

    async def on_stop(self, context: Context) -> None:
        await trio.sleep(10)


async def far(node: Node, name: str) -> RemoteNode:
    """Return another node as one sees it."""
    found = await Zone.node(node, name)
    assert isinstance(found, RemoteNode)
    return found


@pytest.fixture
async def b_of_a(autojump_clock: MockClock, three: Three) -> RemoteNode:
    """Node ``b``, as ``a`` sees it."""
    await trio.sleep(0.1)
    return await far(three[1], "b")


async def test_workers_of_another_node_are_listed_as_there(
    autojump_clock: MockClock, three: Three, b_of_a: RemoteNode
) -> None:
    b = three[2]
    assert await b_of_a.list_workers() == []
    for name in ("z", "a", "m"):
        await b.start_worker(name, Echo())
    await b.send_and_receive("a", "hello")
    await trio.sleep(0.1)

    listed = await b_of_a.list_workers()

    assert [str(info) for info in listed] == ["a", "m", "z"]
    assert listed == await b.list_workers()
    assert listed[0]["handled"] == 1


async def test_a_worker_of_another_node_is_stopped_and_its_name_is_free(
    autojump_clock: MockClock, three: Three, b_of_a: RemoteNode
) -> None:
    main, a, b = three
    await b.start_worker("echo", Echo())
    assert await main.send_and_receive("echo", "hello") == "hello"

    await b_of_a.stop_worker("echo")

    assert await b.list_workers() == []
    with pytest.raises(WorkerNotFound):
        await main.send_and_receive("echo", "hello")
    await a.start_worker("echo", Echo())
    assert await main.send_and_receive("echo", "hello") == "hello"


async def test_what_goes_wrong_there_says_so(autojump_clock: MockClock, three: Three, b_of_a: RemoteNode) -> None:
    with pytest.raises(WorkerNotFound) as caught:
        await b_of_a.stop_worker("nobody")

    assert str(caught.value).startswith(PREFIX)
    assert "nobody" in str(caught.value)


async def test_an_order_to_a_node_that_is_gone_says_so(
    autojump_clock: MockClock, three: Three, b_of_a: RemoteNode
) -> None:
    await three[2].stop()
    await trio.sleep(1)

    for order in (b_of_a.list_workers(), b_of_a.stop_worker("echo")):
        with pytest.raises(NoReply) as caught:
            await order
        assert str(caught.value).startswith(PREFIX)
        assert caught.value.outcome == "not_sent"


async def test_what_cannot_be_is_refused_here(autojump_clock: MockClock, b_of_a: RemoteNode) -> None:
    with pytest.raises(ValueError, match="name"):
        await b_of_a.stop_worker("no name")
    with pytest.raises(ValueError, match="timeout"):
        await b_of_a.stop_worker("echo", timeout=-1)
    with pytest.raises(TypeError, match="allow"):
        await b_of_a.start_worker("echo", Echo(), allow=lambda peer: True)  # type: ignore[arg-type]


async def test_a_stop_that_takes_long_holds_up_no_other_order(
    autojump_clock: MockClock, three: Three, b_of_a: RemoteNode
) -> None:
    b = three[2]
    for name in ("one", "two", "echo"):
        await b.start_worker(name, Stubborn() if name != "echo" else Echo())
    begun = trio.current_time()

    async with trio.open_nursery() as nursery:
        for name in ("one", "two"):
            nursery.start_soon(partial(b_of_a.stop_worker, name, timeout=20))
        await trio.sleep(0.1)
        for _ in range(10):
            assert len(await b_of_a.list_workers()) == 3
        await b_of_a.stop_worker("echo")
        assert trio.current_time() - begun < 1

    assert 10 <= trio.current_time() - begun < 11
    assert await b.list_workers() == []


async def test_the_timeout_of_a_stop_is_that_of_the_message_at_hand(
    autojump_clock: MockClock, three: Three, b_of_a: RemoteNode
) -> None:
    b = three[2]
    sleeper = Sleeper()
    await b.start_worker("sleeper", sleeper)
    await b.send_message("sleeper", "60")
    await trio.sleep(0.1)
    begun = trio.current_time()

    await b_of_a.stop_worker("sleeper", timeout=1)

    assert 1 <= trio.current_time() - begun < 2
    assert (sleeper.began, sleeper.ended) == (1, 0)


async def test_orders_to_several_nodes_at_once(autojump_clock: MockClock, three: Three) -> None:
    main, _a, _b = three
    for node in three:
        await node.start_worker("echo", Echo())
    await trio.sleep(0.1)
    everybody = await Zone.nodes(main)

    lists = await gather(*(node.list_workers() for node in everybody))

    assert [[str(info) for info in each] for each in lists] == [["echo"]] * 3


async def test_asyncio_gathers_over_nodes(autojump_clock: MockClock, three: Three) -> None:
    main, a, b = three

    class Asks:
        async def handle_message(self, context: Context, message: str) -> None:
            runners = [node for node in await Zone.nodes(context.node) if isinstance(node, RemoteNode)]
            await asyncio.gather(*(runner.send_message("echo", "hi") for runner in runners))
            answers = await asyncio.gather(*(runner.send_and_receive("echo", runner.name) for runner in runners))
            lists = await asyncio.gather(*(runner.list_workers() for runner in runners))
            await asyncio.gather(*(runner.stop_worker("echo") for runner in runners))
            await context.reply(f"{answers} {[len(each) for each in lists]}")

    for node in (a, b):
        await node.start_worker("echo", Echo())
    await main.start_worker("asks", Asks())
    await trio.sleep(0.1)

    assert await main.send_and_receive("asks", "") == "['a', 'b'] [1, 1]"
    assert await a.list_workers() == await b.list_workers() == []


async def test_only_those_who_may_manage_do_and_the_rest_is_logged(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with zone("main", "a", "b", rights=Rights(manage="main")) as (main, a, b):
        await b.start_worker("echo", Echo())
        await trio.sleep(0.1)
        refused, allowed = await far(a, "b"), await far(main, "b")

        with caplog.at_level(logging.WARNING):
            for order in (refused.list_workers(), refused.stop_worker("echo")):
                with pytest.raises(NotAllowed) as caught:
                    await order
                assert str(caught.value).startswith(PREFIX)
        lines = [record.getMessage() for record in caplog.records if record.name == "autonomy.security"]
        assert len(lines) == 1 or len(lines) == 2
        assert "peer=a" in lines[0]

        assert len(await allowed.list_workers()) == 1
        await allowed.stop_worker("echo")


async def test_code_is_not_taken_from_those_who_may_not_ship(autojump_clock: MockClock) -> None:
    async with zone("main", "a", rights=Rights(manage="*", ship="nobody")) as (main, a):
        await trio.sleep(0.1)
        with pytest.raises(CodeRefused):
            await (await far(main, "a")).start_worker("echo", Echo())
        assert await a.list_workers() == []


async def test_nonsense_for_the_manager_is_an_error_and_no_harm(
    autojump_clock: MockClock, three: Three, b_of_a: RemoteNode
) -> None:
    a = three[1]
    for text in ("", "{}", '{"type":"stop"}', '{"type":"list","x":' + "[" * 2000, '{"type":"stop","name":7}', "null"):
        with pytest.raises(WorkerFailed):
            await a.send_and_receive("_management@b", text)
    refused = await a.send_and_receive("_management@b", '{"type":"stop","name":"_management"}')
    assert "WorkerNotFound" in refused

    assert await b_of_a.list_workers() == []


async def test_the_library_s_own_workers_cannot_be_stopped(
    autojump_clock: MockClock, three: Three, b_of_a: RemoteNode
) -> None:
    main, a, b = three
    for node, name in ((await far(a, "main"), "_directory"), (b_of_a, "_management")):
        with pytest.raises(WorkerNotFound):
            await node.stop_worker(name)
    with pytest.raises(WorkerNotFound):
        await main.stop_worker("_directory")
    for on_conflict in ("error", "keep", "replace"):
        with pytest.raises(WorkerExists):
            await main.start_worker("_directory", Echo(), on_conflict=on_conflict)
    await b.start_worker("echo", Echo())
    assert await a.send_and_receive("echo", "hello") == "hello"


async def test_remote_nodes_are_equal_if_they_are_the_same_node_seen_from_the_same_one(
    autojump_clock: MockClock, three: Three, b_of_a: RemoteNode
) -> None:
    main, a, _b = three
    again, connected = await far(a, "b"), await a.connect("wss://b:1")

    assert b_of_a == again == connected
    assert len({b_of_a, again, connected}) == 1
    assert b_of_a != await far(main, "b")
    assert b_of_a != await far(a, "main")
    assert b_of_a != "b"
    assert repr(b_of_a) == "<RemoteNode 'b'>"


async def test_a_remote_node_asks_no_other_one(autojump_clock: MockClock, three: Three, b_of_a: RemoteNode) -> None:
    _main, _a, b = three
    await b.start_worker("echo", Echo())

    assert await b_of_a.send_and_receive("echo", "same", node="b") == "same"
    assert await b_of_a.send_and_receive("echo", "same", b_of_a) == "same"  # type: ignore[arg-type]
    for send in (b_of_a.send_message, b_of_a.send_and_receive, b_of_a.send):
        with pytest.raises(ValueError, match="another one"):
            await send("echo", "hello", node="main")
        with pytest.raises(ValueError, match="name"):
            await send("echo@b", "hello")


async def test_a_worker_may_manage_other_nodes_within_what_is_left_of_its_request(
    autojump_clock: MockClock, three: Three
) -> None:
    _main, a, b = three

    class Stops:
        async def handle_message(self, context: Context, message: str) -> None:
            await (await far(context.node, "b")).stop_worker(message)  # type: ignore[arg-type]
            await context.reply("stopped")

    await a.start_worker("stops", Stops())
    await b.start_worker("stubborn", Stubborn())
    await b.start_worker("echo", Echo())
    await trio.sleep(0.1)

    assert await a.send_and_receive("stops", "echo") == "stopped"
    with pytest.raises(NoReply):
        await a.send_and_receive("stops", "stubborn", timeout=1)
    with pytest.raises(WorkerFailed, match=PREFIX):
        await a.send_and_receive("stops", "nobody")


async def test_an_answer_that_nobody_understands_is_a_protocol_error(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, three: Three, b_of_a: RemoteNode
) -> None:
    # given a node that is newer, or lies
    b = three[2]
    await b.start_worker("liar", Echo())
    monkeypatch.setattr("autonomy._zone.remote.WORKER", "liar")

    with pytest.raises(ProtocolError, match=PREFIX):
        await b_of_a.list_workers()


async def test_a_node_that_is_lost_while_it_carries_out_an_order(
    autojump_clock: MockClock, network: FaultyNetwork, three: Three, b_of_a: RemoteNode
) -> None:
    b = three[2]
    await b.start_worker("stubborn", Stubborn())

    async def lose() -> None:
        await trio.sleep(1)
        network.stop_listening("a", "b")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(lose)
        with pytest.raises(NodeDown, match=PREFIX) as caught:
            await b_of_a.stop_worker("stubborn", timeout=20)
    assert caught.value.outcome == "maybe_handled"
