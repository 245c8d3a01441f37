"""Workers below workers: they stop before their parent, and nobody who stops anybody deadlocks (L6)."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from autonomy import Backoff, Context, Node, Restart, Stop, WorkerExists, WorkerNotFound

from .workers import Echo, Failing, Recorder


class Kid(Echo):
    """Notes in `log` when it starts and stops; its on_stop takes `slow` seconds."""

    def __init__(self, name: str, log: list[str], slow: float = 0.0) -> None:
        self.name = name
        self.log = log
        self.slow = slow

    async def on_start(self, context: Context) -> None:
        self.log.append(f"+{self.name}")

    async def on_stop(self, context: Context) -> None:
        await trio.sleep(self.slow)
        self.log.append(f"-{self.name}")


class Family(Kid):
    """Starts its kids with itself; raises or stops itself when told to."""

    def __init__(self, name: str, log: list[str], kids: Sequence[Kid | str] = ()) -> None:
        super().__init__(name, log)
        self.kids = [Kid(kid, log) if isinstance(kid, str) else kid for kid in kids]

    async def on_start(self, context: Context) -> None:
        for kid in self.kids:
            await context.start_worker(kid.name, kid)
        await super().on_start(context)

    async def handle_message(self, context: Context, message: str) -> None:
        if message == "fail":
            raise ValueError(message)
        if message == "stop":
            context.stop()
        await context.reply(message)


async def names(node: Node) -> list[str]:
    return [str(info) for info in await node.list_workers()]


async def test_children_stop_before_their_parent_in_reverse_start_order(node: Node, autojump_clock: MockClock) -> None:
    log: list[str] = []
    inner = Family("inner", log, ["x", "y"])
    await node.start_worker("outer", Family("outer", log, ["a", inner, "b"]))
    assert log == ["+a", "+x", "+y", "+inner", "+b", "+outer"]
    assert await names(node) == ["a", "b", "inner", "outer", "x", "y"]

    log.clear()
    await node.stop_worker("outer")

    assert log == ["-b", "-y", "-x", "-inner", "-a", "-outer"]
    assert await names(node) == []


async def test_children_that_take_their_time_to_stop_are_waited_for(node: Node, autojump_clock: MockClock) -> None:
    log: list[str] = []
    await node.start_worker("parent", Family("parent", log, [Kid("a", log, 2), Kid("b", log, 1)]))

    log.clear()
    await node.stop_worker("parent")

    assert trio.current_time() == 3
    assert log == ["-b", "-a", "-parent"]


async def test_a_child_is_a_worker_like_any_other(node: Node, autojump_clock: MockClock) -> None:
    log: list[str] = []
    await node.start_worker("parent", Family("parent", log, ["kid"]))

    assert await node.send_and_receive("kid", "hello") == "hello"
    with pytest.raises(WorkerExists):
        await node.start_worker("kid", Echo())
    await node.stop_worker("kid")
    assert await names(node) == ["parent"]

    await node.stop_worker("parent")
    assert log == ["+kid", "+parent", "-kid", "-parent"]


async def test_a_restarted_parent_stops_its_children_first_and_starts_new_ones(
    node: Node, autojump_clock: MockClock
) -> None:
    log: list[str] = []
    restart = Restart(backoff=Backoff(1, 1))
    await node.start_worker("parent", lambda: Family("parent", log, ["a", "b"]), supervision=restart)

    log.clear()
    await node.send_message("parent", "fail")
    await trio.sleep(0.5)
    assert log == ["-b", "-a", "-parent"]
    assert await names(node) == ["parent"]

    log.clear()
    assert await node.send_and_receive("parent", "again") == "again"
    assert log == ["+a", "+b", "+parent"]
    assert await names(node) == ["a", "b", "parent"]


async def test_a_parent_that_fails_for_good_or_stops_itself_takes_its_children_along(
    node: Node, autojump_clock: MockClock
) -> None:
    log: list[str] = []
    for message in ("fail", "stop"):
        await node.start_worker("parent", Family("parent", log, ["a", "b"]), supervision=Stop())

        log.clear()
        await node.send_message("parent", message)
        await wait_all_tasks_blocked()

        assert log == ["-b", "-a", "-parent"]
        assert await names(node) == []


async def test_when_on_start_raises_the_children_it_started_stop(node: Node, autojump_clock: MockClock) -> None:
    class Unfit(Family):
        async def on_start(self, context: Context) -> None:
            await super().on_start(context)
            raise ValueError("unfit")

    log: list[str] = []
    with pytest.raises(ValueError, match="unfit"):
        await node.start_worker("parent", Unfit("parent", log, ["a", "b"]))

    assert log == ["+a", "+b", "+parent", "-b", "-a"]
    assert await names(node) == []


async def test_when_a_childs_on_start_raises_its_parent_gets_it(node: Node, autojump_clock: MockClock) -> None:
    class Unfit(Kid):
        async def on_start(self, context: Context) -> None:
            raise ValueError("unfit")

    log: list[str] = []
    with pytest.raises(ValueError, match="unfit"):
        await node.start_worker("parent", Family("parent", log, [Kid("a", log), Unfit("b", log)]))

    assert log == ["+a", "-a"]
    assert await names(node) == []


async def test_a_child_that_fails_does_no_harm_to_its_parent(node: Node, autojump_clock: MockClock) -> None:
    class Parent(Echo):
        async def on_start(self, context: Context) -> None:
            await context.start_worker("kid", Failing(), supervision=Stop())

    await node.start_worker("parent", Parent())

    await node.send_message("kid", "boom")
    await wait_all_tasks_blocked()

    assert await names(node) == ["parent"]
    assert await node.send_and_receive("parent", "well") == "well"


@pytest.mark.parametrize("victim", ["parent", "kid", "grandparent"])
async def test_a_child_that_stops_its_parent_or_itself_does_not_deadlock(
    node: Node, autojump_clock: MockClock, victim: str
) -> None:
    class Rebel(Kid):
        async def handle_message(self, context: Context, message: str) -> None:
            await context.node.stop_worker(message)
            await trio.sleep(1)
            await context.reply("done it")

    log: list[str] = []
    family = Family("parent", log, [Kid("sibling", log), Rebel("kid", log)])
    await node.start_worker("grandparent", Family("grandparent", log, [family]))

    log.clear()
    answer = await node.send_and_receive("kid", victim)
    await wait_all_tasks_blocked()

    gone = {
        "kid": ["-kid"],
        "parent": ["-kid", "-sibling", "-parent"],
        "grandparent": ["-kid", "-sibling", "-parent", "-grandparent"],
    }
    assert answer == "done it"
    assert trio.current_time() == 1
    assert log == gone[victim]


async def test_a_parent_may_stop_its_child_while_the_child_stops_the_parent(
    node: Node, autojump_clock: MockClock
) -> None:
    class Stopper(Family):
        async def handle_message(self, context: Context, message: str) -> None:
            await trio.sleep(1)
            await context.node.stop_worker(message)

    class Kidnapper(Stopper):
        pass

    log: list[str] = []
    await node.start_worker("parent", Stopper("parent", log, [Kidnapper("kid", log)]))

    log.clear()
    await node.send_message("parent", "kid")
    await node.send_message("kid", "parent")
    await trio.sleep(1)
    await wait_all_tasks_blocked()

    assert log == ["-kid", "-parent"]
    assert await names(node) == []


async def test_a_stop_with_a_stuck_child_ends_in_bounded_time(node: Node, autojump_clock: MockClock) -> None:
    class Stuck(Recorder):
        async def handle_message(self, context: Context, message: str) -> None:
            await trio.sleep_forever()

    class Parent(Echo):
        async def on_start(self, context: Context) -> None:
            await context.start_worker("kid", Stuck())

    await node.start_worker("parent", Parent())
    await node.send_message("kid", "go")
    await wait_all_tasks_blocked()

    await node.stop_worker("parent", timeout=2)

    assert trio.current_time() <= 4
    assert await names(node) == []


async def test_a_child_started_in_on_stop_does_not_outlive_its_parent(node: Node, autojump_clock: MockClock) -> None:
    class Late(Echo):
        async def on_stop(self, context: Context) -> None:
            await context.start_worker("kid", Recorder())

    await node.start_worker("parent", Late())

    await node.stop_worker("parent")

    assert await names(node) == []


async def test_a_worker_that_is_gone_has_no_more_children(node: Node, autojump_clock: MockClock) -> None:
    class Keeper(Recorder):
        kept: Context

        async def handle_message(self, context: Context, message: str) -> None:
            self.kept = context

    keeper = Keeper()
    await node.start_worker("keeper", keeper)
    await node.send_message("keeper", "keep")
    await wait_all_tasks_blocked()
    await node.stop_worker("keeper")

    with pytest.raises(RuntimeError):
        await keeper.kept.start_worker("kid", Recorder())

    assert await names(node) == []


async def test_stopping_a_child_twice_says_that_it_is_gone(node: Node, autojump_clock: MockClock) -> None:
    log: list[str] = []
    await node.start_worker("parent", Family("parent", log, ["kid"]))
    await node.stop_worker("kid")

    with pytest.raises(WorkerNotFound):
        await node.stop_worker("kid")
