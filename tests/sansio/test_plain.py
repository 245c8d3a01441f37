"""The state of a worker on its way: plain data arrives as it was, and nothing else leaves."""

from __future__ import annotations

import enum
import math
import time
from collections import OrderedDict, namedtuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autonomy._sansio import plain
from autonomy.errors import CodeRefused

HASHABLE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=2**62)
    | st.floats(allow_nan=False)
    | st.text(st.characters())
    | st.binary(),
    lambda inner: st.lists(inner, max_size=3).map(tuple) | st.frozensets(inner, max_size=3),
    max_leaves=4,
)
PLAIN = st.recursive(
    HASHABLE | st.sets(HASHABLE, max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(HASHABLE, inner, max_size=4),
    max_leaves=8,
)
Point = namedtuple("Point", "x y")  # without types, as it is mostly written


class Colour(enum.IntEnum):
    RED = 1


class Text(str):
    """A str, and more."""

    __slots__ = ()


def same(one: object, other: object) -> bool:
    """Whether two values are equal, and of the same types all through."""
    return repr(_shape(one)) == repr(_shape(other))


def _shape(value: object) -> object:
    match value:
        case list() | tuple():
            return type(value), [_shape(each) for each in value]
        case dict():
            return dict, [(_shape(key), _shape(each)) for key, each in value.items()]
        case set() | frozenset():
            return type(value), sorted(repr(_shape(each)) for each in value)
    return type(value), value


@given(PLAIN)
def test_for_all_plain_data_what_is_encoded_is_decoded(value: object) -> None:
    assert same(plain.decode(plain.encode(value)), value)


@given(st.lists(HASHABLE, max_size=8))
def test_for_all_sets_the_order_in_which_they_grew_makes_no_difference(items: list[object]) -> None:
    grown = set(items)
    other: set[object] = set()
    other.update(reversed(list(grown)))

    assert plain.encode(grown) == plain.encode(other)


@pytest.mark.parametrize(
    "value",
    [10**4000, -(2**63), -(2**63) - 1, 2**64 - 1, 2**64, -0.0, math.inf, "\ud800", "\x00", b"", (), [], {}, set()],
    ids=lambda value: f"{value!r:.12}",
)
def test_values_at_the_edge_arrive(value: object) -> None:
    assert same(plain.decode(plain.encode([value])), [value])


def test_not_a_number_arrives() -> None:
    decoded = plain.decode(plain.encode(math.nan))

    assert isinstance(decoded, float)
    assert math.isnan(decoded)


@pytest.mark.parametrize(
    "value",
    [Colour.RED, Text("x"), Point(1, 2), OrderedDict(), bytearray(), object(), 1j, range(3), len, print, iter("")],
    ids=lambda value: type(value).__name__,
)
def test_what_is_not_exactly_plain_is_refused_with_the_way_to_it(value: object) -> None:
    with pytest.raises(plain.NotPlain) as caught:
        plain.encode({"jobs": [1, (value,)]})

    assert caught.value.path == ("jobs", 1, 0)
    assert caught.value.value is value
    assert type(value).__name__ in str(caught.value)


def test_a_key_that_is_not_plain_is_refused() -> None:
    with pytest.raises(plain.NotPlain) as caught:
        plain.encode({"jobs": {Point(1, 2): 3}})

    assert caught.value.path == ("jobs", "a key")


def test_what_contains_itself_is_refused() -> None:
    loop: list[object] = []
    loop.append(loop)

    with pytest.raises(plain.NotPlain, match="contains itself"):
        plain.encode(loop)


@pytest.mark.parametrize("value", ["x" * 2**21, [0] * 2**21, [["x" * 2**19]] * 4, [1.5] * 2**18], ids=range(4))
def test_what_is_too_large_is_refused(value: object) -> None:
    with pytest.raises(plain.NotPlain):
        plain.encode(value)


@pytest.mark.parametrize(
    "tree",
    [
        [],
        {},
        {"a": 1},
        ["x"],
        [True],
        [99],
        [2, 1],
        [2, 1, 1, 1, 1],
        [2, [0], 1],
        [3, [0, 1]],
        [3, 1, 1],
        [4, 1, 1.0],
        [5],
        [5, 1],
        [5, b"", b""],
        [6, b"\xff"],
        [6, "x"],
        pytest.param(msgspec.msgpack.Ext(1, b""), id="another type"),
        pytest.param(msgspec.msgpack.Ext(-1, b"\0\0\0\0"), id="a time"),
    ],
    ids=repr,
)
def test_bytes_that_are_no_plain_data_are_refused(tree: object) -> None:
    with pytest.raises(CodeRefused, match="no plain data"):
        plain.decode(msgspec.msgpack.encode(tree))


def test_bytes_that_are_nested_too_deeply_or_too_many_are_refused() -> None:
    tree: object = 1
    for _ in range(70):
        tree = [0, tree]

    for data in (msgspec.msgpack.encode(tree), b"\x91" * 2**19, b"\xdd\xff\xff\xff\xff", b"\xc4\x01" * 2**20):
        with pytest.raises(CodeRefused):
            plain.decode(data)


def test_keys_that_share_a_hash_do_not_keep_a_node_busy() -> None:
    prime = 2**61 - 1
    keys = [(number * prime).to_bytes(11) for number in range(1, 60_000)]
    ordinary = range(100, 30_000)

    begun = time.process_time()
    with pytest.raises(CodeRefused, match="same hash"):
        plain.decode(msgspec.msgpack.encode([3, *([5, key] for key in keys), *ordinary]))

    assert time.process_time() - begun < 5
