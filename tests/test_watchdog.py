"""Handlers that hold their node (D8), on the real clock: nothing else can be held."""

from __future__ import annotations

import sys
import threading
import time

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from autonomy import Context, open_node

from .workers import Echo

pytestmark = pytest.mark.slow

HOLDS = "handler holds the node"


class Busy:
    """Awaits for `first` seconds, then computes for as many seconds as the message says."""

    def __init__(self, first: float = 0.0) -> None:
        self.first = first

    async def handle_message(self, context: Context, message: str) -> None:
        if self.first:
            await trio.sleep(self.first)
        compute(float(message))
        await context.reply("done")


class Waiting:
    """Awaits for as many seconds as the message says."""

    async def handle_message(self, context: Context, message: str) -> None:
        await trio.sleep(float(message))
        await context.reply("done")


class Blocking:
    """Blocks its thread for as many seconds as the message says."""

    def handle_message(self, context: Context, message: str) -> None:
        time.sleep(float(message))


def compute(seconds: float) -> None:
    """Hold the thread for as long."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        sum(range(1000))


def reports(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what the watchdog has logged."""
    records = [record for record in caplog.records if HOLDS in record.getMessage()]
    return [f"{record.getMessage()}\n{record.stack_info}" for record in records]


async def test_a_handler_that_computes_has_its_stack_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    async with open_node("n") as node:
        await node.start_worker("busy", Busy())

        await node.send_and_receive("busy", "0.35")

    (report,) = reports(caplog)
    assert "worker=busy@n" in report
    assert "in handle_message" in report
    assert "in compute" in report


async def test_a_report_keeps_nothing_of_the_message_alive() -> None:
    message = "0.3".ljust(1000)
    unused = sys.getrefcount(message)
    async with open_node("n") as node:
        await node.start_worker("busy", Busy())

        await node.send_and_receive("busy", message)
        await wait_all_tasks_blocked()

        assert sys.getrefcount(message) == unused


async def test_each_time_that_a_handler_holds_the_node_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async with open_node("n") as node:
        await node.start_worker("one", Busy())
        await node.start_worker("other", Busy())

        await node.send_and_receive("one", "0.25")
        await node.send_and_receive("other", "0.25")

    assert [("one@n" in report, "other@n" in report) for report in reports(caplog)] == [(True, False), (False, True)]


async def test_a_handler_that_computes_long_after_its_first_await_is_noticed_too(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with open_node("n") as node:
        await node.start_worker("busy", Busy(first=0.5))

        await node.send_and_receive("busy", "0.3")

    assert len(reports(caplog)) == 1


async def test_a_handler_that_computes_in_the_middle_of_a_backlog_is_noticed_too(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Worker:
        async def handle_message(self, context: Context, message: str) -> None:
            await trio.sleep(0.01)
            if message == "last":
                compute(0.3)

    async with open_node("n") as node:
        await node.start_worker("w", Worker())
        for _ in range(50):
            node.send_nowait("w", "a short one")
        node.send_nowait("w", "last")

    assert len(reports(caplog)) == 1


async def test_handlers_that_await_are_never_reported(caplog: pytest.LogCaptureFixture) -> None:
    async with open_node("n") as node, trio.open_nursery() as nursery:
        for name in ("a", "b", "c"):
            await node.start_worker(name, Waiting())
            nursery.start_soon(node.send_and_receive, name, "0.4")

    assert reports(caplog) == []


async def test_a_plain_handler_may_block_its_thread(caplog: pytest.LogCaptureFixture) -> None:
    async with open_node("n") as node:
        await node.start_worker("blocking", Blocking())
        await node.send_message("blocking", "0.3")

    assert reports(caplog) == []


async def test_a_program_that_computes_outside_of_handlers_is_not_reported(caplog: pytest.LogCaptureFixture) -> None:
    async with open_node("n") as node:
        await node.start_worker("echo", Echo())
        await node.send_and_receive("echo", "hello")

        compute(0.3)

    assert reports(caplog) == []


async def test_how_long_is_too_long_can_be_chosen(caplog: pytest.LogCaptureFixture) -> None:
    async with open_node("n", stall_warning=5) as node:
        await node.start_worker("busy", Busy())

        await node.send_and_receive("busy", "0.3")

    assert reports(caplog) == []


async def test_a_node_without_a_watchdog_has_no_thread(caplog: pytest.LogCaptureFixture) -> None:
    async with open_node("n", stall_warning=None) as node:
        await node.start_worker("busy", Busy())

        await node.send_and_receive("busy", "0.3")
        names = [thread.name for thread in threading.enumerate()]

    assert reports(caplog) == []
    assert "autonomy watchdog" not in names


async def test_the_watchdog_ends_with_its_node() -> None:
    async with open_node("n") as node:
        await node.start_worker("echo", Echo())
        await node.send_and_receive("echo", "hello")

    for thread in threading.enumerate():
        if thread.name == "autonomy watchdog":
            await trio.to_thread.run_sync(thread.join, 5)
            assert not thread.is_alive()


async def test_a_node_of_idle_workers_uses_no_time_of_the_processor() -> None:
    async with open_node("n") as node:
        for i in range(1000):
            await node.start_worker(f"echo-{i}", Echo())
        await node.send_and_receive("echo-0", "hello")
        await trio.sleep(0.3)  # until the watchdog has gone to sleep

        before = time.process_time()
        await trio.sleep(0.3)
        used = time.process_time() - before

    assert used < 0.03
