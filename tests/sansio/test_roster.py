"""A zone's directory as a value: it says of each moment who is there and who owns what, as a simple model does."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import pytest
from hypothesis import assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from autonomy._sansio.members import LEASE, STARTING, Member
from autonomy._sansio.roster import Roster

NODES = ["a", "b", "c"]
NAMES = ["x", "y", "z"]
nodes = st.sampled_from(NODES)
names = st.frozensets(st.sampled_from(NAMES))


def member(name: str, life: int = 1, *, ready: bool = True) -> Member:
    return Member(name, f"{name}{life}", f"wss://{name}:{life}", name, ready=ready)


@dataclass
class Known:
    """A node in the model."""

    member: Member
    joined: float
    heard: float
    names: set[str] = field(default_factory=set)
    is_hearsay: bool = False

    def is_starting(self, now: float) -> bool:
        return self.is_hearsay or not (self.member.ready or now >= self.joined + STARTING)


class Follower:
    """Whoever applies changes one after the other, and caches owners of names, as nodes do."""

    def __init__(self) -> None:
        self.epoch, self.revision = "", 0
        self.members: dict[str, Member] = {}
        self.cached: dict[str, tuple[str, ...]] = {}

    def look(self, roster: Roster) -> None:
        changes = roster.changes(self.epoch, self.revision)
        self.epoch, self.revision = changes.epoch, changes.revision
        for name in changes.contested:
            self.cached.pop(name, None)
        if changes.whole:
            self.cached = {name: owners for name, owners in self.cached.items() if len(owners) == 1}
        here = {each.name for each in changes.joined}
        gone = {name for name in self.members if name not in here} if changes.whole else set(changes.left)
        for name in gone:
            self.members.pop(name, None)
        for each in changes.joined:
            if each.name in self.members and self.members[each.name].incarnation != each.incarnation:
                gone.add(each.name)
            self.members[each.name] = each
        self.cached = {name: owners for name, owners in self.cached.items() if gone.isdisjoint(owners)}

    def cache(self, roster: Roster, name: str, now: float) -> None:
        owners = roster.find(name, "nobody", None, now)
        if owners:
            self.cached[name] = owners


class RosterMachine(RuleBasedStateMachine):
    """Nodes come, go, fall silent and are started anew; the directory too is started anew."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0
        self.epochs = 0
        self.began = math.inf
        self.known: dict[str, Known] = {}
        self.displaced: set[str] = set()
        self.lives = dict.fromkeys(NODES, 1)
        self.followers = [Follower(), Follower()]
        self.neighbour = Follower()

    @initialize()
    def begin(self) -> None:
        self.roster = Roster("epoch 0")

    # --- what happens

    def _join(self, who: Member, owned: frozenset[str], told: list[Member]) -> None:
        displaced = who.incarnation in self.displaced and who.name in self.known
        assert self.roster.join(who, sorted(owned), told, self.now) == ("displaced" if displaced else "member")
        if displaced:
            return
        before = self.known.get(who.name)
        if before is not None and before.member.incarnation != who.incarnation:
            if not before.is_hearsay:
                self.displaced.add(before.member.incarnation)
            before = None
        joined = self.now if before is None else before.joined
        self.known[who.name] = Known(who, joined, self.now, set(owned))
        self.began = min(self.began, self.now)
        for other in told if self.now < self.began + LEASE else []:
            if other.name not in self.known and other.incarnation not in self.displaced:
                self.known[other.name] = Known(other, self.now, self.now, is_hearsay=True)

    @rule(name=nodes, owned=names, ready=st.booleans())
    def join(self, name: str, owned: frozenset[str], *, ready: bool) -> None:
        self._join(member(name, self.lives[name], ready=ready), owned, [])

    @rule(name=nodes, owned=names, ready=st.booleans())
    def join_anew(self, name: str, owned: frozenset[str], *, ready: bool) -> None:
        self.lives[name] += 1
        self._join(member(name, self.lives[name], ready=ready), owned, [])

    @rule(name=nodes, back=st.integers(1, 2))
    def join_late(self, name: str, back: int) -> None:
        assume(self.lives[name] > back)
        self._join(member(name, self.lives[name] - back), frozenset(), [])

    @rule(name=nodes, follower=st.integers(0, 1), owned=names)
    def join_and_tell(self, name: str, follower: int, owned: frozenset[str]) -> None:
        told = [each for each in self.followers[follower].members.values() if each.name != name]
        self._join(member(name, self.lives[name]), owned, told)

    def _standing(self, name: str, incarnation: str) -> str:
        known = self.known.get(name)
        if known is not None and known.member.incarnation == incarnation and not known.is_hearsay:
            return "member"
        return "displaced" if incarnation in self.displaced and known is not None else "unknown"

    @rule(name=nodes, added=names, removed=names, ready=st.booleans(), back=st.sampled_from([0, 0, 0, 1]))
    def publish(self, name: str, added: frozenset[str], removed: frozenset[str], back: int, *, ready: bool) -> None:
        incarnation = f"{name}{self.lives[name] - back}"
        standing = self._standing(name, incarnation)
        removed = removed - added
        assert (
            self.roster.publish(name, incarnation, sorted(added), sorted(removed), ready=ready, now=self.now)
            == standing
        )
        if standing == "member":
            known = self.known[name]
            known.heard = self.now
            known.names = (known.names - removed) | added
            if ready:
                known.member = replace_ready(known.member)

    @rule(name=nodes, back=st.integers(0, 1))
    def leave(self, name: str, back: int) -> None:
        incarnation = f"{name}{self.lives[name] - back}"
        self.roster.leave(name, incarnation)
        if name in self.known and self.known[name].member.incarnation == incarnation:
            del self.known[name]

    @rule(seconds=st.sampled_from([0.0, 0.5, 1.0, 3.0, 5.0, 9.5, 10.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        gone = {name for name, known in self.known.items() if self.now >= known.heard + LEASE}
        assert {each.name for each in self.roster.expire(self.now)} == gone
        for name in gone:
            del self.known[name]

    @rule()
    def nothing_happens_before_the_next_event(self) -> None:
        due = self.roster.next_event(self.now)
        times = [known.heard + LEASE for known in self.known.values()]
        times += [
            known.joined + STARTING
            for known in self.known.values()
            if known.is_starting(self.now) and not known.is_hearsay
        ]
        assert due == min(times, default=math.inf)
        assert due > self.now

    @rule(chance=st.integers(0, 7))
    def the_directory_is_started_anew(self, chance: int) -> None:
        assume(chance == 0)
        self.epochs += 1
        self.roster = Roster(f"epoch {self.epochs}")
        self.began, self.known, self.displaced = math.inf, {}, set()

    @rule(follower=st.integers(0, 1), name=st.sampled_from(NAMES))
    def somebody_looks(self, follower: int, name: str) -> None:
        self.followers[follower].look(self.roster)
        self.followers[follower].cache(self.roster, name, self.now)

    # --- what must hold

    @invariant()
    def it_is_whole(self) -> None:
        self.roster.check(pytest.fail)
        assert {each.name: each for each in self.roster.members} == {
            name: known.member for name, known in self.known.items()
        }

    @invariant()
    def names_are_found_or_waited_for(self) -> None:
        for name in NAMES:
            owners = tuple(sorted(node for node, known in self.known.items() if name in known.names))
            for asker in (*NODES, "nobody"):
                starts = any(known.is_starting(self.now) for node, known in self.known.items() if node != asker)
                assert self.roster.find(name, asker, None, self.now) == (owners or (None if starts else ()))
                for on in NODES:
                    waits = on in self.known and on != asker and self.known[on].is_starting(self.now)
                    expected = (on,) if on in owners else None if waits else ()
                    assert self.roster.find(name, asker, on, self.now) == expected

    @invariant()
    def who_follows_each_change_believes_nothing_that_nobody_would_correct(self) -> None:
        self.check(self.neighbour)
        for name in NAMES:
            self.neighbour.cache(self.roster, name, self.now)

    @rule()
    def changes_lead_from_each_state_to_this_one(self) -> None:
        for follower in self.followers:
            self.check(follower)

    def check(self, follower: Follower) -> None:
        follower.look(self.roster)
        assert follower.members == {each.name: each for each in self.roster.members}
        for name, cached in follower.cached.items():
            owners = self.roster.find(name, "nobody", None, self.now) or ()
            assert owners == cached or len(owners) < 2 > len(cached)  # then who does not have it any more refuses


def replace_ready(who: Member) -> Member:
    return Member(who.name, who.incarnation, who.address, who.short_name, ready=True)


RosterMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40)
TestRosterOfAllPlans = RosterMachine.TestCase


def test_who_knows_only_what_is_long_past_is_told_everything() -> None:
    roster, follower = Roster("epoch"), Follower()
    roster.join(member("a"), ["x"], [], 0.0)
    follower.look(roster)

    for _ in range(3000):
        roster.join(member("b"), ["x"], [], 0.0)
        roster.leave("b", "b1")
    roster.join(member("c"), ["x"], [], 0.0)
    changes = roster.changes("epoch", follower.revision)

    assert changes.whole
    assert [each.name for each in changes.joined] == ["a", "c"]
    assert changes.contested == ("x",)


def test_what_has_changed_often_is_told_once() -> None:
    roster = Roster("epoch")
    roster.join(member("a"), [], [], 0.0)
    since = roster.revision
    for _ in range(100):
        roster.join(member("b"), ["x"], [], 0.0)
        roster.leave("b", "b1")

    changes = roster.changes("epoch", since)

    assert (changes.joined, changes.left, changes.whole) == ((), ("b",), False)


def test_who_was_only_heard_of_is_believed_for_one_lease_and_keeps_names_in_doubt() -> None:
    # given a directory that was started anew, and is told of another node by the first one that comes
    roster = Roster("anew")
    roster.join(member("a"), [], [member("b")], 0.0)

    # then nobody is told that a name has no owner, before that node has come, or its lease has run out
    assert roster.find("x", "a", None, 1.0) is None
    assert roster.standing("b", "b1") == "unknown"
    roster.renew("a", "a1", 5.0)
    assert [each.name for each in roster.expire(LEASE)] == ["b"]
    assert roster.find("x", "a", None, LEASE) == ()


def test_after_its_first_lease_a_directory_hears_no_more_of_nodes_that_have_not_come() -> None:
    roster = Roster("epoch")
    roster.join(member("a"), [], [], 0.0)
    roster.renew("a", "a1", LEASE / 2)

    roster.join(member("a"), [], [member("b")], LEASE)

    assert [each.name for each in roster.members] == ["a"]
    assert roster.find("x", "a", None, LEASE) == ()


def test_a_start_that_was_displaced_stays_out_as_long_as_the_newer_one_is_there() -> None:
    roster = Roster("epoch")
    roster.join(member("a", 1), ["x"], [], 0.0)
    roster.join(member("a", 2), ["y"], [], 1.0)

    assert roster.join(member("a", 1), ["x"], [], 2.0) == "displaced"
    assert roster.renew("a", "a1", 2.0) == "displaced"
    roster.leave("a", "a1")
    assert roster.find("y", "b", None, 2.0) == ("a",)

    roster.leave("a", "a2")
    assert roster.join(member("a", 1), ["x"], [], 3.0) == "member"


def test_who_joins_again_is_starting_no_longer_than_before() -> None:
    roster = Roster("epoch")
    roster.join(member("a", ready=False), [], [], 0.0)
    roster.join(member("a", ready=False), [], [], STARTING - 1)

    assert roster.find("x", "b", None, STARTING - 1) is None
    assert roster.find("x", "b", None, STARTING) == ()
