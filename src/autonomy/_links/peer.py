"""One far node: a session, over one link after another.

Two rules, both learnt by breaking them. *One writer for each link, and no await between asking the session and queueing
its frames*: so the session's order is the order on the wire. *The reader never waits*: whoever is slow has been granted
less, and no message of one worker stands in the way of another's.

What is decided lies in `_sansio/session.py`; here is what waits: links that are dialled and lost, times that pass, and
senders for whom there is no room yet.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

import trio

from .. import logs
from .._sansio import cargo, codec
from .._sansio.backoff import Backoff
from .._sansio.cargo import Item, Joiner, Part
from .._sansio.frames import CloseCode, Ping
from .._sansio.keepalive import Sign
from .._sansio.session import Deliver, Down, Drop, Event, Session, Transmit, Up
from .._sansio.session_terms import Limits, State
from .._sansio.spiffe import PeerIdentity
from ..abc import Link, LinkLost, LinkRefused, Transport, WireDown
from ..errors import IdentityError, ProtocolError
from .connection import Connection
from .outbox import LARGE, Outbox, size_of

_log = logs.get_logger("links")
_security = logs.get_logger("security")
_BACKLOG: Final = 2**17
"""Bytes that may wait to be written before senders wait, so that nobody waits long behind the others."""
_OWED: Final = 64 * 2**20
"""Bytes that a far node may have asked for and not take."""
_BESIDE: Final = 2**20
"""Bytes of an item beside its message, at most."""
_WRITTEN_LATE: Final = 16_384
"""Frames that may wait to be written on one link: twice what a session may bring over again."""
_AT_ONCE: Final = 64
"""Frames of one message that are looked at before others may run."""
_ANSWER: Final = 5.0
"""Seconds for agreeing to a session on a new link."""
_REFUSALS: Final = 3
"""As many times in a row that nobody listens where the node did: it is gone."""
_STEADY: Final = 0.25
"""Seconds after which a link counts as one that works, so that it is redialled at once when it ends."""


@dataclass(frozen=True, slots=True)
class PeerSettings:
    """What all far nodes have in common.

    Attributes:
        me: Full name of this node.
        incarnation: Id of this start of it.
        transport: How links are dialled.
        limits: Bounds and times of sessions.
        largest: Bytes of a message.
        clock: Trio's clock.
        chance: For pauses that are not to be the same on both sides.
        start_soon: Starts a task that lives as long as the node.
        backoff: Pauses between dials that fail.
    """

    me: str
    incarnation: str
    transport: Transport
    limits: Limits
    largest: int
    clock: Callable[[], float]
    chance: Random
    start_soon: Callable[..., object]
    backoff: Backoff = field(default_factory=lambda: Backoff(0.1, 2.0))


def _unset(*_: Any) -> None:
    raise AssertionError("whoever made the peer sets this at once")


class Peer:
    """A far node, as the `abc.Wire` to it.

    Args:
        name: Its full name, as its certificate has it.
        settings: What all have in common.

    Attributes:
        accept: Called with each item that it sent, in order. It must not wait, and may raise ProtocolError.
        resumed: Called when a session goes on by another link.
        lost: Called when a session has ended: with the reason, what was sent and perhaps arrived, and what was not.
        address: Where it listens, if that is known.
        identity: Who it is, as the newest of its links has proven.
        failure: Why the last dial failed, or None.
    """

    def __init__(self, name: str, settings: PeerSettings) -> None:
        self.node = name
        self.accept: Callable[[Item], None] = _unset
        self.resumed: Callable[[], object] = lambda: None
        self.lost: Callable[[str, list[Item], list[Item]], None] = _unset
        self.address: str | None = None
        self.identity: PeerIdentity | None = None
        self.failure: LinkLost | None = None
        self._reason = ""
        self._settings = settings
        self._clock = settings.clock
        self._session = Session(settings.me, settings.incarnation, name, settings.limits)
        self._connections: dict[Connection, None] = {}
        self._events: deque[Event] = deque()
        self._is_acting = False
        self._outbox = Outbox()
        self._writes: Connection | None = None
        self._joiner = Joiner(settings.largest + _BESIDE)
        self._want_room: dict[Callable[[], None], None] = {}
        self._changed = trio.lowlevel.ParkingLot()
        self._sessions = 0
        self._dialling: trio.CancelScope | None = None
        self._attempts = self._refusals = 0
        self._dial_at = -math.inf
        self._up_since = math.inf
        self._was_up = False
        self._nonce = 0
        self._due = -math.inf
        self._sleep = trio.CancelScope()
        self._keeps = False
        self._runs = False
        self._is_over = False
        self._is_closed = False
        self._is_overdrawn = False

    def __repr__(self) -> str:
        return f"<Peer {self.node!r}, {self._session.state.value}>"

    # --- the wire

    @property
    def is_up(self) -> bool:
        """Whether there is a session with a link at this moment."""
        return self._session.state is State.UP

    @property
    def may_be_reached(self) -> bool:
        """Whether there is a session, or a way to begin one."""
        return self.address is not None or self._session.state is not State.NONE or self._has_link

    @property
    def _has_link(self) -> bool:
        """Whether there is a link that counts. What was dropped may take as long to close as its far side is silent."""
        return not all(each.is_dropped for each in self._connections)

    def reach_at(self, address: str) -> None:
        """Dial it at an address from now on. A dial of another one is given up, and failures there count no more."""
        if address == self.address:
            return
        self.address = address
        self._attempts = self._refusals = 0
        self._dial_at = -math.inf
        if self._dialling is not None:
            self._dialling.cancel()
        if self._runs:
            self._look_now()

    def want(self) -> None:
        """Have a session, if there is none."""
        self._do(self._session.want(self._clock()))
        self._look_again()

    def keep(self) -> None:
        """Have a session whenever the far node can be reached, from now until `close`."""
        self._keeps = True
        self._look_again()

    def tell(self, item: Item) -> None:
        """Send what is owed. It never waits; what has no room yet goes later."""
        self._outbox.add(item)
        if self._outbox.size + self._outbox.large_size > _OWED:
            self._is_overdrawn = True  # not here and now: who tells this may be in the middle of something
            self._look_now()
        self._wake()

    def is_large(self, text: str) -> bool:
        """Whether an item with such a text is for `send`, and for `offer` otherwise."""
        return len(text) > LARGE

    def offer(self, item: Item) -> bool:
        """Send an item that is not large, if there is room now; return whether it was sent."""
        outbox = self._outbox
        if outbox.size > _BACKLOG:
            return False
        outbox.items.append(item)
        outbox.size += size_of(item)
        if self._writes is None:
            self._wake()
        elif not self._writes.is_awake:
            self._writes.wake()
        return True

    def when_room(self, tell: Callable[[], None]) -> None:
        """Have `tell` called once when there is room again."""
        self._want_room[tell] = None

    async def send(self, item: Item) -> None:
        """Send a large item, beside others. Returns when the last of it is on its way. Cancelled, it was not sent.

        Raises:
            WireDown: The session ended meanwhile, so it was not sent.
        """
        session = self._sessions
        large = self._outbox.add_large(cargo.encode(item))
        self._wake()

        def abandon() -> None:
            if session == self._sessions:
                self._outbox.abandon(large)
                self._wake()

        await large.settled(abandon)
        if session != self._sessions and large.left:
            raise WireDown(self._reason)

    def give_up(self, reason: str) -> None:
        """End the session at once, and all links with it."""
        if self._writes is not None:
            self._plan_dial(None)  # whatever ended it may end the next one too
        for connection in list(self._connections):
            connection.drop()
        if self._session.state is not State.NONE:
            self._do(self._session.give_up(reason))
        elif self._outbox:  # it came when the last session was over
            self._end(reason, [], [])

    async def close(self, code: CloseCode) -> None:
        """Leave in good order: returns when the far node has taken all, or its time is up."""
        self._keeps = False
        self._is_closed = True
        while self._outbox and self._session.state is not State.NONE:
            await self._changed.park()
        self._do(self._session.close(code, self._clock()))
        self._look_again()
        while self._session.state is not State.NONE:
            await self._changed.park()
        for connection in list(self._connections):
            connection.drop()
        while self._connections:
            await self._changed.park()

    def forget(self, address: str) -> None:
        """Do not dial an address any more, as no session came of it."""
        if self.address == address and not self._keeps:
            self.address = None
            if self._session.state is State.DIALING:
                self.give_up("it could not be reached")

    def dismiss(self, reason: str) -> None:
        """Dial it no more; without a link it is down (K2)."""
        if not self._keeps:
            self.address = None
            if not self.is_up and not self._has_link:
                self.give_up(reason)

    async def wait_up(self) -> bool:
        """Wait until there is a session with a link, or a try has failed; return which. It was wanted before."""
        session, self.failure = self._sessions, None
        while not (self.is_up or self._has_failed_since(session)):
            await self._changed.park()
        return self.is_up

    def _has_failed_since(self, session: int) -> bool:
        return self.failure is not None or session != self._sessions

    def identities(self) -> list[PeerIdentity]:
        """Return what its links have proven, each with the certificate of its day."""
        return [each.link.peer for each in self._connections if not each.is_dropped]

    def distrust(self, identity: PeerIdentity, error: IdentityError) -> None:
        """Let go of the links that have proven what is believed no more.

        The session goes on with a link that proves something better, unless it is the node that was locked out.
        """
        _security.warning("peer cut off", peer=self.node, reason=error.reason, problem=error)
        for connection in list(self._connections):
            if connection.link.peer is not identity:
                continue
            if error.reason == "revoked" and connection is self._session.connection:
                self.give_up("its certificate was revoked")
                return
            self._drop(connection, "its certificate is believed no more")

    def redial(self, reason: str) -> None:
        """Let the session go on with another link."""
        for connection in list(self._connections):
            self._drop(connection, reason)

    # --- sending

    def _wake(self) -> None:
        """See to it that what waits is sent, by a link that there is or by one that is to be dialled."""
        if self._writes is not None:
            self._writes.wake()
            return
        if self._session.state is State.NONE and not self._is_closed:
            self._do(self._session.want(self._clock()))
        self._look_again()

    def _fill(self) -> None:
        """Put as much of what waits as makes a frame into the session, if that has room for it."""
        frame = self._outbox.frame()
        if frame and self._session.has_room(len(frame)):
            self._do(self._session.send(frame, self._clock()))
            self._outbox.went(self._session.sent)
        if self._want_room and self._outbox.size <= _BACKLOG // 2:
            waiting, self._want_room = self._want_room, {}
            for tell in waiting:
                tell()
        if self._changed:
            self._changed.unpark_all()

    # --- the session

    def _do(self, events: Iterable[Event]) -> None:
        """Do what the session says, in its order, also when doing it makes it say more."""
        self._events.extend(events)
        if self._is_acting:
            return
        self._is_acting = True
        try:
            while self._events:
                self._do_one(self._events.popleft())
        finally:
            self._is_acting = False

    def _do_one(self, event: Event) -> None:
        match event:
            case Transmit(Connection() as connection, frame):
                connection.transmit(frame)
                if connection.waiting > _WRITTEN_LATE:
                    self._drop(connection, "it asks, and takes no answers")
            case Deliver(body):
                self._deliver(body)
            case Drop(Connection() as connection, reason):
                self._drop(connection, reason)
            case Up(_, resumed):
                self._refusals = 0
                self._up_since = self._clock()
                self._was_up = True
                _log.info("node connected", node=self.node, resumed=resumed)
                if resumed:
                    self.resumed()
                self._changed.unpark_all()
                used = self._session.connection
                if isinstance(used, Connection):
                    self._writes = used
                    used.wake()
                self._look_now()  # its pulse is due before the agreement was
            case Down():
                self._down(event)

    def _deliver(self, body: bytes) -> None:
        try:
            for item in cargo.decode_all(body):
                if type(item) is not Part:
                    self.accept(item)
                elif (whole := self._joiner.add(item)) is not None:
                    self.accept(whole)
        except ProtocolError as error:
            _security.warning("peer broke the protocol", peer=self.node, problem=str(error)[:200])
            self.give_up(f"protocol violated: {error!s:.200}")

    def _drop(self, connection: Connection, reason: str) -> None:
        _log.debug("link dropped", node=self.node, reason=reason)
        if not connection.is_dropped:
            self._plan_dial(None)
            if self._session.state is State.DIALING:
                self.failure = LinkLost(reason)  # it was not agreed to: whoever waits for it wants to know why
                self._changed.unpark_all()
        connection.drop()
        self._let_go(connection)

    def _let_go(self, connection: Connection) -> None:
        if self._writes is connection:
            self._writes, self._up_since = None, math.inf
        self._do(self._session.lost(connection, self._clock()))
        self._look_again()

    def _down(self, down: Down) -> None:
        said = _log.info if self._was_up else _log.debug
        said("node disconnected", node=self.node, reason=down.reason)
        self._was_up = False
        self._end(down.reason, down.written, down.unwritten)

    def _end(self, reason: str, written: Sequence[bytes], unwritten: Sequence[bytes]) -> None:
        self._sessions += 1
        self._reason = reason if self.failure is None else f"{reason}; the last dial: {self.failure}"
        self._joiner = Joiner(self._settings.largest + _BESIDE)
        self._writes, self._up_since = None, math.inf
        self._want_room.clear()
        lost = self._outbox.lost(written, unwritten)
        self._changed.unpark_all()
        self.lost(self._reason, *lost)

    # --- links

    async def use(self, link: Link, *, dialled: bool) -> None:
        """Use a link that is open, until it ends or is dropped."""
        now = self._clock()
        self.identity = link.peer
        connection = Connection(link, self._settings.limits.liveness, now, now + _ANSWER)
        self._connections[connection] = None
        self._run_soon()
        try:
            if dialled:
                self._do(self._session.dialled(connection, now))
            self._look_again()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write, connection, nursery.cancel_scope)
                await self._read(connection)
                nursery.cancel_scope.cancel()
        finally:
            if not connection.is_dropped:
                self._plan_dial(None)
            connection.drop()
            self._connections.pop(connection, None)
            self._let_go(connection)
            self._changed.unpark_all()

    async def _write(self, connection: Connection, both: trio.CancelScope) -> None:
        try:
            while True:
                message = connection.take()
                if not message and self._writes is connection:
                    self._fill()
                    message = connection.take()
                if message:
                    await connection.link.send(message)
                    connection.pulse.sent(self._clock())
                elif connection.is_dropped:
                    break
                else:
                    await connection.news()
        except LinkLost as error:
            _log.debug("link lost", node=self.node, reason=error)
        both.cancel()

    async def _read(self, connection: Connection) -> None:
        receive, session, clock = connection.link.receive, self._session, self._clock
        try:
            while True:
                message = await receive()
                if connection.is_dropped:
                    continue  # the writer has some last words, and the far side may
                now = clock()
                for count, frame in enumerate(codec.decode(message), 1):
                    self._do(session.received(connection, frame, now))
                    if connection.is_dropped:
                        break
                    if not count % _AT_ONCE:
                        await trio.lowlevel.checkpoint()  # nobody honest sends so many, but others wait
                self._outbox.arrived(session.acknowledged)
                if self._outbox:
                    connection.wake()  # there may be room again
                self._look_again()
        except LinkLost as error:
            _log.debug("link lost", node=self.node, reason=error)
        except ProtocolError as error:
            _security.warning("peer broke the protocol", peer=self.node, problem=str(error)[:200])
            self._drop(connection, "protocol violated")

    async def _dial(self, address: str, dialling: trio.CancelScope) -> None:
        try:
            with dialling:
                async with self._settings.transport.dial(address, self.node) as link:
                    self._dialling = None
                    self._do(self._session.want(self._clock()))
                    await self.use(link, dialled=True)
        except LinkLost as error:
            self._dialling = None
            self._plan_dial(error)
            self._look_again()
        if dialling.cancelled_caught:
            self._dialling = None
            self._look_now()

    def _plan_dial(self, failed: LinkLost | None) -> None:
        """Say when the next dial may be: at once behind a link that worked, else after a pause."""
        now = self._clock()
        if failed is None and now - self._up_since >= _STEADY:
            self._attempts = 0
        self._refusals = self._refusals + 1 if isinstance(failed, LinkRefused) else 0
        tries = self._refusals or self._attempts  # however long it went badly before: that nobody listens is soon known
        pause = self._settings.backoff.delay(tries) if tries else 0.0
        self._dial_at = now + pause * (0.5 + self._settings.chance.random() / 2)
        self._attempts += 1
        self.failure = failed
        if failed is not None:
            self._changed.unpark_all()
            _log.debug("dial failed", node=self.node, reason=failed)
        if self._refusals >= _REFUSALS:
            self._refusals = 0
            self.give_up("nobody listens there any more")
        is_refused = failed is not None and isinstance(failed.__cause__, IdentityError)
        if is_refused and self._session.state is State.DIALING:
            self.give_up(str(failed))

    # --- time

    def abandon(self) -> None:
        """Do nothing any more, for the node has ended."""
        self._is_over = True

    def _run_soon(self) -> None:
        if not self._runs and not self._is_over:
            self._runs = True
            self._settings.start_soon(self._run)

    def _look_again(self) -> None:
        """Have `_run` look earlier than it meant to, if something is due then."""
        if not self._runs:
            self._run_soon()
            return
        due = self._session.deadline if self._session.connection is not None else -math.inf
        if due < self._due:
            self._sleep.deadline = self._due = due

    def _look_now(self) -> None:
        self._sleep.deadline = self._due = -math.inf

    async def _run(self) -> None:
        """See to all that is due, as long as there is anything to see to."""
        while True:
            now = self._clock()
            self._due = math.inf
            if self._is_overdrawn:
                self._is_overdrawn = False
                _log.warning("node takes no answers", node=self.node, bytes=self._outbox.size + self._outbox.large_size)
                self.give_up("it takes no answers")
            if now >= self._session.deadline:
                self._do(self._session.tick(now))
            dues = [self._see_to(each, now) for each in list(self._connections)]
            due = min([self._session.deadline, *dues])
            wants_dial = self._session.wants_dial or (self._keeps and self._session.state is State.NONE)
            if wants_dial and self._dialling is None and self.address is not None:
                if now >= self._dial_at:
                    self._dialling = trio.CancelScope()
                    self._settings.start_soon(self._dial, self.address, self._dialling)
                else:
                    due = min(due, self._dial_at)
            if self._session.state is State.NONE and not self._connections and not self._keeps:
                self._runs = False
                return
            self._due = due
            with trio.CancelScope(deadline=due) as self._sleep:
                await trio.sleep_forever()

    def _see_to(self, connection: Connection, now: float) -> float:
        """Look at one connection; return when to look again."""
        if connection.is_dropped:
            return math.inf
        if self._session.connection != connection or self._session.state not in (State.UP, State.CLOSING):
            if now < connection.answer_by:
                return connection.answer_by
            self._drop(connection, "no session was agreed to in time")
            return math.inf
        connection.pulse.received(connection.link.heard)
        match connection.pulse.look(now):
            case Sign.PING:
                self._nonce += 1
                connection.transmit(Ping(self._nonce))
            case Sign.SUSPECT:
                self._drop(connection, "nothing was heard in time")
                return math.inf
            case Sign.NOTHING:
                pass
        return connection.pulse.deadline
