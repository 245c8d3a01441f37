"""The pages about the command and the zone file, which are made from their code."""

from __future__ import annotations

from tools import cli_reference, zone_file_reference

from autonomy._cli.command import FAILED, INTERRUPTED, NOT_THERE, USAGE


def test_the_page_about_the_command_is_up_to_date() -> None:
    page = cli_reference.PAGE.read_text()

    assert cli_reference.updated(page) == page, "run: python tools/cli_reference.py"
    assert list(cli_reference.CODES) == [0, FAILED, USAGE, NOT_THERE, INTERRUPTED]


def test_the_page_about_the_zone_file_is_up_to_date() -> None:
    page = zone_file_reference.PAGE.read_text()

    assert zone_file_reference.updated(page) == page, "run: python tools/zone_file_reference.py"
    assert "| container | `name` | 1 to 63 of" in page
    assert "| `WORKDIR` |" in page
