"""Workers that are started on other nodes: what arrives, who may, and how refusals are told (F2, F3)."""

from __future__ import annotations

import logging
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from autonomy import (
    Backoff,
    CodePolicy,
    CodeRefused,
    Context,
    Node,
    NodeRef,
    NotAllowed,
    Restart,
    WorkerExists,
    WorkerFailed,
    Zone,
)
from autonomy._sansio.rights import Rights
from tests.zoned import ALL, zone

ANY = CodePolicy("source")


class Counter:
    """Counts from a number that it is made with; fails when told to."""

    def __init__(self, number: int = 0) -> None:
        self.number = number
        self.node: NodeRef | None = None

    async def handle_message(self, context: Context, message: str) -> None:
        if message == "fail":
            raise RuntimeError("as told")
        self.number += 1
        await context.reply(f"{self.number} on {self.node.name if self.node else 'nobody'}")


class SlowToStart(Counter):
    """Takes its time to start."""

    async def on_start(self, context: Context) -> None:
        await trio.sleep(5)
        self.number += 100


class FailsToStart(Counter):
    """Does not start."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    async def on_start(self, context: Context) -> None:
        raise {"ValueError": ValueError, "OSError": OSError}[self.kind]("no coffee")


class HasALock(Counter):
    """Has what cannot travel."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()


@asynccontextmanager
async def two(**options: Any) -> AsyncGenerator[tuple[Node, Any]]:
    """Open nodes ``a`` and ``b`` of one zone; yield the first, and the second as it sees that."""
    async with zone("a", "b", **{"code": ANY} | options) as (a, _):
        yield a, await Zone.node(a, "b")


