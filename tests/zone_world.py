"""A simulated zone whose workers come and go, and whose directory is broken too, with all that anybody was told.

`ZoneWorld` has nodes that start slowly, names that stay on one node, that move, and that are on two. Clients on all
nodes ask for them all the time, by bare names. What was wrong is in `ZoneWorld.violations`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Final

import trio

from autonomy import AmbiguousWorker, AutonomyError, Context, Node, NoReply, WorkerNotFound, ZoneInfo
from autonomy._zone.membership import Membership
from autonomy.testing import Moment, Report, Simulation, Story

AUTHORITY: Final = "zone_authority"
NODES: Final = tuple(f"n{number}" for number in range(4))
MOVING: Final = ("m0", "m1", "m2")
BOTH: Final = "both"
"""A name that is on the first two nodes."""
BREAKS: Final = (
    "partition", "one-way block", "isolation", "slow", "reset", "black hole", "crash", "crash", "power loss", "hold",
    "clog", "refusal", "stall", "jitter", "duplicate",
)  # fmt: skip
CALM: Final = 30.0
"""Seconds in which what is mended is as if it had never been broken: a lease, an attempt, a silence that is noticed."""
TIMEOUT: Final = 8.0


@dataclass
class Asked:
    """One request, and what became of it."""

    text: str
    name: str
    by: str
    began: float
    ended: float = 0.0
    reply: str = ""
    error: AutonomyError | None = None


@dataclass
class Span:
    """A time at which a name was there, or something was wrong."""

    what: str
    node: str
    begin: float
    end: float = float("inf")
    peer: str = ""

    def overlaps(self, begin: float, end: float) -> bool:
        return self.begin <= end and begin <= self.end

    def covers(self, begin: float, end: float) -> bool:
        return self.begin <= begin and end <= self.end


class Echo:
    """Notes what it handles and says where it is."""

    def __init__(self, world: ZoneWorld) -> None:
        self._world = world

    async def handle_message(self, context: Context, message: str) -> None:
        self._world.handled[message] += 1
        await context.reply(f"{message} {context.node.name}")


@dataclass
class ZoneWorld:
    """A zone, from a seed.

    Args:
        seed: What happens.
        seconds: For how long things break.
        story: What breaks, if not what is drawn.
    """

    seed: int
    seconds: float = 60.0
    story: Story | None = None
    handled: Counter[str] = field(default_factory=Counter)
    asked: list[Asked] = field(default_factory=list)
    there: list[Span] = field(default_factory=list)
    left: list[Span] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)

    def run(self) -> Report:
        """Run it; returns what happened. What does not become true in time fails, with its story."""
        self.sim = Simulation(self.seed, zone=ZoneInfo(), story=self.story)
        for name in NODES:
            self.sim.node(name, self._main)
        hosts = NODES if self.seed % 2 else (*NODES, AUTHORITY)
        self.sim.chaos(rate=1 / 5, for_=self.seconds, kinds=BREAKS, hosts=hosts, grace=CALM * 3)
        self.sim.eventually(self.agree, within=CALM)
        report = self.sim.run(self._scenario, until=self.seconds + CALM * 4)
        self.violations += [*self._wrong_answers(), *self._false_absences(report)]
        return report

    async def _main(self, node: Node) -> None:
        """Own a name, late, and perhaps one that another node has too: whoever looks for them waits (R4)."""
        self.there.append(Span(f"w-{node.name}", node.name, trio.current_time()))
        await trio.sleep(self.sim.chance("main", node.incarnation).uniform(0, 4))
        await node.start_worker(f"w-{node.name}", Echo(self))
        if node.name in NODES[:2]:
            await node.start_worker(BOTH, Echo(self))

    # --- what goes on

    async def _scenario(self, sim: Simulation) -> None:
        async with trio.open_nursery() as going_on:
            for name in NODES:
                going_on.start_soon(self._ask_on, name)
            for name in MOVING:
                going_on.start_soon(self._move, name)
            async with trio.open_nursery() as until_calm:
                until_calm.start_soon(self._leave_now_and_then)
                await sim.calm()
                until_calm.cancel_scope.cancel()
            await trio.sleep(CALM + 1)
            going_on.cancel_scope.cancel()
        await self._ask_everybody()

    async def _ask_on(self, host: str) -> None:
        chance = self.sim.chance("asks", host)
        names = [*(f"w-{name}" for name in NODES), *MOVING, BOTH, "nobody"]
        async with trio.open_nursery() as nursery:
            while True:
                node = await self.sim.host(host).up()
                nursery.start_soon(self._ask, node, chance.choice(names))
                await trio.sleep(chance.expovariate(2))

    async def _ask(self, node: Node, name: str) -> Asked:
        asked = Asked(f"{len(self.asked)}", name, node.name, trio.current_time())
        self.asked.append(asked)
        try:
            asked.reply = await node.send_and_receive(name, asked.text, timeout=TIMEOUT)
        except AutonomyError as error:
            asked.error = error
        asked.ended = trio.current_time()
        return asked

    async def _move(self, name: str) -> None:
        """Let a worker be somewhere, and then elsewhere."""
        chance = self.sim.chance("moves", name)
        host = ""
        while True:
            host = chance.choice([other for other in NODES if other != host])
            node = await self.sim.host(host).up()
            try:
                await node.start_worker(name, Echo(self))
                span = Span(name, node.name, trio.current_time())
                self.there.append(span)
                await trio.sleep(chance.uniform(0, 8))
                span.end = trio.current_time()
                await node.stop_worker(name)
            except AutonomyError:  # its node is gone, and the worker with it
                await trio.sleep(1)

    async def _leave_now_and_then(self) -> None:
        """Let a node leave in good order, and come back."""
        chance = self.sim.chance("leaves")
        while True:
            await trio.sleep(chance.uniform(10, 30))
            name = chance.choice(NODES)
            span = Span("leaving", name, trio.current_time())
            self.left.append(span)
            await (await self.sim.host(name).up()).stop()
            with self.sim.crash(name):
                await trio.sleep(chance.uniform(0, 3))
            span.end = trio.current_time()

    # --- what must hold

    def agree(self, _: Simulation) -> bool:
        """Whether all nodes see each other as they are, and know nothing of names that stay that is not so.

        Where a name was that has moved is found out when it is asked for.
        """
        return not self._disagreements([name for name in self._truth() if name not in MOVING])

    def _truth(self) -> dict[str, tuple[str, ...]]:
        """Return the names that there are, and where."""
        owners: dict[str, tuple[str, ...]] = {}
        for host in NODES:
            place = self._place(host)
            for name in () if place is None else place._names:
                owners[name] = (*owners.get(name, ()), host)
        return owners

    def _place(self, host: str) -> Membership | None:
        node = self.sim.host(host).node
        return None if node is None else node._membership

    def _disagreements(self, names: Collection[str]) -> list[str]:
        truth = self._truth()
        places = [place for place in map(self._place, NODES) if place is not None]
        if len(places) < len(NODES):
            return ["a node is not there"]
        starts = [(place.me.name, place.me.incarnation) for place in places]
        found = []
        for place in places:
            if [(member.name, member.incarnation) for member in place.members] != starts:
                found.append(f"{place.me.name} sees {[member.name for member in place.members]}")
            for name, known in place._known.items():
                if name in names and name not in place._names and known != truth.get(name, ()):
                    found.append(f"{place.me.name} knows {name} on {known}, and it is on {truth.get(name)}")
        return found

    async def _ask_everybody(self) -> None:
        """Have each node look for each name, now that all is well."""
        for host in NODES:
            node = await self.sim.host(host).up()
            assert node._membership is not None
            for owner in NODES:
                asked = await self._ask(node, f"w-{owner}")
                if asked.reply != f"{asked.text} {owner}":
                    self._wrong(asked, "is not what the owner says")
            for name in MOVING:
                asked = await self._ask(node, name)
                owners = self._truth().get(name, ())
                if asked.reply.split()[1:] != list(owners) or not (owners or isinstance(asked.error, WorkerNotFound)):
                    self._wrong(asked, f"is not so: it is on {owners}")
            asked = await self._ask(node, "nobody")
            if not isinstance(asked.error, WorkerNotFound):
                self._wrong(asked, "is not that nobody has it")
            asked = await self._ask(node, BOTH)
            if host in NODES[:2]:
                if asked.reply != f"{asked.text} {host}":
                    self._wrong(asked, "is not what the node's own worker says")
            elif not isinstance(asked.error, AmbiguousWorker) or not all(
                name in str(asked.error) for name in NODES[:2]
            ):
                self._wrong(asked, "is not that it is ambiguous")
            if node._membership._lookups:
                self.violations.append(f"{host} is looking for {list(node._membership._lookups)} still")
        self.violations += self._disagreements(self._truth())

    def _wrong(self, asked: Asked, what: str) -> None:
        got = asked.reply or repr(asked.error)
        self.violations.append(f"{asked.by} asked {asked.name} at {asked.began:.3f}: {got} {what}")

    def _wrong_answers(self) -> Iterator[str]:
        """What was handled twice, or though it was not sent; answers of others, and such that were late."""
        for asked in self.asked:
            way = f"{asked.by} asked {asked.name} at {asked.began:.3f}"
            count = self.handled[asked.text]
            if count > 1:
                yield f"{way}: handled {count} times"
            if asked.ended - asked.began > TIMEOUT + 0.01:
                yield f"{way}: told after {asked.ended - asked.began:.3f} s: {asked.reply or asked.error!r}"
            if asked.reply and (asked.reply.split()[0] != asked.text or not count):
                yield f"{way}: got {asked.reply}, which is no answer"
            outcome = getattr(asked.error, "outcome", "not_sent") if asked.error is not None else ""
            if outcome == "not_sent" and count:
                yield f"{way}: {asked.error!r} was handled all the same"
            if isinstance(asked.error, AmbiguousWorker) and asked.name != BOTH:
                yield from self._false_ambiguity(asked, way)

    def _false_ambiguity(self, asked: Asked, way: str) -> Iterator[str]:
        if asked.name.startswith("w-"):
            yield f"{way}: {asked.error!r}, which is on one node alone"

    def _false_absences(self, report: Report) -> Iterator[str]:
        """Who was told that nobody has a name that somebody had, whom the directory could hear all the time."""
        troubles = [*self._troubles(report.faults), *self.left]
        for asked in self.asked:
            if not isinstance(asked.error, WorkerNotFound):
                continue
            for span in self.there:
                if span.what != asked.name or span.node == asked.by or not span.covers(asked.began, asked.ended):
                    continue  # a node does not wait for itself
                since = asked.began - CALM
                if not any(
                    self._matters(trouble, span.node) and trouble.overlaps(since, asked.ended) for trouble in troubles
                ):
                    yield (
                        f"{asked.by} asked {asked.name} at {asked.began:.3f} and was told at {asked.ended:.3f} that "
                        f"nobody has it; {span.node} had it since {span.begin:.3f}"
                    )

    def _troubles(self, faults: list[Moment]) -> Iterator[Span]:
        ends = {moment.number: moment.at for moment in faults if moment.kind == "heal"}
        for moment in faults:
            if moment.kind == "fault":
                until = ends.get(moment.number, moment.at) if moment.number else moment.at
                yield Span(moment.text, moment.node, moment.at, until, moment.peer)

    @staticmethod
    def _matters(trouble: Span, owner: str) -> bool:
        """Whether it is between a node and the directory."""
        if trouble.peer:
            return {trouble.node, trouble.peer} == {owner, AUTHORITY}
        return trouble.node in (owner, AUTHORITY)


def errors_of(world: ZoneWorld) -> Counter[str]:
    """Return how often what was told: a world in which some error never happens proves nothing about it."""
    told = Counter(type(asked.error).__name__ for asked in world.asked if asked.error is not None)
    told["answered"] = sum(bool(asked.reply) for asked in world.asked)
    told["unsure"] = sum(
        isinstance(asked.error, NoReply) and asked.error.outcome != "not_sent" for asked in world.asked
    )
    return told
