"""A simulated zone in which everybody does everything, writes it down, and nothing is spared them.

`World` is the zone: workers of many kinds on each node, clients that send, ask, converse, forward and change their
minds, look-outs, a pulse, and a keeper who stops workers and starts them again. `Chaos` breaks things from a seed of
its own. What it all came to is in a `History`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from typing import Literal

import trio

from autonomy import AutonomyError, Backoff, DeadLetter, Node, NodeDown, NoReply, Restart, WorkerExists
from autonomy.testing import Mended, Report, Simulation

from .simulated_hands import CAPACITIES, Hand, Life, Noted, PlainHand, Pulse
from .simulated_history import SLACK, History, Sent, Watched, violations

GRACE = 45.0
SETTLED = 85.0
"""Seconds in which what was begun comes to an end, once nothing is broken any more."""
LARGE = 200_000
"""Characters of a message that travels in parts."""


@dataclass
class Plan:
    """How large a world is, for how long, and what happens to it.

    Attributes:
        outages: Least and greatest seconds that a fault lasts.
        pauses: And between two of them.
        breaks: The faults that there are.
        overlap: Whether one may begin while another one lasts.
        stops: Whether workers are stopped.
        wire: How nodes are linked.
        is_short: Whether all outages are shorter than the window, and nobody is to notice any.
    """

    nodes: int = 5
    clients: int = 10
    seconds: float = 180.0
    outages: tuple[float, float] = (0.1, 20.0)
    pauses: tuple[float, float] = (0.5, 5.0)
    breaks: tuple[str, ...] = (
        "partition", "one way", "isolate", "slow", "reset", "black hole", "crash", "power loss", "crash", "partition",
    )  # fmt: skip
    overlap: bool = True
    stops: bool = True
    wire: Literal["messages", "tls"] = "messages"
    is_short: bool = False


SHORT = Plan(
    outages=(0.1, 7.5),
    pauses=(6.0, 10.0),
    breaks=("partition", "one way", "isolate", "reset", "black hole", "slow"),
    overlap=False,
    stops=False,
    is_short=True,
)
"""All nodes and workers live, and no outage is as long as the window."""
RARE = Plan(
    seconds=60.0,
    breaks=("hold", "clog", "clog", "refusal", "stall", "narrow", "jitter", "reset", "crash", "power loss"),
)
"""What befalls links in use, and those that are to be opened."""
SMALL = Plan(nodes=3, clients=6, seconds=40.0, pauses=(0.5, 4.0))


@dataclass
class Outcome:
    """What a world came to."""

    report: Report
    history: History
    broken: list[str] = field(default_factory=list)


class World:
    """A zone, from a seed.

    Args:
        seed: What happens.
        plan: What may.
    """

    def __init__(self, seed: int, plan: Plan) -> None:
        self.plan = plan
        self.sim = Simulation(seed, wire=plan.wire)
        self.history = History()
        self.names = [f"n{number}" for number in range(plan.nodes)]
        self._starts = dict.fromkeys(self.names, 0)
        self._lives = 0
        self.is_over = False
        for name in self.names:
            self.sim.node(name, self._main, default_timeout=30.0)
        self.sim.always(self._check_rooms)

    def run(self) -> Outcome:
        """Run it; return what it came to. A failure comes with its story."""
        report = self.sim.run(self._scenario, until=self.plan.seconds + GRACE + SETTLED + 60)
        return Outcome(report, self.history, violations(self.history))

    async def _scenario(self, sim: Simulation) -> None:
        chaos = Chaos(self)
        await chaos.run(self.plan.seconds)
        await trio.sleep(GRACE)
        await self._check_alive()
        self.is_over = True
        await trio.sleep(SETTLED)
        self._check_leftovers()

    # --- what lives on a node

    def start_of(self, node: Node) -> int:
        """Return the how-manieth start of its host a node is."""
        return self._starts[node.name]

    async def _main(self, node: Node) -> None:
        self._starts[node.name] += 1
        start = self.start_of(node)
        self.history.starts[node.name, start] = trio.current_time()

        def note_letter(letter: DeadLetter) -> None:
            self.history.letters.append((node.name, letter))

        node.on_dead_letter = note_letter
        for name in CAPACITIES:
            await self.start_worker(node, name)
        await node.start_worker("pulse", Pulse())
        async with trio.open_nursery() as nursery:
            for number in range(self.plan.clients):
                if number % self.plan.nodes == self.names.index(node.name):
                    chance = self.sim.chance("client", number, start)
                    nursery.start_soon(Client(self, node, f"client-{number}", chance).run)
            nursery.start_soon(self._feel_pulse, node)
            nursery.start_soon(self._look_out, node, self.sim.chance("look-out", node.name, start))
            if self.plan.stops:
                nursery.start_soon(self._keep, node, self.sim.chance("keeper", node.name, start))

    async def start_worker(self, node: Node, name: str) -> None:
        """Start one of the workers."""
        life, capacity = self._life(node, name), CAPACITIES[name]
        if name == "starts-anew":
            again = Restart(max_restarts=1000, within=30, backoff=Backoff(0.1, 2.0))
            await node.start_worker(name, lambda: Hand(life, name), supervision=again, mailbox_capacity=capacity)
        elif name == "plain":
            await node.start_worker(name, PlainHand(life, name), mailbox_capacity=capacity)
        else:
            await node.start_worker(name, Hand(life, name), mailbox_capacity=capacity)

    def _life(self, node: Node, name: str, **ways: bool) -> Life:
        self._lives += 1
        chance = self.sim.chance("worker", node.name, name, self._lives)
        return Life(self.history, self.names, chance, self._lives, self.start_of(node), **ways)

    async def _keep(self, node: Node, chance: Random) -> None:
        """Stop workers and start them again."""
        while not self.is_over:
            await trio.sleep(chance.uniform(3, 20))
            absence = [trio.current_time(), float("inf")]
            self.history.absences[f"brittle@{node.name}"].append(absence)
            patience = chance.choice([0, 1])
            await node.stop_worker("brittle", timeout=patience)
            if trio.current_time() > absence[0] + patience + SLACK:  # it has messages waiting, more often than not
                self.history.seen.append(f"B3 {node.name} waits {trio.current_time() - absence[0]:.3f} s for a stop")
            self.history.stopped[f"brittle@{node.name}", self.start_of(node)] = trio.current_time()
            await trio.sleep(chance.choice([0, 0.5, 3]))
            if chance.random() < 0.3:
                await self._start_in_vain(node)
            del self.history.stopped[f"brittle@{node.name}", self.start_of(node)]
            hand = Hand(self._life(node, "brittle", is_late=chance.random() < 0.5), "brittle")
            await node.start_worker("brittle", hand, mailbox_capacity=CAPACITIES["brittle"])
            absence[1] = trio.current_time()
            await self._start_again(node, hand, chance.choice(self.names))

    async def _start_in_vain(self, node: Node) -> None:
        """Start a worker that fails to; there is none then, and nothing that was sent to it is handled (L1)."""
        hand = Hand(self._life(node, "brittle", is_late=True, fails=True), "brittle")
        try:
            await node.start_worker("brittle", hand)
        except ValueError:
            return
        self.history.seen.append(f"L1 a start on {node.name} has failed, and nobody says so")

    async def _start_again(self, node: Node, hand: Hand, other: str) -> None:
        """Start what runs: under its own name, and under another one, on any node."""
        try:
            await node.start_worker("brittle", Hand(self._life(node, "brittle"), "brittle"))
        except WorkerExists:
            pass
        else:
            self.history.seen.append(f"N1 two workers of {node.name} are called brittle")
        there = self.sim.host(other).node
        if there is not None:
            with suppress(ValueError, NodeDown):
                await there.start_worker(f"of-{node.name}-{self._lives}", hand)
                self.history.seen.append(f"D6 one object runs on {node.name} and on {other}")

    async def _feel_pulse(self, node: Node) -> None:
        """See that a node goes on with what it has itself, whatever else is broken or slow (D7, K4, R2)."""
        while not self.is_over:
            try:
                told = await node.send_and_receive("pulse", "", timeout=0.5)
            except NoReply as error:
                told = str(error)
            if told != node.name:
                self.history.seen.append(f"D7 no pulse of {node.name}: {told}")
            await trio.sleep(2)

    async def _look_out(self, node: Node, chance: Random) -> None:
        while not self.is_over:
            await trio.sleep(chance.uniform(0, 2))
            worker = chance.choice(["brittle", "brittle", "starts-anew"])
            watched = Watched(f"{worker}@{chance.choice(self.names)}", trio.current_time())
            self.history.watched.append(watched)
            try:
                async with node.watch(watched.worker) as watch:
                    with trio.move_on_after(chance.uniform(1, 80)):
                        down = await watch.down()
                        watched.fired, watched.reason = trio.current_time(), down.reason
                        if down.name != watched.worker or await watch.down() != down:
                            self.history.seen.append(f"L6 told twice, or of somebody else: {down}, {watched}")
            finally:
                watched.ended = trio.current_time()

    # --- what must hold

    def _check_rooms(self, sim: Simulation) -> None:
        for name in self.names:
            node = sim.host(name).node
            for worker, queue in ({} if node is None else node._system.registry.queues).items():
                promised = 0 if queue.reserved is None else queue.reserved._room.ahead
                if queue.used() + promised > queue.capacity or promised < 0:
                    text = f"B2 {queue.used()} messages and {promised} promised of {queue.capacity}: {worker}@{name}"
                    self.history.seen.append(text)

    async def _check_alive(self) -> None:
        """Everybody reaches everybody, once nothing is broken."""

        async def ask(node: Node, to: str) -> None:
            number = self.history.number()
            sent = Sent(
                number, "request", f"grace@{node.name}", node.name, self.start_of(node), to, trio.current_time()
            )
            self.history.sent.append(sent)
            try:
                await node.send_and_receive(to, f"{number}|", timeout=15)
            except NoReply as error:
                self.history.seen.append(f"liveness: {node.name} gets no answer of {to}: {error}")

        async with trio.open_nursery() as nursery:
            for name in self.names:
                node = await self.sim.host(name).up()
                for other in self.names:
                    nursery.start_soon(ask, node, f"quick@{other}")

    def _check_leftovers(self) -> None:
        for name in self.names:
            node = self.sim.host(name).node
            assert node is not None
            self.history.seen += [f"left on {name}: {what}" for what in leftovers(node)]


def leftovers(node: Node) -> list[str]:
    """Return what a node holds though nobody uses it any more."""
    replies, remoting = node._runtime.replies, node._remoting
    assert remoting is not None
    counts = {
        "requests": len(replies.pending),
        "conversations": len(replies.conversations),
        "timers": len(node._runtime.timers.deadlines.pending),
        "queued": node.statistics().queued,
        "mailboxes": node.statistics().mailboxes,
        "watchers": sum(len(process.watchers or ()) for process in node._system.registry.workers.values()),
    }
    for far, partner in remoting._partners.items():
        there, back, peer = partner._outgoing, partner._incoming, remoting._peers.get(far)
        assert peer is not None
        counts |= {
            f"asked of {far}": len(there._asked),
            f"conversations with {far}": len(there._conversations),
            f"handed on to {far}": len(there._handed_on),
            f"watches on {far}": len(there._watches),
            f"asked by {far}": len(back._asked),
            f"conversations of {far}": len(back._conversations),
            f"watches of {far}": len(back._watches),
            f"flows to {far} of nobody": sum(each not in there._flows.values() for each in there._by_number.values()),
            f"flows to {far} beyond its workers": max(0, len(there._flows) - len(CAPACITIES)),
            f"flows of {far} beyond workers": max(0, len(back._flows) - len(CAPACITIES)),
            f"unsent to {far}": peer._outbox.size + peer._session.unacknowledged,
        }
    return [f"{count} {what}" for what, count in counts.items() if count]


class Client:
    """A task of a node's program that does one thing after the other."""

    def __init__(self, world: World, node: Node, name: str, chance: Random) -> None:
        self._world = world
        self._node = node
        self._name = f"{name}@{node.name} start {world.start_of(node)}"
        self._chance = chance

    async def run(self) -> None:
        """Go on until it is over."""
        chance = self._chance
        acts = [
            self._send,
            self._send,
            self._burst,
            self._ask,
            self._ask,
            self._converse,
            self._give_up,
            self._walk_away,
        ]
        while not self._world.is_over:
            await trio.sleep(chance.uniform(0.1, 2.5))
            with suppress(AutonomyError):
                await chance.choice(acts)()

    def _noted(self, kind: str, to: str, number: int) -> Noted:
        start = self._world.start_of(self._node)
        sent = Sent(number, kind, self._name, self._node.name, start, to, trio.current_time())
        return Noted(self._world.history, sent)

    def _message(self, kind: str) -> tuple[int, str, str]:
        """Return the number of a new message, to whom it goes, and its text."""
        chance, number = self._chance, self._world.history.number()
        worker, node = chance.choice(list(CAPACITIES)), chance.choice(self._world.names)
        target = f"{chance.choice(['quick', 'slow', 'brittle'])}@{chance.choice(self._world.names)}"
        padding = "x" * (LARGE if chance.random() < 0.03 else 0)
        return number, f"{worker}@{node}", f"{number}|{target}|{kind}|{padding}"

    async def _send(self) -> None:
        number, to, text = self._message("message")
        with self._noted("message", to, number) as sent:
            sent.limit = 30.0
            await self._node.send_message(to, text)
            sent.outcome = "sent"

    async def _burst(self) -> None:
        """Send some in a row to one worker."""
        _, to, _ = self._message("message")
        target = f"quick@{self._chance.choice(self._world.names)}"
        for _ in range(self._chance.randint(2, 8)):
            number = self._world.history.number()
            with self._noted("message", to, number) as sent:
                await self._node.send_message(to, f"{number}|{target}|message|")
                sent.outcome = "sent"

    async def _ask(self) -> None:
        number, to, text = self._message("request")
        timeout = self._chance.choice([None, None, 0.02, 0.5, 3.0, 12.0])
        with self._noted("request", to, number) as sent:
            sent.limit = 30.0 if timeout is None else timeout
            sent.answers.append(await self._node.send_and_receive(to, text, timeout=timeout))
            sent.outcome = "answered"

    async def _converse(self) -> None:
        number, to, text = self._message("conversation")
        with self._noted("conversation", to, number) as sent:
            mailbox = await self._node.send(to, text)
            sent.outcome = "sent"
        async with mailbox:
            for _ in range(4):
                sent.answers.append(await mailbox.receive(timeout=5))

    async def _give_up(self) -> None:
        """Send, and think better of it before there was a place."""
        number, to, text = self._message("message")
        with trio.move_on_after(self._chance.choice([0, 0.001, 0.1, 1])), self._noted("message", to, number) as sent:
            await self._node.send_message(to, text)
            sent.outcome = "sent"

    async def _walk_away(self) -> None:
        """Ask, and do not wait for the answer."""
        number, to, text = self._message("request")
        with trio.move_on_after(self._chance.uniform(0, 2)), self._noted("request", to, number) as sent:
            sent.answers.append(await self._node.send_and_receive(to, text))
            sent.outcome = "answered"


