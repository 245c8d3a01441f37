"""Leaving in good order; acknowledging, and room (D2, B2, K1)."""

from __future__ import annotations

import math

import pytest

from autonomy._sansio.frames import Ack, CloseCode, Closed, Data, Reject, RejectCode, SessionId
from autonomy._sansio.session import Session
from autonomy._sansio.session_terms import Deliver, Down, Drop, Limits, State, Transmit

from .session_moves import connected, hello, sever
from .session_world import MORTAL, World

# --- leaving


def test_leaving_brings_everything_over_both_ways(session: type[Session]) -> None:
    world = connected(session)
    (wire,) = world.wires.values()
    for side in "abab":
        world.send(side)
    world.close("a")
    with pytest.raises(RuntimeError, match="closing"):
        world.at["a"].send(b"", 0)

    for _ in range(3):
        world.drain(wire)
        world.pass_time(0.1)
    assert world.delivered == world.sent
    assert [(down.reason, *down.written, *down.unwritten) for side in "ab" for down in world.downs[side]] == [
        ("closed",)
    ] * 2
    assert world.state("a") is world.state("b") is State.NONE


def test_leaving_takes_one_exchange(session: type[Session]) -> None:
    world = connected(session)
    (wire,) = world.wires.values()
    world.send("a")
    world.close("a")

    for _ in range(2):
        world.deliver(wire, "b")
    assert [type(frame) for frame in wire.to["a"]] == [Ack, Closed, type(None)]
    world.drain(wire)
    assert [(down.reason, down.written) for down in world.downs["a"]] == [("closed", [])]


def test_both_may_leave_at_once(session: type[Session]) -> None:
    world = connected(session)
    (wire,) = world.wires.values()
    for side in "ab":
        world.send(side)
        world.close(side)

    world.drain(wire)
    world.pass_time(0.1)
    world.drain(wire)
    assert world.delivered == world.sent
    assert [down.reason for side in "ab" for down in world.downs[side]] == ["closed"] * 2
    assert not any(world.reported.values())


def test_who_leaves_while_it_is_offered_a_session_waits_for_what_they_sent(session: type[Session]) -> None:
    world = World(session=session)
    world.send("a")
    wire = world.dial("a")
    world.deliver(wire, "b")
    world.deliver(wire, "a")
    world.close("b")

    world.drain(wire)
    world.pass_time(0.1)
    world.drain(wire)
    assert world.delivered == world.sent
    assert not any(world.reported.values())


def test_who_has_nothing_to_send_and_no_session_yet_leaves_at_once(session: type[Session]) -> None:
    world = World(session=session)
    world.want("a")
    world.close("a")
    assert world.state("a") is State.NONE
    assert world.at["a"].close(CloseCode.IDLE, 0) == []

    world.send("a")
    world.close("a")
    assert world.state("a") is State.DIALING
    world.drain(world.dial("a"))
    assert world.delivered == world.sent


@pytest.mark.parametrize("then", ["b dials", "a has mail"])
def test_nothing_is_in_doubt_though_the_farewell_was_lost(then: str, session: type[Session]) -> None:
    world = connected(session)
    (wire,) = world.wires.values()
    world.send("b")
    world.close("b")
    world.close("a")
    while world.state("a") is not State.NONE:
        world.deliver(wire, "a")
    wire.to["b"].clear()  # with a's acknowledgement
    wire.to["b"].append(None)
    world.drain(wire)
    assert world.state("b") is State.CLOSING
    assert world.at["b"].unacknowledged == 1

    if then == "a has mail":
        world.send("a")
        world.drain(world.dial("a"))
    else:
        world.drain(world.dial("b"))
    assert world.delivered == world.sent
    assert [(down.reason, down.written) for down in world.downs["b"]] == [("closed", [])]


