"""One log file, read as it grows: cut short, replaced, removed or not there yet, it goes on.

Nothing waits here: files of this machine that somebody has just written are read in small pieces, at once. Whoever
reads decides how often to come back.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

PIECE: Final = 64 * 1024
"""Bytes that are read at once."""


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a file, as text and back, for those who come again."""

    file: int
    offset: int

    def __str__(self) -> str:
        return f"{self.file:x}.{self.offset:x}"

    @classmethod
    def parse(cls, text: str) -> Place | None:
        """Return the place, or None for what is none."""
        file, _, offset = text.partition(".")
        try:
            place = cls(int(file, 16), int(offset, 16))
        except ValueError:
            return None
        return place if 0 <= place.file < 2**64 and 0 <= place.offset < 2**62 else None


class Tail:
    """Reads a file from its beginning, or from where somebody stopped reading, and then what is added.

    A context manager: it holds the file open, so that the end of one that is replaced is not lost.

    Attributes:
        path: Where the file is, or None; the owner sets it anew when it has moved.
        since: Where to go on, until that was tried.
        offset: Bytes of the file that were read or passed over.
        files: How many files it has begun: one more for each that was replaced or cut short.
    """

    def __init__(self, path: Path | None, since: Place | None = None) -> None:
        self.path = path
        self.offset = 0
        self.files = 0
        self.since = since
        self._descriptor = -1
        self._identity = (0, 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    @property
    def behind(self) -> int:
        """Bytes of the file that were not read yet."""
        return max(self._size() - self.offset, 0) if self._descriptor >= 0 or self._open() else 0

    def read(self, most: int = PIECE) -> bytes:
        """Return what comes next, at most `most` bytes; nothing if there is nothing now."""
        if self._descriptor < 0 and not self._open():
            return b""
        if data := os.pread(self._descriptor, most, self.offset):
            self.offset += len(data)
            return data
        if self._size() < self.offset:
            self._begin()
        elif self._was_replaced():
            self.close()
            return self.read(most)  # of the new one; at its end, it is not replaced again
        return b""

    def skip(self, keep: int) -> int:
        """Go on at the first line among the last `keep` bytes, and return how many bytes that passes over."""
        target = self.offset + self.behind - keep
        if target <= self.offset:
            return 0
        target += os.pread(self._descriptor, PIECE, target).find(b"\n") + 1
        skipped, self.offset = target - self.offset, target
        return skipped

    def place(self, before: int) -> Place:
        """Return the place `before` bytes ahead of what was read last."""
        return Place(self._identity[1], self.offset - before)

    def _open(self) -> bool:
        if self.path is None:
            return False
        try:
            # Without O_NONBLOCK, opening a pipe would wait for its writer.
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            return False  # not there yet, or not now
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        self._identity = (status.st_dev, status.st_ino)
        self._begin()
        self._resume()
        return True

    def _begin(self) -> None:
        self.offset = 0
        self.files += 1

    def _resume(self) -> None:
        """Go to where a reader was, if this is its file still."""
        since, self.since = self.since, None
        if since is None or since.file != self._identity[1] or not since.offset:
            return
        # Numbers of files are used again: a reader stopped where a line ended, or this is another file.
        if os.pread(self._descriptor, 1, since.offset - 1) == b"\n":
            self.offset = since.offset

    def _size(self) -> int:
        return os.fstat(self._descriptor).st_size

    def _was_replaced(self) -> bool:
        if self.path is None:
            return False
        try:
            status = self.path.stat()
        except OSError:
            return False
        return stat.S_ISREG(status.st_mode) and (status.st_dev, status.st_ino) != self._identity
