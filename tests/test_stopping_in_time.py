"""A stop is bounded by the patience it was given, however many workers it takes along (L6, L7)."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from autonomy import ChildSpec, Context, Node, Restart, open_node


class Stuck:
    """Never ends a message; notes in `log` that it stopped, after so many seconds."""

    def __init__(self, log: list[str], on_stop_takes: float = 0.0) -> None:
        self.log = log
        self.on_stop_takes = on_stop_takes

    async def handle_message(self, context: Context, message: str) -> None:
        await trio.sleep_forever()

    async def on_stop(self, context: Context) -> None:
        await trio.sleep(self.on_stop_takes)
        self.log.append(context.name)


class Parent(Stuck):
    """Starts so many children, each of which never ends its message; and below each the same again, `depth` times."""

    def __init__(self, log: list[str], children: int, on_stop_takes: float = 0.0, depth: int = 1) -> None:
        super().__init__(log, on_stop_takes)
        self.children = children
        self.depth = depth

    async def on_start(self, context: Context) -> None:
        for number in range(self.children):
            name = f"{context.name}-{number}"
            child = (
                Stuck(self.log, self.on_stop_takes)
                if self.depth == 1
                else Parent(self.log, self.children, self.on_stop_takes, self.depth - 1)
            )
            await context.start_worker(name, child)
            await context.send_message(name, "hang")


def in_reverse(name: str, children: int, depth: int) -> list[str]:
    """Return the names of a worker and those below it, as they should stop."""
    below = [] if not depth else [in_reverse(f"{name}-{n}", children, depth - 1) for n in reversed(range(children))]
    return [*(each for names in below for each in names), name]


@pytest.mark.parametrize("depth", [1, 2])
async def test_children_that_hang_have_the_patience_of_one_stop_together(
    node: Node, autojump_clock: MockClock, depth: int
) -> None:
    log: list[str] = []
    await node.start_worker("parent", Parent(log, children=10, depth=depth))
    await trio.sleep(1)
    begun = trio.current_time()

    await node.stop_worker("parent", timeout=2)

    assert trio.current_time() - begun == 2
    assert log == in_reverse("parent", 10, depth)
    assert await node.list_workers() == []


async def test_children_whose_on_stop_hangs_too_have_little_more(node: Node, autojump_clock: MockClock) -> None:
    log: list[str] = []
    await node.start_worker("parent", Parent(log, children=100, on_stop_takes=1000))
    await trio.sleep(1)
    begun = trio.current_time()

    await node.stop_worker("parent", timeout=2)

    assert trio.current_time() - begun <= 2 + 1 + 1 + 2  # and the last 2 for on_stop of the parent
    assert log == []
    assert await node.list_workers() == []


async def test_all_of_a_family_ends_before_its_head_even_if_all_hang(node: Node, autojump_clock: MockClock) -> None:
    log: list[str] = []
    gone: list[str] = []
    await node.start_worker("parent", Parent(log, children=4, on_stop_takes=1000, depth=2))
    await trio.sleep(1)

    async def note_end(name: str) -> None:
        async with node.watch(name) as watch:
            await watch.down()
            gone.append(name)

    async with trio.open_nursery() as nursery:
        for worker in await node.list_workers():
            nursery.start_soon(note_end, str(worker))
        await wait_all_tasks_blocked()
        with trio.fail_after(10):
            await node.stop_worker("parent", timeout=2)

    assert gone[-1] == "parent"
    for number in range(4):
        child = gone.index(f"parent-{number}")
        assert all(gone.index(f"parent-{number}-{below}") < child for below in range(4))


async def test_members_of_a_group_that_hang_have_the_patience_of_one_stop_together(
    node: Node, autojump_clock: MockClock
) -> None:
    log: list[str] = []
    names = [f"member-{number}" for number in range(10)]
    await node.start_group("group", [ChildSpec(name, lambda: Stuck(log)) for name in names])
    for name in names:
        await node.send_message(name, "hang")
    await trio.sleep(1)
    begun = trio.current_time()

    await node.stop_worker("group", timeout=2)

    assert trio.current_time() - begun == 2
    assert log == names[::-1]


async def test_children_of_a_worker_that_restarts_have_one_patience_too(node: Node, autojump_clock: MockClock) -> None:
    class Failing(Parent):
        async def handle_message(self, context: Context, message: str) -> None:
            raise ValueError(message)

    log: list[str] = []
    await node.start_worker("parent", lambda: Failing(log, children=10), supervision=Restart())
    await trio.sleep(1)

    await node.send_message("parent", "fail")
    await trio.sleep(5.01)

    assert log == in_reverse("parent", 10, 1)


# ---- a node that is cancelled while it drains


async def test_a_node_that_is_cancelled_while_it_drains_lets_on_stop_have_one_second(autojump_clock: MockClock) -> None:
    log: list[str] = []
    with trio.move_on_after(3):
        async with open_node("n", stall_warning=None) as node:
            await node.start_worker("idle", Stuck(log, on_stop_takes=1.1))
            await node.start_worker("slow", Stuck(log, on_stop_takes=4.5))
            await node.start_worker("quick", Stuck(log, on_stop_takes=3.9))

    assert log == ["quick"]
    assert trio.current_time() == 4


async def test_so_it_is_while_a_worker_is_stopped(autojump_clock: MockClock) -> None:
    log: list[str] = []
    with trio.move_on_after(3):
        async with open_node("n", stall_warning=None) as node:
            await node.start_worker("slow", Stuck(log, on_stop_takes=50))
            await node.stop_worker("slow", timeout=100)

    assert trio.current_time() == 4
    assert log == []
