"""What a node says of itself is what another one has of it in the end, however questions and answers overtake."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from autonomy._sansio.members import STARTING, Member
from autonomy._sansio.roster import Standing
from autonomy._sansio.tellings import (
    MOST_NAMES,
    Answer,
    Change,
    Everything,
    Farewell,
    Heard,
    Own,
    Telling,
    check_everything,
    check_names,
    read_answer,
    read_telling,
    write,
)

ME = Member("a", "1", "wss://a:1", "a", ready=True)
NAMES = ("x", "y", "z")


@dataclass
class Listener:
    """The other node: it has heard `names` of this one, or None if it does not know it."""

    heard: Heard = field(default_factory=Heard)
    names: set[str] | None = None

    def hear(self, told: Telling) -> Standing:
        """Do as a node does that is told something."""
        counts = self.heard.takes("a", told)
        if isinstance(told, Farewell):
            self.names = None if counts else self.names
            return "unknown"
        if isinstance(told, Everything):
            self.names = set(told.names) if counts else self.names
            return "member"
        if not counts or self.names is None:
            return "unknown"
        self.names = (self.names | set(told.added)) - set(told.removed)
        return "member"


names = st.frozensets(st.sampled_from(NAMES))
steps = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["enter", "add", "remove"]), names),
        st.tuples(st.sampled_from(["leave", "say", "hear", "answer", "say late", "hear late", "lose"]), st.none()),
    ),
    max_size=30,
)


@given(steps)
@example([("enter", {"x"}), ("say", None), ("hear", None), ("enter", set()), ("answer", None)])
@example([("enter", {"x"}), ("say late", None), ("leave", None), ("say", None), ("hear", None), ("hear late", None)])
@example([("enter", set()), *[(what, None) for what in ("say", "hear", "answer")], ("add", {"x"}), ("add", {"y"})])
def test_in_the_end_the_other_node_has_what_this_one_says(steps: list[tuple[str, set[str] | None]]) -> None:
    """Would catch: changes that are applied to another state than they are of; an answer that was read late and revives
    a node that has left, or takes back what it said since."""
    own, listener = Own("1", "zone"), Listener()
    own.begin("b")
    owned: set[str] | None = None
    said: Telling | None = None
    standing: Standing | None = None
    late: Everything | None = None
    for what, names in [*steps, ("hear", None), ("answer", None)]:
        match what:
            case "enter":
                owned = set(names or ())
                own.enter(ME, owned, 0.0)
            case "leave":
                owned = None
                own.leave()
            case "add" | "remove" if owned is not None:
                added, removed = (names or set(), set[str]()) if what == "add" else (set[str](), names or set())
                owned = (owned | added) - removed
                own.change(added, removed, ready=True)
            case "say" if said is None:
                said = own.next_for("b", 0.0)
            case "hear" if said is not None and standing is None:
                standing = listener.hear(said)
            case "answer" if said is not None and standing is not None:
                own.answered("b", said, standing)
                said = standing = None
            case "say late" if late is None:  # what it says in an answer, which is read at some time
                late = own.everything(0.0)
            case "hear late" if late is not None:
                listener.hear(late)
                late = None
            case "lose":  # the session: nothing that was under way arrives any more
                own.failed("b")
                said, standing, late, listener = None, None, None, Listener()

    for _ in range(3):
        while (telling := own.next_for("b", 0.0)) is not None:
            own.answered("b", telling, listener.hear(telling))
        own.change([], [], ready=True)  # a sign of life, which shows what was missed

    assert listener.names == owned


def test_a_node_is_told_everything_first_and_then_what_has_changed() -> None:
    own = Own("1", "zone")
    own.begin("b")
    assert own.next_for("b", 0.0) is None  # it is not in the zone yet
    own.enter(ME, ["x"], 0.0)

    first = own.next_for("b", 0.0)
    assert first == Everything("1", 1, "zone", ME, ("x",))
    assert own.is_awaited("b", own.version)
    own.answered("b", first, "member")
    assert not own.is_awaited("b", own.version)
    assert own.next_for("b", 0.0) is None

    own.change(["y"], ["x"], ready=True)
    assert own.next_for("b", 0.0) == Change("1", 2, ("y",), ("x",), True)


def test_a_node_without_news_gives_a_sign_of_life() -> None:
    own = Own("1", "zone")
    own.begin("b")
    own.enter(ME, [], 0.0)
    told = own.next_for("b", 0.0)
    assert told is not None
    own.answered("b", told, "member")

    own.change([], [], ready=True)

    assert own.next_for("b", 0.0) == Change("1", 1, ready=True)


def test_nobody_waits_for_a_node_that_fails_to_answer_and_then_it_is_told_everything() -> None:
    own = Own("1", "zone")
    own.begin("b")
    own.enter(ME, ["x"], 0.0)
    own.next_for("b", 0.0)

    own.failed("b")

    assert not own.is_awaited("b", own.version)
    assert isinstance(own.next_for("b", 0.0), Everything)


def test_a_node_that_has_been_starting_for_long_says_that_it_is_ready() -> None:
    own = Own("1", "zone")
    own.enter(Member("a", "1"), [], 100.0)

    early, late = own.everything(100.0 + STARTING - 0.1), own.everything(100.0 + STARTING)

    assert early is not None
    assert late is not None
    assert [early.member.ready, late.member.ready] == [False, True]


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        (Everything("1", 1, "zone", Member("b", "1")), "of itself alone"),
        (Everything("2", 1, "zone", Member("a", "1")), "of itself alone"),
        (Everything("1", 1, "elsewhere", Member("a", "1")), "in the zone 'elsewhere', and this one in 'zone'"),
        (Everything("1", 1, "zone", Member("a", "1", address="x" * 2000)), "address is longer"),
        (Everything("1", 1, "zone", Member("a", "1", lease=1e9)), "lease must be"),
        (Everything("1", 1, "zone", Member("a", "1"), ("a b",)), "worker name 'a b'"),
    ],
)
def test_what_a_node_may_not_say_is_refused(said: Everything, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        check_everything(said, "a", "zone")


def test_names_are_bounded() -> None:
    check_names(["x"], MOST_NAMES - 1)
    with pytest.raises(ValueError, match="100000 names, got 100001"):
        check_names(["x"], MOST_NAMES)


@pytest.mark.parametrize(
    "message",
    [Everything("1", 1, "zone", ME, NAMES), Change("1", 2, ("x",), ("y",), True), Farewell("1", 3)],
    ids=lambda message: type(message).__name__,
)
def test_messages_are_read_as_they_were_written(message: Telling) -> None:
    assert read_telling(write(message)) == message
    answer = Answer("unknown", message if isinstance(message, Everything) else None, "no")
    assert read_answer(write(answer)) == answer
