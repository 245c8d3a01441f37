"""Bytes of a log become lines of text, however they are cut into pieces; a line without an end takes no more memory.

What a terminal would show is what counts: after a carriage return the line begins anew, as progress bars mean it.
"""

from __future__ import annotations

from typing import Final

LONGEST: Final = 16 * 1024
"""Bytes of a line that are shown; of the rest, only the number."""


class LineCutter:
    """Cuts a log into lines.

    Attributes:
        pending: Bytes since the last line end.
    """

    __slots__ = ("_begins_anew", "_left_out", "_longest", "_rest", "pending")

    def __init__(self, longest: int = LONGEST) -> None:
        self._longest = longest
        self.reset()

    def reset(self) -> None:
        """Forget the line that has no end yet."""
        self._rest = bytearray()
        self._left_out = 0
        self._begins_anew = False
        self.pending = 0

    def cut(self, data: bytes) -> list[str]:
        """Return the lines that are complete now."""
        *ends, rest = data.split(b"\n")
        lines = []
        for end in ends:
            self._add(end)
            lines.append(self.unfinished)
            self.reset()
        self._add(rest)
        self.pending += len(rest)
        return lines

    @property
    def unfinished(self) -> str:
        """The line that has no end yet."""
        text = self._rest.decode(errors="replace")
        return f"{text} … {self._left_out} more bytes" if self._left_out else text

    def _add(self, data: bytes) -> None:
        first, *others = data.split(b"\r")
        self._append(first)
        for part in others:
            self._begins_anew = True
            self._append(part)

    def _append(self, part: bytes) -> None:
        if not part:
            return
        if self._begins_anew:
            self._rest.clear()
            self._left_out = 0
            self._begins_anew = False
        room = self._longest - len(self._rest)
        self._rest += part[:room]
        self._left_out += len(part[room:])
