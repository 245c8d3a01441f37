"""A simulated zone whose nodes start, list and stop workers on each other, while whatever there is breaks.

Two nodes take everything, one takes no code, one obeys the first node alone. On each a `Manager` does one thing after
the other; what is wrong is in `ManagedWorld.violations`.
"""

from __future__ import annotations

import math
from contextlib import suppress
from typing import Any, Final

import trio

from autonomy import (
    AutonomyError,
    CodePolicy,
    CodeRefused,
    Node,
    NoReply,
    NotAllowed,
    RemoteNode,
    WorkerExists,
    WorkerNotFound,
    Zone,
    ZoneInfo,
)
from autonomy._sansio.rights import Rights
from autonomy.testing import Report, Simulation

from .managed_history import PREFIX, SLACK, UNSURE, History, Life, Order, current, violations
from .managed_workers import FIRST, Counting, Locked

ZONE: Final = ZoneInfo("shop", cluster="blue")
SHORT: Final = ("closed", "n0", "n1", "picky")
NODES: Final = tuple(f"blue-shop-{name}" for name in SHORT)
OPTIONS: Final[dict[str, dict[str, Any]]] = {
    "closed": {"code": CodePolicy()},
    "picky": {"rights": Rights(message="*", manage="n0", ship="n0")},
}
BREAKS: Final = (
    "partition", "one-way block", "isolation", "slow", "reset", "black hole", "crash", "crash", "power loss", "hold",
    "clog", "refusal", "stall", "jitter",
)  # fmt: skip
CALM: Final = 30.0
LONGEST: Final = 30.0
FIGURES: Final = ["failed", "handled", "mailbox", "name", "restarts", "state"]


class ManagedWorld:
    """A zone, from a seed.

    Args:
        seed: What happens.
        seconds: For how long things break.
    """

    def __init__(self, seed: int, seconds: float = 60.0) -> None:
        self.sim = Simulation(seed, zone=ZONE)
        self.history = History()
        self.seconds = seconds
        self.numbers = 0
        for short, name in zip(SHORT, NODES, strict=True):
            self.sim.node(name, self._main, **OPTIONS.get(short, {}))

    def run(self) -> Report:
        """Run it; returns what happened."""
        self.sim.chaos(rate=1 / 4, for_=self.seconds, kinds=BREAKS, grace=CALM * 4)
        current.set(self.history)
        return self.sim.run(self._scenario, until=self.seconds + CALM * 5)

    @property
    def violations(self) -> list[str]:
        """What was wrong."""
        return violations(self.history)

    async def _main(self, node: Node) -> None:
        self.history.starts.append((node.name, node.incarnation))
        if node.name != ZONE.prefix + node.short_name or node.short_name not in SHORT:
            self.history.seen.append(f"N2 {node.name} has the short name {node.short_name}")
        fixed = Counting(0)
        fixed.node = node
        # Others may have started one while the node was waiting for its directory, before this was called.
        await node.start_worker("fixed", fixed, on_conflict="replace")

    async def _scenario(self, sim: Simulation) -> None:
        async with trio.open_nursery() as nursery:
            for name in NODES:
                nursery.start_soon(self._manage, name)
            await sim.calm()
            await trio.sleep(5)
            nursery.cancel_scope.cancel()
        await trio.sleep(CALM)
        for name in NODES:
            await Manager(self, await sim.host(name).up()).see_that_all_is_well()

    async def _manage(self, name: str) -> None:
        while True:
            node = await self.sim.host(name).up()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(Manager(self, node).go_on)
                await self.sim.host(name).down()
                nursery.cancel_scope.cancel()

    def runs(self, life: Life) -> bool:
        """Whether a worker that has started runs still."""
        node = self.sim.host(life.node).node
        return life.ended == math.inf and node is not None and node.incarnation == life.incarnation