def security_lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was logged about security."""
    return [record.getMessage() for record in caplog.records if record.name == "autonomy.security"]


# --- what arrives


async def test_a_worker_that_was_started_elsewhere_is_found_by_its_bare_name_at_once(autojump_clock: MockClock) -> None:
    async with two() as (a, b):
        await b.start_worker("counter", Counter(5))

        assert await a.send_and_receive("counter", "x") == "6 on b"
        assert await b.send_and_receive("counter", "x") == "7 on b"
        assert [str(worker) for worker in await b.list_workers()] == ["counter"]


async def test_start_worker_returns_after_on_start_succeeded_there(autojump_clock: MockClock) -> None:
    async with two() as (a, b):
        began = trio.current_time()

        await b.start_worker("slow", SlowToStart())

        assert trio.current_time() - began >= 5
        assert await a.send_and_receive("slow", "x") == "101 on b"


async def test_the_object_is_copied_and_stays_free_here(autojump_clock: MockClock) -> None:
    async with two() as (a, b):
        counter = Counter(10)

        await b.start_worker("there", counter)
        await a.start_worker("here", counter)
        await a.send_and_receive("here", "x")

        assert await a.send_and_receive("there", "x") == "11 on b"
        assert counter.number == 11
        assert counter.node is None


async def test_a_class_is_made_anew_at_each_restart(autojump_clock: MockClock) -> None:
    async with two() as (a, b):
        await b.start_worker("counter", Counter, supervision=Restart(backoff=Backoff(0)))
        assert await a.send_and_receive("counter", "x") == "1 on nobody"

        with pytest.raises(WorkerFailed):
            await a.send_and_receive("counter", "fail")

        assert await a.send_and_receive("counter", "x") == "1 on nobody"


async def test_several_workers_start_side_by_side(autojump_clock: MockClock) -> None:
    async with two() as (_, b):
        began = trio.current_time()

        async with trio.open_nursery() as nursery:
            for number in range(10):
                nursery.start_soon(b.start_worker, f"slow-{number}", SlowToStart())

        assert trio.current_time() - began < 6


async def test_a_worker_s_own_word_on_who_reaches_it_goes_along(autojump_clock: MockClock) -> None:
    async with zone("a", "b", "c", code=ANY) as (a, _, c):
        b: Any = await Zone.node(a, "b")

        await b.start_worker("private", Counter(), allow=["a"])

        assert await a.send_and_receive("private", "x") == "1 on b"
        with pytest.raises(NotAllowed):
            await c.send_and_receive("private", "x")


# --- what does not


async def test_what_cannot_travel_is_refused_before_anything_is_sent(autojump_clock: MockClock) -> None:
    async with two() as (a, b):
        before = a.statistics()

        with pytest.raises(CodeRefused, match=r"self\.lock"):
            await b.start_worker("locked", HasALock())

        assert a.statistics() == before
        assert await b.list_workers() == []


async def test_what_on_start_raises_there_is_told_with_where_it_was(autojump_clock: MockClock) -> None:
    async with two() as (a, b):
        with pytest.raises(ValueError, match=r"^Remote node error: no coffee") as caught:
            await b.start_worker("fails", FailsToStart("ValueError"))
        assert "in on_start" in caught.value.__notes__[0]

        with pytest.raises(WorkerFailed, match=r"^Remote node error: OSError: no coffee") as failed:
            await b.start_worker("fails", FailsToStart("OSError"))
        assert failed.value.remote_type == "OSError"
        assert "in on_start" in failed.value.remote_traceback

        await b.start_worker("fails", Counter())  # the name is free
        with pytest.raises(WorkerExists, match=r"^Remote node error: "):
            await b.start_worker("fails", Counter())
        assert await a.send_and_receive("fails", "x") == "1 on b"


async def test_values_that_cannot_be_are_refused_here(autojump_clock: MockClock) -> None:
    async with two() as (_, b):
        with pytest.raises(TypeError, match="a function cannot be sent"):
            await b.start_worker("counter", Counter(), allow=lambda _: True)
        with pytest.raises(ValueError, match="worker name"):
            await b.start_worker("no name", Counter())
        with pytest.raises(TypeError, match="supervision"):
            await b.start_worker("counter", Counter(), supervision="restart")
        with pytest.raises(ValueError, match="on_conflict"):
            await b.start_worker("counter", Counter(), on_conflict="fight")

        assert await b.list_workers() == []


# --- who may


async def test_a_node_takes_no_code_unless_it_says_so(autojump_clock: MockClock) -> None:
    async with two(code=CodePolicy()) as (_, b):
        with pytest.raises(CodeRefused, match=r"^Remote node error: .*never"):
            await b.start_worker("counter", Counter())


async def test_who_may_not_ship_is_refused_and_it_is_logged(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with two(rights=Rights(manage="*", ship="main*")) as (_, b):
        with pytest.raises(CodeRefused, match="'a' may not ship code to node 'b'"):
            await b.start_worker("counter", Counter())

        assert any("right=ship" in line and "peer=a" in line for line in security_lines(caplog))
        assert await b.list_workers() == []


async def test_who_may_not_manage_ships_nothing_either(autojump_clock: MockClock) -> None:
    async with two(rights=Rights(ship="*")) as (_, b):
        with pytest.raises(NotAllowed, match=r"^Remote node error: "):
            await b.start_worker("counter", Counter())


async def test_code_is_taken_by_name_alone_where_the_policy_says_so(autojump_clock: MockClock) -> None:
    async with two(code=CodePolicy("import", modules=["tests"])) as (a, b):
        await b.start_worker("counter", Counter(3))

        assert await a.send_and_receive("counter", "x") == "4 on b"

    async with two(code=CodePolicy("import", modules=["shop"])) as (_, b):
        with pytest.raises(CodeRefused, match="tests"):
            await b.start_worker("counter", Counter(3))


async def test_each_shipment_that_is_taken_is_logged_with_who_and_what(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with two(rights=ALL) as (_, b):
        await b.start_worker("counter", Counter())

    taken = [line for line in security_lines(caplog) if "code accepted" in line]
    assert len(taken) == 1
    assert "peer=a" in taken[0]
    assert "Counter" in taken[0]
    assert "sha256=" in taken[0]
