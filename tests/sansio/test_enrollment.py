"""Tickets, questions and answers of enrollment: what they carry, what they hide, and what they are good for."""

from __future__ import annotations

import json
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from fnmatch import fnmatchcase
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from autonomy._sansio import enrollment
from autonomy._sansio.enrollment import Lent, Question, Ticket, decode_ticket, encode_ticket, objection
from autonomy._sansio.renewal import pause_before_retry, renewal_due
from autonomy._sansio.tries import Tries

short_names = st.from_regex(r"\A[a-z0-9](?:[a-z0-9_-]{0,20}[a-z0-9])?\Z").filter(lambda name: name != "authority")
SECRET = secrets.token_urlsafe(32)


def ticket(**changes: Any) -> Ticket:
    fields: dict[str, Any] = {
        "v": 1,
        "zone": "shop",
        "cluster": "local",
        "at": "10.0.0.1:7401",
        "ca": ("ab" * 32,),
        "ref": "1f2e3d4c",
        "secret": SECRET,
        "until": 2_000_000_000,
        "names": "runner-*",
    }
    return Ticket(**fields | changes)


def lent(**changes: Any) -> Lent:
    fields: dict[str, Any] = {"ref": "1f", "names": "runner-*", "made": 0.0, "until": 600.0, "uses": 1}
    return Lent(**fields | changes)


# ---- tickets


@given(
    zone=st.from_regex(r"\A[a-z0-9]{1,10}\Z"),
    at=st.sampled_from(["10.0.0.1:7401", "[fe80::1]:1", "authority.shop.example:65535"]),
    names=short_names | st.sampled_from(["*", "runner-*", "r?"]),
    until=st.integers(0, 2**40),
)
def test_a_ticket_is_read_as_it_was_written(zone: str, at: str, names: str, until: int) -> None:
    made = ticket(zone=zone, at=at, names=names, until=until)

    text = encode_ticket(made)

    assert decode_ticket(text) == made
    assert decode_ticket(f" {text}\n") == made
    assert text.isascii()
    assert not set(text) & set(" \n='\"$")


def test_neither_repr_nor_str_shows_a_secret() -> None:
    question = Question(ref="1f", secret=SECRET, name="runner-1", request="pem")

    shown = [f(value) for value in (ticket(), question) for f in (repr, str, "{}".format)]

    assert not any(SECRET in each for each in shown)
    assert all("1f" in each for each in shown)


@given(cut=st.integers(0, 600))
def test_a_ticket_that_was_cut_short_is_refused_and_not_quoted(cut: int) -> None:
    whole = encode_ticket(ticket())

    with pytest.raises(ValueError, match=r"cut short|is empty") as caught:
        decode_ticket(whole[: min(cut, len(whole) - 1)])

    assert SECRET not in str(caught.value)


def test_a_ticket_of_another_version_says_so() -> None:
    with pytest.raises(ValueError, match="of version 2, and this library reads version 1"):
        decode_ticket(encode_ticket(ticket(v=2)))


@pytest.mark.parametrize(
    "wrong",
    [
        {"at": "nowhere"},
        {"at": "a:99999"},
        {"names": "UPPER"},
        {"zone": "../etc"},
        {"ca": ("00",)},
        {"secret": "short"},
    ],
)
def test_a_ticket_that_says_what_cannot_be_is_refused_without_quoting_it(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="does not say what a ticket says") as caught:
        decode_ticket(encode_ticket(ticket(**wrong)))

    assert SECRET not in str(caught.value)


@given(st.text(max_size=300) | st.binary(max_size=300).map(lambda data: urlsafe_b64encode(data).decode()))
@example("A" * 5000)
@example(urlsafe_b64encode(b"[" * 3000).decode().rstrip("="))
def test_no_text_whatever_raises_anything_but_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match="ticket"):
        decode_ticket(text)


@given(st.binary(max_size=300))
@example(b"[" * 8000)
def test_no_bytes_whatever_are_a_question_by_accident(data: bytes) -> None:
    with pytest.raises((ValueError, RecursionError)):
        enrollment.questions.decode(data)


