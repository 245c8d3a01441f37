"""`watch`: one `Down` for each watch, whatever ended the worker, and none for a restart (L6, B3)."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from autonomy import Backoff, ChildSpec, Context, Down, Node, Restart, Stop, Unreachable

from .workers import Echo, Failing, Recorder, Sleeper


class Watcher(Recorder):
    """Watches whom it is told to, and replies with the reason of the end."""

    async def handle_message(self, context: Context, message: str) -> None:
        async with context.watch(message) as watch:
            down = await watch.down()
        await context.reply(f"{down.name}: {down.reason}")


async def test_a_worker_that_is_gone_already_is_down_at_once(node: Node, autojump_clock: MockClock) -> None:
    async with node.watch("nobody") as watch:
        down = await watch.down()

    assert down == Down("nobody@n", "", "not found")
    assert trio.current_time() == 0


async def test_a_worker_that_is_stopped_is_down(node: Node, autojump_clock: MockClock) -> None:
    await node.start_worker("echo", Echo())

    async with node.watch("echo@n") as watch:
        await trio.sleep(1)
        await node.stop_worker("echo")
        down = await watch.down()
        again = await watch.down()

    assert (down.name, down.reason) == ("echo@n", "stopped")
    assert again is down


async def test_a_worker_that_stops_itself_is_down(node: Node, autojump_clock: MockClock) -> None:
    class Quitter:
        async def handle_message(self, context: Context, message: str) -> None:
            context.stop()

    await node.start_worker("quitter", Quitter())

    async with node.watch("quitter") as watch:
        await node.send_message("quitter", "go")
        down = await watch.down()

    assert down.reason == "stopped"


async def test_a_worker_that_failed_is_down_with_its_failure(node: Node, autojump_clock: MockClock) -> None:
    await node.start_worker("failing", Failing(), supervision=Stop())

    async with node.watch("failing") as watch:
        await node.send_message("failing", "boom")
        down = await watch.down()

    assert down.reason == "failed: ValueError: boom"


async def test_a_failure_that_the_worker_survives_is_no_down(node: Node, autojump_clock: MockClock) -> None:
    await node.start_worker("resumes", Failing())
    await node.start_worker("restarts", Failing, supervision=Restart(backoff=Backoff(1, 1)))

    for name in ("resumes", "restarts"):
        async with node.watch(name) as watch:
            await node.send_message(name, "boom")
            with trio.move_on_after(10) as scope:
                await watch.down()
        assert scope.cancelled_caught


async def test_a_worker_past_its_restart_limit_is_down_with_the_cause(node: Node, autojump_clock: MockClock) -> None:
    await node.start_worker("failing", Failing, supervision=Restart(max_restarts=0, within=5))

    async with node.watch("failing") as watch:
        await node.send_message("failing", "boom")
        down = await watch.down()

    assert down.reason == "restart limit reached: more than 0 restarts within 5 s; last failure: ValueError: boom"


async def test_a_group_is_down_when_it_is_stopped_and_when_it_gives_up(node: Node, autojump_clock: MockClock) -> None:
    for message, reason in (("", "stopped"), ("boom", "restart limit reached: more than 0 restarts")):
        await node.start_group("group", [ChildSpec("member", Failing)], max_restarts=0)
        async with node.watch("group") as of_group, node.watch("member") as of_member:
            if message:
                await node.send_message("member", message)
            else:
                await node.stop_worker("group")
            downs = [await of_group.down(), await of_member.down()]

        assert [down.name for down in downs] == ["group@n", "member@n"]
        assert all(down.reason.startswith(reason) for down in downs)


async def test_every_start_has_an_incarnation_of_its_own(node: Node, autojump_clock: MockClock) -> None:
    seen = set()
    for _ in range(3):
        await node.start_worker("echo", Echo())
        async with node.watch("echo") as watch:
            await node.stop_worker("echo")
            seen.add((await watch.down()).incarnation)

    assert len(seen) == 3
    assert "" not in seen


async def test_a_watch_is_on_the_worker_that_had_the_name_when_it_began(node: Node, autojump_clock: MockClock) -> None:
    await node.start_worker("echo", Echo())

    async with node.watch("echo") as before:
        await node.start_worker("echo", Echo(), on_conflict="replace")
        async with node.watch("echo") as after:
            assert (await before.down()).reason == "stopped"
            with trio.move_on_after(10) as scope:
                await after.down()

    assert scope.cancelled_caught


async def test_each_of_many_watchers_is_told(node: Node, autojump_clock: MockClock) -> None:
    await node.start_worker("echo", Echo())

    async with node.watch("echo") as one, node.watch("echo") as two, node.watch("echo") as three:
        await node.stop_worker("echo")
        downs = [await one.down(), await two.down(), await three.down()]

    assert len(set(downs)) == 1


async def test_several_tasks_may_wait_on_one_watch(node: Node, autojump_clock: MockClock) -> None:
    await node.start_worker("echo", Echo())
    downs: list[Down] = []

    async with node.watch("echo") as watch:

        async def wait() -> None:
            downs.append(await watch.down())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            nursery.start_soon(wait)
            await trio.sleep(1)
            await node.stop_worker("echo")

    assert len(downs) == 2


async def test_a_worker_may_watch_another(node: Node, autojump_clock: MockClock) -> None:
    await node.start_worker("watcher", Watcher())
    await node.start_worker("failing", Failing(), supervision=Stop())
    answers: list[str] = []

    async def ask() -> None:
        answers.append(await node.send_and_receive("watcher", "failing"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await trio.sleep(1)
        await node.send_message("failing", "boom")

    assert answers == ["failing@n: failed: ValueError: boom"]


async def test_down_comes_when_the_name_is_free(node: Node, autojump_clock: MockClock) -> None:
    async def start_anew() -> None:
        await watch.down()
        await node.start_worker("echo", Echo())

    await node.start_worker("echo", Echo())

    async with node.watch("echo") as watch, trio.open_nursery() as nursery:
        nursery.start_soon(start_anew)
        await wait_all_tasks_blocked()
        await node.stop_worker("echo")

    assert await node.send_and_receive("echo", "new") == "new"


async def test_a_watch_does_not_queue_behind_messages(node: Node, autojump_clock: MockClock) -> None:
    sleeper = Sleeper()
    await node.start_worker("sleeper", sleeper, mailbox_capacity=10)
    for _ in range(10):
        await node.send_message("sleeper", "1")
    await trio.sleep(0.5)

    async with node.watch("sleeper") as watch:
        await node.stop_worker("sleeper")
        await watch.down()

    assert trio.current_time() == 1


async def test_a_watch_that_was_left_is_forgotten(node: Node, autojump_clock: MockClock) -> None:
    await node.start_worker("echo", Echo())
    async with node.watch("echo") as watch:
        pass

    await node.stop_worker("echo")

    with trio.move_on_after(10) as scope:
        await watch.down()
    assert scope.cancelled_caught


async def test_an_address_on_another_node_does_not_watch_the_worker_of_that_name_here(
    node: Node, autojump_clock: MockClock
) -> None:
    await node.start_worker("echo", Echo())
    down: Down | None = None

    try:
        async with node.watch("echo@elsewhere") as watch:
            with trio.fail_after(10):
                down = await watch.down()
    except Unreachable:
        return

    assert down is not None
    assert down.name == "echo@elsewhere"


async def test_what_is_no_address_cannot_be_watched(node: Node, autojump_clock: MockClock) -> None:
    for address, error in (("", ValueError), ("a b", ValueError), ("a@", ValueError), (7, TypeError)):
        with pytest.raises(error):
            async with node.watch(address):  # type: ignore[arg-type]  # the mistake
                pass
