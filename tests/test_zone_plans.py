"""A zone under random plans: nodes start, leave, are killed and started anew, workers move, links break and heal, and
the directory's node comes and goes, while everybody asks for workers by their bare names."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from autonomy import AmbiguousWorker, AutonomyError, Context, Node, NoReply, WorkerNotFound, Zone
from autonomy.directory import EmbeddedDirectory
from tests.zone import FaultyNetwork, on
from tests.zoned import ALL

NODES = ["main", "a", "b", "c"]
NAMES = ["x", "y", "z"]
nodes, names = st.sampled_from(NODES), st.sampled_from(NAMES)
steps = st.one_of(
    st.tuples(st.just("start"), nodes),
    st.tuples(st.just("leave"), nodes),
    st.tuples(st.just("kill"), nodes),
    st.tuples(st.just("own"), nodes, names),
    st.tuples(st.just("own"), nodes, names),
    st.tuples(st.just("disown"), nodes, names),
    st.tuples(st.just("move"), nodes, nodes, names),
    st.tuples(st.just("part"), nodes, nodes),
    st.tuples(st.just("cut"), nodes, nodes),
    st.tuples(st.just("heal"), nodes, nodes),
    st.tuples(st.just("ask"), nodes, names),
    st.tuples(st.just("ask"), nodes, names),
    st.tuples(st.just("tell"), nodes, names),
    st.tuples(st.just("any"), nodes, names),
    st.tuples(st.just("all"), nodes, names),
    st.tuples(st.just("wait"), st.sampled_from([0.1, 1.0, 4.0, 12.0])),
)


@dataclass
class History:
    """What was sent, what became of it, and what was handled."""

    sent: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    handled: Counter[str] = field(default_factory=Counter)


class Handles:
    """Notes each message, and replies with its node."""

    def __init__(self, history: History) -> None:
        self._history = history

    async def handle_message(self, context: Context, message: str) -> None:
        self._history.handled[f"{message} on {context.node.name}" if message.startswith("all") else message] += 1
        await context.reply(context.node.name)


class Story:
    """Carries out a plan."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.network = FaultyNetwork()
        self.directory = EmbeddedDirectory("main", "wss://main:1")
        self.history = History()
        self.nodes: dict[str, Node] = {}
        self.owned: dict[str, set[str]] = {}
        self._lives: dict[str, trio.CancelScope] = {}
        self._nursery = nursery
        self._changes = trio.Lock()

    async def do(self, step: tuple[Any, ...]) -> None:
        await getattr(self, step[0])(*step[1:])

    # --- nodes and workers

    async def start(self, name: str) -> None:
        if name not in self.nodes:
            self.owned[name] = set()
            self.nodes[name] = await self._nursery.start(self._live, name)

    async def _live(self, name: str, *, task_status: trio.TaskStatus[Node]) -> None:
        with trio.CancelScope() as life:
            async with on(self.network, name, directory=self.directory, rights=ALL) as node:
                self._lives[name] = life
                task_status.started(node)
                await trio.sleep_forever()

    async def leave(self, name: str) -> None:
        node = self.nodes.pop(name, None)
        if node is not None:
            await node.stop()
            self._lives.pop(name).cancel()
            await trio.sleep(0.1)

    async def kill(self, name: str) -> None:
        if self.nodes.pop(name, None) is not None:
            self._lives.pop(name).cancel()
            await trio.sleep(0.1)

    async def own(self, name: str, worker: str) -> None:
        if name in self.nodes and worker not in self.owned[name]:
            self.owned[name].add(worker)
            with trio.fail_after(12):
                await self.nodes[name].start_worker(worker, Handles(self.history))

    async def disown(self, name: str, worker: str) -> None:
        if name in self.nodes and worker in self.owned[name]:
            self.owned[name].discard(worker)
            with trio.fail_after(22):
                await self.nodes[name].stop_worker(worker)

    async def move(self, name: str, other: str, worker: str) -> None:
        if name != other and {name, other} <= self.nodes.keys() and worker in self.owned[name]:
            await self.disown(name, worker)
            await self.own(other, worker)

    # --- the network

    async def part(self, one: str, other: str) -> None:
        self.network.part(one, other)

    async def cut(self, one: str, other: str) -> None:
        self.network.cut(one, other)

    async def heal(self, one: str, other: str) -> None:
        self.network.heal(one, other)

    async def wait(self, seconds: float) -> None:
        await trio.sleep(seconds)

    # --- senders

    async def ask(self, name: str, worker: str) -> None:
        self._send(name, "send_and_receive", worker)

    async def tell(self, name: str, worker: str) -> None:
        self._send(name, "send_message", worker)

    async def any(self, name: str, worker: str) -> None:
        self._send(name, "any", worker)

    async def all(self, name: str, worker: str) -> None:
        self._send(name, "all", worker)

    def _send(self, name: str, way: str, worker: str) -> None:
        if name in self.nodes:
            self.history.sent += 1
            text = f"{way} {self.history.sent}"
            send = partial(getattr(self.nodes[name], way), worker, text, timeout=15)
            self._nursery.start_soon(self._outcome, text, send)

    async def _outcome(self, text: str, send: Any) -> None:
        begun = trio.current_time()
        try:
            await send()
        except AutonomyError:
            pass
        finally:
            self.history.outcomes[text] += 1
        assert trio.current_time() - begun <= 16, text

    # --- at the end

    async def calm(self) -> None:
        """Heal everything, start who is missing, and wait."""
        for one in NODES:
            for other in NODES:
                self.network.heal(one, other)
        for name in NODES:
            await self.start(name)
        await trio.sleep(30)

    async def check(self) -> None:
        """All views and caches agree with what is true, and nothing was handled twice."""
        assert sum(self.history.outcomes.values()) == self.history.sent
        assert set(self.history.outcomes.values()) <= {1}
        assert set(self.history.handled.values()) <= {1}, self.history.handled
        for name, node in self.nodes.items():
            assert [each.name for each in await Zone.nodes(node)] == sorted(NODES)
            for worker in NAMES:
                owners = sorted(owner for owner in NODES if worker in self.owned[owner])
                assert await self.found(node, worker) == ([name] if name in owners else owners), (name, worker)

    async def found(self, node: Node, worker: str) -> list[str]:
        """Return who a name means to a node."""
        try:
            return [await node.send_and_receive(worker, f"check {worker} from {node.name}", timeout=5)]
        except AmbiguousWorker:
            return sorted(await node.all(worker, f"all {worker} from {node.name}", timeout=5))
        except WorkerNotFound:
            return []
        except NoReply as error:
            raise AssertionError(f"{worker} from {node.name}: {error}") from error


async def play(plan: list[tuple[Any, ...]]) -> None:
    async with trio.open_nursery() as nursery:
        story = Story(nursery)
        for name in NODES:
            await story.start(name)
        for step in plan:
            await story.do(step)
        await story.calm()
        await story.check()
        nursery.cancel_scope.cancel()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(steps, min_size=1, max_size=40))
def test_for_all_plans_nothing_is_handled_twice_and_after_calm_each_name_means_who_owns_it(
    plan: list[tuple[Any, ...]],
) -> None:
    trio.run(play, plan, clock=MockClock(autojump_threshold=0))
