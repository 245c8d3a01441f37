"""Room in a mailbox: granted ahead, never exceeded, shared out fairly (B2)."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from autonomy._sansio.credit import FIRST_WINDOW, WINDOW, Flow, Room

FLOWS = ["a", "b", "c", "d"]


class Mailbox(RuleBasedStateMachine):
    """One mailbox, senders on its own node, and four far nodes whose messages and grants are on their way for a while.

    Laws: what is queued and what is granted are never more than the mailbox holds; whoever has credit finds a place;
    no flow has more ahead than its window; everything that waits comes through.
    """

    room_class: Callable[[int], Room[str]] = Room

    @initialize(capacity=st.integers(1, 4) | st.integers(1, 130))
    def open(self, capacity: int) -> None:
        self.capacity = capacity
        self.room = self.room_class(capacity)
        self.queued = 0
        self.waiting_here = 0
        self.sent_here = 0
        self.flows = {name: Flow() for name in FLOWS}
        self.waiting = dict.fromkeys(FLOWS, 0)
        self.to_room: dict[str, list[tuple[str, int]]] = {name: [] for name in FLOWS}
        self.to_flow: dict[str, list[tuple[str, int]]] = {name: [] for name in FLOWS}

    def serve(self) -> None:
        granted = self.room.grant(self.queued, self.waiting_here)
        while self.waiting_here and self.room.is_free(self.queued):
            self.waiting_here -= 1
            self.queued += 1
            self.sent_here += 1
            self.room.taken_here()
        for name, total in granted.items():
            self.to_flow[name].append(("grant", total))
        for name in self.room.ask_back(self.queued, self.waiting_here):
            self.to_flow[name].append(("ask back", 0))

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
        if self.waiting[name]:
            flow.stalled()
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
        self.serve()

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
        self.serve()

    @rule(messages=st.integers(1, 3))
    def somebody_here_sends(self, messages: int) -> None:
        self.waiting_here += messages
        self.serve()

    @precondition(lambda self: self.waiting_here)
    @rule()
    def somebody_here_gives_up(self) -> None:
        self.waiting_here -= 1
        self.serve()

    @rule(name=st.sampled_from(FLOWS))
    def ends(self, name: str) -> None:
        self.room.close(name)
        self.flows[name] = Flow()
        self.waiting[name] = 0
        self.to_room[name].clear()
        self.to_flow[name].clear()
        self.serve()

    @invariant()
    def holds_no_more_than_it_can(self) -> None:
        if hasattr(self, "room"):
            assert self.queued + self.room.ahead <= self.capacity
            assert self.room.ahead >= 0
            assert max((flow.credit for flow in self.flows.values()), default=0) <= max(self.capacity // 2, 1)

    @property
    def left(self) -> int:
        return sum(self.waiting.values()) + self.waiting_here

    def teardown(self) -> None:
        """When nothing more is sent, everything that waits comes through, whoever else is idle; nothing stays taken."""
        if not hasattr(self, "room"):
            return
        idle = 0
        while idle < 3:  # rounds that brought nothing through
            left = self.left
            for name in FLOWS:
                while self.to_flow[name] or self.to_room[name]:
                    self.hears(name)
                    self.arrives(name)
                    self.holds_no_more_than_it_can()
            self.queued = 0
            self.serve()
            idle = idle + 1 if left == self.left else 0
        assert not self.left, f"{self.waiting} and {self.waiting_here} here never got a place"
        assert all(flow.credit >= 0 for flow in self.flows.values())
        for name in FLOWS:
            self.room.close(name)
        assert self.room.ahead == 0, "places are kept for flows that have ended"


STEPS = settings(max_examples=60, stateful_step_count=60, deadline=None)
FINDS = settings(STEPS, max_examples=600, phases=[Phase.generate], report_multiple_bugs=False, database=None)


def test_for_all_histories_grants_and_messages_fit_the_mailbox_and_everybody_gets_a_place() -> None:
    run_state_machine_as_test(Mailbox, settings=STEPS)


def everybody_always_has_something_to_send(
    capacity: int, flows: int, here: int, seed: int, room_class: Callable[[int], Room[str]]
) -> dict[str, int]:
    """Return how many messages each has sent when many were handled, one by one, over links that take their time."""
    world, random = Mailbox(), Random(seed)
    world.room_class = room_class
    world.open(capacity)
    senders = FLOWS[:flows]
    for _ in range(400):
        world.somebody_here_sends(here - world.waiting_here)
        for name in random.sample(senders, flows):
            if not world.waiting[name]:
                world.has_something_to_send(name, random.randint(1, 3))
            for _ in range(random.randint(0, 3)):
                world.arrives(name)
            for _ in range(random.randint(0, 3)):
                world.hears(name)
        if world.queued:
            world.worker_takes(1)
        world.holds_no_more_than_it_can()
    return {name: world.flows[name].sent for name in senders} | ({"here": world.sent_here} if here else {})


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 6), st.integers(1, 4), st.integers(0, 3), st.integers(0, 10**6))
@example(capacity=1, flows=1, here=1, seed=0)
@example(capacity=1, flows=4, here=3, seed=0)
@example(capacity=2, flows=4, here=0, seed=0)
def test_nobody_starves_when_everybody_always_has_something_to_send(
    capacity: int, flows: int, here: int, seed: int
) -> None:
    sent = everybody_always_has_something_to_send(capacity, flows, here, seed, Room)

    assert min(sent.values()) >= 10, sent


class LetsFlowsGoFirst(Room[str]):
    def grant(self, queued: int, waiting_here: int) -> dict[str, int]:
        return super().grant(queued, 0)


class LetsThoseHereGoFirst(Room[str]):
    def grant(self, queued: int, waiting_here: int) -> dict[str, int]:
        self._here_is_next = True
        return super().grant(queued, waiting_here)


class AsksNobody(Room[str]):
    def ask_back(self, queued: int, waiting_here: int) -> list[str]:
        return []


class ServesTheSameFirst(Room[str]):
    def grant(self, queued: int, waiting_here: int) -> dict[str, int]:
        self._flows = dict(sorted(self._flows.items()))
        return super().grant(queued, waiting_here)


@pytest.mark.parametrize("broken", [LetsFlowsGoFirst, LetsThoseHereGoFirst, ServesTheSameFirst])
def test_the_law_notices_a_room_that_lets_somebody_starve(broken: type[Room[str]]) -> None:
    sent = everybody_always_has_something_to_send(1, 3, 2, 0, broken)

    assert min(sent.values()) < 10, sent


class GrantsTooMuch(Room[str]):
    def grant(self, queued: int, waiting_here: int) -> dict[str, int]:
        return super().grant(max(queued - 1, 0), waiting_here)


class ForgetsWhoWaits(Room[str]):
    def want(self, flow: str, wanted: int) -> None:
        if not self.ahead or self.ahead < self.capacity - 1:
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


@pytest.mark.parametrize(
    "broken", [GrantsTooMuch, ForgetsWhoWaits, ForgetsWhatArrived, KeepsPlacesOfThoseWhoHaveGone, AsksNobody]
)
def test_the_laws_notice_a_broken_room(broken: type[Room[str]]) -> None:
    class Broken(Mailbox):
        room_class = broken

    with pytest.raises(AssertionError):
        run_state_machine_as_test(Broken, settings=FINDS)


def test_a_flow_that_wants_nothing_holds_no_places() -> None:
    room: Room[str] = Room(10)

    room.want("a", 0)

    assert room.grant(0, 0) == {}
    assert room.is_free(9)


def test_a_mailbox_of_one_place_serves_all_flows_in_turn() -> None:
    room: Room[str] = Room(1)
    for flow in FLOWS:
        room.want(flow, 100)

    served = []
    for _ in range(8):
        ((flow, _),) = room.grant(0, 0).items()
        served.append(flow)
        room.arrive(flow)

    assert served == FLOWS * 2


def test_a_place_that_many_want_is_given_to_flows_and_to_those_here_by_turns() -> None:
    room: Room[str] = Room(1)
    room.want("a", 100)

    served = []
    for _ in range(4):
        if room.grant(0, 1):
            served.append("a")
            room.arrive("a")
        else:
            served.append("here")
            room.taken_here()

    assert served == ["a", "here", "a", "here"]


@pytest.mark.parametrize(("waiting_here", "kept"), [(0, 0), (1, 1), (9, 4)])
def test_a_fair_share_of_the_free_places_is_kept_for_those_who_wait_here(waiting_here: int, kept: int) -> None:
    room: Room[str] = Room(12)
    room.want("a", 100)
    room.want("b", 100)

    granted = room.grant(0, waiting_here)

    assert sum(granted.values()) == 12 - kept


def test_a_flow_has_no_more_than_half_of_a_mailbox_ahead() -> None:
    room: Room[str] = Room(10)
    room.want("a", 100)

    assert room.grant(0, 0) == {"a": 5}


def test_a_fast_worker_is_not_kept_waiting_for_grants() -> None:
    room: Room[str] = Room(2000)
    room.want("a", 10_000)
    total = room.grant(0, 0)["a"]
    assert total == WINDOW

    for arrived in range(1, WINDOW + 1):
        room.arrive("a")
        total = room.grant(0, 0).get("a", total)

        assert total - arrived >= WINDOW // 2  # more is granted before the half is used up


def test_places_that_a_flow_does_not_use_are_asked_back_for_those_on_this_node() -> None:
    room: Room[str] = Room(4)
    room.want("a", 4)
    room.grant(0, 0)
    room.want("b", 4)
    room.grant(0, 0)
    assert not room.is_free(0)

    asked = room.ask_back(0, 1)
    again = room.ask_back(0, 1)
    room.give_back("a", 1)

    assert (asked, again) == (["a", "b"], [])
    assert room.is_free(0)  # the one that was sent is still on its way, and "b" has not answered
    assert not room.is_free(1)


def test_places_that_a_flow_does_not_use_are_asked_back_for_a_flow_that_has_nothing() -> None:
    room: Room[str] = Room(1)
    room.want("a", 16)
    room.grant(0, 0)
    room.want("b", 1)

    asked = room.ask_back(0, 0)
    room.give_back("a", 0)

    assert asked == ["a"]
    assert room.grant(0, 0) == {"b": 1}


def test_nothing_is_asked_back_while_messages_in_the_mailbox_make_room_soon() -> None:
    room: Room[str] = Room(3)
    room.want("a", 1)
    room.grant(0, 0)
    room.want("b", 1)

    assert room.ask_back(2, 1) == []
    assert room.ask_back(2, 0) == []


def test_what_is_known_to_be_on_its_way_is_not_asked_back_again() -> None:
    room: Room[str] = Room(1)
    room.want("a", 1)
    room.grant(0, 0)
    room.ask_back(0, 1)
    room.give_back("a", 1)

    assert room.ask_back(0, 1) == []


def test_a_flow_that_was_asked_to_give_back_is_granted_nothing_until_it_has_answered() -> None:
    room: Room[str] = Room(4)
    room.want("a", 2)
    room.want("b", 9)
    room.grant(0, 0)
    room.ask_back(0, 1)

    room.close("a")
    while_it_is_asked = room.grant(0, 0)
    room.give_back("b", 0)
    room.want("b", 9)

    assert while_it_is_asked == {}  # what it answers is about what it had when it was asked
    assert room.grant(0, 0) == {"b": 2}


def test_a_message_without_credit_is_noticed() -> None:
    room: Room[str] = Room(4)

    assert not room.arrive("a")


@given(st.lists(st.integers(0, 1000)))
def test_totals_may_be_heard_twice_and_late(totals: list[int]) -> None:
    flow = Flow()

    for total in totals:
        flow.granted(total)

    assert flow.credit == max(totals, default=0)


def replies_in_time(flow: Flow, room: Room[str], waiting: int) -> int | None:
    """Say what a flow wants, and let it hear what it is granted."""
    wanted = flow.want(waiting)
    if wanted is not None:
        room.want("a", wanted)
        for total in room.grant(0, 0).values():
            flow.granted(total)
    return wanted


def test_a_lone_caller_waits_for_credit_once_and_says_what_it_wants_every_8_messages() -> None:
    flow, room = Flow(), Room[str](1000)
    replies_in_time(flow, room, 1)

    said = []
    for message in range(1, 41):
        assert flow.credit
        flow.send()
        assert room.arrive("a")
        if replies_in_time(flow, room, 0) is not None:
            said.append(message)

    assert said == [8, 16, 24, 32, 40]


def test_a_fast_producer_soon_has_a_whole_window_ahead() -> None:
    flow, room = Flow(), Room[str](2000)

    ahead = []
    for _ in range(3 * WINDOW):
        if not flow.credit:
            flow.stalled()
            replies_in_time(flow, room, 1)
            ahead.append(flow.credit)
        flow.send()
        room.arrive("a")

    assert ahead[:7] == [FIRST_WINDOW, 32, 64, 128, 256, WINDOW, WINDOW]


def test_many_who_wait_for_the_same_credit_do_not_ask_for_more_and_more_ahead() -> None:
    flow = Flow()

    for _ in range(5):
        flow.stalled()

    assert flow.want(1) == FIRST_WINDOW


def test_who_gave_back_asks_for_nothing_ahead_until_it_sends_again() -> None:
    flow = Flow()
    flow.granted(FIRST_WINDOW)
    flow.send()
    flow.stalled()

    assert flow.give_back() == 1

    assert flow.want(0) is None
    assert flow.want(1) == 1 + FIRST_WINDOW