class Manager:
    """A task beside a node that manages the others, and writes down what it is told."""

    def __init__(self, world: ManagedWorld, node: Node) -> None:
        self._world = world
        self._node = node
        self._history = world.history
        self._chance = world.sim.chance("manager", node.name, node.incarnation)

    async def go_on(self) -> None:
        """Do one thing after the other."""
        chance, acts = self._chance, [self._look, self._list, self._start, self._start, self._start, self._contest]
        while True:
            await trio.sleep(chance.uniform(0.1, 3))
            with suppress(*UNSURE):  # of what has no checks of its own
                await chance.choice(acts)()

    def _wrong(self, what: str) -> None:
        self._history.seen.append(f"{what}; {self._node.name} at {trio.current_time():.3f}")

    def _may_manage(self, to: str) -> bool:
        return not to.endswith("-picky") or self._node.short_name == "n0"

    async def _runner(self) -> RemoteNode | None:
        others = [other for other in await Zone.nodes(self._node) if isinstance(other, RemoteNode)]
        return self._chance.choice(others) if others else None

    # --- N2, N3, N4

    async def _look(self) -> None:
        text = self._chance.choice([None, "", "n", "n0", "o", "N", "blue", "shop", "blue-shop-n0", "-"])
        nodes = await Zone.nodes(self._node, filter=text)
        names = [node.name for node in nodes]
        fitting = [name for name in NODES if text is None or text in name.removeprefix(ZONE.prefix)]
        if names != sorted(set(names)) or not set(names) <= set(fitting):
            self._wrong(f"N4 {names} for the filter {text!r}")
        if (self._node.name in fitting) != (self._node in nodes):
            self._wrong(f"N4 this node among {names} for the filter {text!r}")
        short = self._chance.choice([*SHORT, "nobody", "N0", self._node.name])
        found = await Zone.node(self._node, short)
        if found is not None and found.name != ZONE.prefix + short:
            self._wrong(f"N4 {found!r} for {short!r}")
        if (short == self._node.short_name) != (found == self._node):
            self._wrong(f"N4 {found!r} for {short!r}")

    async def _list(self) -> None:
        runner = await self._runner()
        if runner is None:
            return
        there = [life for life in self._history.lives if life.node == runner.name and life.started < math.inf]
        there = [life for life in there if self._world.runs(life)]
        try:
            infos = await runner.list_workers()
        except NotAllowed as error:
            if self._may_manage(runner.name) or not str(error).startswith(PREFIX):
                self._wrong(f"F1 {error!r}")
            return
        except NoReply as error:
            self._expect(error, f"listing {runner.name}")
            return
        if not self._may_manage(runner.name):
            self._wrong(f"K5 the workers of {runner.name} were listed")
        names = [str(info) for info in infos]
        if names != sorted(set(names)) or any(name.startswith("_") for name in names):
            self._wrong(f"N3 {names} on {runner.name}")
        for info in infos:
            if info["name"] != str(info) or sorted(info) != FIGURES:
                self._wrong(f"N3 {dict(info)}")
        missing = [life for life in there if life.name not in names and self._world.runs(life)]
        if missing:
            self._wrong(f"N3 {missing[0]} is not among {names}")

    # --- F1, F2, F3, L1, L2, L7

    async def _start(self) -> None:
        """Start a worker elsewhere; if it runs, ask it, start its like on another node too, and stop it."""
        runner = await self._runner()
        if runner is None:
            return
        chance, number = self._chance, self._number()
        kind = chance.choice(["plain", "plain", "plain", "slow", "slow", "failing", "locked", "taken"])
        takes = chance.uniform(0, 3) if kind == "slow" or chance.random() < 0.2 else 0.0
        worker = Locked(number) if kind == "locked" else Counting(number, takes, fails=kind == "failing")
        name = "fixed" if kind == "taken" else f"w-{number}"
        expected = {"failing": (ValueError,), "locked": (CodeRefused,), "taken": (WorkerExists,)}.get(kind, ())
        order = self._order(number, name, runner.name, chance.choice([None, None, 0.3, 2.0]), expected)
        order.may_succeed = order.may_succeed and kind not in ("failing", "locked")
        order.is_local = kind == "locked"
        is_there = await self._carry_out(order, runner, worker)
        if is_there:
            await self._ask(runner, name, number)
        if chance.random() < 0.3 and not expected and (other := await self._runner()) not in (None, runner):
            assert other is not None
            again = self._order(number, name, other.name, None)
            if await self._carry_out(again, other, worker):
                await self._ask(other, name, number)
                await self._stop(other, name)
        if (worker.count, worker.node, worker.place) != (FIRST, None, -1):
            self._wrong(f"F2 the object {number} that stayed here has changed")
        if is_there:
            await self._stop(runner, name)

    async def _contest(self) -> None:
        """Start a worker that others start too, under the same name."""
        runner = await self._runner()
        if runner is None:
            return
        number = self._number()
        order = self._order(number, f"c-{number % 2}", runner.name, None, (WorkerExists,))
        worker = Counting(number, self._chance.choice([0.0, 0.5]))
        if await self._carry_out(order, runner, worker):
            await trio.sleep(self._chance.uniform(0, 3))
            await self._stop(runner, order.name)

    def _number(self) -> int:
        self._world.numbers += 1
        return self._world.numbers

    def _order(
        self,
        number: int,
        name: str,
        to: str,
        timeout: float | None,
        expected: tuple[type[Exception], ...] = (),
    ) -> Order:
        limit = LONGEST if timeout is None else timeout
        order = Order(number, name, self._node.name, to, limit, expected, began=trio.current_time())
        if CodeRefused not in expected and not self._may_manage(to):
            order.expected, order.may_succeed = (NotAllowed,), False
        elif to.endswith("-closed"):
            order.expected, order.may_succeed = (CodeRefused,), False
        return order

    async def _carry_out(self, order: Order, runner: RemoteNode, worker: Counting) -> bool:
        self._history.orders.append(order)
        try:
            await runner.start_worker(order.name, worker, timeout=order.limit)
        except Exception as error:  # noqa: BLE001  # it is looked at when all is over
            order.error = error
        order.ended = trio.current_time()
        return order.error is None

    async def _ask(self, runner: RemoteNode, name: str, number: int) -> None:
        asked = f"{self._number()}"
        try:
            answer = await runner.send_and_receive(name, asked, timeout=5)
        except NoReply as error:
            if not isinstance(error, (WorkerNotFound, *UNSURE)):  # its node may have been started anew
                self._wrong(f"L1 {error!r} is the answer to {asked} by {number} on {runner.name}")
        else:
            if answer != f"{asked} {number} {runner.name}":
                self._wrong(f"N2 {answer!r} is the answer to {asked} by {number} on {runner.name}")

    async def _stop(self, runner: RemoteNode, name: str) -> None:
        there = [life for life in self._history.lives if (life.name, life.node) == (name, runner.name)]
        there = [life for life in there if self._world.runs(life)]
        try:
            await runner.stop_worker(name)
        except WorkerNotFound as error:
            self._expect(error, f"stopping {name}")
            if any(self._world.runs(life) for life in there):
                self._wrong(f"L7 {error!r}, and there is {there[0]}")
            return
        except NoReply as error:
            self._expect(error, f"stopping {name}")
            return
        if any(self._world.runs(life) for life in there):
            self._wrong(f"L7 said to be stopped: {there[0]}")

    def _expect(self, error: AutonomyError, what: str) -> None:
        if not isinstance(error, (*UNSURE, WorkerNotFound)) or not str(error).startswith(PREFIX):
            self._wrong(f"F1 {error!r} was told of {what}")

    # --- when nothing is broken any more

    async def see_that_all_is_well(self) -> None:
        """Manage everybody whom one may, and see everybody."""
        names = [node.name for node in await Zone.nodes(self._node)]
        if names != list(NODES):
            self._wrong(f"N4 {names} when nothing is broken")
        for runner in await Zone.nodes(self._node):
            if isinstance(runner, RemoteNode):
                await self._see(runner)

    async def _see(self, runner: RemoteNode) -> None:
        number, began = self._number(), trio.current_time()
        order = self._order(number, f"w-{number}", runner.name, None)
        is_there = await self._carry_out(order, runner, Counting(number))
        if is_there != order.may_succeed or isinstance(order.error, UNSURE):
            self._wrong(f"F1 when nothing is broken: {order}")
        if trio.current_time() > began + 1 + SLACK:
            self._wrong(f"F1 takes {trio.current_time() - began:.3f} s when nothing is broken: {order}")
        if is_there:
            await self._ask(runner, order.name, number)
            if not any(life.handled for life in self._history.of(order)):
                self._wrong(f"F2 no answer when nothing is broken: {order}")
            await self._stop(runner, order.name)
