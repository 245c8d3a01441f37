"""However much goes through a node, it does not grow: figures of gc and tracemalloc, not of the operating system."""

from __future__ import annotations

import gc
import os
import tracemalloc
from collections.abc import Awaitable, Callable

import pytest
import trio.testing

from autonomy import Node, NoReply, open_node
from tests.workers import Echo, Failing, Recorder, Silent, Sleeper

SOAK = bool(os.environ.get("AUTONOMY_SOAK"))
MANY = 1_000_000 if SOAK else 20_000
GROWTH = 256 * 1024
"""Bytes that may be left of anything: caches, and what the measuring takes itself."""


class Counter:
    """Counts, and keeps nothing."""

    def __init__(self) -> None:
        self.count = 0

    async def handle_message(self, context: object, message: str) -> None:
        self.count += 1


async def send_through_a_mailbox_of_100(node: Node, times: int) -> None:
    for _ in range(times):
        await node.send_message("counter", "x")


async def ask(node: Node, times: int) -> None:
    for _ in range(times):
        await node.send_and_receive("echo", "x")


async def ask_in_vain(node: Node, times: int) -> None:
    for _ in range(times // 10):
        with pytest.raises(NoReply):
            await node.send_and_receive("silent", "x")


async def ask_and_give_up(node: Node, times: int) -> None:
    for _ in range(times // 10):
        with trio.CancelScope() as scope:
            scope.cancel()
            await node.send_and_receive("echo", "x")


async def open_and_forget_mailboxes(node: Node, times: int) -> None:
    for _ in range(times // 10):
        mailbox = await node.send("echo", "x")
        await mailbox.receive()


async def start_and_stop(node: Node, times: int) -> None:
    for _ in range(times // 20):
        await node.start_worker("passing", Recorder())
        await node.stop_worker("passing")


async def set_timers(node: Node, times: int) -> None:
    for _ in range(times // 10):
        node.send_after(1000, "echo", "x").cancel()


async def footprint_of(work: Callable[[Node, int], Awaitable[None]], times: int) -> tuple[int, int]:
    """Return the bytes that a node holds after some work, and after much more of it."""
    async with open_node("n", stall_warning=None) as node:
        await node.start_worker("counter", Counter(), mailbox_capacity=100)
        for worker in (Echo(), Failing(), Silent(), Sleeper()):
            await node.start_worker(type(worker).__name__.lower(), worker)
        sizes = []
        for share in (times // 10, times):
            await work(node, share)
            await trio.testing.wait_all_tasks_blocked()
            gc.collect()
            sizes.append(tracemalloc.get_traced_memory()[0])
        return sizes[0], sizes[1]


@(pytest.mark.soak if SOAK else pytest.mark.slow)
@pytest.mark.parametrize(
    "work",
    [
        send_through_a_mailbox_of_100,
        ask,
        ask_in_vain,
        ask_and_give_up,
        open_and_forget_mailboxes,
        start_and_stop,
        set_timers,
    ],
)
def test_memory_stays_flat(work: Callable[[Node, int], Awaitable[None]]) -> None:
    tracemalloc.start()
    try:
        early, late = trio.run(footprint_of, work, MANY)
    finally:
        tracemalloc.stop()

    assert late - early < GROWTH, f"{late - early:,} bytes more after ten times the work"
