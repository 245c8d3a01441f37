"""The strict part of YAML: mappings, lists and text, each with the place where it stands.

The rule of this file: whatever one reader could take otherwise than another is refused, with its line and column.
There are no types here either: ``no``, ``12:30:45`` and ``1.10`` are the texts that somebody wrote, and who wants a
number or a statement asks for one. Aliases could make a file of 300 bytes a million leaves; duplicate keys hide one
another; tags construct objects.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from ..errors import ZoneFileError

MAX_BYTES = 64 * 1024
MAX_DEPTH = 32
_NUMBER = re.compile(r"0|[1-9][0-9]{0,8}")
_RIGHT = (
    ("character '\\t'", "indent with spaces"),
    (
        "mapping values",
        "write each key on a line of its own, as 'key: value', and a text that has ': ' in it in quotes",
    ),
    ("sequence entries", "begin a list on the line after its key, each item as '- item'"),
    ("another document", "write one, without lines of '---'"),
    ("<block end>", "begin what belongs together in the same column"),
    ("expected ':'", "write keys as 'key: value'"),
    ("without an end", "close the quote that begins here"),
    ("cannot start any token", "put a text that begins like this in quotes"),
    ("expected ','", "close the bracket, and put commas between what is in it"),
    ("escape character", "write it in single quotes"),
)
"""What would be right where the parser says one of these."""


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a file; line and column count from 1."""

    path: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column}"

    def complaint(self, text: str) -> ZoneFileError:
        """Return the error that says `text` about this place."""
        return ZoneFileError(text, path=self.path, line=self.line, column=self.column)


@dataclass(frozen=True, slots=True)
class Text:
    """A scalar, as it was written."""

    place: Place
    text: str
    plain: bool
    """Whether it stood without quotes, so that ``3`` may be a number."""


