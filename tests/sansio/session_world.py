"""Two nodes, any number of connections between them, and everything that can happen to these. No time passes by itself.

A `World` has one `Session` a side and carries out what they ask for. Whoever drives it decides what is delivered, cut,
lost and restarted, in which order; the world looks after each step whether the promises hold (I1 to I9 below).

I1 nothing twice · I2 in the order of sending, also across sessions · I3 nothing that was not sent · I4 nothing lost in
silence · I5 nothing reported twice, or reported while it waits · I6 the queue holds what is unacknowledged, within its
bound · I7 cuts alone, and leaving in good order, lose nothing · I8 once faults stop, all is delivered · I9 at most one
connection is in use, and every other one is dropped.
"""

from __future__ import annotations

import itertools
from collections import deque
from random import Random
from typing import Final

from autonomy._sansio.codec import decode, encode
from autonomy._sansio.frames import MAGIC, CloseCode, Frame, Hello, SessionId
from autonomy._sansio.keepalive import Liveness
from autonomy._sansio.session import Session
from autonomy._sansio.session_terms import Deliver, Down, Drop, Event, Limits, State, Transmit, Up

SIDES: Final = ("a", "b")
FAULTS: Final = frozenset({"cut", "close", "expire", "crash", "impostor"})
MORTAL: Final = Limits(messages=8, size=200, batch=3)
KINDS: Final = (
    FAULTS,
    frozenset({"cut"}),
    frozenset({"cut", "close"}),
    FAULTS - {"impostor"},
    frozenset({"cut", "expire"}),
)
"""What may happen in a world, from a walk to the next."""
PATIENT: Final = Limits(messages=8, size=200, batch=3, liveness=Liveness(down=1e9), closing=1e9)
"""For worlds in which nothing but cuts happens, however long they take."""


class Wire:
    """A connection: what is under way in it to either side, and who still has an open end of it."""

    def __init__(self, number: int, dialer: str) -> None:
        self.number = number
        self.dialer = dialer
        self.to: dict[str, deque[Frame | None]] = {side: deque() for side in SIDES}
        self.open = dict.fromkeys(SIDES, True)
        self.used = {side: side == dialer for side in SIDES}
        self.stalled = False

    def carry(self, to: str, frame: Frame | None) -> None:
        """Take a frame, or the news that the other end is closed, if anything still passes."""
        if self.open[to] and not self.stalled:
            self.to[to].append(frame)

    def shut(self, side: str) -> None:
        """Close one end."""
        self.open[side] = False
        self.to[side].clear()
        self.carry(other(side), None)


