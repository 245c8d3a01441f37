"""Plain data as bytes: what a worker's state may be made of when it goes to another node.

None, bool, int of any size, float, str, bytes, list, tuple, dict, set and frozenset, each of exactly that type: an enum
is no int here and a named tuple no tuple, for it would arrive as something else. The same state gives the same bytes;
the elements of sets are put in order. What `decode` returns is new, so nobody else has it.

Containers are arrays that begin with a number that says what they are, since msgpack alone has no tuples or sets.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from ..errors import CodeRefused
from .codec import UNREADABLE

MAX_BYTES: Final = 2**20
MAX_DEPTH: Final = 64

_LIST, _TUPLE, _DICT, _SET, _FROZENSET, _INT, _STR = range(7)
_SEQUENCES: Final[dict[type, int]] = {list: _LIST, tuple: _TUPLE}
_SETS: Final[dict[type, int]] = {set: _SET, frozenset: _FROZENSET}
_TYPES: Final[dict[int, Callable[[list[object]], object]]] = {
    _LIST: list,
    _TUPLE: tuple,
    _SET: set,
    _FROZENSET: frozenset,
}
_SAME_HASH: Final = 64
"""Keys that may have the same hash, which honest ones hardly ever have."""


class NotPlain(ValueError):
    """A value that is no plain data, or too much of it.

    Attributes:
        path: Keys and indexes that lead to it.
        value: It.
    """

    def __init__(self, text: str, path: tuple[object, ...], value: object) -> None:
        super().__init__(text)
        self.path = path
        self.value = value


def encode(value: object) -> bytes:
    """Return plain data as bytes.

    Raises:
        NotPlain: Something in it is not plain, it is larger than `MAX_BYTES`, nested deeper than `MAX_DEPTH`, or
            contains itself.
    """
    encoded = msgspec.msgpack.encode(_Encoder().tree(value, (), 0))
    if len(encoded) > MAX_BYTES:
        raise NotPlain(f"is {len(encoded):,} bytes, at most {MAX_BYTES:,} travel", (), value)
    return encoded


class _Encoder:
    """Turns values to what msgpack can carry, as long as there is room."""

    def __init__(self) -> None:
        self._room = MAX_BYTES

    def tree(self, value: object, path: tuple[object, ...], depth: int) -> object:
        kind = type(value)
        self._room -= 1 + (len(value) if isinstance(value, (str, bytes)) else 0)
        if self._room < 0:
            raise NotPlain(f"is where the state grows beyond {MAX_BYTES:,} bytes", path, value)
        if depth > MAX_DEPTH:
            raise NotPlain(f"is nested deeper than {MAX_DEPTH} levels, or contains itself", path[:4], value)
        if value is None or kind in (bool, float, bytes):
            return value
        if kind is int:
            return _int_tree(value)  # type: ignore[arg-type]  # type() does not narrow; so it is below
        if kind is str:
            return _str_tree(value)  # type: ignore[arg-type]
        if kind in _SEQUENCES:
            return [_SEQUENCES[kind], *self._items(value, path, depth)]  # type: ignore[arg-type]
        if kind in _SETS:
            return [_SETS[kind], *sorted(self._items(value, path, depth), key=msgspec.msgpack.encode)]  # type: ignore[arg-type]
        if kind is dict:
            return [_DICT, *self._pairs(value, path, depth)]  # type: ignore[arg-type]
        raise NotPlain(f"is not plain data: {_name_of(kind)}", path, value)

    def _items(self, values: Iterable[object], path: tuple[object, ...], depth: int) -> Iterable[object]:
        return (self.tree(each, (*path, index), depth + 1) for index, each in enumerate(values))

    def _pairs(self, values: dict[object, object], path: tuple[object, ...], depth: int) -> Iterable[object]:
        for key, each in values.items():
            yield self.tree(key, (*path, "a key"), depth + 1)
            yield self.tree(each, (*path, key), depth + 1)


def _int_tree(value: int) -> object:
    if -(2**63) <= value < 2**64:
        return value
    return [_INT, value.to_bytes(value.bit_length() // 8 + 1, signed=True)]


def _str_tree(value: str) -> object:
    try:
        value.encode()
    except UnicodeEncodeError:  # a lone surrogate, as in the names of odd files
        return [_STR, value.encode(errors="surrogatepass")]
    return value


def _name_of(kind: type) -> str:
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def decode(data: bytes) -> object:
    """Return what `encode` was given.

    Raises:
        CodeRefused: The bytes are no plain data.
    """
    if len(data) > MAX_BYTES:
        raise CodeRefused(f"the state has {len(data):,} bytes, at most {MAX_BYTES:,} are taken")
    try:
        return _value(msgspec.msgpack.decode(data), 0)
    except (*UNREADABLE, TypeError, ValueError) as error:  # a TypeError for a key that has no hash
        raise CodeRefused(f"the state is no plain data: {error}") from None


def _value(tree: object, depth: int) -> object:
    if tree is None or type(tree) in (bool, int, float, str, bytes):
        return tree
    if type(tree) is not list or not tree or type(tree[0]) is not int:
        raise ValueError(f"{type(tree).__name__} where a value should be")
    if depth > MAX_DEPTH:
        raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
    tag, *parts = tree
    if tag in (_INT, _STR):
        return _from_bytes(tag, parts)
    items = [_value(each, depth + 1) for each in parts]
    if tag == _DICT:
        return _dict_of(items)
    if tag not in _TYPES:
        raise ValueError(f"no kind of value has the number {tag}")
    if tag in (_SET, _FROZENSET):
        _check_keys(items)
    return _TYPES[tag](items)


def _from_bytes(tag: int, parts: list[object]) -> object:
    match parts:
        case [bytes() as data]:
            return int.from_bytes(data, signed=True) if tag == _INT else data.decode(errors="surrogatepass")
    raise ValueError("a number or a text without its bytes")


def _dict_of(items: list[object]) -> object:
    if len(items) % 2:
        raise ValueError("a key without a value")
    keys = items[::2]
    _check_keys(keys)
    return dict(zip(keys, items[1::2], strict=True))


def _check_keys(keys: list[object]) -> None:
    """Refuse keys that are there twice, and many of one hash, which would take the time of their square."""
    if keys and max(Counter(map(hash, keys)).values()) > _SAME_HASH:
        raise ValueError("too many keys of a set or dict have the same hash")
    if len(set(keys)) < len(keys):
        raise ValueError("a key of a set or dict is there twice")
