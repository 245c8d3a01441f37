"""Names of workers in a zone: who a bare name means, wherever the worker is, and what it costs to know."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from autonomy import (
    AmbiguousWorker,
    Context,
    Node,
    NodeDown,
    NoReply,
    WorkerNotFound,
    gather,
)
from autonomy.directory import MemoryDirectory
from autonomy.directory.embedded import DirectoryWorker, EmbeddedClient
from tests.workers import Echo, Failing, Recorder
from tests.zone import dead_letters_of, nodes
from tests.zoned import WAYS, Passes, Three, Where, by_all, by_any, zone


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The kinds of what the directory is asked, except that nodes renew their leases and follow its changes."""
    kinds: list[str] = []
    handle = DirectoryWorker.handle_message

    async def noted(self: DirectoryWorker, context: Context, message: str) -> None:
        if '"find"' in message:
            kinds.append("find")
        await handle(self, context, message)

    monkeypatch.setattr(DirectoryWorker, "handle_message", noted)
    return kinds


# --- R2, R3: here, or the one that has it


@pytest.mark.parametrize("way", WAYS)
async def test_a_bare_name_is_found_in_the_zone_whichever_way_it_is_sent_to(
    autojump_clock: MockClock, three: Three, way: Callable[[Node], Awaitable[None]]
) -> None:
    _main, a, b = three
    far = Where()
    await b.start_worker("where", far)

    await way(a)
    await trio.sleep(0.1)

    assert len(far.received) == 1


@pytest.mark.parametrize("way", WAYS)
async def test_a_worker_here_wins_though_a_far_one_was_sent_to_before(
    autojump_clock: MockClock, three: Three, way: Callable[[Node], Awaitable[None]]
) -> None:
    _main, a, b = three
    far, near = Where(), Where()
    await b.start_worker("where", far)
    for _ in range(2):
        await way(a)
        await trio.sleep(0.1)
    if way in (by_any, by_all):
        await b.stop_worker("where")

    await a.start_worker("where", near)
    await way(a)
    await trio.sleep(0.1)

    assert (len(far.received), len(near.received)) == (2, 1)


async def test_a_mailbox_here_wins_too(autojump_clock: MockClock, three: Three) -> None:
    _main, a, b = three
    far = Recorder()
    await b.start_worker("news", far)
    await a.send_message("news", "there")

    async with await a.create_mailbox("news") as mailbox:
        await a.send_message("news", "here")
        assert await mailbox.receive(timeout=1) == "here"
    await a.send_message("news", "there again")
    await trio.sleep(0.1)

    assert far.received == ["there", "there again"]


@pytest.mark.parametrize("way", WAYS)
async def test_a_worker_that_has_moved_is_found_where_it_is_now(
    autojump_clock: MockClock, three: Three, way: Callable[[Node], Awaitable[None]]
) -> None:
    main, a, b = three
    first, second = Where(), Where()
    await b.start_worker("where", first)
    await way(a)
    await trio.sleep(0.1)

    await b.stop_worker("where")
    await main.start_worker("where", second)
    await way(a)
    await trio.sleep(0.1)

    assert (len(first.received), len(second.received)) == (1, 1)


async def test_a_worker_that_moves_to_and_fro_is_followed_by_every_node(
    autojump_clock: MockClock, three: Three
) -> None:
    for turn in range(12):
        there = three[turn % 3]
        await there.start_worker("where", Where())
        for node in three:
            assert await node.send_and_receive("where", "?") == there.name
        await there.stop_worker("where")


# --- what it costs


async def test_a_name_is_looked_up_once_and_then_adds_no_message(
    autojump_clock: MockClock, three: Three, asked: list[str]
) -> None:
    _main, a, b = three
    await b.start_worker("where", Where())

    assert await a.send_and_receive("where", "hello") == "b"
    assert asked == ["find"]
    for way in WAYS:
        for _ in range(5):
            await way(a)
    async with a.watch("where"):
        pass

    assert asked == ["find"]


async def test_each_name_is_one_question(autojump_clock: MockClock, three: Three, asked: list[str]) -> None:
    _main, a, b = three
    for i in range(20):
        await b.start_worker(f"where-{i}", Where())

    for i in range(20):
        assert await a.send_and_receive(f"where-{i}", "hello") == "b"

    assert len(asked) == 20


@pytest.mark.parametrize("count", [1, 10, 500])
async def test_many_who_look_for_one_name_at_the_same_time_ask_once(
    autojump_clock: MockClock, three: Three, asked: list[str], count: int
) -> None:
    _main, a, b = three
    await b.start_worker("where", Where())
    answers: list[str] = []

    async def ask() -> None:
        answers.append(await a.send_and_receive("where", "hello"))

    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(ask)

    assert answers == ["b"] * count
    assert asked == ["find"]


