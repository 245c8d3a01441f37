"""The page about the command, which is made from its code."""

from __future__ import annotations

from tools import cli_reference

from autonomy._cli.command import FAILED, INTERRUPTED, NOT_THERE, USAGE


def test_the_page_about_the_command_is_up_to_date() -> None:
    page = cli_reference.PAGE.read_text()

    assert cli_reference.updated(page) == page, "run: python tools/cli_reference.py"
    assert list(cli_reference.CODES) == [0, FAILED, USAGE, NOT_THERE, INTERRUPTED]
