"""How a session begins, and goes on after its connection is gone (D2, K1, K3)."""

from __future__ import annotations

import pytest

from autonomy._sansio.frames import Ack, Data, Ready, RejectCode, SessionId, Welcome
from autonomy._sansio.session import Session
from autonomy._sansio.session_terms import Down, Drop, State

from .session_moves import connected, hello, refusal, sever, welcome
from .session_world import World

# --- beginnings


def test_a_session_begins_with_three_frames_and_then_carries_what_waited(session: type[Session]) -> None:
    world = World(session=session)
    world.send("a")
    wire = world.dial("a")

    world.deliver(wire, "b")
    assert world.at["b"].state is State.OFFERED
    world.send("b")
    assert [type(frame) for frame in wire.to["a"]] == [Welcome], "nothing that counts comes before READY"
    world.deliver(wire, "a")
    assert [type(frame) for frame in wire.to["b"]] == [Ready, Data]
    world.drain(wire)

    assert world.delivered == world.sent
    assert [up.resumed for side in "ab" for up in world.ups[side]] == [False, False]


@pytest.mark.parametrize("ahead", [0, 1, 3])
@pytest.mark.parametrize("mail", ["", "a", "ab"])
def test_two_nodes_that_dial_in_step_agree_at_once(mail: str, ahead: int, session: type[Session]) -> None:
    world = World(session=session)
    for _ in range(ahead):
        world.want("a")
        world.give_up("a")
    for side in mail:
        world.send(side)

    assert world.settle(lockstep=True) <= 2
    assert world.delivered == world.sent


@pytest.mark.parametrize("mail", ["", "a", "ab"])
def test_two_nodes_that_dial_again_in_step_agree_at_once(mail: str, session: type[Session]) -> None:
    world = connected(session)
    sever(world)
    for side in mail:
        world.send(side)

    assert world.settle(lockstep=True) <= 2
    assert world.delivered == world.sent
    assert not any(world.downs.values())


def test_two_nodes_that_dial_in_step_agree_after_one_has_lost_an_unconfirmed_session(session: type[Session]) -> None:
    world = World(session=session)
    world.send("a")
    wire = world.dial("a")
    world.deliver(wire, "b")
    world.send("b")
    sever(world)
    world.give_up("a")
    world.send("a")

    assert world.settle(lockstep=True) <= 3
    assert world.delivered["b"] == world.sent["b"]
    assert [len(down.unwritten) for down in world.downs["a"]] == [1]


def test_mail_of_a_dial_that_loses_moves_to_the_session_that_wins(session: type[Session]) -> None:
    world = World(session=session)
    world.send("a")
    world.send("b")
    ours, theirs = world.dial("a"), world.dial("b")
    world.drain(theirs)  # a has the smaller name: its own dial goes on
    assert world.at["a"].state is State.DIALING

    world.drain(ours)
    assert world.is_settled() or world.settle() == 1
    assert world.delivered == world.sent
    assert not any(world.downs.values())


def test_an_offer_that_is_repeated_still_waits_for_ready(session: type[Session]) -> None:
    world = World(session=session)
    world.want("a")
    world.deliver(world.dial("a"), "b")
    world.send("b")
    sever(world)

    again = world.dial("a")
    world.deliver(again, "b")
    assert [type(frame) for frame in again.to["a"]] == [Welcome]
    assert world.at["b"].state is State.OFFERED


def test_who_names_a_session_of_ours_has_accepted_it(session: type[Session]) -> None:
    world = World(session=session)
    world.send("a")
    world.deliver(world.dial("a"), "b")
    sever(world)

    again = world.dial("b")
    world.deliver(again, "a")
    assert [type(frame) for frame in again.to["b"]] == [Welcome, Data]
    assert world.at["a"].state is State.UP