def test_a_question_with_more_than_it_may_have_is_none() -> None:
    asked = json.loads(enrollment.written(Question(ref="1f", secret=SECRET, name="a", request="pem")))

    for more in ({"lifetime": 9}, {"ref": "../x"}, {"secret": SECRET + "x"}, {"name": ""}):
        with pytest.raises(ValueError, match=r"."):
            enrollment.questions.decode(json.dumps(asked | more).encode())


def test_what_a_ticket_holds_can_be_read_by_people() -> None:
    text = encode_ticket(ticket())

    assert json.loads(urlsafe_b64decode(text + "=="))["names"] == "runner-*"


# ---- what a ticket is good for


@given(
    names=st.sampled_from(["*", "runner-*", "runner-1", "r?nner-1"]),
    name=short_names | st.sampled_from(["runner-1", "runner-2", "authority", "UPPER", "a.b", ""]),
    now=st.floats(0, 2000),
    used=st.integers(0, 3),
    uses=st.integers(1, 3),
)
def test_a_ticket_is_good_only_for_its_names_in_its_time_and_so_often(
    names: str, name: str, now: float, used: int, uses: int
) -> None:
    problem = objection(lent(names=names, used=used, uses=uses), name, now)

    may_be = name not in ("authority", "UPPER", "a.b", "")
    assert (problem is None) == (may_be and fnmatchcase(name, names) and now < 600 and used < uses)
    assert problem is None or SECRET not in problem


def test_each_objection_says_what_is_wrong() -> None:
    assert "is good for nodes called 'runner-*', and this one is called 'main'" in str(objection(lent(), "main", 1))
    assert "ended 2 minutes ago" in str(objection(lent(), "runner-1", 600 + 125))
    assert "was good once, and is used up" in str(objection(lent(used=1), "runner-1", 1))
    assert "the zone's authority itself" in str(objection(lent(names="*"), "authority", 1))


@pytest.mark.parametrize(
    ("terms", "said"),
    [
        (("RUNNER", 60, 1), "names 'RUNNER'"),
        (("authority", 60, 1), "needs no ticket"),
        (("*", 0, 1), "1 second to 30 days"),
        (("*", 31 * 24 * 3600, 1), "1 second to 30 days"),
        (("*", 60, 0), "1 to 10000 uses"),
    ],
)
def test_terms_that_cannot_be_are_refused(terms: tuple[str, float, int], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        enrollment.check_terms(*terms)


# ---- when to renew


@given(issued=st.floats(0, 1e9), life=st.floats(1, 86400), chance=st.floats(0, 1))
def test_a_certificate_is_renewed_at_two_thirds_of_its_life_or_a_tenth_of_that_sooner_or_later(
    issued: float, life: float, chance: float
) -> None:
    due = renewal_due(issued, issued + life, chance)

    assert 0.59 * life <= due - issued <= 0.74 * life


@given(failures=st.integers(1, 10_000), left=st.floats(-1e6, 1e6))
@example(failures=2, left=12.0)  # a tenth of which is not what a float makes of it
def test_pauses_grow_and_never_use_up_what_is_left(failures: int, left: float) -> None:
    pause = pause_before_retry(failures, left)

    assert 1 <= pause <= 300
    assert pause <= max(left / 10, 1) * (1 + 1e-9)
    assert pause <= pause_before_retry(failures + 1, left)


# ---- how often strangers may fail


def test_whoever_fails_five_times_in_a_minute_waits_and_nobody_else_does() -> None:
    tries = Tries()
    for second in range(5):
        assert tries.pause("a", second) == 0
        tries.failed("a", second)

    assert tries.pause("a", 5) == 55
    assert tries.pause("b", 5) == 0
    assert tries.pause("a", 60) == 0


def test_a_walk_through_addresses_is_remembered_within_bounds() -> None:
    tries = Tries(most=1, remembered=10)

    for number in range(1000):
        tries.failed(str(number), 0)

    assert [number for number in range(1000) if tries.pause(str(number), 0)] == list(range(990, 1000))
