"""A context that is used after its handler, or by somebody else: who the sender is (D4)."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from autonomy import Context, Node

from .workers import Echo


class Lender:
    """Gives its context away, in the order of its messages."""

    def __init__(self) -> None:
        self.contexts: list[Context] = []

    async def handle_message(self, context: Context, message: str) -> None:
        self.contexts.append(context)


class Listener:
    """Notes who sends, and replies."""

    def __init__(self) -> None:
        self.senders: list[str] = []

    async def handle_message(self, context: Context, message: str) -> None:
        self.senders.append(context.sender)
        await context.reply(message)


@pytest.fixture
async def lender(node: Node) -> Lender:
    lender = Lender()
    await node.start_worker("lender", lender)
    await node.send_message("lender", "hello")
    await wait_all_tasks_blocked()
    return lender


async def test_a_task_of_the_program_that_uses_a_workers_context_sends_as_that_worker(
    node: Node, lender: Lender, autojump_clock: MockClock
) -> None:
    listener = Listener()
    await node.start_worker("listener", listener)
    (context,) = lender.contexts

    await context.send_message("listener", "one")
    await context.send_message("listener@n", "two")
    await context.send_and_receive("listener", "three")
    await node.send_message("listener", "four")
    await wait_all_tasks_blocked()

    assert listener.senders == ["lender@n", "lender@n", "lender@n", "@n"]


async def test_a_worker_that_uses_anothers_context_sends_as_itself(
    node: Node, lender: Lender, autojump_clock: MockClock
) -> None:
    class Borrower:
        async def handle_message(self, context: Context, message: str) -> None:
            await lender.contexts[0].send_message("listener", message)
            await lender.contexts[0].send_and_receive("listener", message)

    listener = Listener()
    await node.start_worker("listener", listener)
    await node.start_worker("borrower", Borrower())

    await node.send_message("borrower", "hello")
    await wait_all_tasks_blocked()

    assert listener.senders == ["borrower@n", "borrower@n"]


async def test_a_task_of_the_program_is_the_program_again_after_a_call_that_fails(
    node: Node, lender: Lender, autojump_clock: MockClock
) -> None:
    listener = Listener()
    await node.start_worker("listener", listener)
    await node.start_worker("echo", Echo())
    (context,) = lender.contexts

    with pytest.raises(ValueError, match="not allowed"):
        await context.send_message("no name", "hello")
    with trio.CancelScope() as scope:
        scope.cancel()
        await context.send_and_receive("echo", "hello")
    await node.send_and_receive("listener", "hello")

    assert listener.senders == ["@n"]
