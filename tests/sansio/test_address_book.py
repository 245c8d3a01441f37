"""Whom to visit, of those whom DNS names."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from autonomy._sansio.address_book import AddressBook

A, B = "wss://10.0.0.1:1", "wss://10.0.0.2:1"


def book(*addresses: str) -> AddressBook:
    """Return a book of the node ``me``."""
    made = AddressBook("me")
    made.update(addresses)
    return made


def test_who_is_new_is_visited_once() -> None:
    made = book(A, B)

    assert made.visit([], 0.0) == [A, B]
    assert made.visit([], 0.0) == []
    assert made.is_waiting


def test_members_are_not_visited_however_they_write_their_address() -> None:
    made = book(A, "wss://[fd00::1]:1")

    assert made.visit(["wss://[10.0.0.1]:1", "wss://[fd00::1]:1"], 0.0) == []


def test_who_does_not_answer_is_visited_later_and_later() -> None:
    made, visits, now = book(A), [], 0.0
    while now < 30:
        for address in made.visit([], now):
            visits.append(now)
            made.failed(address, now)
        now += 0.5

    gaps = [later - earlier for earlier, later in pairwise(visits)]
    assert gaps[:4] == [1, 2, 4, 5]
    assert set(gaps[4:]) == {5}


def test_a_stranger_is_visited_after_a_minute() -> None:
    made = book(A)
    made.visit([], 0.0)
    made.failed(A, 0.0, 60.0)

    assert made.visit([], 59.9) == []
    assert made.visit([], 60.0) == [A]


def test_this_node_is_not_visited_again() -> None:
    made = book(A)
    made.visit([], 0.0)
    made.met(A, "me", 0.0)

    assert made.visit([], 1e9) == []


def test_who_was_met_and_could_not_be_spoken_to_is_visited_again_soon() -> None:
    made = book(A)
    made.visit([], 0.0)
    made.met(A, "a", 0.0)
    assert made.visit([], 10.0) == []

    made.lost("a", 10.0)

    assert made.visit([], 11.0) == [A]


def test_an_address_that_comes_again_is_new() -> None:
    made = book(A)
    made.visit([], 0.0)
    made.failed(A, 0.0, 60.0)

    made.update([B])
    made.update([A])

    assert made.visit([], 0.0) == [A]


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("update"), st.sets(st.sampled_from("abcd"))),
            st.tuples(st.sampled_from(["visit", "failed", "met", "lost"]), st.sampled_from("abcd")),
        )
    )
)
def test_all_that_are_there_are_visited_in_the_end(steps: list[tuple[str, object]]) -> None:
    """Would catch: an address that is taken for visited when nobody goes there, or for known when it is not."""
    made, now, listed, visited = AddressBook("me"), 0.0, set[str](), set[str]()
    for what, about in steps:
        now += 1
        name = str(about)
        if what == "update":
            assert isinstance(about, set)
            made.update(sorted(about))
            listed, visited = about, visited & about
        elif what == "visit":
            visited.update(made.visit([], now))
        elif what == "lost":
            made.lost(f"node-{name}", now)
        elif name in visited:
            visited.discard(name)
            made.failed(name, now) if what == "failed" else made.met(name, f"node-{name}", now)

    for name in visited:
        made.failed(name, now)
    assert set(made.visit([], now + 61)) == listed