def test_leaving_takes_no_longer_than_it_may(session: type[Session]) -> None:
    world = connected(session)
    world.send("a")
    world.close("a")
    assert world.at["a"].deadline == MORTAL.closing

    world.clock["a"] = MORTAL.closing
    world.tick("a")
    assert [(down.reason, len(down.written)) for down in world.downs["a"]] == [("leaving took too long", 1)]


def test_a_farewell_before_everything_has_arrived_is_a_lie(session: type[Session]) -> None:
    world = connected(session)
    world.send("a")
    world.close("a")

    events = world.at["a"].received(next(iter(world.wires)), Closed(), 0)
    assert [type(event) for event in events] == [Drop]
    assert world.at["a"].unacknowledged == 1


def test_a_session_that_did_not_leave_is_not_told_that_all_arrived(session: type[Session]) -> None:
    world = connected(session)
    world.send("a")
    sever(world)
    wire = world.dial("a")

    (_, down) = world.at["a"].received(wire.number, Reject(RejectCode.CLOSED), 0)
    assert isinstance(down, Down)
    assert len(down.written) == 1
    world = connected(session)
    world.send("b")
    (event,) = (
        event
        for event in world.at["b"].received("new", hello("a", "a1", 2, closed=SessionId(1, "a", "a1")), 0)
        if isinstance(event, Down)
    )
    assert len(event.written) == 1


def test_giving_up_ends_whatever_there_is(session: type[Session]) -> None:
    world = connected(session)
    world.send("a")

    events = world.at["a"].give_up("its lease is gone")
    assert [type(event) for event in events] == [Drop, Down]
    assert isinstance(events[1], Down)
    assert events[1].reason == "its lease is gone"
    assert world.at["a"].give_up("again") == []


# --- acknowledging, and room


def test_an_acknowledgement_waits_for_company_but_not_for_long(session: type[Session]) -> None:
    world = connected(session)
    b, wire = world.at["b"], next(iter(world.wires))

    b.received(wire, Data(1, 1, b"a1"), 1.0)
    assert b.deadline == 1.0 + MORTAL.patience
    b.received(wire, Data(2, 1, b"a2"), 1.01)
    assert b.deadline == 1.0 + MORTAL.patience
    b.received(wire, Data(3, 1, b"a3"), 1.01)
    assert b.deadline == 1.01, "a batch is full"
    assert b.tick(1.01) == [Transmit(wire, Ack(4))]
    assert b.deadline == math.inf
    b.received(wire, Data(4, 1, b"a4"), 2.0)
    assert b.send(b"b1", 2.0) == [Transmit(wire, Data(1, 5, b"b1"))], "it rides along"
    assert b.deadline == math.inf


def test_a_frame_that_comes_twice_is_counted_and_not_delivered(session: type[Session]) -> None:
    world = connected(session)
    b, wire = world.at["b"], next(iter(world.wires))

    assert b.received(wire, Data(1, 1, b"a1"), 0) == [Deliver(b"a1")]
    assert b.received(wire, Data(1, 1, b"a1"), 0) == []
    assert b.repeated == 1


def test_an_acknowledgement_that_was_overtaken_is_nothing(session: type[Session]) -> None:
    world = connected(session)
    a, wire = world.at["a"], next(iter(world.wires))
    for _ in range(3):
        world.send("a")

    a.received(wire, Ack(3), 0)
    assert a.received(wire, Ack(2), 0) == []
    assert a.unacknowledged == 1


def test_room_is_bounded_by_count_and_by_size_but_one_alone_always_fits(session: type[Session]) -> None:
    alone = session("a", "a1", "b", Limits(messages=3, size=10))

    assert alone.has_room(100)
    alone.send(bytes(8), 0)
    assert alone.has_room(2)
    assert not alone.has_room(3)
    with pytest.raises(OverflowError, match="no room for 3 bytes"):
        alone.send(bytes(3), 0)
    alone.send(b"", 0)
    alone.send(b"", 0)
    assert not alone.has_room(0)
    assert alone.unacknowledged == 3