class World:
    """Both sides, and what became of every message."""

    def __init__(self, limits: Limits = MORTAL, session: type[Session] = Session) -> None:
        self.limits = limits
        self.session = session
        self.clock = dict.fromkeys(SIDES, 0.0)
        self.starts = dict.fromkeys(SIDES, 0)
        self.wires: dict[int, Wire] = {}
        self.numbers = itertools.count(1)
        self.bodies = itertools.count(1)
        self.at: dict[str, Session] = {}
        self.sent: dict[str, list[int]] = {side: [] for side in SIDES}
        self.delivered: dict[str, list[int]] = {side: [] for side in SIDES}
        """By sender."""
        self.downs: dict[str, list[Down]] = {side: [] for side in SIDES}
        self.ups: dict[str, list[Up]] = {side: [] for side in SIDES}
        self.reported: dict[str, set[int]] = {side: set() for side in SIDES}
        self.unwritten: dict[str, set[int]] = {side: set() for side in SIDES}
        self.open: dict[str, set[int]] = {side: set() for side in SIDES}
        """What was sent, and neither delivered nor reported, and whose sender lives."""
        self.moves: set[tuple[State, State]] = set()
        for side in SIDES:
            self.start(side)

    def state(self, side: str) -> State:
        return self.at[side].state

    # --- what a side does

    def start(self, side: str) -> None:
        """Start a side anew: it knows nothing of what was."""
        self.starts[side] += 1
        self.at[side] = self.session(side, f"{side}{self.starts[side]}", other(side), self.limits)

    def send(self, side: str) -> None:
        session, number = self.at[side], next(self.bodies)
        body = f"{side}{number}".ljust(number % 30).encode()
        if session.has_room(len(body)):
            self.sent[side].append(number)
            self.open[side].add(number)
            before = session.state
            self._act(side, session.send(body, self.clock[side]), before)

    def want(self, side: str) -> None:
        before = self.at[side].state
        self._act(side, self.at[side].want(self.clock[side]), before)

    def dial(self, side: str) -> Wire:
        wire = Wire(next(self.numbers), side)
        self.wires[wire.number] = wire
        before = self.at[side].state
        self._act(side, self.at[side].dialled(wire.number, self.clock[side]), before)
        return wire

    def close(self, side: str) -> None:
        before = self.at[side].state
        self._act(side, self.at[side].close(CloseCode.GOODBYE, self.clock[side]), before)

    def give_up(self, side: str) -> None:
        before = self.at[side].state
        self._act(side, self.at[side].give_up("told so"), before)

    def tick(self, side: str) -> None:
        """Let a side do what is due. It must come to an end: a deadline that stays would be a busy loop."""
        for _ in range(4):
            if self.at[side].deadline > self.clock[side]:
                return
            before = self.at[side].state
            self._act(side, self.at[side].tick(self.clock[side]), before)
        raise AssertionError(f"{side} always has something to do, and never does it")

    def lose(self, side: str, wire: Wire) -> None:
        """A side finds that a connection has ended; the other one may hear of it later."""
        if wire.open[side]:
            wire.shut(side)
        before = self.at[side].state
        self._act(side, self.at[side].lost(wire.number, self.clock[side]), before)

    # --- what the world does

    def deliver(self, wire: Wire, side: str) -> None:
        """Let one frame arrive, or the news that the connection has ended."""
        if not wire.to[side]:
            return
        frame = wire.to[side].popleft()
        if not wire.open[side]:
            return
        if frame is None:
            self.lose(side, wire)
            return
        wire.used[side] = True
        before = self.at[side].state
        (read,) = decode(encode(frame))
        self._act(side, self.at[side].received(wire.number, read, self.clock[side]), before)

    def cut(self, wire: Wire, keep: dict[str, int]) -> None:
        """End a connection. Each side yet gets so many of the frames that are under way to it."""
        for side in SIDES:
            while len(wire.to[side]) > keep[side]:
                wire.to[side].pop()
            wire.carry(side, None)

    def crash(self, side: str, *, silent: bool) -> None:
        """A process dies and starts anew. If it dies in silence, nobody hears of it before `notice`."""
        for number in self._waiting(side):
            self.open[side].discard(number)
        for wire in self.wires.values():
            if wire.open[side]:
                wire.stalled |= silent
                wire.shut(side)
        self.start(side)

    def stall(self, wire: Wire) -> None:
        """Let nothing pass any more, and nobody know before `notice`."""
        wire.stalled = True
        for side in SIDES:
            wire.to[side].clear()

    def notice(self) -> None:
        """Let heartbeats tell of connections in which nothing passes."""
        for wire in list(self.wires.values()):
            for side in SIDES:
                if wire.open[side] and wire.stalled:
                    self.lose(side, wire)

    def expire(self, side: str) -> None:
        """One side loses its connections and waits in vain; the other one may think that all is well."""
        for wire in list(self.wires.values()):
            if wire.open[side]:
                self.lose(side, wire)
        self.clock[side] += self.limits.liveness.down
        self.tick(side)

    def pass_time(self, seconds: float) -> None:
        for side in SIDES:
            self.clock[side] += seconds
            self.tick(side)

    def impostor(self, side: str, generation: int) -> Wire:
        """Somebody else claims the name of the other side, says HELLO, and is gone."""
        wire, name = Wire(next(self.numbers), other(side)), other(side)
        self.wires[wire.number] = wire
        wire.open[name] = False
        session = SessionId(generation, name, "impostor")
        wire.to[side].append(Hello(MAGIC, 1, 1, name, "impostor", session, True, 1, 9, 9))
        wire.to[side].append(None)
        return wire

    def _act(self, side: str, events: list[Event], before: State) -> None:
        if self.at[side].state is not before:
            self.moves.add((before, self.at[side].state))
        dropped: list[Wire] = []
        for event in events:
            match event:
                case Transmit(connection, frame):
                    wire = self._wire(connection)
                    assert wire.open[side], f"{side} sends on a connection that it has not"
                    wire.carry(other(side), frame)
                case Drop(connection):
                    wire = self._wire(connection)
                    assert wire.open[side], f"{side} drops a connection that it has not"
                    wire.shut(side)
                    dropped.append(wire)
                case Deliver(body):
                    self._delivered(other(side), int(body[1:]))
                case Down():
                    self._down(side, event)
                case Up():
                    self.ups[side].append(event)
        for wire in dropped:
            if wire.number % 2:  # whoever uses a session may say so, or not
                self.lose(side, wire)
        self.check(side)

    def _wire(self, connection: object) -> Wire:
        assert isinstance(connection, int)
        return self.wires[connection]

    # --- what must hold

    def _delivered(self, sender: str, number: int) -> None:
        last = self.delivered[sender][-1] if self.delivered[sender] else 0
        assert number in self.sent[sender], "I3: delivered and never sent"
        assert number not in self.delivered[sender], "I1: delivered twice"
        assert number > last, "I2: out of order"
        assert number not in self.unwritten[sender], "I4: reported as not sent, and delivered"
        self.delivered[sender].append(number)
        self.open[sender].discard(number)

    def _down(self, side: str, down: Down) -> None:
        self.downs[side].append(down)
        unwritten = {int(body[1:]) for body in down.unwritten}
        numbers = [int(body[1:]) for body in (*down.written, *down.unwritten)]
        assert numbers == sorted(set(numbers)), "I5: reported twice, or out of order"
        assert not self.reported[side].intersection(numbers), "I5: reported twice"
        assert not unwritten.intersection(self.delivered[side]), "I4: reported as not sent, and delivered"
        self.reported[side].update(numbers)
        self.unwritten[side] |= unwritten
        self.open[side].difference_update(numbers)

    def _waiting(self, side: str) -> list[int]:
        life = self.at[side]._life
        return [] if life is None else [int(body[1:]) for body in life.queue]

    def check(self, side: str) -> None:
        """Look whether all promises hold on one side."""
        session, waiting = self.at[side], self._waiting(side)
        life = session._life
        assert self.open[side].issubset(waiting), "I4: lost in silence"
        assert not self.reported[side].intersection(waiting), "I5: reported, and waits"
        assert waiting == sorted(waiting), "I6: the queue is out of order"
        assert session.repeated == 0, "I1: a frame came twice"
        used = set[object]()
        if life is not None:
            assert len(waiting) == session.unacknowledged <= self.limits.messages, "I6: the bound"
            assert life.size == sum(map(len, life.queue)), "I6: the size"
            assert life.size <= self.limits.size, "I6: the size"
            assert life.base <= life.written + 1 <= life.next, "I6: the numbers"
            assert life.connection is None or life.dial is None, "I9: attached, and dialling"
            used = {life.connection, life.dial}
        if session._challenger is not None:
            used.add(session._challenger[0])
        for wire in self.wires.values():
            if wire.open[side]:
                assert wire.number in used or not wire.used[side], "I9: a connection without use is left open"

    def gather(self) -> None:
        """Forget connections of which nothing is left."""
        for wire in list(self.wires.values()):
            if not any(wire.open.values()) and not any(wire.to.values()):
                del self.wires[wire.number]

    def is_settled(self) -> bool:
        a, b = self.at["a"], self.at["b"]
        ids = {None if session._life is None else session._life.id for session in (a, b)}
        quiet = not any(wire.to[side] for wire in self.wires.values() for side in SIDES)
        up = a.state is State.UP and b.state is State.UP
        return up and len(ids) == 1 and quiet and not a.unacknowledged and not b.unacknowledged

    def settle(self, *, dialers: str = "ab", lockstep: bool = False, rounds: int = 8) -> int:
        """Let faults stop. Whoever can dial does, mail or no mail; return how many rounds it took (I8).

        In lockstep both do everything at once: they dial at once, and what is under way arrives at once. Otherwise one
        connection after the other carries all it has.
        """
        self.notice()
        for count in range(rounds):
            self.pass_time(0.1)
            for side in dialers:
                self.want(side)
                if self.at[side].wants_dial:
                    self.dial(side)
            if lockstep:
                self._arrive_at_once()
            else:
                for wire in list(self.wires.values()):
                    self.drain(wire)
            self.gather()
            if self.is_settled():
                return count + 1
        raise AssertionError(f"I8: after {rounds} rounds {self.at['a'].state} and {self.at['b'].state}")

    def drain(self, wire: Wire) -> None:
        """Let everything arrive that is under way in a connection, and the answers to it."""
        while any(wire.to.values()):
            for side in SIDES:
                self.deliver(wire, side)

    def _arrive_at_once(self) -> None:
        for _ in range(30):
            under_way = [(wire, side) for wire in self.wires.values() for side in SIDES if wire.to[side]]
            frames = [(wire, side, wire.to[side].popleft()) for wire, side in under_way]
            for wire, side, frame in frames:
                wire.to[side].appendleft(frame)
                self.deliver(wire, side)

    def finish(self, faults: frozenset[str], *, dialers: str = "ab", lockstep: bool = False) -> int:
        """Let faults stop, and look whether what was promised for such faults holds."""
        rounds = self.settle(dialers=dialers, lockstep=lockstep)
        for side in SIDES:
            assert not self.open[side], "I8: not delivered"
            if faults <= {"cut", "close"}:
                assert self.delivered[side] == self.sent[side], "I7: lost"
                assert not self.reported[side], "I7: in doubt"
            if faults <= {"cut"}:
                assert not self.downs[side], "I7: a session ended, and nobody told it to"
        return rounds


