"""Addresses of nodes: one way to write them, and everything else says what would be right."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autonomy._links.addresses import parse_address, reached_at, write_address


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("wss://example.org:7000", ("example.org", 7000)),
        ("wss://10.0.0.1:0", ("10.0.0.1", 0)),
        ("wss://[::1]:7000/", ("::1", 7000)),
        ("wss://[10.0.0.1]:7000", ("10.0.0.1", 7000)),  # where a pod's address is filled in, of whatever kind
    ],
)
def test_an_address_has_a_host_and_a_port(address: str, parts: tuple[str, int]) -> None:
    assert parse_address(address) == parts
    assert parse_address(write_address(*parts)) == parts


@pytest.mark.parametrize(
    "address",
    [
        "",
        "example.org:7000",
        "ws://example.org:7000",
        "https://example.org:7000",
        "wss://example.org",
        "wss://example.org:",
        "wss://:7000",
        "wss://example.org:70000",
        "wss://example.org:-1",
        "wss://example.org:seven",
        "wss://me@example.org:7000",
        "wss://me:secret@example.org:7000",
        "wss://example.org:7000/path",
        "wss://example.org:7000?query",
        "wss://example.org:7000#part",
        "wss://exa mple.org:7000",
        "wss://exa\nmple.org:7000",
        "wss://example\0.org:7000",
        "wss://[::1:7000",
        "wss://[10.0.0.1:7000",
        "wss://a[10.0.0.1]:7000",
        "wss://[10.0.0.1][10.0.0.2]:7000",
    ],
)
def test_what_is_no_address_is_refused_in_words(address: str) -> None:
    with pytest.raises(ValueError, match="wss://HOST:PORT"):
        parse_address(address)


@pytest.mark.parametrize("address", [None, 7000, b"wss://example.org:7000"])
def test_an_address_is_a_str(address: object) -> None:
    with pytest.raises(TypeError, match="must be a str"):
        parse_address(address)  # type: ignore[arg-type]  # that is what is tried


@given(st.text())
def test_any_text_is_an_address_or_a_value_error(text: str) -> None:
    for address in (text, "wss://" + text, f"wss://{text}:1"):
        try:
            host, port = parse_address(address)
        except ValueError:
            continue
        assert host
        assert 0 <= port < 2**16


@pytest.mark.parametrize(
    ("address", "listening", "reached"),
    [
        ("", "wss://10.0.0.1:7400", "wss://10.0.0.1:7400"),
        ("wss://a.example:7000", "wss://0.0.0.0:7400", "wss://a.example:7000"),
        ("wss://10.0.0.1:0", "wss://0.0.0.0:7400", "wss://10.0.0.1:7400"),
        ("wss://[::1]:0", "wss://[::]:7400", "wss://[::1]:7400"),
        ("wss://a.example:7000", "", "wss://a.example:7000"),
    ],
)
def test_port_zero_of_an_address_is_the_one_it_listens_on(address: str, listening: str, reached: str) -> None:
    assert reached_at(address, listening) == reached