class Chaos:
    """Breaks a world for a while, from its seed, and mends all of it."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._sim = world.sim
        self._chance = world.sim.chance("chaos")
        self._off: dict[str, None] = {}

    async def run(self, seconds: float) -> None:
        """Break one thing after the other, or several at once, for so long."""
        plan, chance = self._world.plan, self._chance
        over = trio.current_time() + seconds
        async with trio.open_nursery() as nursery:
            while trio.current_time() < over:
                await trio.sleep(chance.uniform(*plan.pauses))
                outage = min(chance.uniform(*plan.outages), chance.uniform(*plan.outages))
                kind, hosts = chance.choice(plan.breaks), chance.sample(self._world.names, 2)
                if plan.overlap:
                    nursery.start_soon(self._break, kind, hosts, outage)
                else:
                    await self._break(kind, hosts, outage)

    async def _break(self, kind: str, hosts: list[str], outage: float) -> None:
        sim, (one, other) = self._sim, hosts
        if kind in ("crash", "power loss"):
            await self._turn_off(kind, one, outage)
        elif kind == "reset":
            sim.reset(one, other)
        elif kind == "black hole":
            sim.blackhole(one, other)
        else:
            with self._begun(kind, one, other):
                await trio.sleep(outage)

    def _begun(self, kind: str, one: str, other: str) -> Mended:
        sim = self._sim
        if kind in ("isolate", "clog"):
            return sim.clog(one) if kind == "clog" else sim.isolate(one)
        verbs: dict[str, Callable[[str, str], Mended]] = {
            "partition": sim.partition, "one way": sim.one_way_block, "slow": sim.slow, "hold": sim.hold,
            "refusal": sim.refuse, "stall": sim.stall, "narrow": sim.narrow, "jitter": sim.jitter,
        }  # fmt: skip
        return verbs[kind](one, other)

    async def _turn_off(self, kind: str, host: str, outage: float) -> None:
        if host in self._off or self._sim.host(host).node is None:
            return
        self._off[host] = None
        self._world.history.deaths[host].append(trio.current_time())
        with self._sim.crash(host) if kind == "crash" else self._sim.power_loss(host):
            await trio.sleep(outage)
        del self._off[host]
