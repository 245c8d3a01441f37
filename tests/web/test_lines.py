"""A log becomes lines, whatever programs write and however it arrives."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autonomy._web.lines import LineCutter

logs = st.lists(st.sampled_from([b"a", b"bc", "é".encode(), b"\xff", b"\r", b"\n", b"\r\n", b"x" * 30]), max_size=30)


def lines_of(*pieces: bytes, longest: int = 20) -> list[str]:
    cutter = LineCutter(longest)
    lines = [line for piece in pieces for line in cutter.cut(piece)]
    return [*lines, cutter.unfinished]


@given(logs, st.lists(st.integers(0, 200), max_size=6))
def test_it_does_not_matter_how_a_log_is_cut_into_pieces(parts: list[bytes], cuts: list[int]) -> None:
    log = b"".join(parts)
    places = [0, *sorted(min(cut, len(log)) for cut in cuts), len(log)]
    pieces = [log[start:end] for start, end in pairwise(places)]

    assert lines_of(*pieces) == lines_of(log)


@given(logs)
def test_no_line_is_lost_or_made_up(parts: list[bytes]) -> None:
    log = b"".join(parts)

    assert len(lines_of(log)) == log.count(b"\n") + 1


@pytest.mark.parametrize(
    ("log", "lines"),
    [
        (b"one\ntwo\n", ["one", "two", ""]),
        (b"one\r\ntwo", ["one", "two"]),
        (b"10%\r50%\r100%\ndone\n", ["100%", "done", ""]),
        (b"10%\r20%\r", ["20%"]),
        (b"\xff\xfe caf\xc3\xa9\n", ["�� café", ""]),
        (b"\x1b[31mred\x1b[0m\n", ["\x1b[31mred\x1b[0m", ""]),
    ],
)
def test_lines_are_what_a_terminal_would_leave_of_them(log: bytes, lines: list[str]) -> None:
    assert lines_of(log) == lines


def test_of_a_line_without_end_only_the_beginning_is_held() -> None:
    cutter = LineCutter(100)

    for _ in range(1000):
        assert cutter.cut(b"x" * 1000) == []

    assert cutter.unfinished == "x" * 100 + " … 999900 more bytes"
    assert cutter.pending == 1_000_000
    assert cutter.cut(b"\nnext\n")[1:] == ["next"]