def other(side: str) -> str:
    return "b" if side == "a" else "a"


class Walk:
    """A random walk through a world: the same rules as the state machine, a hundred times as fast, and less clever."""

    def __init__(self, seed: int, faults: frozenset[str] = FAULTS, session: type[Session] = Session) -> None:
        self.random = Random(seed)
        self.faults = faults
        patient = not faults & {"expire", "crash", "impostor"}
        self.world = World(PATIENT if patient else MORTAL, session)
        self.dialers = self.random.choice(["ab", "ab", "a", "b"])
        self.always = self.random.random() < 0.3
        """Whether only those can ever dial, and not just in the end."""

    def run(self, steps: int) -> int:
        """Take some steps, let faults stop, and return after how many rounds all was well."""
        for _ in range(steps):
            self.step()
        return self.world.finish(self.faults, dialers=self.dialers, lockstep=self.random.random() < 0.5)

    def step(self) -> None:
        world, random, side = self.world, self.random, self.random.choice(SIDES)
        wires = list(world.wires.values())
        match random.choices(range(8), (20, 2, 18, 40, 6, 6, 2, 3))[0]:
            case 0:
                for _ in range(random.randint(1, 3)):
                    world.send(side)
            case 1:
                world.want(side)
            case 2 if len(wires) < 6 and world.at[side].wants_dial and (side in self.dialers or not self.always):
                world.dial(side)
            case 3 if wires:
                wire = random.choice(wires)
                for _ in range(random.randint(1, 6)):
                    world.deliver(wire, side)
            case 4 if wires and "cut" in self.faults:
                self._break(random.choice(wires), side)
            case 5:
                world.pass_time(random.choice([0.01, 0.1, 1.0]))
            case 6 if "close" in self.faults:
                world.close(side)
            case 7:
                self._disaster(side)
        world.gather()

    def _break(self, wire: Wire, side: str) -> None:
        world, random = self.world, self.random
        match random.randrange(8):
            case 0 if wire.open[side]:
                world.lose(side, wire)
            case 1:
                world.stall(wire)
            case 2:
                world.notice()
            case _:
                world.cut(wire, {side: random.randint(0, 3) for side in SIDES})

    def _disaster(self, side: str) -> None:
        world, random = self.world, self.random
        kinds = sorted(self.faults - {"cut", "close"})
        match random.choice(kinds) if kinds else None:
            case "expire":
                for each in random.choice([side, "ab"]):
                    world.expire(each)
            case "crash":
                world.crash(side, silent=random.random() < 0.5)
            case "impostor":
                world.impostor(side, world.at[side]._generation + random.randint(0, 2))
            case _:
                pass


def walk_through(seed: int, steps: int, session: type[Session] = Session) -> World:
    """Take a walk, with another kind of faults than the seed before had; return the world when all is well in it."""
    walk = Walk(seed, KINDS[seed % len(KINDS)], session)
    walk.run(steps)
    return walk.world
