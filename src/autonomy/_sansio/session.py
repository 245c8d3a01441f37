"""The session between two nodes: everything once and in order, over connections that come and go.

A machine without I/O, clock or chance. Inputs are its methods; what is to be done comes back as a list of events, and
is done in that order. One `Session` stands for one far node. Each direction numbers its frames from 1 and keeps them
until they are acknowledged; a new connection begins with both sides saying how far they got. A session that either side
has lost is over: what it had not acknowledged is reported, and the next one starts at 1.

Confirmed is a session once each side knows that the other one has it: the dialer by WELCOME, the acceptor by READY.
Before that neither has sent anything that counts, so its queue may move to another session. After that it never may:
then nobody could tell what has arrived.

`TRANSITIONS` is the whole of its life; a change that is not in it is a mistake here, and raises. Next: `session_terms`
and `session_life`, which this is made of, and `frames`.

Source: resumable sessions as in MQTT, numbered and acknowledged like Akka's system messages; Erlang's ``nodedown``.
"""

from __future__ import annotations

import math
from typing import Final

from .frames import (
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
from .greeting import LEAP, Greeting
from .session_life import Life
from .session_terms import TRANSITIONS, Connection, Deliver, Down, Drop, Event, Limits, State, Transmit, Up

__all__ = [
    "TRANSITIONS",
    "Connection",
    "Deliver",
    "Down",
    "Drop",
    "Event",
    "Limits",
    "Session",
    "State",
    "Transmit",
    "Up",
]

FIRST_NONCE: Final = 2**62
"""Of the pings that are sent here. Whoever uses a session counts its own from 0."""

_MOVES: Final = frozenset((before, after) for before, after, _ in TRANSITIONS)


class Session:
    """The sessions with one far node, one after the other.

    Whoever uses it ends a dial that is not answered, and a connection that is silent, by `lost`; dials when
    `wants_dial` says so, with pauses; and calls `tick` at `deadline`, which any input may change.

    Args:
        me: Name of this node.
        incarnation: Id of this start of it.
        peer: Name of the far node, as its certificate has it.
        limits: Bounds and times.
    """

    def __init__(self, me: str, incarnation: str, peer: str, limits: Limits | None = None) -> None:
        self._me = me
        self._incarnation = incarnation
        self._peer = peer
        self._limits = limits or Limits()
        self._greeting = Greeting(me, incarnation, peer, self._limits)
        self._life: Life | None = None
        self._generation = 0
        self._closed: SessionId | None = None
        self._challenger: tuple[Connection, Hello, float] | None = None
        self._nonce = FIRST_NONCE
        self.repeated = 0
        """Frames that came twice. Never in a correct run."""

    # --- what others see

    @property
    def state(self) -> State:
        """Where it is in its life."""
        return State.NONE if self._life is None else self._life.state

    @property
    def connection(self) -> Connection | None:
        """The connection it has."""
        return None if self._life is None else self._life.connection

    @property
    def wants_dial(self) -> bool:
        """Whether a connection is to be made, by this side."""
        life = self._life
        return life is not None and life.connection is None and life.dial is None

    @property
    def unacknowledged(self) -> int:
        """How many frames wait to be acknowledged, or to be sent."""
        return 0 if self._life is None else len(self._life.queue)

    @property
    def sent(self) -> int:
        """Number of the last frame that was given to `send` in this session."""
        return 0 if self._life is None else self._life.next - 1

    @property
    def acknowledged(self) -> int:
        """Number of the last one of these that has arrived, as far as is known."""
        return 0 if self._life is None else self._life.base - 1

    def has_room(self, size: int) -> bool:
        """Whether a frame of so many bytes may be sent now: not while closing, and one alone always fits."""
        life = self._life
        return life is None or (life.closing is None and life.has_room(size, self._limits))

    @property
    def deadline(self) -> float:
        """When `tick` is to be called next; in the past for at once."""
        life, due = self._life, math.inf
        if self._challenger is not None:
            due = -math.inf if self.connection is None else self._challenger[2]
        if life is None:
            return due
        if life.connection is None:
            due = min(due, life.heard + self._limits.liveness.down)
        return min(due, life.ack_due, life.close_by)

    # --- inputs

    def send(self, body: bytes, now: float) -> list[Event]:
        """Send something. `has_room` must be true.

        Raises:
            RuntimeError: The session is closing: what is to be sent waits for its `Down`, and goes with the next one.
            OverflowError: There is no room.
        """
        if not self.has_room(len(body)):
            if self._life is not None and self._life.closing is not None:
                raise RuntimeError(f"the session with {self._peer!r} is closing")
            raise OverflowError(f"the session with {self._peer!r} has no room for {len(body)} bytes")
        life = self._wanted(now)
        life.add(body)
        return self._transmit(life)

    def want(self, now: float) -> list[Event]:
        """Have a session, though there is nothing to send: somebody waits for the far node, or watches it."""
        self._wanted(now)
        return []

    def dialled(self, connection: Connection, now: float) -> list[Event]:
        """A connection that this side made is open, and it is they who are at its other end."""
        life = self._life
        if life is None or not self.wants_dial:
            return [Drop(connection, "not needed any more")]
        life.dial = connection
        return [Transmit(connection, self._greeting.hello(life, self._closed))]

    def lost(self, connection: Connection, now: float) -> list[Event]:
        """A connection has ended, by itself or by a `Drop`."""
        before = self.state
        self._forget(connection)
        events = self._answer_challenge(alive=False, now=now) if self._incumbent_is_lost else []
        self._check(before)
        return events

    def received(self, connection: Connection, frame: Frame, now: float) -> list[Event]:
        """A frame has come. Those of connections that count no more are ignored, or end them."""
        before = self.state
        match frame:
            case Hello():
                events = self._hello(connection, frame, now)
            case Welcome():
                events = self._welcome(connection, frame, now)
            case Reject():
                events = self._reject(connection, frame, now)
            case _:
                events = self._in_session(connection, frame, now)
        self._check(before)
        return events

    def tick(self, now: float) -> list[Event]:
        """Time has passed."""
        before, events = self.state, list[Event]()
        if self._challenger is not None and (self._incumbent_is_lost or now >= self._challenger[2]):
            events += self._answer_challenge(alive=False, now=now)
        life = self._life
        if life is None:
            pass
        elif now >= life.close_by:
            events += self._end("leaving took too long")
        elif life.connection is None and now >= life.heard + self._limits.liveness.down:
            events += self._end("no word from it in time")
        elif life.connection is not None and now >= life.ack_due:
            events.append(Transmit(life.connection, Ack(life.tell_acknowledged())))
        self._check(before)
        return events

    def close(self, code: CloseCode, now: float) -> list[Event]:
        """Leave: bring over what is unacknowledged, here and there, then end. Nothing may be sent any more."""
        before, life = self.state, self._life
        if life is None or life.closing is not None:
            return []
        if life.ours and not life.confirmed and not life.queue:
            events = self._end("closed")
        else:
            life.closing, life.close_by = code, now + self._limits.closing
            events = self._transmit(life)
        self._check(before)
        return events

    def give_up(self, reason: str) -> list[Event]:
        """End at once: the far node is known to be gone, or may not be talked to any more."""
        before = self.state
        events = self._end(reason)
        self._check(before)
        return events

    # --- handshake

    def _hello(self, connection: Connection, hello: Hello, now: float) -> list[Event]:
        life = self._life
        if self._knows(connection):
            return self._misplaced(connection, "HELLO on a connection that has a use")
        refusal = self._greeting.refusal(hello, self._generation)
        if refusal is not None:
            return self._refuse(connection, *refusal)
        if life is not None and life.peer is not None and life.peer != hello.incarnation:
            if life.connection is not None:
                return self._challenge(connection, hello, life.connection, now)
            return self._restarted(life, hello, now) + self._hello(connection, hello, now)
        if life is not None and life.id == hello.session:
            return self._resume(connection, hello, life, now)
        if hello.fresh:
            return self._accept(connection, hello, now)
        if hello.session == self._closed:
            return self._refuse(connection, RejectCode.CLOSED, "that session has ended, and all of it arrived")
        return self._refuse(connection, RejectCode.UNKNOWN, "that session is not known here")

    def _refuse(self, connection: Connection, code: RejectCode, text: str) -> list[Event]:
        reject = Reject(code=code, generation=self._generation, wants=self._life is not None, text=text[:200])
        return [Transmit(connection, reject), Drop(connection, text)]

    def _challenge(self, connection: Connection, hello: Hello, incumbent: Connection, now: float) -> list[Event]:
        """Another incarnation calls while the one that is known is connected: ask that one whether it is alive."""
        if self._challenger is not None:
            return self._refuse(connection, RejectCode.NAME_IN_USE, "another one claims that name already")
        self._challenger = connection, hello, now + self._limits.probe
        self._nonce += 1
        return [Transmit(incumbent, Ping(self._nonce))]

    @property
    def _incumbent_is_lost(self) -> bool:
        return self._challenger is not None and self.connection is None

    def _answer_challenge(self, *, alive: bool, now: float) -> list[Event]:
        assert self._challenger is not None
        (connection, hello, _), self._challenger = self._challenger, None
        if alive:
            return self._refuse(connection, RejectCode.NAME_IN_USE, f"a node {self._peer!r} is connected and alive")
        events = self._release("it does not answer, and another incarnation calls")
        return events + self._hello(connection, hello, now)

    def _restarted(self, life: Life, hello: Hello, now: float) -> list[Event]:
        """Be through with a session of an incarnation that is no more."""
        if life.confirmed:
            return self._end("it has started anew")
        if hello.fresh:  # then ours ties with theirs at worst
            self._generation = max(self._generation, hello.session.generation - 1)
        return self._renew(life, now)

    def _resume(self, connection: Connection, hello: Hello, life: Life, now: float) -> list[Event]:
        if life.dial is not None and self._me < self._peer:
            return self._refuse(connection, RejectCode.TIE, "both dialled, and the other dial goes on")
        if not life.may_expect(hello.expects):
            return self._refuse(connection, RejectCode.STALE, "it expects what was acknowledged, or never sent")
        events = self._release("there is a newer connection")
        resumed = life.confirmed
        life.confirmed |= life.ours  # they could not name ours if they had not accepted it
        events += self._welcomed(life, connection, hello, hello.expects, now)
        if life.confirmed:
            events.append(Up(life.id, resumed))
        return events + self._transmit(life)

    def _accept(self, connection: Connection, hello: Hello, now: float) -> list[Event]:
        """Take up a session that they begin, if it goes before the one that is here."""
        life, generation = self._life, hello.session.generation
        rival = life if life is not None and life.ours and not life.confirmed else None
        tie = rival is not None and rival.id.generation == generation == self._generation
        theirs = rival is not None and (rival.dial is None or self._peer < self._me)
        if not (generation > self._generation or (tie and theirs)):
            # While our own HELLO is under way they are to wait for it, whichever is the newer one. If they were told to
            # go beyond it, two nodes that dial in step would outbid each other for ever.
            code = RejectCode.STALE if rival is None or rival.dial is None else RejectCode.TIE
            return self._refuse(connection, code, "there is a session that goes before that one")
        events = self._release("there is a newer session")
        self._generation = generation
        new = Life(hello.session, ours=False, heard=now)
        if life is not None and life.confirmed:
            in_order = life.closing is not None and hello.closed == life.id
            events += self._finish(life) if in_order else self._end("it has lost the session")
        elif life is not None:
            new.take_over(life)
        self._life = new
        return events + self._welcomed(new, connection, hello, 1, now)

    def _welcomed(self, life: Life, connection: Connection, hello: Hello, expects: int, now: float) -> list[Event]:
        """Go on with a connection that they made."""
        life.attach(connection, hello.incarnation, expects, now)
        # The connection on which the incumbent was asked may be gone, and its answer with it.
        probe = [] if self._challenger is None else [Transmit(connection, Ping(self._nonce))]
        return [Transmit(connection, self._greeting.welcome(life)), *probe]

    def _welcome(self, connection: Connection, welcome: Welcome, now: float) -> list[Event]:
        life = self._life
        if life is None or life.dial != connection:
            return self._misplaced(connection, "WELCOME, and nobody waits for it")
        if not self._greeting.fits(welcome, life):
            return self._misplaced(connection, "WELCOME to something else")
        if life.peer not in (None, welcome.incarnation) or not life.may_expect(welcome.expects):
            return self._end("it has lost the session")
        resumed, life.confirmed = life.confirmed, True
        life.attach(connection, welcome.incarnation, welcome.expects, now)
        return [Up(life.id, resumed), Transmit(connection, Ready()), *self._transmit(life)]

    def _reject(self, connection: Connection, reject: Reject, now: float) -> list[Event]:
        life = self._life
        if life is None or life.dial != connection:
            return self._misplaced(connection, "REJECT, and nobody waits for it")
        if reject.code is not RejectCode.TIE and 0 < reject.generation - self._generation <= LEAP:
            self._generation = reject.generation  # after a TIE theirs must still be newer than all that is known here
        events = self._release(f"rejected: {reject.code.name}: {reject.text}")
        match reject.code:
            case RejectCode.UNKNOWN | RejectCode.STALE | RejectCode.CLOSED:
                if not life.confirmed:
                    return events + self._renew(life, now)
                in_order = life.closing is not None and reject.code is RejectCode.CLOSED
                events += self._finish(life) if in_order else self._end("it has lost the session")
                if reject.wants:
                    self._begin(now)
            case RejectCode.VERSION | RejectCode.IDENTITY | RejectCode.REVOKED | RejectCode.SHUTDOWN:
                events += self._end(f"it refuses this node: {reject.text}")
            case RejectCode.TIE | RejectCode.NAME_IN_USE | RejectCode.BUSY:
                pass  # it may go better next time
        return events

    # --- within a session

    def _in_session(self, connection: Connection, frame: Frame, now: float) -> list[Event]:
        life = self._life
        if life is None or life.connection != connection:
            return []
        life.heard = now
        if not life.confirmed:
            return self._ready(life, frame)
        events: list[Event] = []
        match frame:
            case Data():
                events += self._data(life, frame, now)
            case Ack():
                events += self._acknowledged(life, frame.expects)
            case Ping():
                events.append(Transmit(connection, Pong(frame.nonce)))
            case Pong():
                if self._challenger is not None and frame.nonce == self._nonce:
                    events += self._answer_challenge(alive=True, now=now)
            case Close():
                events += self._close(life, frame, now)
            case Closed():
                in_order = life.close_sent and not life.queue
                events += self._finish(life) if in_order else self._violated("CLOSED before its time")
            case Ready() | Hello() | Welcome() | Reject():
                pass
        return events

    def _ready(self, life: Life, frame: Frame) -> list[Event]:
        if not isinstance(frame, Ready):
            return self._violated(f"{type(frame).__name__} came where READY was due")
        life.confirmed = True
        return [Up(life.id, resumed=False), *self._transmit(life)]

    def _data(self, life: Life, data: Data, now: float) -> list[Event]:
        if data.number > life.expects or life.they_close:
            return self._violated(f"frame {data.number} came where {life.expects} was due")
        events = self._acknowledged(life, data.expects)
        if life.connection is None:
            return events
        if data.number < life.expects:
            self.repeated += 1
            return events
        life.accept(now, self._limits)
        return [*events, Deliver(data.body)]

    def _acknowledged(self, life: Life, expects: int) -> list[Event]:
        if expects > life.written + 1:
            return self._violated(f"frame {expects - 1} was acknowledged and never sent")
        life.trim(expects)
        return self._closing(life)

    def _close(self, life: Life, close: Close, now: float) -> list[Event]:
        if close.last != life.expects - 1:
            return self._violated(f"CLOSE after frame {close.last}, where {life.expects} was due")
        life.they_close = True
        if life.closing is None:
            life.closing, life.close_by = close.code, now + self._limits.closing
        return self._closing(life)

    def _closing(self, life: Life) -> list[Event]:
        """Go on with leaving: CLOSE once all is sent, CLOSED once all is acknowledged and they leave as well."""
        if life.closing is None or life.connection is None or not life.confirmed:
            return []
        if life.they_close and not life.queue:
            farewell = (Ack(life.tell_acknowledged()), Closed())
            return [*(Transmit(life.connection, frame) for frame in farewell), *self._finish(life)]
        if life.they_close or life.close_sent:
            return []
        life.close_sent = True
        return [Transmit(life.connection, Close(life.closing, life.next - 1))]

    def _transmit(self, life: Life) -> list[Event]:
        """Send what this connection has not carried yet."""
        if life.connection is None or not life.confirmed:
            return []
        events: list[Event] = [Transmit(life.connection, data) for data in life.unsent()]
        return events + self._closing(life)

    # --- connections

    def _knows(self, connection: Connection) -> bool:
        life, challenger = self._life, self._challenger
        return (life is not None and connection in (life.connection, life.dial)) or (
            challenger is not None and challenger[0] == connection
        )

    def _forget(self, connection: Connection) -> None:
        life = self._life
        if self._challenger is not None and self._challenger[0] == connection:
            self._challenger = None
        if life is not None and life.dial == connection:
            life.dial = None
        if life is not None and life.connection == connection:
            life.detach()

    def _misplaced(self, connection: Connection, what: str) -> list[Event]:
        """Drop a connection, whatever its use, on which came what may not come there."""
        self._forget(connection)
        return [Drop(connection, f"protocol violated: {what}")]

    def _violated(self, what: str) -> list[Event]:
        """Drop the connection on which they did what they may not; the session may go on with another one."""
        return self._release(f"protocol violated: {what}")

    def _release(self, reason: str) -> list[Event]:
        """Drop whatever connection the session has, or is about to have."""
        life = self._life
        connections = [] if life is None else [life.dial, life.connection]
        events: list[Event] = []
        for connection in connections:
            if connection is not None:
                events += [Drop(connection, reason)]
                self._forget(connection)
        return events

    # --- beginnings and ends

    def _wanted(self, now: float) -> Life:
        if self._life is not None:
            return self._life
        life = self._begin(now)
        self._check(State.NONE)
        return life

    def _begin(self, now: float) -> Life:
        self._generation += 1
        self._life = Life(SessionId(self._generation, self._me, self._incarnation), ours=True, heard=now)
        return self._life

    def _renew(self, life: Life, now: float) -> list[Event]:
        """Let a session of our own have the queue of one that nobody has confirmed."""
        events = self._release("another session takes its place")
        self._begin(now).take_over(life)
        return events

    def _finish(self, life: Life) -> list[Event]:
        """End in good order. They have said that all has arrived, or that they closed it, which is the same."""
        self._closed = life.id
        life.trim(life.next)
        return self._end("closed")

    def _end(self, reason: str) -> list[Event]:
        life, events = self._life, self._release(reason)
        if life is None:
            return []
        self._life = None
        return [*events, Down(life.id, reason, *life.rest())]

    def _check(self, before: State) -> None:
        after = self.state
        if after is not before and (before, after) not in _MOVES:
            raise AssertionError(f"a session cannot go from {before.value} to {after.value}")
