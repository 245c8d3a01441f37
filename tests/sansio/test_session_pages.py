"""The pages that are made from the code say what the code says."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from tools import session_diagram, wire_format

from autonomy._sansio.cargo import MAX_ITEMS, Item
from autonomy._sansio.frames import Frame
from autonomy._sansio.session_terms import TRANSITIONS, State


def test_the_diagram_is_up_to_date() -> None:
    page = session_diagram.PAGE.read_text()

    assert session_diagram.updated(page) == page, "run: python tools/session_diagram.py"
    assert page.count(" --> ") == len(TRANSITIONS) + 1
    assert {before for before, _, _ in TRANSITIONS} == set(State)


def test_the_tables_of_frames_and_items_are_up_to_date_and_none_is_missing() -> None:
    page = wire_format.PAGE.read_text()

    assert wire_format.updated(page) == page, "run: python tools/wire_format.py"
    for kind in get_args(Frame):
        assert f"### {kind.__name__.upper()} `0x{kind.__struct_config__.tag:02x}`" in page
        assert all(f"| `{field}` |" in page for field in kind.__struct_fields__)
    for kind in get_args(Item):
        assert f"### {kind.__name__} `{kind.__struct_config__.tag}`" in page
        assert all(f"| `{field}` |" in page for field in kind.__struct_fields__)
    assert f"at most {MAX_ITEMS:,}, in the order of sending" in page


def test_every_field_and_code_that_does_not_speak_for_itself_is_explained() -> None:
    silent = [line for line in Path(wire_format.PAGE).read_text().splitlines() if line.endswith("|  |")]

    assert not silent