def test_a_welcome_to_a_dial_that_was_abandoned_is_nothing(session: type[Session]) -> None:
    world = World(session=session)
    world.send("b")
    wire = world.dial("b")
    world.deliver(wire, "a")
    world.expire("b")

    assert world.at["b"].received(wire.number, welcome(SessionId(1, "b", "b1"), node="a"), 0)[:1] == [
        Drop(wire.number, "protocol violated: WELCOME, and nobody waits for it")
    ]
    assert world.at["b"].state is State.NONE


def test_a_dial_that_nobody_needs_is_dropped(session: type[Session]) -> None:
    world = connected(session)

    assert world.at["a"].dialled("late", 0) == [Drop("late", "not needed any more")]
    assert session("a", "a1", "b").dialled("early", 0) == [Drop("early", "not needed any more")]


# --- resuming


def test_what_was_cut_off_is_sent_again_from_where_they_stopped(session: type[Session]) -> None:
    world = connected(session)
    (wire,) = world.wires.values()
    for _ in range(5):
        world.send("a")
    for _ in range(2):
        world.deliver(wire, "b")
    sever(world)

    again = world.dial("b")
    world.deliver(again, "a")
    numbers = [frame.number for frame in again.to["b"] if isinstance(frame, Data)]
    assert numbers == [3, 4, 5]
    assert world.at["a"].unacknowledged == 3, "their HELLO acknowledges"
    world.drain(again)
    assert world.delivered == world.sent
    assert [up.resumed for up in world.ups["a"]] == [False, True]


def test_a_session_moves_to_a_newer_connection_and_hears_the_old_one_no_more(session: type[Session]) -> None:
    world = connected(session)
    (old,) = world.wires.values()
    world.send("b")
    world.lose("b", old)

    world.drain(world.dial("b"))
    assert not old.open["a"], "the old one is dropped"
    number = world.at["a"].connection
    assert world.at["a"].received(old.number, Data(2, 1, b"b99"), 0) == []
    assert world.at["a"].received(old.number, Ack(1), 0) == []
    assert world.at["a"].connection == number
    assert world.delivered == world.sent


@pytest.mark.parametrize("expects", [0, 1, 4, 5])
def test_they_can_have_no_less_than_they_said_and_no_more_than_was_sent(expects: int, session: type[Session]) -> None:
    world = connected(session)
    for _ in range(2):
        world.send("b")
    world.drain(next(iter(world.wires.values())))
    world.pass_time(0.1)
    world.drain(next(iter(world.wires.values())))
    sever(world)
    world.send("b")  # number 3 waits, and was never sent

    again = hello("a", "a1", 1, fresh=False, expects=expects)
    assert refusal(world, "b", again) is RejectCode.STALE


@pytest.mark.parametrize("expects", [0, 2, 3])
def test_a_welcome_that_cannot_be_ends_the_session(expects: int, session: type[Session]) -> None:
    world = World(session=session)
    world.send("a")
    wire = world.dial("a")

    events = world.at["a"].received(wire.number, welcome(SessionId(1, "a", "a1"), expects=expects), 0)

    assert [type(event) for event in events] == [Drop, Down]
    assert world.at["a"].state is State.NONE


@pytest.mark.parametrize(
    "strange",
    [
        welcome(SessionId(2, "a", "a1")),
        welcome(SessionId(1, "a", "a1"), node="c"),
        welcome(SessionId(1, "a", "a1"), version=2),
    ],
)
def test_a_welcome_to_something_else_drops_the_connection(strange: Welcome, session: type[Session]) -> None:
    world = World(session=session)
    world.send("a")
    wire = world.dial("a")

    assert [type(event) for event in world.at["a"].received(wire.number, strange, 0)] == [Drop]
    assert world.at["a"].state is State.DIALING
    assert world.at["a"].wants_dial


def test_a_confirmed_session_cannot_go_on_with_another_incarnation(session: type[Session]) -> None:
    world = connected(session)
    sever(world)
    wire = world.dial("a")

    events = world.at["a"].received(wire.number, welcome(SessionId(1, "a", "a1"), incarnation="b2"), 0)

    assert [type(event) for event in events] == [Drop, Down]
