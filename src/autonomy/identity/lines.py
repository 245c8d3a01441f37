"""Files of lines, each a JSON object: what happened, in order, and never changed afterwards.

A line cut short by a crash stands for something that never took effect, and is skipped.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from ..errors import IdentityError
from .private_files import append_private, read_private

T = TypeVar("T")


def append_line(path: Path, entry: msgspec.Struct) -> None:
    """Add an entry to a file, which is made if it is not there; on return it is on the disk."""
    append_private(path, msgspec.json.encode(entry))


def read_lines(path: Path, decoder: msgspec.json.Decoder[T]) -> Iterator[T]:
    """Yield what was entered, oldest first.

    Raises:
        IdentityError: The file is not there, others could have changed it, or a line means nothing.
    """
    for number, line in enumerate(read_private(path).split(b"\n"), 1):
        try:
            if line:
                yield decoder.decode(line)
        except msgspec.ValidationError as error:
            raise IdentityError(f"{str(path)!r} line {number}: {error}", reason="files") from error
        except msgspec.DecodeError:
            continue  # cut short by a crash
