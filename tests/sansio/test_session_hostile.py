"""A far node that says anything, anywhere: the session raises nothing, and is of use again afterwards (K5).

I10 of the promises. What is said comes on connections in use and on others, before and after what should come.
"""

from __future__ import annotations

import math
import os
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autonomy._sansio.frames import (
    Ack,
    Close,
    CloseCode,
    Closed,
    Data,
    Frame,
    Hello,
    Ping,
    Pong,
    Ready,
    Reject,
    RejectCode,
    SessionId,
    Welcome,
)
from autonomy._sansio.session import Session
from autonomy._sansio.session_terms import Drop, Event, Limits, State, Transmit

SOAK = bool(os.environ.get("AUTONOMY_SOAK"))
LIMITS = Limits(messages=5, size=100, batch=3)
NUMBERS = (0, 1, 1, 1, 2, 2, 3, 4, 5, 8, 2**32, 2**63 - 1)
NAMES = ("a", "b", "b", "b", "c")
STARTS = ("a1", "b1", "b1", "b1", "b2")


def any_frame(random: Random) -> Frame:
    """Return a frame, likelier than by chance to be nearly right."""

    def number() -> int:
        return random.choice(NUMBERS)

    def session() -> SessionId:
        dialer = random.choice(NAMES)
        return SessionId(number(), dialer, dialer + random.choice("112"))

    match random.randrange(14):
        case 0 | 1 | 2:
            magic, versions = random.choice(["ATNL"] * 9 + ["HTTP"]), random.choice([(1, 1)] * 9 + [(2, 3)])
            fresh, heartbeat = random.random() < 0.7, 2000
            name, start = random.choice(NAMES), random.choice(STARTS)
            begun = SessionId(number(), name, start) if fresh else session()
            return Hello(magic, *versions, name, start, begun, fresh, number(), number(), heartbeat, 0, session())
        case 3:
            return Welcome(1, random.choice(NAMES), random.choice(STARTS), session(), number(), number(), 2000)
        case 4:
            return Reject(random.choice(list(RejectCode)), number(), random.random() < 0.5)
        case 5 | 6:
            return Data(number(), number(), b"x")
        case 7 | 8:
            return Ack(number())
        case 9:
            return Close(random.choice(list(CloseCode)), number())
        case 10:
            return Closed()
        case 11:
            return Ping(number())
        case 12:
            return Pong(2**62 + number() % 5)
        case _:
            return Ready()


class Victim:
    """One session, and a far node that lies. It looks whether the session keeps to its own rules."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.session = Session("a", "a1", "b", LIMITS)
        self.now = 0.0
        self.connections = 0
        self.open: list[int] = []
        self.id: SessionId | None = None

    def step(self) -> None:
        random, session = self.random, self.session
        match random.randrange(9):
            case 0 if session.has_room(1):
                self.act(session.send(b"x" * random.randint(0, 60), self.now) if session.has_room(60) else [])
            case 1 if session.wants_dial:
                self.act(session.dialled(self.opened(), self.now))
            case 2:
                self.opened()
            case 3 if self.open:
                self.act(session.lost(self.open.pop(random.randrange(len(self.open))), self.now))
            case 4:
                self.now += random.choice([0.0, 0.1, 3.0])
                while session.deadline <= self.now:
                    before = session.deadline
                    self.act(session.tick(self.now))
                    assert session.deadline > before or session.deadline == -math.inf
            case 5 if random.random() < 0.1:
                self.act(session.close(CloseCode.GOODBYE, self.now))
            case _ if self.open:
                self.act(session.received(random.choice(self.open), self.frame(), self.now))

    def frame(self) -> Frame:
        """Return anything, or what the session would like to hear now."""
        life = self.session._life
        if life is None or self.random.random() < 0.5:
            return any_frame(self.random)
        right: list[Frame] = [
            Welcome(1, "b", life.peer or "b1", life.id, life.base, 9, 9),
            Data(life.expects, life.base, b"x"),
            Ack(life.written + 1),
            Close(CloseCode.GOODBYE, life.expects - 1),
            Closed(),
            Hello("ATNL", 1, 1, "b", life.peer or "b1", life.id, False, life.base, 9, 9),
        ]
        return self.random.choice(right)

    def opened(self) -> int:
        self.connections += 1
        self.open.append(self.connections)
        return self.connections

    def act(self, events: list[Event]) -> None:
        for event in events:
            match event:
                case Drop(connection):
                    assert isinstance(connection, int)
                    self.open.remove(connection)
                case Transmit(connection):
                    assert connection in self.open, "it sends on a connection that it has not"
                case _:
                    pass
        connection, life = self.session.connection, self.session._life
        assert connection is None or connection in self.open
        assert self.session.unacknowledged <= LIMITS.messages
        if life is not None:
            assert life.base <= life.written + 1 <= life.next
            assert life.size == sum(map(len, life.queue))

    def recover(self) -> None:
        """Let every connection end, and an honest node, started anew, have a session with it."""
        session, honest = self.session, Session("b", "honest", "a", LIMITS)
        for connection in list(self.open):
            session.lost(connection, self.now)
        for _ in range(12):
            self.now += 1.0
            while session.deadline <= self.now:
                session.tick(self.now)
            honest.want(self.now)
            if honest.wants_dial:
                converse(honest, session, f"honest {self.now}", self.now)
            if honest.state is State.UP and session.state is State.UP:
                return
        raise AssertionError(f"it is {session.state}, and an honest node has no session with it")


def converse(dialer: Session, other: Session, connection: str, now: float) -> None:
    """Bring over everything that is said on a new connection, until nothing more is."""
    under_way = [(other, event) for event in dialer.dialled(connection, now)]
    for to, event in under_way:
        if isinstance(event, Transmit) and event.connection == connection:
            answers = to.received(connection, event.frame, now)
        elif isinstance(event, Drop) and event.connection == connection:
            answers = to.lost(connection, now)
        else:
            continue
        under_way += [(dialer if to is other else other, answer) for answer in answers]


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32))
def test_nothing_that_they_say_raises_and_an_honest_node_is_welcome_afterwards(seed: int) -> None:
    victim = Victim(seed)
    for _ in range(200):
        victim.step()
    victim.recover()


@pytest.mark.soak
def test_nothing_that_they_say_for_long_raises() -> None:
    for seed in range(20_000):
        victim = Victim(seed)
        for _ in range(200):
            victim.step()
        victim.recover()
    print("20000 lying nodes, 200 steps each: nothing raised")  # noqa: T201
