"""Names and addresses: what may be one, and what the error says of anything else (N1, N2)."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autonomy._sansio.address import check_name, check_node_name, parse_address

ALLOWED = string.ascii_letters + string.digits + "_-"

names = st.text(ALLOWED, min_size=1, max_size=128)
node_names = st.text(ALLOWED, min_size=1, max_size=255)
no_texts = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.binary(), st.lists(st.text()))


@given(names)
def test_every_text_of_the_allowed_characters_is_a_name(name: str) -> None:
    assert check_name(name) == name


@given(node_names)
def test_every_text_of_the_allowed_characters_is_a_node_name(name: str) -> None:
    assert check_node_name(name) == name


@given(st.text(max_size=300))
def test_a_text_is_a_name_or_is_refused(text: str) -> None:
    wanted = 1 <= len(text) <= 128 and set(text) <= set(ALLOWED)

    if wanted:
        assert check_name(text) == text
    else:
        with pytest.raises(ValueError, match=r"write 1 to 128 of the characters A-Z a-z 0-9 _ -$"):
            check_name(text)


@given(no_texts)
def test_what_is_no_text_is_no_name(thing: object) -> None:
    for check in (check_name, check_node_name):
        with pytest.raises(TypeError, match=f"must be a str, got {type(thing).__name__}"):
            check(thing)


@pytest.mark.parametrize("name", ["", "a\n", "\na", "a b", "a.b", "a@b", "ä", "a\x00", "²", "a/b", "\u0661", "x" * 129])
def test_these_are_no_names(name: str) -> None:
    with pytest.raises(ValueError, match="worker name"):
        check_name(name)


@given(names)
def test_a_bare_name_is_an_address_without_a_node(name: str) -> None:
    assert parse_address(name) == (name, None)


@given(names, node_names)
def test_a_full_address_is_parted_at_its_at_sign(name: str, node: str) -> None:
    assert parse_address(f"{name}@{node}") == (name, node)


@given(st.text(ALLOWED + "@ .\n", max_size=20))
def test_an_address_is_parted_into_valid_names_or_refused(text: str) -> None:
    try:
        name, node = parse_address(text)
    except ValueError:
        return

    assert text == (name if node is None else f"{name}@{node}")
    assert check_name(name) == name
    assert node is None or check_node_name(node) == node


@given(no_texts)
def test_what_is_no_text_is_no_address(thing: object) -> None:
    with pytest.raises(TypeError, match=r"address must be a str such as 'echo' or 'echo@NODE'"):
        parse_address(thing)


def test_an_address_without_a_node_behind_its_at_sign_is_told_what_to_write() -> None:
    with pytest.raises(ValueError, match="has no node name") as caught:
        parse_address("echo@")

    assert str(caught.value) == (
        "address 'echo@' has no node name after '@'. "
        "Write 'echo' for a worker on this node, 'echo@NODE' for one elsewhere."
    )


@given(st.text(min_size=1), st.integers(300, 3000))
def test_an_error_about_a_huge_name_is_short(text: str, times: int) -> None:
    for check in (check_name, check_node_name, parse_address):
        with pytest.raises(ValueError, match="name") as caught:
            check(text * times)

        assert len(str(caught.value)) < 600