async def test_whoever_asked_for_all_may_give_up_and_the_others_are_answered(
    autojump_clock: MockClock, three: Three, late: Node
) -> None:
    # given three who look for a worker that is yet to be started
    _main, a, _b = three
    answers: list[str] = []

    async def ask() -> None:
        answers.append(await a.send_and_receive("where", "hello"))

    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as first:
            async with trio.open_nursery() as inner:
                inner.start_soon(ask)
                await trio.sleep(0.1)
                nursery.start_soon(ask)
                nursery.start_soon(ask)
                await trio.sleep(0.1)
                first.cancel()

        # when the one who has asked gives up, and then the worker is started
        await late.start_worker("where", Where())

    assert answers == ["late", "late"]


# --- R6: several


async def test_a_second_owner_makes_a_name_ambiguous_within_a_moment(autojump_clock: MockClock, three: Three) -> None:
    main, a, b = three
    await b.start_worker("where", Where())
    assert await main.send_and_receive("where", "?") == "b"

    await a.start_worker("where", Where())
    await trio.sleep(0.1)

    for send in (main.send_and_receive, main.send_message, main.send):
        with pytest.raises(AmbiguousWorker, match=r"a, b.*where@a.*node\.any.*node\.all"):
            await send("where", "?")
    with pytest.raises(AmbiguousWorker):
        async with main.watch("where"):
            pass
    assert await a.send_and_receive("where", "?") == "a"
    assert await b.send_and_receive("where", "?") == "b"


async def test_a_name_that_is_ambiguous_no_more_is_found_again(autojump_clock: MockClock, three: Three) -> None:
    main, a, b = three
    for node in (a, b):
        await node.start_worker("where", Where())
    with pytest.raises(AmbiguousWorker):
        await main.send_and_receive("where", "?")

    await b.stop_worker("where")
    await trio.sleep(0.1)

    assert await main.send_and_receive("where", "?") == "a"


async def test_a_forward_and_a_timer_report_that_a_name_is_ambiguous(autojump_clock: MockClock, three: Three) -> None:
    main, a, b = three
    letters = dead_letters_of(main)
    for node in (a, b):
        await node.start_worker("where", Where())
    await main.start_worker("passes", Passes())

    with pytest.raises(NoReply, match="AmbiguousWorker"):
        await main.send_and_receive("passes", "where")
    main.send_after(0.1, "where", "hello")
    await trio.sleep(1)

    assert ["several nodes" in letter.reason for letter in letters] == [True]


async def test_any_takes_turns_and_passes_over_who_is_gone(autojump_clock: MockClock, three: Three) -> None:
    main, _a, b = three
    for node in three:
        await node.start_worker("where", Where())

    assert sorted([await main.any("where", "?") for _ in range(6)]) == ["a", "a", "b", "b", "main", "main"]
    await b.stop_worker("where")
    assert "b" not in [await main.any("where", "?") for _ in range(6)]


async def test_any_and_all_ask_who_owns_the_name_now(autojump_clock: MockClock, three: Three, asked: list[str]) -> None:
    main, a, b = three
    await b.start_worker("where", Where())
    assert await a.all("where", "?") == {"b": "b"}
    await b.stop_worker("where")
    await main.start_worker("where", Where())

    assert await a.all("where", "?") == {"main": "main"}
    await main.stop_worker("where")
    await b.start_worker("where", Where())
    assert await a.any("where", "?") == "b"
    assert len(asked) == 3

    await b.stop_worker("where")
    for ask in (a.any, a.all):
        with pytest.raises(WorkerNotFound):
            await ask("where", "?")


async def test_all_returns_the_errors_of_those_that_failed(autojump_clock: MockClock, three: Three) -> None:
    main, a, b = three
    await a.start_worker("where", Where())
    await b.start_worker("where", Failing())

    answers = await main.all("where", "oh")

    assert answers["a"] == "a"
    assert "ValueError: oh" in str(answers["b"])


# --- when nodes end


async def test_when_an_owner_s_node_is_gone_the_others_find_the_new_place(
    autojump_clock: MockClock, three: Three
) -> None:
    main, a, b = three
    await b.start_worker("where", Where())
    assert await a.send_and_receive("where", "?") == "b"

    await b.stop()
    with pytest.raises(WorkerNotFound):
        await a.send_and_receive("where", "?")
    await main.start_worker("where", Where())

    assert await a.send_and_receive("where", "?") == "main"
    assert await a.any("where", "?") == "main"


