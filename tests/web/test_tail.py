"""One file is read on, whatever happens to it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from autonomy._web.tail import Place, Tail


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "main.log"


@pytest.fixture
def tail(path: Path) -> Iterator[Tail]:
    with Tail(path) as tail:
        yield tail


def add(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def test_what_is_added_comes_and_nothing_comes_twice(path: Path, tail: Tail) -> None:
    assert tail.read() == b""  # there is no file yet

    add(path, b"one\n")
    assert (tail.read(), tail.read()) == (b"one\n", b"")

    add(path, b"two\n")
    assert (tail.read(2), tail.read(), tail.read()) == (b"tw", b"o\n", b"")
    assert tail.files == 1


def test_a_file_cut_short_is_read_from_its_beginning(path: Path, tail: Tail) -> None:
    add(path, b"before\n")
    tail.read()

    path.write_bytes(b"new\n")

    assert (tail.read(), tail.read()) == (b"", b"new\n")
    assert tail.files == 2


def test_the_end_of_a_replaced_file_comes_before_the_beginning_of_the_new_one(path: Path, tail: Tail) -> None:
    add(path, b"one\n")
    tail.read()

    add(path, b"last\n")
    path.rename(path.with_suffix(".1"))
    add(path, b"first\n")

    assert (tail.read(), tail.read(), tail.read()) == (b"last\n", b"first\n", b"")
    assert tail.files == 2


def test_a_removed_file_may_come_back(path: Path, tail: Tail) -> None:
    add(path, b"one\n")
    tail.read()

    path.unlink()
    assert tail.read() == b""

    add(path, b"two\n")
    assert tail.read() == b"two\n"


def test_a_pipe_a_folder_and_a_device_are_no_logs(path: Path, tail: Tail) -> None:
    os.mkfifo(path)

    assert tail.read() == b""
    for other in (path.parent, Path("/dev/zero")):
        with Tail(other) as odd:
            assert (odd.read(), odd.behind) == (b"", 0)


def test_what_is_skipped_ends_where_a_line_does(path: Path, tail: Tail) -> None:
    add(path, b"".join(b"line %d\n" % number for number in range(100)))

    skipped = tail.skip(20)

    assert tail.read() == b"line 98\nline 99\n"
    assert skipped == tail.offset - 16
    assert tail.skip(20) == 0


def test_reading_goes_on_where_it_stopped(path: Path, tail: Tail) -> None:
    add(path, b"one\ntwo\nthr")
    tail.read()
    place = Place.parse(str(tail.place(before=3)))

    with Tail(path, place) as again:
        assert again.read() == b"thr"


@pytest.mark.parametrize("content", [b"", b"1\n", b"another file, without a line that ended there"])
def test_a_place_in_another_file_counts_for_nothing(path: Path, tail: Tail, content: bytes) -> None:
    add(path, b"one\ntwo\n")
    tail.read()
    place = tail.place(before=0)

    path.write_bytes(content)

    with Tail(path, place) as again:
        assert again.read() == content


@pytest.mark.parametrize("text", ["", ".", "1", "1.", "x.1", "1.-2", "-1.2", f"{2**70:x}.1", f"1.{2**63:x}"])
def test_what_is_no_place_is_none(text: str) -> None:
    assert Place.parse(text) is None
