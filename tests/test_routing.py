"""Which worker a bare name means, on one node: R1, R2, R5, and addresses that are none."""

from __future__ import annotations

from typing import Any

import pytest
import trio.testing
from trio.testing import MockClock

from autonomy import AmbiguousWorker, ChildSpec, Context, Node, NoReply, Unreachable, WorkerNotFound, open_node
from tests.workers import Echo, Recorder


async def send(by: Node, way: str, address: Any, **options: Any) -> object:
    """Send "x" to an address in one of the ways there are."""
    if way == "send_nowait":
        by.send_nowait(address, "x", **options)
        return None
    return await getattr(by, way)(address, "x", **options)


# ---- R1: one node is named


@pytest.mark.parametrize("way", ["send_message", "send_and_receive", "send"])
async def test_a_name_with_this_node_is_looked_up_here(node: Node, autojump_clock: MockClock, way: str) -> None:
    recorder = Echo()
    await node.start_worker("echo", recorder)

    for options in ({"node": "n"}, {"node": node}):
        await send(node, way, "echo", **options)
        await send(node, way, "echo@n", **options)


@pytest.mark.parametrize("way", ["send_message", "send_and_receive", "send"])
async def test_a_name_with_another_node_is_unreachable_at_once_though_it_is_taken_here(
    node: Node, autojump_clock: MockClock, way: str
) -> None:
    recorder = Recorder()
    await node.start_worker("echo", recorder)
    before = node.statistics()

    for address, options in (("echo@other", {}), ("echo", {"node": "other"}), ("echo@other", {"node": "other"})):
        started = trio.current_time()
        with pytest.raises(Unreachable, match="node 'other' is not known to node 'n'") as caught:
            await send(node, way, address, **options)
        assert trio.current_time() == started
        assert (caught.value.outcome, caught.value.worker, caught.value.node) == ("not_sent", "echo", "other")
        assert "'echo@n'" not in str(caught.value)
        del caught

    assert node.statistics() == before
    assert recorder.received == []


async def test_another_node_of_this_process_is_unreachable_without_a_zone(
    node: Node, autojump_clock: MockClock
) -> None:
    async with open_node("m", stall_warning=None) as other:
        await other.start_worker("echo", Echo())

        with pytest.raises(Unreachable):
            await node.send_and_receive("echo@m", "x")
        with pytest.raises(WorkerNotFound):
            await node.send_and_receive("echo", "x")


@pytest.mark.parametrize("way", ["send_message", "send_and_receive", "send"])
async def test_an_address_and_a_parameter_that_name_two_nodes_are_a_value_error(
    node: Node, autojump_clock: MockClock, way: str
) -> None:
    await node.start_worker("echo", Echo())

    with pytest.raises(ValueError, match="name two nodes; write one of them"):
        await send(node, way, "echo@n", node="m")


# ---- R2: a worker of this node


async def test_a_bare_name_means_the_worker_of_this_node(node: Node, autojump_clock: MockClock) -> None:
    recorder = Recorder()
    await node.start_worker("recorder", recorder)
    await node.start_worker("echo", Echo())

    await node.send_message("recorder", "one")
    node.send_nowait("recorder", "two")
    assert await node.send_and_receive("echo", "three") == "three"
    async with await node.send("echo", "four") as mailbox:
        assert await mailbox.receive() == "four"
    assert await node.any("echo", "five") == "five"
    assert await node.all("echo", "six") == {"n": "six"}

    assert recorder.received == ["one", "two"]


async def test_names_are_case_sensitive_and_never_a_part_of_one(node: Node, autojump_clock: MockClock) -> None:
    await node.start_worker("echo", Echo())

    for name in ("Echo", "ech", "echoo"):
        with pytest.raises(WorkerNotFound):
            await node.send_and_receive(name, "x")


async def test_a_message_goes_to_the_worker_that_has_the_name_now(node: Node, autojump_clock: MockClock) -> None:
    first, second = Recorder(), Recorder()
    await node.start_worker("x", first)
    await node.send_message("x", "for the first")
    await trio.testing.wait_all_tasks_blocked()
    await node.stop_worker("x")
    await node.start_worker("x", second)

    await node.send_message("x", "for the second")
    await trio.testing.wait_all_tasks_blocked()

    assert (first.received, second.received) == (["for the first"], ["for the second"])


# ---- R5: nobody


@pytest.mark.parametrize("way", ["send_message", "send_and_receive", "send", "send_nowait", "any", "all"])
async def test_a_name_that_nobody_has_is_worker_not_found_at_once(
    node: Node, autojump_clock: MockClock, way: str
) -> None:
    started, before = trio.current_time(), node.statistics()

    with pytest.raises(WorkerNotFound, match="no worker 'nobody' on node 'n'") as caught:
        await send(node, way, "nobody")

    assert trio.current_time() == started
    assert (caught.value.outcome, caught.value.worker, caught.value.node) == ("not_sent", "nobody", "n")
    assert caught.value.elapsed == 0
    del caught
    assert node.statistics() == before


