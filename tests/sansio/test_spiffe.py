"""Identities as text: one spelling each, and no other spelling is taken for it."""

from __future__ import annotations

import string
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from autonomy._sansio.spiffe import PeerIdentity, check_identity_name, check_zone_name, node_uri, parse_node_uri
from autonomy.errors import IdentityError

INNER = string.ascii_lowercase + string.digits + "._-"


def names(longest: int) -> st.SearchStrategy[str]:
    return st.from_regex(rf"[a-z0-9]([a-z0-9._-]{{0,{longest - 2}}}[a-z0-9])?", fullmatch=True).filter(
        lambda name: ".." not in name
    )


@given(names(128), names(253))
@example("a" * 128, "z" * 253)
def test_every_name_in_every_zone_comes_back_as_it_went_in(name: str, zone: str) -> None:
    assert parse_node_uri(node_uri(zone, name), zone) == check_identity_name(name)
    assert check_zone_name(zone) == zone


@given(names(12), names(12), names(12))
def test_no_node_of_one_zone_is_one_of_another(name: str, zone: str, other: str) -> None:
    if zone != other:
        with pytest.raises(IdentityError) as caught:
            parse_node_uri(node_uri(other, name), zone)
        assert caught.value.reason == "zone"


@given(st.text())
@example("spiffe://z/node/a\n")
@example("spiffe://z/node/a\N{LATIN SMALL LETTER DOTLESS I}")
@example("spiffe://z/node/\N{ARABIC-INDIC DIGIT ONE}")
def test_any_text_is_one_exact_identity_or_an_identity_error(text: str) -> None:
    try:
        name = parse_node_uri(text, "z")
    except IdentityError:
        return
    assert text == f"spiffe://z/node/{name}"


@given(names(20), st.data())
def test_one_changed_character_is_another_identity_or_none(name: str, data: st.DataObject) -> None:
    uri = node_uri("z.test", name)
    at = data.draw(st.integers(0, len(uri) - 1))
    changed = uri[:at] + data.draw(st.characters().filter(lambda each: each != uri[at])) + uri[at + 1 :]

    with suppress(IdentityError):
        assert parse_node_uri(changed, "z.test") != name


@pytest.mark.parametrize("name", ["", ".", "..", "-a", "a-", "a..b", "A", "ä", "a/b", "a\n", "a b", "a@b", "a" * 129])
def test_a_name_that_cannot_be_certified_is_a_value_error_that_says_what_can(name: str) -> None:
    with pytest.raises(ValueError, match="1 to 128 of the characters"):
        check_identity_name(name)


def test_a_name_that_is_no_text_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="zone name must be a str, got bytes"):
        check_zone_name(b"z")


def test_an_identity_does_not_print_its_certificate() -> None:
    peer = PeerIdentity("a", "z", 1, datetime(2031, 1, 1, tzinfo=UTC), b"der")

    assert peer.uri == "spiffe://z/node/a"
    assert "der" not in repr(peer)
