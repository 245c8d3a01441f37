"""Room in a mailbox: granted ahead, never exceeded, shared out fairly (B2)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from autonomy._sansio.credit import WINDOW, Flow, Room

FLOWS = ["a", "b", "c", "d"]


class Mailbox(RuleBasedStateMachine):
    """One mailbox, senders on its own node, and four far nodes whose messages and grants are on their way for a while.

    Laws: what is queued and what is granted are never more than the mailbox holds; whoever has credit finds a place;
    both sides of a flow agree on what is granted once nothing is on its way.
    """

    room_class: Callable[[int], Room[str]] = Room

    @initialize(capacity=st.integers(1, 130))
    def open(self, capacity: int) -> None:
        self.capacity = capacity
        self.room = self.room_class(capacity)
        self.queued = 0
        self.flows = {name: Flow() for name in FLOWS}
        self.waiting = dict.fromkeys(FLOWS, 0)
        self.to_room: dict[str, list[tuple[str, int]]] = {name: [] for name in FLOWS}
        self.to_flow: dict[str, list[tuple[str, int]]] = {name: [] for name in FLOWS}

    def grant(self) -> None:
        for name, total in self.room.grant(self.queued).items():
            self.to_flow[name].append(("grant", total))

    @rule(name=st.sampled_from(FLOWS), messages=st.integers(1, 100))
    def has_something_to_send(self, name: str, messages: int) -> None:
        self.waiting[name] += messages
        self.send(name)

    def send(self, name: str) -> None:
        flow = self.flows[name]
        while self.waiting[name] and flow.credit > 0:
            flow.send()
            self.waiting[name] -= 1
            self.to_room[name].append(("message", 0))
        wanted = flow.want(self.waiting[name])
        if wanted is not None:
            self.to_room[name].append(("want", wanted))

    @rule(name=st.sampled_from(FLOWS))
    def arrives(self, name: str) -> None:
        if not self.to_room[name]:
            return
        what, number = self.to_room[name].pop(0)
        if what == "message":
            assert self.room.arrive(name), "a message came for which there was credit, and no place"
            self.queued += 1
        elif what == "want":
            self.room.want(name, number)
        else:
            self.room.give_back(name, number)
        self.grant()

    @rule(name=st.sampled_from(FLOWS))
    def hears(self, name: str) -> None:
        if not self.to_flow[name]:
            return
        what, number = self.to_flow[name].pop(0)
        if what == "grant":
            self.flows[name].granted(number)
        else:
            self.to_room[name].append(("give back", self.flows[name].give_back()))
        self.send(name)

    @precondition(lambda self: self.queued)
    @rule(messages=st.integers(1, 100))
    def worker_takes(self, messages: int) -> None:
        self.queued -= min(messages, self.queued)
        self.grant()

    @rule()
    def somebody_here_sends(self) -> None:
        if self.room.is_free(self.queued):
            self.queued += 1
            return
        for name in self.room.ask_back(self.queued):
            self.to_flow[name].append(("ask back", 0))

    @rule(name=st.sampled_from(FLOWS))
    def ends(self, name: str) -> None:
        self.room.close(name)
        self.flows[name] = Flow()
        self.waiting[name] = 0
        self.to_room[name].clear()
        self.to_flow[name].clear()
        self.grant()

    @invariant()
    def holds_no_more_than_it_can(self) -> None:
        if hasattr(self, "room"):
            assert self.queued + self.room.ahead <= self.capacity
            assert self.room.ahead >= 0

    def teardown(self) -> None:
        """When nothing more is sent, everything that waits comes through, whoever else is idle."""
        if not hasattr(self, "room"):
            return
        idle = 0
        while idle < 3:  # rounds that brought nothing through
            left = sum(self.waiting.values())
            for name in FLOWS:
                while self.to_flow[name] or self.to_room[name]:
                    self.hears(name)
                    self.arrives(name)
                    self.holds_no_more_than_it_can()
            self.queued = 0
            self.grant()
            idle = idle + 1 if left == sum(self.waiting.values()) else 0
        assert not any(self.waiting.values()), f"{self.waiting} never got a place"
        assert all(flow.credit >= 0 for flow in self.flows.values())


STEPS = settings(max_examples=60, stateful_step_count=60, deadline=None)
FINDS = settings(STEPS, max_examples=200, phases=[Phase.generate], report_multiple_bugs=False, database=None)


def test_for_all_histories_grants_and_messages_fit_the_mailbox_and_everybody_gets_a_place() -> None:
    run_state_machine_as_test(Mailbox, settings=STEPS)


class GrantsTooMuch(Room[str]):
    def grant(self, queued: int) -> dict[str, int]:
        return super().grant(max(queued - 1, 0))


class ForgetsWhoWaits(Room[str]):
    def want(self, flow: str, wanted: int) -> None:
        if self.ahead < self.capacity:
            super().want(flow, wanted)


class ForgetsWhatArrived(Room[str]):
    def arrive(self, flow: str) -> bool:
        arrived = super().arrive(flow)
        self.ahead += 1
        return arrived


class KeepsPlacesOfThoseWhoHaveGone(Room[str]):
    def close(self, flow: str) -> None:
        ahead = self.ahead
        super().close(flow)
        self.ahead = ahead


@pytest.mark.parametrize("broken", [GrantsTooMuch, ForgetsWhoWaits, ForgetsWhatArrived, KeepsPlacesOfThoseWhoHaveGone])
def test_the_laws_notice_a_broken_room(broken: type[Room[str]]) -> None:
    class Broken(Mailbox):
        room_class = broken

    with pytest.raises(AssertionError):
        run_state_machine_as_test(Broken, settings=FINDS)


def test_a_flow_that_wants_nothing_holds_no_places() -> None:
    room: Room[str] = Room(10)

    room.want("a", 0)

    assert room.grant(0) == {}
    assert room.is_free(9)


def test_a_mailbox_of_one_place_serves_all_flows_in_turn() -> None:
    room: Room[str] = Room(1)
    for flow in FLOWS:
        room.want(flow, 100)

    served = []
    for _ in range(8):
        ((flow, _),) = room.grant(0).items()
        served.append(flow)
        room.arrive(flow)

    assert served == FLOWS * 2


def test_a_fast_worker_is_not_kept_waiting_for_grants() -> None:
    room: Room[str] = Room(1000)
    room.want("a", 10_000)
    total = room.grant(0)["a"]
    assert total == WINDOW

    for arrived in range(1, WINDOW + 1):
        room.arrive("a")
        total = room.grant(0).get("a", total)

        assert total - arrived >= WINDOW // 2  # more is granted before the half is used up


def test_places_that_a_flow_does_not_use_are_asked_back_for_those_on_this_node() -> None:
    room: Room[str] = Room(4)
    room.want("a", 4)
    room.grant(0)
    assert not room.is_free(0)

    asked = room.ask_back(0)
    again = room.ask_back(0)
    room.give_back("a", 1)

    assert (asked, again) == (["a"], [])
    assert room.is_free(2)  # the one that was sent is still on its way
    assert not room.is_free(3)


def test_a_flow_that_was_asked_to_give_back_is_granted_nothing_until_it_has_answered() -> None:
    room: Room[str] = Room(3)
    room.want("a", 2)
    room.want("b", 9)
    room.grant(0)
    room.ask_back(0)

    room.close("a")
    while_it_is_asked = room.grant(0)
    room.give_back("b", 0)
    room.want("b", 9)

    assert while_it_is_asked == {}  # what it answers is about what it had when it was asked
    assert room.grant(0) == {"b": 3}


def test_a_message_without_credit_is_noticed() -> None:
    room: Room[str] = Room(4)

    assert not room.arrive("a")


@given(st.lists(st.integers(0, 1000)))
def test_totals_may_be_heard_twice_and_late(totals: list[int]) -> None:
    flow = Flow()

    for total in totals:
        flow.granted(total)

    assert flow.credit == max(totals, default=0)