async def test_a_watch_on_a_far_name_tells_of_its_end(autojump_clock: MockClock, three: Three) -> None:
    _main, a, b = three
    await b.start_worker("where", Where())

    async with a.watch("where") as watch:
        await trio.sleep(0.1)
        await b.stop_worker("where")
        down = await watch.down()

    assert (down.name, down.reason) == ("where@b", "stopped")


async def test_a_watch_follows_a_name_that_has_moved(autojump_clock: MockClock, three: Three) -> None:
    main, a, b = three
    await b.start_worker("where", Where())
    assert await a.send_and_receive("where", "?") == "b"
    await b.stop_worker("where")
    await main.start_worker("where", Where())

    async with a.watch("where") as watch:
        with trio.move_on_after(5):
            raise AssertionError(f"it is there, and is reported as gone: {await watch.down()}")
        await main.stop_worker("where")
        assert (await watch.down()).name == "where@main"


@pytest.mark.parametrize("directory", [None, MemoryDirectory()], ids=["embedded", "memory"])
async def test_workers_of_a_leaving_node_find_others_while_they_finish(
    autojump_clock: MockClock, directory: MemoryDirectory | None
) -> None:
    # given a worker with messages queued, each of which it passes on to one that it has never sent to
    async with zone("main", "a", "b", directory=directory) as (_, a, b):
        far = [Recorder() for _ in range(3)]
        for i, worker in enumerate(far):
            await b.start_worker(f"far-{i}", worker)

        class PassesOn:
            async def handle_message(self, context: Context, message: str) -> None:
                await trio.sleep(2)
                await context.send_message(message, "finished")

        await a.start_worker("passes-on", PassesOn())
        for i in range(3):
            await a.send_message("passes-on", f"far-{i}")

        await a.stop()
        await trio.sleep(0.1)

        assert [worker.received for worker in far] == [["finished"]] * 3
        with pytest.raises(NodeDown):
            await a.send_and_receive("far-0", "too late")


async def test_names_that_come_together_are_published_together(
    autojump_clock: MockClock, three: Three, monkeypatch: pytest.MonkeyPatch
) -> None:
    published: list[int] = []
    publish = EmbeddedClient.publish

    async def counted(self: EmbeddedClient, added: Collection[str], removed: Collection[str], *, ready: bool) -> Any:
        published.append(len(added) + len(removed))
        return await publish(self, added, removed, ready=ready)

    monkeypatch.setattr(EmbeddedClient, "publish", counted)
    _main, a, b = three

    await gather(*(b.start_worker(f"where-{i}", Where()) for i in range(1000)))

    assert sum(published) == 1000
    assert len(published) < 10
    assert await a.send_and_receive("where-999", "?") == "b"
    published.clear()
    await gather(*(b.stop_worker(f"where-{i}") for i in range(1000)))
    assert len(published) < 10


# --- internals stay hidden, and both directories agree


async def test_the_library_s_own_workers_have_no_name_in_the_zone(autojump_clock: MockClock, three: Three) -> None:
    for name in ("_management", "_directory"):
        with pytest.raises(NoReply):
            await three[1].send_and_receive(name, "hello", timeout=1)
    assert await three[0].list_workers() == []


async def test_a_directory_in_memory_does_the_same(autojump_clock: MockClock) -> None:
    async with zone("a", "b", "c", directory=MemoryDirectory()) as (a, b, c):
        await b.start_worker("where", Where())
        assert await a.send_and_receive("where", "?") == "b"
        await b.stop_worker("where")
        await c.start_worker("where", Where())
        assert await a.send_and_receive("where", "?") == "c"
        await b.start_worker("where", Where())
        await trio.sleep(0.1)
        with pytest.raises(AmbiguousWorker):
            await a.send_and_receive("where", "?")
        await c.stop()
        await trio.sleep(0.1)
        assert await a.send_and_receive("where", "?") == "b"
        with pytest.raises(WorkerNotFound):
            await a.send_and_receive("nobody", "?")


async def test_nodes_without_a_zone_look_nothing_up(autojump_clock: MockClock) -> None:
    async with nodes("a", "b") as (a, b):
        await b.start_worker("where", Echo())

        with pytest.raises(WorkerNotFound):
            await a.send_and_receive("where", "?")
        with pytest.raises(WorkerNotFound):
            await a.any("where", "?")
        await a.start_worker("where", Where())
        assert await a.all("where", "?") == {"a": "a"}
