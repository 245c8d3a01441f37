"""Write the commands in docs/reference/cli.md, which are made from the code of the command.

`python tools/cli_reference.py` changes the page if it must; a test looks whether it is up to date.
"""

import inspect
from collections.abc import Iterator
from pathlib import Path

import click

from autonomy._cli.command import FAILED, INTERRUPTED, NOT_THERE, USAGE, main

PAGE = Path("docs/reference/cli.md")
BEGIN = "<!-- made by tools/cli_reference.py, from the command -->\n"
END = "<!-- end of what is made -->\n"
CODES = {
    0: "It is done. Also: Ctrl-C, SIGTERM or a closed terminal has ended `logs --follow`, `inlet`, or "
    "`deploy --attach` when all was up.",
    FAILED: "It was tried, and failed: a pod does not run, a port is taken. "
    "What was started goes on; the text says what is wrong.",
    USAGE: "The command, the zone file or a Dockerfile says what cannot be. Nothing was changed.",
    NOT_THERE: "There is no such zone on this machine.",
    INTERRUPTED: "It was interrupted before it was done.",
}


def commands() -> str:
    """Return every command, with its arguments and options, and the exit codes."""
    lines = [line for command, path in _all(main, ("autonomy",)) for line in _described(command, path)]
    codes = [f"| {code} | {meaning} |" for code, meaning in CODES.items()]
    return "\n".join([*lines, "## Exit codes", "", "| code | what it says |", "|---|---|", *codes, ""])


def _all(group: click.Group, path: tuple[str, ...]) -> Iterator[tuple[click.Command, tuple[str, ...]]]:
    """Yield all commands that do something, those of a group after one another."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from _all(command, (*path, name))
        else:
            yield command, (*path, name)


def _described(command: click.Command, path: tuple[str, ...]) -> Iterator[str]:
    context = click.Context(command, info_name=" ".join(path))
    pieces = [piece for piece in command.collect_usage_pieces(context) if piece != "[OPTIONS]"]
    options = [each for each in command.params if isinstance(each, click.Option) and not each.hidden]
    yield from (f"## {' '.join(path)}", "", "```", " ".join([*path, *(["[OPTIONS]"] if options else []), *pieces]))
    yield from ("```", "", inspect.cleandoc(command.help or ""), "")
    if options:
        yield from ("| option | what it does |", "|---|---|")
        for option in options:
            names, text = option.get_help_record(context) or ("", "")
            yield f"| `{names}` | {text} |"
        yield ""


def updated(page: str) -> str:
    """Return the page with what is made as it is now."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{commands()}{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(updated(PAGE.read_text()))
