"""What the other side may not do, and what it gets for it (K5)."""

from __future__ import annotations

import pytest

from autonomy._sansio.frames import (
    Ack,
    Close,
    CloseCode,
    Closed,
    Data,
    Frame,
    Hello,
    Ping,
    Reject,
    RejectCode,
    SessionId,
)
from autonomy._sansio.greeting import LEAP
from autonomy._sansio.session import Session
from autonomy._sansio.session_terms import Down, Drop, State, Transmit

from .session_moves import connected, hello, refusal, welcome
from .session_world import MORTAL, World


@pytest.mark.parametrize(
    "frame",
    [
        Data(3, 1, b"a gap"),
        Data(1, 9, b""),
        Ack(9),
        Close(CloseCode.GOODBYE, 7),
        Closed(),
        hello("b", "b1", 1, fresh=False),
        welcome(SessionId(1, "a", "a1")),
        Reject(RejectCode.UNKNOWN),
    ],
)
def test_a_connection_on_which_they_break_the_rules_is_dropped_and_the_session_goes_on(
    frame: Frame, session: type[Session]
) -> None:
    world = connected(session)
    a, (wire,) = world.at["a"], list(world.wires.values())
    world.send("a")

    events = a.received(wire.number, frame, 0)
    assert [type(event) for event in events] == [Drop]
    assert a.state is State.DETACHED
    world.lose("b", wire)
    wire.open["a"] = False
    world.settle()
    assert world.delivered == world.sent
    assert not any(world.downs.values())


@pytest.mark.parametrize("frame", [Data(1, 1, b"a1"), Ack(1), Ping(1), Close(CloseCode.GOODBYE, 0), Closed()])
def test_an_offer_is_taken_up_by_ready_and_nothing_else(frame: Frame, session: type[Session]) -> None:
    world = World(session=session)
    world.want("a")
    wire = world.dial("a")
    world.deliver(wire, "b")
    world.send("b")

    assert [type(event) for event in world.at["b"].received(wire.number, frame, 0)] == [Drop]
    assert world.state("b") is State.OFFERED


def test_a_frame_after_close_is_not_taken(session: type[Session]) -> None:
    world = connected(session)
    a, wire = world.at["a"], next(iter(world.wires))
    world.send("a")
    a.received(wire, Close(CloseCode.GOODBYE, 0), 0)

    assert [type(event) for event in a.received(wire, Data(1, 1, b"b1"), 0)] == [Drop]


def test_a_second_hello_ends_a_claim_and_its_connection(session: type[Session]) -> None:
    world = connected(session)
    a = world.at["a"]
    a.received("claim", hello("b", "other", 9), 0)

    assert a.received("claim", hello("b", "other", 9), 0) == [
        Drop("claim", "protocol violated: HELLO on a connection that has a use")
    ]
    assert a.tick(MORTAL.probe) == []
    assert a.state is State.UP


def test_a_hello_on_a_connection_that_we_dialled_drops_it(session: type[Session]) -> None:
    world = World(session=session)
    world.want("a")
    wire = world.dial("a")

    assert [type(event) for event in world.at["a"].received(wire.number, hello("b", "b1", 1), 0)] == [Drop]
    assert world.at["a"].wants_dial


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (hello("c", "c1", 1), RejectCode.IDENTITY),
        (Hello("ATNL", 1, 1, "b", "b1", SessionId(1, "a", "b1"), True, 1, 9, 9), RejectCode.IDENTITY),
        (Hello("ATNL", 1, 1, "b", "b1", SessionId(1, "b", "b2"), True, 1, 9, 9), RejectCode.IDENTITY),
        (Hello("HTTP", 1, 1, "b", "b1", SessionId(1, "b", "b1"), True, 1, 9, 9), RejectCode.VERSION),
        (Hello("ATNL", 2, 9, "b", "b1", SessionId(1, "b", "b1"), True, 1, 9, 9), RejectCode.VERSION),
        (Hello("ATNL", 0, 0, "b", "b1", SessionId(1, "b", "b1"), True, 1, 9, 9), RejectCode.VERSION),
        (hello("b", "b1", LEAP + 1), RejectCode.STALE),
        (hello("b", "b1", 0), RejectCode.STALE),
        (hello("b", "b1", 1, fresh=False), RejectCode.UNKNOWN),
        (hello("b", "b1", LEAP), None),
    ],
)
def test_what_a_hello_is_told(wrong: Hello, code: RejectCode | None, session: type[Session]) -> None:
    assert refusal(World(session=session), "a", wrong) is code


@pytest.mark.parametrize("code", list(RejectCode))
def test_what_a_refusal_does_to_a_dial(code: RejectCode, session: type[Session]) -> None:
    world = World(session=session)
    world.send("a")
    wire = world.dial("a")

    events = world.at["a"].received(wire.number, Reject(code, generation=7), 0)

    again = {RejectCode.UNKNOWN, RejectCode.STALE, RejectCode.CLOSED}
    waits = {RejectCode.TIE, RejectCode.NAME_IN_USE, RejectCode.BUSY}
    assert isinstance(events[0], Drop)
    if code not in again | waits:
        assert isinstance(events[1], Down)
        assert world.at["a"].state is State.NONE
    else:
        assert world.at["a"].wants_dial
        (said,) = world.at["a"].dialled("again", 0)
        assert isinstance(said, Transmit)
        assert isinstance(said.frame, Hello)
        assert said.frame.session.generation == (8 if code in again else 1)


def test_a_lie_about_generations_does_not_spoil_those_to_come(session: type[Session]) -> None:
    world = World(session=session)
    world.send("a")
    wire = world.dial("a")
    world.at["a"].received(wire.number, Reject(RejectCode.STALE, generation=2**63 - 1), 0)
    wire.open["a"] = False

    world.settle()
    assert world.delivered == world.sent
