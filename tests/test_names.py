"""Names and addresses: N1, N3, N4."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
import trio.testing
from hypothesis import example, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from autonomy import ChildSpec, Node, Stop, WorkerExists, Zone, open_node
from autonomy._sansio import address as address_rules
from tests.workers import Echo, Failing, Recorder, Silent, Sleeper

NAME = re.compile(r"[A-Za-z0-9_-]{1,128}\Z")
NAMES = (
    st.text(max_size=8)
    | st.text("abzAZ09_-", max_size=140)
    | st.sampled_from(["a\n", "a@n", "@", "", "a b", "ä", "\uff10", "a\x1b[31m", "a\ud800", "x" * 128, "x" * 129])
)


def in_virtual_time(scenario: Callable[[], Awaitable[object]]) -> None:
    trio.run(scenario, clock=MockClock(autojump_threshold=0))


# ---- N1: what a name is


def check_that_exactly_the_allowed_names_are_taken(name: str) -> None:
    async def scenario() -> None:
        async with open_node("n", stall_warning=None) as node:
            with suppress(ValueError):
                await node.start_worker(name, Echo())

            assert [str(worker) for worker in await node.list_workers()] == ([name] if NAME.match(name) else [])

    in_virtual_time(scenario)


@given(name=NAMES)
@example(name="a\n")
@example(name="x" * 128)
@settings(max_examples=60, deadline=None)
def test_for_all_texts_a_worker_may_have_it_as_name_if_and_only_if_it_matches(name: str) -> None:
    check_that_exactly_the_allowed_names_are_taken(name)


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        (r"[A-Za-z0-9_-]{1,128}\n?", "a\n"),
        (r"[\w-]{1,128}", "ä"),
        (r"[A-Za-z0-9_-]{1,127}", "x" * 128),
        (r"[A-Za-z0-9_ -]{1,128}", "a b"),
    ],
)
def test_the_check_of_names_notices_a_rule_that_is_too_wide_or_too_narrow(
    pattern: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_that_exactly_the_allowed_names_are_taken(name)
    monkeypatch.setattr(address_rules, "_NAME", re.compile(pattern))

    with pytest.raises(AssertionError):
        check_that_exactly_the_allowed_names_are_taken(name)


@pytest.mark.parametrize("name", [None, 5, b"echo", ["echo"], object()])
@pytest.mark.parametrize("function", ["start_worker", "stop_worker", "create_mailbox", "start_group", "any", "all"])
async def test_a_name_that_is_no_str_is_a_type_error_and_changes_nothing(
    node: Node, autojump_clock: MockClock, function: str, name: object
) -> None:
    if function == "create_mailbox" and name is None:
        pytest.skip("None means a name of the node's choice")
    before = node.statistics()

    with pytest.raises(TypeError, match="worker name must be a str, got "):
        await call_with_name(node, function, name)

    assert node.statistics() == before


@pytest.mark.parametrize("name", ["", "a b", "a@n", "a\n", "x" * 129, "ä"])
@pytest.mark.parametrize("function", ["start_worker", "stop_worker", "create_mailbox", "start_group", "any", "all"])
async def test_a_text_that_is_no_name_is_a_value_error_and_changes_nothing(
    node: Node, autojump_clock: MockClock, function: str, name: str
) -> None:
    before = node.statistics()

    with pytest.raises(ValueError, match="write 1 to 128 of the characters A-Z a-z 0-9 _ -"):
        await call_with_name(node, function, name)

    assert node.statistics() == before


async def call_with_name(node: Node, function: str, name: Any) -> None:
    match function:
        case "start_worker":
            await node.start_worker(name, Echo())
        case "start_group":
            await node.start_group(name, [ChildSpec("member", Echo)])
        case "any":
            await node.any(name, "x")
        case "all":
            await node.all(name, "x")
        case _:
            await getattr(node, function)(name)


@pytest.mark.parametrize("name", ["", "a b", "n\n", "x" * 256, 5, b"n"])
def test_a_node_refuses_a_name_that_is_none(name: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=r"node name .*(must be a str|write 1 to 255)"):
        open_node(name)


# ---- N1: one name, one owner


async def test_a_name_is_unique_on_its_node_and_free_again_after_the_worker_has_gone(
    node: Node, autojump_clock: MockClock
) -> None:
    await node.start_worker("echo", Echo())
    before = node.statistics()

    with pytest.raises(WorkerExists, match=r"node 'n' already has a worker 'echo' \(Echo, started 0 s ago\)\. Stop it"):
        await node.start_worker("echo", Silent())
    assert node.statistics() == before
    assert await node.send_and_receive("echo", "still the first") == "still the first"

    await node.stop_worker("echo")
    await node.start_worker("echo", Recorder())


async def test_workers_groups_and_mailboxes_share_one_set_of_names(node: Node, autojump_clock: MockClock) -> None:
    await node.start_worker("worker", Echo())
    await node.start_group("group", [ChildSpec("member", Echo)])
    mailbox = await node.create_mailbox("mailbox")
    before = node.statistics()

    for name in ("worker", "group", "member", "mailbox"):
        with pytest.raises(WorkerExists, match=f"'{name}'"):
            await node.start_worker(name, Echo())
        with pytest.raises(WorkerExists, match=f"'{name}'"):
            await node.create_mailbox(name)
        with pytest.raises(WorkerExists, match=f"'{name}'"):
            await node.start_group(name, [ChildSpec("fresh", Echo)])
        with pytest.raises(WorkerExists, match=f"'{name}'"):
            await node.start_group("fresh", [ChildSpec("fresh-member", Echo), ChildSpec(name, Echo)])

    assert node.statistics() == before
    assert mailbox.address == "mailbox@n"


async def test_the_name_of_a_closed_mailbox_is_free_though_somebody_still_holds_it(
    node: Node, autojump_clock: MockClock
) -> None:
    async with await node.create_mailbox("inbox") as mailbox:
        assert node.statistics().mailboxes == 1

    assert node.statistics().mailboxes == 0
    await node.start_worker("inbox", Echo())
    assert await node.send_and_receive(mailbox.address, "hello") == "hello"


async def test_a_full_address_is_worker_at_node(node: Node, autojump_clock: MockClock) -> None:
    recorder = Recorder()
    await node.start_worker("recorder", recorder)
    await node.start_worker("echo", Echo())

    await node.send_message("recorder@n", "hello")

    assert await node.send_and_receive("echo@n", "ping") == "ping"
    assert recorder.received == ["hello"]


async def test_two_nodes_of_one_process_have_names_of_their_own(node: Node, autojump_clock: MockClock) -> None:
    async with open_node("m", stall_warning=None) as other:
        await node.start_worker("echo", Echo())

        await other.start_worker("echo", Failing())

        assert await node.send_and_receive("echo", "here") == "here"
        assert other.incarnation != node.incarnation


# ---- N3: the list of workers


@given(names=st.sets(st.text("abzAZ09_-", min_size=1, max_size=6), max_size=8))
@settings(max_examples=25, deadline=None)
def test_for_all_names_the_list_of_workers_is_sorted_and_reads_as_the_names(names: set[str]) -> None:
    async def scenario() -> None:
        async with open_node("n", stall_warning=None) as node:
            for name in names:
                await node.start_worker(name, Echo())

            workers = await node.list_workers()

            assert [str(worker) for worker in workers] == sorted(names)
            assert [f"{worker}" for worker in workers] == [worker["name"] for worker in workers]

    in_virtual_time(scenario)


async def test_an_item_of_the_list_is_a_dict_of_the_worker_s_figures(node: Node, autojump_clock: MockClock) -> None:
    await node.start_worker("failing", Failing())
    await node.start_worker("echo", Echo(), supervision=Stop())
    await node.send_and_receive("echo", "one")
    for text in ("two", "three"):
        await node.send_message("failing", text)
    await trio.testing.wait_all_tasks_blocked()

    await node.start_worker("sleeper", Sleeper())
    for text in ("10", "10"):
        await node.send_message("sleeper", text)
    await trio.testing.wait_all_tasks_blocked()
    echo, failing, sleeper = await node.list_workers()

    assert isinstance(echo, dict)
    assert echo == {"name": "echo", "state": "running", "mailbox": 0, "handled": 1, "failed": 0, "restarts": 0}
    assert failing == {"name": "failing", "state": "running", "mailbox": 0, "handled": 0, "failed": 2, "restarts": 0}
    assert sleeper["mailbox"] == 1


async def test_what_a_node_runs_for_itself_is_not_in_the_list(node: Node, autojump_clock: MockClock) -> None:
    await node.start_worker("echo", Echo())
    await node.start_group("group", [ChildSpec("member", Echo)])

    async with await node.create_mailbox("inbox"), await node.send("echo", "x"):
        node.send_after(10, "echo", "later")

        assert [str(worker) for worker in await node.list_workers()] == ["echo", "member"]


# ---- N4: a node without a zone sees itself


async def test_without_a_zone_the_nodes_are_this_node(node: Node, autojump_clock: MockClock) -> None:
    assert await Zone.nodes(node) == [node]
    assert await Zone.nodes(node, filter=None) == [node]
    assert await Zone.node(node, "n") is node


async def test_the_filter_is_a_case_sensitive_part_of_the_short_name(autojump_clock: MockClock) -> None:
    async with open_node("Runner-1", stall_warning=None) as node:
        for part in ("", "Runner", "ner-", "1", "Runner-1"):
            assert await Zone.nodes(node, part) == [node]
        for part in ("runner", "RUNNER", "2", "Runner-1-"):
            assert await Zone.nodes(node, part) == []

        assert await Zone.node(node, "Runner") is None
        assert await Zone.node(node, "runner-1") is None


@pytest.mark.parametrize("filter", [5, b"n", ["n"]])
async def test_a_filter_that_is_no_text_is_refused(node: Node, autojump_clock: MockClock, filter: Any) -> None:
    with pytest.raises(TypeError, match="filter must be a part of a node's short name, or None"):
        await Zone.nodes(node, filter)


@pytest.mark.parametrize("short_name", [None, 5, b"n"])
async def test_a_short_name_that_is_no_text_is_refused(node: Node, autojump_clock: MockClock, short_name: Any) -> None:
    with pytest.raises(TypeError, match="short"):
        await Zone.node(node, short_name)