@dataclass(frozen=True, slots=True)
class Items:
    """A list."""

    place: Place
    items: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A mapping, whose keys are texts and differ."""

    place: Place
    entries: tuple[tuple[Text, Value], ...]


Value = Text | Items | Table


def read_yaml(path: Path) -> Value:
    """Return what a file of at most 64 KiB holds.

    Raises:
        ZoneFileError: It cannot be read, or it is not YAML, or not the strict part of it.
    """
    start = Place(str(path), 1, 1)
    return parse_yaml(read_small_file(path, start, MAX_BYTES), str(path))


def read_small_file(path: Path, place: Place, max_bytes: int) -> str:
    """Return the text of a plain file; complain about `place` if that cannot be."""
    try:
        # O_NONBLOCK: opening a pipe would wait for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise place.complaint(f"{str(path)!r} cannot be read: {error.strerror}") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise place.complaint(f"{str(path)!r} is not a plain file")
    with os.fdopen(descriptor, "rb") as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise place.complaint(f"{str(path)!r} has more than {max_bytes // 1024} KiB, which is the most that is read")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        line, column = before.count(b"\n") + 1, error.start - before.rfind(b"\n")
        raise Place(str(path), line, column).complaint("this is not UTF-8 text: save the file as UTF-8") from None


def parse_yaml(text: str, path: str) -> Value:
    """Return what `text` says; `path` is for complaints."""
    try:
        node = _Strict(text, path).get_single_node()
    except yaml.MarkedYAMLError as error:
        raise _not_yaml(error, path) from None
    except yaml.reader.ReaderError as error:
        raise _of_offset(text, path, error.position).complaint(
            f"character {chr(error.character)!r} is not allowed in YAML"
        ) from None
    if node is None:
        raise Place(path, 1, 1).complaint("the file is empty: a zone file has the keys name and pods")
    return _value(node, path)


def _not_yaml(error: yaml.MarkedYAMLError, path: str) -> ZoneFileError:
    """Say what is wrong, and what would be right: of a quote that is never closed, where it begins."""
    problem, mark = error.problem or error.context or "", error.problem_mark or error.context_mark
    if "quoted scalar" in (error.context or "") and "unexpected end" in problem:
        problem, mark = "quoted scalar without an end", error.context_mark
    right = next((f"; {each}" for sign, each in _RIGHT if sign in problem), "")
    place = Place(path, 1, 1) if mark is None else _place(path, mark)
    return place.complaint(f"this is not YAML: {problem}{right}")


class _Strict(yaml.SafeLoader):
    """Composes nodes and refuses, where they stand, those that have no place here."""

    def __init__(self, text: str, path: str) -> None:
        self._path = path
        self._depth = 0
        super().__init__(text)

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        place = _place(self._path, event.start_mark)
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise place.complaint("anchors and aliases (& and *) are not allowed: write it out")
        if getattr(event, "tag", None) is not None:
            raise place.complaint("tags (such as !!str) are not allowed: write the value alone, it is a text")
        if self._depth >= MAX_DEPTH:
            raise place.complaint(f"this is nested more than {MAX_DEPTH} deep")
        self._depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1


def _value(node: yaml.Node, path: str) -> Value:
    place = _place(path, node.start_mark)
    if isinstance(node, yaml.ScalarNode):
        return Text(place, node.value, plain=node.style is None)
    if isinstance(node, yaml.SequenceNode):
        return Items(place, tuple(_value(each, path) for each in node.value))
    return Table(place, tuple(_entries(node, path)))


def _entries(node: yaml.Node, path: str) -> Iterator[tuple[Text, Value]]:
    seen: dict[str, Place] = {}
    for key_node, value_node in node.value:
        key = _value(key_node, path)
        if not isinstance(key, Text):
            raise key.place.complaint("a key must be a text")
        if key.text in seen:
            raise key.place.complaint(f"key {key.text!r:.80} is here twice, first at {seen[key.text]}")
        seen[key.text] = key.place
        yield key, _value(value_node, path)


def _place(path: str, mark: yaml.Mark) -> Place:
    return Place(path, mark.line + 1, mark.column + 1)


def _of_offset(text: str, path: str, offset: int) -> Place:
    before = text[:offset]
    return Place(path, before.count("\n") + 1, offset - before.rfind("\n"))


# ---- asking for what a value should be


def as_text(value: Value, what: str) -> str:
    """Return a text that is not empty."""
    if not isinstance(value, Text) or (value.plain and value.text in ("", "~", "null")):
        raise value.place.complaint(f"{what} must be a text, got {_kind(value)}")
    return value.text


def as_number(value: Value, what: str, *, least: int, most: int) -> int:
    """Return a whole number within bounds."""
    if isinstance(value, Text) and value.plain and _NUMBER.fullmatch(value.text) and least <= int(value.text) <= most:
        return int(value.text)
    raise value.place.complaint(f"{what} must be a whole number from {least} to {most}, got {_kind(value)}")


def as_statement(value: Value, what: str) -> bool:
    """Return what ``true`` or ``false`` says."""
    if isinstance(value, Text) and value.plain and value.text in ("true", "false"):
        return value.text == "true"
    raise value.place.complaint(f"{what} must be true or false, got {_kind(value)}")


def as_items(value: Value, what: str, *, such: str) -> tuple[Value, ...]:
    """Return what a list holds, which is something; `such` is how one begins."""
    if isinstance(value, Items) and value.items:
        return value.items
    raise value.place.complaint(f"{what} must be a list with something in it, such as '{such}', got {_kind(value)}")


def as_table(value: Value, what: str, keys: Collection[str]) -> dict[str, Value]:
    """Return what a mapping holds, none but `keys`."""
    if not isinstance(value, Table):
        raise value.place.complaint(f"{what} must be a mapping with the keys {', '.join(keys)}, got {_kind(value)}")
    for key, _ in value.entries:
        if key.text not in keys:
            raise key.place.complaint(f"{what} has no key {key.text!r:.80}: write {', '.join(keys)}")
    return {key.text: each for key, each in value.entries}


def required(table: dict[str, Value], key: str, what: str, value: Value) -> Value:
    """Return one entry of the mapping that `value` is."""
    if key not in table:
        raise value.place.complaint(f"{what} needs the key {key!r}")
    return table[key]


def _kind(value: Value) -> str:
    match value:
        case Text(plain=True, text="" | "~" | "null"):
            return "nothing"
        case Text():
            return f"{value.text!r:.60}" if value.plain else f"the text {value.text!r:.60} in quotes"
        case Items():
            return "a list" if value.items else "an empty list"
        case Table():
            return "a mapping"
