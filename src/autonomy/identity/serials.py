"""What an authority has issued and revoked: a file of lines, each on the disk before its effect leaves the house.

A certificate that is not in the log was never handed out, and what is revoked stays so, whatever CRL is lost. What no
longer matters is moved to a second file, which nobody reads: a zone of a thousand nodes writes half a million lines a
year.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import assert_never

import msgspec

from .lines import append_line, read_lines
from .private_files import append_private, write_private


class Issued(msgspec.Struct, frozen=True, tag_field="event", tag="issued"):
    """A certificate was issued."""

    at: datetime
    serial: str
    name: str
    not_after: datetime
    ca: str


class Revoked(msgspec.Struct, frozen=True, tag_field="event", tag="revoked"):
    """A certificate was revoked."""

    at: datetime
    serial: str


class Listed(msgspec.Struct, frozen=True, tag_field="event", tag="crl"):
    """CRLs of this number were signed."""

    at: datetime
    number: int


class Switched(msgspec.Struct, frozen=True, tag_field="event", tag="switched"):
    """From now on, the CA of this id issues."""

    at: datetime
    ca: str


class Barred(msgspec.Struct, frozen=True, tag_field="event", tag="barred"):
    """From now on, nothing is issued to a node."""

    at: datetime
    name: str


class Admitted(msgspec.Struct, frozen=True, tag_field="event", tag="admitted"):
    """A node that was barred is one like the others again."""

    at: datetime
    name: str


Entry = Issued | Revoked | Listed | Switched | Barred | Admitted
_decoder = msgspec.json.Decoder(Entry)
_FEW = 1000


@dataclass(frozen=True, slots=True)
class Ledger:
    """All entries, added up.

    Attributes:
        issued: By serial number, in hex.
        revoked: When, by serial number.
        crl_number: The number of the newest CRLs, 0 before the first.
        issuer: Id of the CA that issues, or None if there was never a choice.
        barred: Since when, by name of node: nothing is issued to these.
    """

    issued: dict[str, Issued]
    revoked: dict[str, datetime]
    crl_number: int
    issuer: str | None
    barred: dict[str, datetime]

    def live(self, name: str, now: datetime) -> list[Issued]:
        """Return the certificates of a node that are valid, as far as their time and revocation go."""
        return [
            each
            for serial, each in self.issued.items()
            if each.name == name and each.not_after > now and serial not in self.revoked
        ]


class SerialLog:
    """The log in one file. Its user sees to it that nobody else writes at the same time."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def append(self, entry: Entry) -> None:
        """Add an entry; on return it is on the disk."""
        append_line(self._path, entry)

    def read(self) -> Ledger:
        """Return all that was entered.

        Raises:
            IdentityError: The file is not there, others could have changed it, or a line means nothing.
        """
        number, issuer = 0, None
        issued: dict[str, Issued] = {}
        revoked: dict[str, datetime] = {}
        barred: dict[str, datetime] = {}
        for entry in read_lines(self._path, _decoder):
            match entry:
                case Issued():
                    issued[entry.serial] = entry
                case Revoked():
                    revoked[entry.serial] = entry.at
                case Listed():
                    number = max(number, entry.number)
                case Switched():
                    issuer = entry.ca
                case Barred():
                    barred[entry.name] = entry.at
                case Admitted():
                    barred.pop(entry.name, None)
                case _:
                    assert_never(entry)
        return Ledger(issued, revoked, number, issuer, barred)

    def archive(self, until: datetime) -> None:
        """Move the certificates that ended before `until` to ``serials.old.log``, once they are the most."""
        entries = list(read_lines(self._path, _decoder))
        old = {entry.serial for entry in entries if isinstance(entry, Issued) and entry.not_after < until}
        if len(old) < max(_FEW, len(entries) // 2):
            return
        moved: list[Entry] = []
        kept: list[Entry] = []
        for entry in entries:
            gone = isinstance(entry, Issued | Revoked) and entry.serial in old
            (moved if gone else kept).append(entry)
        # After a crash in between, some lines are in both files.
        append_private(self._path.with_suffix(".old.log"), b"\n".join(map(msgspec.json.encode, moved)))
        write_private(self._path, b"".join(msgspec.json.encode(entry) + b"\n" for entry in kept))
