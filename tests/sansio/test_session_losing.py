"""What becomes of a session that one side has lost, and of one whose other side is another process (D3, K2, K3)."""

from __future__ import annotations

import math

import pytest

from autonomy._sansio.frames import Ack, Ping, Pong, Reject, RejectCode
from autonomy._sansio.session import Session
from autonomy._sansio.session_terms import Down, Drop, State, Transmit

from .session_moves import connected, hello, refusal, sever
from .session_world import MORTAL, World

# --- one side has lost it


def test_what_is_in_doubt_is_reported_and_never_sent_again(session: type[Session]) -> None:
    world = connected(session)
    (wire,) = world.wires.values()
    world.send("a")
    world.deliver(wire, "b")  # delivered, and its acknowledgement never leaves
    world.expire("b")
    world.send("b")

    world.drain(world.dial("b"))
    world.settle()
    assert [len(down.written) for down in world.downs["a"]] == [1]
    assert world.delivered == world.sent, "and none of them twice"


def test_mail_on_both_sides_survives_that_one_side_waited_in_vain(session: type[Session]) -> None:
    world = connected(session)
    sever(world)
    world.send("a")
    world.send("b")
    world.expire("b")
    assert [len(down.unwritten) for down in world.downs["b"]] == [1]
    world.send("b")

    world.settle()
    assert [len(down.unwritten) for down in world.downs["a"]] == [1]
    assert world.delivered["b"] == world.sent["b"][1:]
    assert not world.delivered["a"]


@pytest.mark.parametrize("mail", [True, False])
def test_who_cannot_dial_is_called_when_it_wants_something(*, mail: bool, session: type[Session]) -> None:
    world = connected(session)
    sever(world)
    world.expire("a")
    world.send("a") if mail else world.want("a")

    world.drain(world.dial("b"))  # b goes on with the session that a has lost
    assert world.at["b"].wants_dial, "a has something, and b is told"
    world.drain(world.dial("b"))
    assert world.settle(dialers="b") == 1
    assert world.delivered == world.sent


def test_who_wants_nothing_is_not_called(session: type[Session]) -> None:
    world = connected(session)
    sever(world)
    world.expire("a")

    world.drain(world.dial("b"))
    assert world.state("b") is State.NONE
    assert [down.reason for down in world.downs["b"]] == ["it has lost the session"]


def test_an_unconfirmed_session_that_they_lost_keeps_its_mail(session: type[Session]) -> None:
    world = World(session=session)
    world.want("a")
    wire = world.dial("a")
    world.deliver(wire, "b")
    world.send("b")
    sever(world)
    world.give_up("a")

    world.drain(world.dial("b"))
    assert world.state("b") is State.DIALING
    world.settle()
    assert world.delivered == world.sent
    assert not world.downs["b"]


def test_a_session_lasts_as_long_as_it_may_without_a_connection(session: type[Session]) -> None:
    world = connected(session)
    assert world.at["a"].deadline == math.inf
    world.clock = {"a": 5.0, "b": 5.0}
    world.send("b")
    world.drain(next(iter(world.wires.values())))
    sever(world)

    assert world.at["a"].deadline == 5.0 + MORTAL.liveness.down
    world.clock["a"] = 5.0 + MORTAL.liveness.down - 0.01
    world.tick("a")
    assert world.state("a") is State.DETACHED
    world.clock["a"] = 5.0 + MORTAL.liveness.down
    world.tick("a")
    assert world.state("a") is State.NONE


def test_one_that_never_was_ends_likewise(session: type[Session]) -> None:
    world = World(session=session)
    world.send("a")

    world.expire("a")
    assert [(down.written, len(down.unwritten)) for down in world.downs["a"]] == [([], 1)]


# --- other incarnations


def test_a_restart_ends_a_session_and_mail_for_the_old_one_goes_nowhere(session: type[Session]) -> None:
    world = connected(session)
    world.send("a")
    world.crash("b", silent=False)
    sever(world)
    world.send("a")
    world.send("b")

    world.settle()
    assert [(len(down.written), len(down.unwritten)) for down in world.downs["a"]] == [(1, 1)]
    assert not world.delivered["a"]
    assert world.delivered["b"] == world.sent["b"]


def test_mail_that_moved_to_an_offer_outlives_the_process_that_made_it(session: type[Session]) -> None:
    world = World(session=session)
    world.send("a")
    world.want("b")
    world.deliver(world.dial("b"), "a")
    assert world.state("a") is State.OFFERED
    sever(world)
    world.crash("b", silent=False)

    world.settle()
    assert world.delivered == world.sent
    assert not world.downs["a"]


def test_a_claim_to_a_name_waits_until_the_node_of_that_name_has_answered(session: type[Session]) -> None:
    world = connected(session)
    a = world.at["a"]
    (wire,) = world.wires.values()

    asked = a.received("claim", hello("b", "other", 9), 0)
    assert [type(event.frame) for event in asked if isinstance(event, Transmit)] == [Ping]
    assert a.deadline == MORTAL.probe
    (ping,) = (event.frame for event in asked if isinstance(event, Transmit))
    assert isinstance(ping, Ping)
    assert a.received(wire.number, Pong(ping.nonce - 1), 0) == [], "an answer to something else"
    refused = a.received(wire.number, Pong(ping.nonce), 0)
    assert isinstance(refused[0], Transmit)
    assert isinstance(refused[0].frame, Reject)
    assert refused[0].frame.code is RejectCode.NAME_IN_USE
    assert isinstance(refused[1], Drop)
    assert refused[1].connection == "claim"
    assert a.state is State.UP


def test_only_one_claim_is_looked_into_at_a_time(session: type[Session]) -> None:
    world = connected(session)
    world.at["a"].received("first", hello("b", "other", 9), 0)

    assert refusal(world, "a", hello("b", "third", 9)) is RejectCode.NAME_IN_USE
    world.at["a"].lost("first", 0)
    assert world.state("a") is State.UP
    assert refusal(world, "a", hello("b", "third", 9)) is None, "it is asked again"


@pytest.mark.parametrize("how", ["silent", "lost", "violation"])
def test_a_claim_is_granted_when_the_other_one_is_gone(how: str, session: type[Session]) -> None:
    world = connected(session)
    a, wire = world.at["a"], next(iter(world.wires))
    world.send("a")
    a.received("claim", hello("b", "other", 9), 0)

    match how:
        case "silent":
            events = a.tick(MORTAL.probe)
        case "lost":
            events = a.lost(wire, 0)
        case _:
            a.received(wire, Ack(99), 0)
            assert a.deadline < 0, "at once"
            events = a.tick(0)
    assert a.state is State.OFFERED
    assert a.connection == "claim"
    assert [len(event.written) for event in events if isinstance(event, Down)] == [1]


def test_who_claims_and_leaves_changes_nothing(session: type[Session]) -> None:
    world = connected(session)
    world.at["a"].received("claim", hello("b", "other", 9), 0)
    world.at["a"].lost("claim", 0)

    assert world.at["a"].tick(MORTAL.probe) == []
    assert world.state("a") is State.UP


def test_a_node_that_comes_back_on_another_connection_is_asked_there(session: type[Session]) -> None:
    world = connected(session)
    a, (old,) = world.at["a"], list(world.wires.values())
    world.deliver(world.impostor("a", 9), "a")
    world.lose("b", old)

    again = world.dial("b")
    world.drain(again)  # with the ping, and its answer
    assert a.state is State.UP
    assert a.connection == again.number
    assert a.tick(MORTAL.probe) == []
