"""What the scripts of a session often do."""

from __future__ import annotations

from autonomy._sansio.frames import Hello, Reject, RejectCode, SessionId, Welcome
from autonomy._sansio.session import Session
from autonomy._sansio.session_terms import Limits, Transmit

from .session_world import MORTAL, World


def connect(world: World, dialer: str = "a") -> int:
    """Have a connection that one side dials, with all that comes of it; return its number."""
    world.want(dialer)
    wire = world.dial(dialer)
    world.drain(wire)
    return wire.number


def connected(session: type[Session], limits: Limits = MORTAL) -> World:
    """Return a world with one session, which has a connection and is at rest."""
    world = World(limits, session)
    connect(world)
    assert world.is_settled()
    return world


def sever(world: World) -> None:
    """End all connections, with nothing of what is under way in them."""
    for wire in list(world.wires.values()):
        world.cut(wire, {"a": 0, "b": 0})
        world.drain(wire)
    world.gather()


def refusal(world: World, side: str, said: Hello) -> RejectCode | None:
    """Say HELLO to one side on a new connection; return why it is not wanted."""
    events = world.at[side].received("new", said, world.clock[side])
    codes = [event.frame.code for event in events if isinstance(event, Transmit) and isinstance(event.frame, Reject)]
    return codes[0] if codes else None


def hello(
    name: str,
    incarnation: str,
    generation: int,
    *,
    fresh: bool = True,
    expects: int = 1,
    closed: SessionId | None = None,
) -> Hello:
    session = SessionId(generation, name, incarnation)
    return Hello("ATNL", 1, 1, name, incarnation, session, fresh, expects, 9, 9, 0, closed)


def welcome(
    session: SessionId, *, node: str = "b", incarnation: str = "b1", expects: int = 1, version: int = 1
) -> Welcome:
    return Welcome(version, node, incarnation, session, expects, 9, 9)
