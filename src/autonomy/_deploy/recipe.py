"""What a Dockerfile comes to: which files go where, and what is run on them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

_PYTHON = re.compile(r"python(3(\.\d+)?)?")


@dataclass(frozen=True, slots=True)
class CopyRule:
    """One ``COPY``.

    Attributes:
        sources: Paths within the image's folder; ``.`` is the folder itself.
        destination: A path that starts with ``/``, the container's own root.
        into: Whether it names a folder to put things into, even for a single file.
    """

    sources: tuple[str, ...]
    destination: str
    into: bool


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a Dockerfile says.

    Attributes:
        copies: In the order of the file.
        env: Environment variables, in the order of the file.
        workdir: Where the program is run, a path that starts with ``/``, the container's own root.
        argv: The program and its arguments.
    """

    copies: tuple[CopyRule, ...]
    env: tuple[tuple[str, str], ...]
    workdir: str
    argv: tuple[str, ...]

    def command(self, interpreter: str) -> tuple[str, ...]:
        """Return the program and its arguments, with `interpreter` for Python."""
        program, *arguments = self.argv
        known = _PYTHON.fullmatch(PurePosixPath(program).name)
        return (interpreter if known else program, *arguments)