async def test_a_forward_to_nobody_is_an_error_and_the_worker_may_still_reply(
    node: Node, autojump_clock: MockClock
) -> None:
    class Forwarder:
        async def handle_message(self, context: Context, message: str) -> None:
            with pytest.raises(WorkerNotFound) as caught:
                await context.forward("nobody")
            await context.reply(f"{caught.value.outcome}, and this")

    await node.start_worker("forwarder", Forwarder())

    assert await node.send_and_receive("forwarder", "x") == "not_sent, and this"


async def test_the_name_of_a_group_is_nobody_and_the_text_says_what_to_address(
    node: Node, autojump_clock: MockClock
) -> None:
    await node.start_group("group", [ChildSpec("member", Echo)])

    with pytest.raises(WorkerNotFound, match="it is a group; address its workers"):
        await node.send_message("group", "x")


async def test_a_mailbox_takes_messages_but_no_requests(node: Node, autojump_clock: MockClock) -> None:
    mailbox = await node.create_mailbox("inbox")

    await node.send_message("inbox", "hello")
    with pytest.raises(WorkerNotFound, match=r"is a mailbox, which cannot reply\. Use send_message"):
        await node.send_and_receive("inbox", "x")

    assert await mailbox.receive() == "hello"


async def test_a_message_to_a_closed_mailbox_is_worker_not_found(node: Node, autojump_clock: MockClock) -> None:
    async with await node.create_mailbox("inbox") as mailbox:
        pass

    for address in ("inbox", mailbox.address):
        with pytest.raises(WorkerNotFound):
            await node.send_message(address, "x")
        with pytest.raises(WorkerNotFound):
            node.send_nowait(address, "x")


def test_ambiguity_needs_a_zone_and_is_an_error_without_a_reply() -> None:
    assert issubclass(AmbiguousWorker, NoReply)


# ---- any and all


async def test_any_and_all_pass_on_what_the_one_owner_says(node: Node, autojump_clock: MockClock) -> None:
    class Failing:
        async def handle_message(self, context: Context, message: str) -> None:
            raise ValueError(message)

    await node.start_worker("failing", Failing())

    with pytest.raises(NoReply, match="timeout=5s: the worker raised ValueError: x"):
        await node.any("failing", "x", timeout=5)
    answers = await node.all("failing", "x", timeout=5)

    error = answers["n"]
    assert isinstance(error, NoReply)
    assert str(error) == "no reply from 'failing@n' before timeout=5s: the worker raised ValueError: x"


# ---- addresses that are none


@pytest.mark.parametrize("way", ["send_message", "send_and_receive", "send", "send_nowait"])
@pytest.mark.parametrize("address", [None, 5, b"echo", ("echo", "n")])
async def test_an_address_that_is_no_str_is_a_type_error(
    node: Node, autojump_clock: MockClock, way: str, address: object
) -> None:
    await node.start_worker("echo", Echo())
    before = node.statistics()

    with pytest.raises(TypeError, match="address must be a str such as 'echo' or 'echo@NODE', got "):
        await send(node, way, address)

    assert node.statistics() == before


@pytest.mark.parametrize("way", ["send_message", "send_and_receive", "send", "send_nowait"])
@pytest.mark.parametrize(
    ("address", "advice"),
    [
        ("", "write 1 to 128 of the characters"),
        ("@n", "write 1 to 128 of the characters"),
        ("echo@", "Write 'echo' for a worker on this node, 'echo@NODE' for one elsewhere"),
        ("echo@n@n", "write 1 to 255 of the characters"),
        ("ec ho", "write 1 to 128 of the characters"),
        ("echo\n", "write 1 to 128 of the characters"),
    ],
)
async def test_a_text_that_is_no_address_is_a_value_error_that_says_what_is(
    node: Node, autojump_clock: MockClock, way: str, address: str, advice: str
) -> None:
    await node.start_worker("echo", Echo())
    before = node.statistics()

    with pytest.raises(ValueError, match=advice):
        await send(node, way, address)

    assert node.statistics() == before


@pytest.mark.parametrize("way", ["send_message", "send_and_receive", "send"])
@pytest.mark.parametrize("other", [5, b"n", object()])
async def test_a_node_that_is_neither_name_nor_node_is_a_type_error(
    node: Node, autojump_clock: MockClock, way: str, other: object
) -> None:
    await node.start_worker("echo", Echo())
    before = node.statistics()

    with pytest.raises(TypeError, match="node name must be a str"):
        await send(node, way, "echo", node=other)

    assert node.statistics() == before
