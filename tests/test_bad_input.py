"""Values that cannot be are refused in the caller, before anything changed; options of older programs are accepted.

Names, addresses, messages and timeouts have their own files: test_names, test_routing, test_messages, test_requests.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Any

import pytest
from trio.testing import MockClock

from autonomy import Context, Mailbox, Node, open_node
from tests.workers import Echo, Recorder

# ---- options of older programs


async def test_options_of_older_programs_are_accepted_and_warned_of_once_each(
    node: Node, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    await node.start_worker("echo", Echo(), policy="p", exposed_as="e")
    for _ in range(2):
        await node.send_message("echo", "x", None, "p")
        assert await node.send_and_receive("echo", "x", None, "p", 5) == "x"
        async with await node.send("echo", "x", policy="p") as mailbox:
            assert await mailbox.receive("p", 5) == "x"

    lines = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert [line.split(" instead=")[0] for line in lines] == [
        "option policy has no effect",
        "option exposed_as has no effect",
    ]
    assert all("allow=" in line for line in lines)


@pytest.mark.parametrize("function", ["create_mailbox", "send", "receive", "Mailbox.send", "context"])
async def test_policy_is_warned_of_wherever_it_occurs(
    node: Node, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, function: str
) -> None:
    class Asker:
        async def handle_message(self, context: Context, message: str) -> None:
            await context.reply(await context.send_and_receive("echo", message, policy="p"))

    await node.start_worker("echo", Echo())
    await node.start_worker("asker", Asker())
    mailbox = await node.create_mailbox("inbox")
    await node.send_message("inbox", "x")

    await use_policy(node, mailbox, function)

    assert "option policy has no effect" in caplog.text


async def use_policy(node: Node, mailbox: Mailbox, function: str) -> None:
    match function:
        case "create_mailbox":
            await node.create_mailbox(policy="p")
        case "send":
            await node.send("echo", "x", policy="p")
        case "receive":
            await mailbox.receive(policy="p")
        case "Mailbox.send":
            await mailbox.send("echo", "x", policy="p")
        case _:
            await node.send_and_receive("asker", "x")


# ---- bad values of everything else: refused in the caller, before anything changed


@pytest.mark.parametrize(
    ("options", "advice"),
    [
        ({"worker": Echo}, r"is the class Echo, not an object of it\. Pass Echo\(\)"),
        ({"worker": object()}, "has no method handle_message"),
        ({"worker": None}, "has no method handle_message"),
        ({"mailbox_capacity": 0}, "mailbox_capacity must be at least 1, got 0"),
        ({"mailbox_capacity": 1.5}, "mailbox_capacity must be an int, got float"),
        ({"mailbox_capacity": True}, "mailbox_capacity must be an int, got bool"),
        ({"supervision": "restart"}, r"supervision must be Resume\(\), Restart\(\), Stop\(\) or Escalate\(\)"),
        ({"on_conflict": "ignore"}, "on_conflict must be error, keep or replace, got 'ignore'"),
        ({"allow": 5}, "allow must be None"),
    ],
)
async def test_a_worker_that_cannot_be_is_refused_and_nothing_was_started(
    node: Node, autojump_clock: MockClock, options: dict[str, Any], advice: str
) -> None:
    before = node.statistics()

    with pytest.raises((TypeError, ValueError), match=advice):
        await node.start_worker("x", **{"worker": Echo(), **options})

    assert node.statistics() == before
    await node.start_worker("x", Recorder())


@pytest.mark.parametrize("seconds", [-1, math.inf, math.nan, "5", True, [5]])
@pytest.mark.parametrize("function", ["send_after", "send_every", "stop_worker", "open_node"])
async def test_a_time_that_cannot_be_is_refused_and_nothing_changed(
    node: Node, autojump_clock: MockClock, function: str, seconds: Any
) -> None:
    await node.start_worker("echo", Echo())
    before = node.statistics()
    calls: dict[str, Callable[[], Any]] = {
        "send_after": lambda: node.send_after(seconds, "echo", "x"),
        "send_every": lambda: node.send_every(seconds, "echo", "x"),
        "open_node": lambda: open_node("m", default_timeout=seconds),
    }

    with pytest.raises((TypeError, ValueError), match=r"must be .*seconds"):
        await node.stop_worker("echo", timeout=seconds) if function == "stop_worker" else calls[function]()

    assert node.statistics() == before


async def test_a_period_of_zero_is_refused(node: Node, autojump_clock: MockClock) -> None:
    with pytest.raises(ValueError, match="period must be more than 0 and finite seconds"):
        node.send_every(0, "echo", "x")


@pytest.mark.parametrize(
    "options",
    [
        {"drain_timeout": -1},
        {"threads": 0},
        {"threads": "4"},
        {"stall_warning": 0},
        {"max_message_bytes": 0},
        {"slice_clock": 5},
    ],
)
def test_an_option_that_cannot_be_is_refused_before_the_node_opens(options: dict[str, Any]) -> None:
    (name,) = options

    with pytest.raises((TypeError, ValueError), match=name):
        open_node("n", **options)
