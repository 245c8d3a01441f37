"""What every `Directory` promises: one suite, which each of them must pass.

`check_directory` runs all of it; `CHECKS` are its parts, so that a test can run and name each by itself. A check knows
a directory by its `World` alone.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import pytest
import trio

from autonomy.abc import NotAMember

from .world import World, again

MakeWorld = Callable[[], World]
Check = Callable[[World], Awaitable[None]]
CHECKS: list[Check] = []
RIVALS: list[Check] = []
"""Of two starts of one node, for directories that can be reached by both: the links between nodes let the second one in
only when the first one is silent."""


async def check_directory(make_world: MakeWorld) -> None:
    """Run all checks, each in a world of its own."""
    for check in CHECKS + RIVALS:
        await run_check(check, make_world)


async def run_check(check: Check, make_world: MakeWorld) -> None:
    """Run one check, and see that it leaves no task behind."""
    before = trio.lowlevel.current_statistics().tasks_living
    with trio.fail_after(120):
        await check(make_world())
    assert trio.lowlevel.current_statistics().tasks_living == before


def check(function: Check) -> Check:
    CHECKS.append(function)
    return function


def check_rivals(function: Check) -> Check:
    RIVALS.append(function)
    return function


# ---- nodes


@check
async def nodes_that_join_are_seen_by_all(world: World) -> None:
    async with world.open() as enter, enter("a") as a, enter("b") as b:
        assert await a.join() == "member"
        assert await a.seen() == ["a"]
        assert await b.join() == "member"
        for each in (a, b):
            assert await each.seen() == ["a", "b"]


@check
async def a_node_is_seen_as_it_entered_itself(world: World) -> None:
    async with world.open() as enter, enter("a") as a:
        await a.join(ready=False)
        changes = await a.client.changes("", 0)
        assert changes.joined[0].incarnation == a.member.incarnation
        assert changes.joined[0].address == "wss://x:1"
        assert not changes.joined[0].ready


@check
async def who_is_not_in_it_is_told_so_and_changes_nothing(world: World) -> None:
    async with world.open() as enter, enter("a") as a, enter("b") as b:
        await b.join()
        assert await a.publish("x") == "unknown"
        with pytest.raises(NotAMember):
            await a.find("x")
        with pytest.raises(NotAMember):
            await again(lambda: a.client.changes("", 0))
        assert await b.find("x") == ()
        assert await b.seen() == ["b"]


@check
async def who_leaves_is_gone_at_once_with_its_names(world: World) -> None:
    async with world.open() as enter, enter("a") as a, enter("b") as b:
        await a.join("x")
        await b.join("x")
        for _ in range(2):
            await a.client.leave()
        assert await b.seen() == ["b"]
        assert await b.find("x") == ("b",)
        with pytest.raises(NotAMember):
            await a.client.changes("", 0)
        assert await a.publish("x") == "unknown"
        assert await a.find("x") == ("b",)  # for its workers, which finish what is queued
        assert await a.join() == "member"


@check
async def who_does_not_renew_its_lease_is_gone_when_it_has_run_out(world: World) -> None:
    async with world.open() as enter, enter("a") as a, enter("b") as b:
        await a.join("x")
        for _ in range(4):
            await b.join()
            assert await b.seen() == ["a", "b"]
            await trio.sleep(world.lease / 5)
        await b.publish()
        await trio.sleep(world.lease / 5 + world.patience)
        assert await b.seen() == ["b"]
        assert await b.find("x") == ()
        assert await a.publish("x") == "unknown"


@check
async def who_renews_its_lease_stays(world: World) -> None:
    async with world.open() as enter, enter("a") as a:
        await a.join("x")
        for _ in range(8):
            await trio.sleep(world.lease / 2)
            assert await a.publish() == "member"
        assert await a.find("x") == ("a",)


@check
async def who_joins_again_has_what_it_says_then(world: World) -> None:
    async with world.open() as enter, enter("a") as a, enter("b") as b:
        await b.join()
        await a.join("x", "y")
        await a.join("y", "z")
        assert [await b.find(name) for name in "xyz"] == [(), ("a",), ("a",)]
        assert await b.seen() == ["a", "b"]


# ---- names


@check
async def names_are_found_as_they_are_owned(world: World) -> None:
    async with world.open() as enter, enter("a") as a, enter("b") as b:
        await b.join()
        await a.join("x")
        assert await b.find("x") == ("a",)
        assert await b.find("y") == ()
        assert await b.publish("y", "x") == "member"
        assert await a.find("x") == ("a", "b")
        assert await a.find("y") == ("b",)
        await a.publish(removed=("x",))
        assert await a.find("x") == ("b",)
        await b.publish(removed=("x", "never-owned"))
        assert await a.find("x") == ()


@check
async def publishing_twice_does_no_harm(world: World) -> None:
    async with world.open() as enter, enter("a") as a:
        await a.join()
        for _ in range(2):
            await a.publish("x", "y")
        for _ in range(2):
            await a.publish(removed=("y",))
        assert [await a.find(name) for name in "xy"] == [("a",), ()]


@check
async def many_names_are_published_at_once(world: World) -> None:
    names = [f"worker-{i}" for i in range(10_000)]
    async with world.open() as enter, enter("a") as a, enter("b") as b:
        await b.join()
        await a.join(*names[:5000])
        await a.publish(*names[5000:])
        for name in names[::1000]:
            assert await b.find(name) == ("a",)
        await a.publish(removed=tuple(names))
        assert await b.find(names[0]) == ()


@check
async def a_name_on_one_node_is_looked_for_there_alone(world: World) -> None:
    async with world.open() as enter, enter("a") as a, enter("b") as b:
        await a.join("x")
        await b.join("y")
        assert await b.find("x", "a") == ("a",)
        assert await b.find("y", "a") == ()
        assert await b.find("x", "nobody") == ()


# ---- waiting


@check
async def while_another_node_is_starting_a_name_is_waited_for(world: World) -> None:
    found: list[tuple[str, ...]] = []
    async with world.open() as enter, enter("a") as a, enter("b") as b, trio.open_nursery() as nursery:

        async def find(name: str, on: str | None) -> None:
            found.append(await b.find(name, on))

        await a.join(ready=False)
        await b.join(ready=False)
        for name, on in (("x", None), ("x", "a")):
            nursery.start_soon(find, name, on)
        await trio.sleep(world.patience)
        assert found == []
        await a.publish("x", ready=False)
        await trio.sleep(world.patience)
        assert found == [("a",)] * 2


@check
async def when_it_is_ready_or_gone_nobody_waits(world: World) -> None:
    found: list[tuple[str, ...]] = []
    async with world.open() as enter, AsyncExitStack() as stack:
        starting = [await stack.enter_async_context(enter(name)) for name in ("a", "b", "c")]
        async with enter("d") as d, trio.open_nursery() as nursery:
            for each in starting:
                await each.join(ready=False)
            await d.join(ready=False)

            async def find(on: str | None) -> None:
                found.append(await d.find("x", on))

            for on in ("a", "b", "c", None):
                nursery.start_soon(find, on)
            await trio.sleep(world.patience)
            await starting[0].publish(ready=True)
            await trio.sleep(world.patience)
            assert len(found) == 1
            await starting[1].client.leave()
            await trio.sleep(world.patience)
            assert len(found) == 2
            await starting[2].join(ready=True)
            await trio.sleep(world.patience)
            assert found == [()] * 4


@check
async def a_node_that_never_says_that_it_is_ready_counts_as_ready(world: World) -> None:
    async with world.open() as enter, enter("a") as a, enter("b") as b, trio.open_nursery() as nursery:

        async def renew() -> None:
            while True:
                await trio.sleep(world.lease / 3)
                await a.publish(ready=False)
                await b.publish()

        begun = trio.current_time()
        await a.join(ready=False)
        await b.join()
        nursery.start_soon(renew)
        assert await b.find("x") == ()
        assert world.starting - world.patience < trio.current_time() - begun < world.starting + world.patience
        nursery.cancel_scope.cancel()


@check
async def changes_are_told_when_they_come_and_once(world: World) -> None:
    async with world.open() as enter, enter("a") as a, enter("b") as b, trio.open_nursery() as nursery:
        told: list[list[str]] = []

        async def follow() -> None:
            epoch, revision = "", 0
            while True:
                changes = await a.client.changes(epoch, revision)
                epoch, revision = changes.epoch, changes.revision
                told.append([f"+{each.name}" for each in changes.joined] + [f"-{name}" for name in changes.left])

        await a.join()
        nursery.start_soon(follow)
        await trio.sleep(world.patience)
        assert told == [["+a"]]
        await b.join("x")
        await trio.sleep(world.patience)
        assert told[1:] == [["+b"]]
        await b.publish("y")
        await b.client.leave()
        await trio.sleep(world.patience)
        assert [each for each in told[2:] if each] == [["-b"]]
        nursery.cancel_scope.cancel()


@check
async def names_with_another_owner_are_told(world: World) -> None:
    async with world.open() as enter, enter("a") as a, enter("b") as b:
        await a.join("x", "y")
        await b.join()
        before = await b.client.changes("", 0)
        await b.publish("x", "z")
        changes = await b.client.changes(before.epoch, before.revision)
        assert (changes.contested, changes.whole) == (("x",), False)
        await a.publish(removed=("x",))
        assert (await b.client.changes(changes.epoch, changes.revision)).contested == ("x",)


@check
async def who_comes_late_is_told_of_names_with_several_owners(world: World) -> None:
    async with world.open() as enter, enter("a") as a, enter("b") as b:
        await a.join("x", "y")
        await b.join("x", "z")
        assert (await b.client.changes("another life", 7)).contested == ("x",)


@check
async def whoever_waits_may_give_up(world: World) -> None:
    async with world.open() as enter, enter("a") as a, enter("b") as b:
        await a.join(ready=False)
        await b.join()
        before = await b.client.changes("", 0)
        for _ in range(3):
            with trio.move_on_after(world.patience):
                await b.find("x")
            with trio.move_on_after(world.patience):
                await b.client.changes(before.epoch, before.revision)
        await a.publish("x")
        assert await b.find("x") == ("a",)


# ---- two starts of one node


@check_rivals
async def of_two_starts_of_one_node_the_newer_one_has_its_place(world: World) -> None:
    async with world.open() as enter, enter("b") as b:
        await b.join()
        async with enter("a") as old:
            await old.join("x")
            async with enter("a") as new:
                assert await new.join("y") == "member"
                assert await b.find("x") == ()
                assert await b.find("y") == ("a",)
        changes = await b.client.changes("", 0)
        assert [each.incarnation for each in changes.joined if each.name == "a"] in ([], [new.member.incarnation])


@check_rivals
async def the_older_start_is_told_that_it_was_displaced_and_changes_nothing(world: World) -> None:
    async with world.open() as enter, enter("b") as b, enter("a") as old:
        await b.join()
        await old.join("x")
        async with enter("a") as new:
            await new.join("y")
            assert await old.publish("x") == "displaced"
            assert await old.join("x") == "displaced"
            await old.client.leave()
            assert await new.publish() == "member"
            assert await b.find("x") == ()
            assert await b.find("y") == ("a",)
