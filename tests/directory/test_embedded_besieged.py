"""What a node of the zone that means harm can do to the directory on another one: nothing to others."""

from __future__ import annotations

import json
import logging
import secrets
from random import Random
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from autonomy import DeadlineExceeded, Node, NoReply, WorkerFailed
from autonomy.directory import embedded
from tests.workers import Echo
from tests.zone import FaultyNetwork, on
from tests.zoned import Three

DIRECTORY = "_directory@main"


async def tell(node: Node, kind: str, **fields: Any) -> dict[str, Any]:
    """Ask the directory something by hand."""
    request = {"type": kind, "incarnation": node.incarnation, **fields}
    answer: dict[str, Any] = json.loads(await node.send_and_receive(DIRECTORY, json.dumps(request), timeout=5))
    return answer


async def test_a_node_may_enter_itself_alone(
    autojump_clock: MockClock, three: Three, caplog: pytest.LogCaptureFixture
) -> None:
    main, a, b = three
    await b.start_worker("echo", Echo())
    victim = {"name": "b", "incarnation": b.incarnation}

    for member in (victim, {"name": "b", "incarnation": a.incarnation}, {"name": "a", "incarnation": b.incarnation}):
        with caplog.at_level(logging.WARNING), pytest.raises(WorkerFailed, match="may enter itself alone"):
            await tell(a, "join", member=member, names=["echo"])
    assert "a node entered another one" in caplog.text

    assert await main.send_and_receive("echo", "still there") == "still there"


async def test_a_node_speaks_for_itself_alone(autojump_clock: MockClock, three: Three) -> None:
    # given the incarnation of another node, which is no secret
    main, a, b = three
    await b.start_worker("echo", Echo())

    for kind, fields in (
        ("leave", {}),
        ("publish", {"removed": ["echo"]}),
        ("publish", {"added": ["stolen"]}),
    ):
        assert (await tell(a, kind, **fields | {"incarnation": b.incarnation}))["standing"] == "unknown"

    assert await main.send_and_receive("echo", "still there") == "still there"


async def test_too_much_at_once_is_refused(
    autojump_clock: MockClock, three: Three, monkeypatch: pytest.MonkeyPatch
) -> None:
    _main, a, _b = three
    monkeypatch.setattr(embedded, "_NAMES", 100)
    monkeypatch.setattr(embedded, "_NODES", 10)
    me = {"name": "a", "incarnation": a.incarnation}
    many = [f"name-{i}" for i in range(101)]

    for kind, fields in (
        ("join", {"member": me, "names": many}),
        ("publish", {"added": many}),
        ("join", {"member": me, "known": [{"name": f"n{i}", "incarnation": "x"} for i in range(11)]}),
        ("join", {"member": me | {"address": "x" * 2000}}),
        ("join", {"member": me, "names": ["no name"]}),
        ("publish", {"added": ["x" * 200]}),
    ):
        with pytest.raises(WorkerFailed, match="ValueError"):
            await tell(a, kind, **fields)

    await tell(a, "publish", added=many[:99])
    with pytest.raises(WorkerFailed, match="may have 100 names"):
        await tell(a, "publish", added=many[99:])


async def test_questions_that_wait_are_bounded_and_end_with_their_deadlines(
    autojump_clock: MockClock, three: Three, late: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a node that asks for what is not there yet, again and again
    _main, a, b = three
    monkeypatch.setattr(embedded, "_QUESTIONS", 50)
    before = trio.lowlevel.current_statistics().tasks_living
    outcomes: list[type[NoReply]] = []

    async def ask() -> None:
        with pytest.raises(NoReply) as caught:
            await tell(a, "find", name="nobody")
        outcomes.append(caught.type)

    async with trio.open_nursery() as nursery:
        for _ in range(100):
            nursery.start_soon(ask)
        await trio.sleep(1)
        assert outcomes.count(WorkerFailed) >= 50
        await late.start_worker("echo", Echo())
        assert await b.send_and_receive("echo", "others are answered") == "others are answered"

    assert set(outcomes) == {WorkerFailed, DeadlineExceeded}
    await trio.sleep(1)
    assert trio.lowlevel.current_statistics().tasks_living <= before + 20  # links among them


def some_message(chance: Random, incarnations: list[str]) -> str:
    """Return a message that looks like one of the directory's, more or less."""
    values: list[Any] = [None, -1, 1.5, "", "x", "é" * 10, [], ["x"], ["x"] * 50, {}, [[]], True, 2**70]
    fields = ["name", "on", "member", "names", "known", "added", "removed", "ready", "epoch", "since", "incarnation"]
    kinds = ["join", "publish", "leave", "find", "look", "", "other"]
    message: dict[str, Any] = {"type": chance.choice(kinds), "incarnation": chance.choice(incarnations)}
    for field in chance.sample(fields, chance.randrange(4)):
        message[field] = chance.choice(values)
    text = json.dumps(message)
    match chance.randrange(4):
        case 0:
            cut = chance.randrange(len(text))
            return text[:cut] + text[cut + 1 :]
        case 1:
            return "".join(chance.choices('{}[]",:typejoin0', k=chance.randrange(40)))
    return text


@pytest.mark.slow
async def test_ten_thousand_random_messages_harm_nobody(
    autojump_clock: MockClock, network: FaultyNetwork, three: Three
) -> None:
    main, a, b = three
    await b.start_worker("echo", Echo())
    seed = secrets.randbits(32)
    chance = Random(seed)

    async with on(network, "hostile") as hostile:
        await hostile.connect("wss://main:1")
        incarnations = [hostile.incarnation, a.incarnation, b.incarnation, "x"]
        for _ in range(10_000):
            await hostile.send_message(DIRECTORY, some_message(chance, incarnations))

    assert await a.send_and_receive("echo", "still there") == "still there", f"seed {seed}"
    await a.start_worker("new", Echo())
    assert await main.send_and_receive("new", "hello") == "hello", f"seed {seed}"
