"""What an authority remembers of the tickets it has lent: hashes of secrets, and each use, before it is granted.

The rule of this file: a use is on the disk before anybody may sign for it. Killed in between, the authority has lost
that use to everybody but the machine that asked, which may ask again with the same key; nobody is granted two. The
secret is in what `lend` returns and nowhere else. Calls take the lock of the zone's folder and block for some
milliseconds.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from .._sansio import enrollment
from .._sansio.enrollment import Lent, Question, Ticket
from ..errors import IdentityError
from ..logs import get_logger
from .lifetimes import Clock, utc_now
from .lines import append_line, read_lines
from .private_files import check_private_folder, locked_folder, write_private

_log = get_logger("security")
_TICKETS: Final = "tickets.log"
_KEPT: Final = 24 * 3600.0
"""Seconds that an ended ticket is remembered, for what its users are told."""


class _Made(msgspec.Struct, frozen=True, tag_field="event", tag="made"):
    """A ticket was made."""

    lent: Lent
    digest: str


class _Used(msgspec.Struct, frozen=True, tag_field="event", tag="used"):
    """It was used, for a node with a key."""

    ref: str
    at: float
    name: str
    key: str


_Entry = _Made | _Used
_decoder = msgspec.json.Decoder(_Entry)
_NOBODYS: Final = hashlib.sha256(secrets.token_bytes(32)).hexdigest()
"""What the secret of an unknown ticket is compared with, so that it takes as long."""


@dataclass(frozen=True, slots=True)
class Loan:
    """A ticket that was shown, and is good.

    Attributes:
        lent: The ticket.
        is_repeated: Whether it was used before for the same node and key.
        now: When that was found, in seconds since 1970.
    """

    lent: Lent
    is_repeated: bool
    now: float


class TicketBook:
    """The tickets of one zone, in the folder of its authority.

    Args:
        folder: Of a `ZoneAuthority`.
        clock: Says what time it is.
    """

    def __init__(self, folder: Path, clock: Clock = utc_now) -> None:
        self._folder = folder
        self._path = folder / _TICKETS
        self._clock = clock

    def __repr__(self) -> str:
        return f"<TicketBook in {str(self._folder)!r}>"

    def lend(
        self,
        *,
        zone: str,
        cluster: str,
        at: str,
        ca: tuple[str, ...],
        names: str,
        ttl: float,
        uses: int,
        replaces: bool = False,
    ) -> Ticket:
        """Make a ticket. Its secret is in what is returned; the book keeps the hash of it.

        Args:
            zone: The zone's name.
            cluster: The cluster's name.
            at: Where the authority takes enrollments.
            ca: SHA-256 of the zone's CA certificates.
            names: Pattern of the short names that it is good for.
            ttl: Seconds, at most 30 days.
            uses: How often it may be used.
            replaces: Whether it is also good for a name that has a valid certificate, which is then revoked.

        Raises:
            ValueError: No ticket may be lent on these terms. Nothing was changed.
            IdentityError: The folder is not for this user alone.
        """
        enrollment.check_terms(names, ttl, uses)
        ref, secret = secrets.token_hex(4), secrets.token_urlsafe(32)
        now = self._clock().timestamp()
        lent = Lent(ref=ref, names=names, made=now, until=now + ttl, uses=uses, replaces=replaces)
        ticket = Ticket(
            v=enrollment.VERSION,
            zone=zone,
            cluster=cluster,
            at=at,
            ca=ca,
            ref=ref,
            secret=secret,
            until=int(now + ttl),
            names=names,
        )
        with self._locked():
            self._forget(now - _KEPT)
            append_line(self._path, _Made(lent, _digest(secret)))
        _log.info("ticket made", zone=zone, ticket=ref, names=names, seconds=ttl, uses=uses)
        return ticket

    def check(self, question: Question, key: str) -> Loan:
        """Return the ticket that somebody shows, if it is good for what he asks. Nothing is spent.

        Args:
            question: What he asks.
            key: SHA-256 of the key that he wants certified.

        Raises:
            IdentityError: There is no such ticket, or its secret is another one, which look alike; or it is no good
                for this node.
        """
        with self._locked():
            return self._find(question, key)

    def spend(self, question: Question, key: str) -> Lent:
        """Use a ticket once; on return that is on the disk.

        Whoever asks again for the same node with the same key has not got an answer: that is the same use. Arguments
        and errors are those of `check`; if there is one, nothing was spent.
        """
        with self._locked():
            loan = self._find(question, key)
            if loan.is_repeated:
                return loan.lent
            append_line(self._path, _Used(question.ref, loan.now, question.name, key))
            return msgspec.structs.replace(loan.lent, used=loan.lent.used + 1)

    def lent(self) -> list[Lent]:
        """Return all tickets that have not long ended, with how often each was used."""
        with self._locked():
            entries = list(self._entries())
        uses = Counter(entry.ref for entry in entries if isinstance(entry, _Used))
        return [
            msgspec.structs.replace(entry.lent, used=uses[entry.lent.ref])
            for entry in entries
            if isinstance(entry, _Made)
        ]

    # ---- within: called with the folder locked

    @contextmanager
    def _locked(self) -> Iterator[None]:
        check_private_folder(self._folder)
        with locked_folder(self._folder):
            yield

    def _find(self, question: Question, key: str) -> Loan:
        entries = list(self._entries())
        made = {entry.lent.ref: entry for entry in entries if isinstance(entry, _Made)}
        entry = made.get(question.ref)
        known = _NOBODYS if entry is None else entry.digest
        if not hmac.compare_digest(known, _digest(question.secret)) or entry is None:
            raise IdentityError(enrollment.UNKNOWN, reason="ticket")
        used = [each for each in entries if isinstance(each, _Used) and each.ref == question.ref]
        again = any(each.name == question.name and each.key == key for each in used)
        now = self._clock().timestamp()
        asked = entry.lent if again else msgspec.structs.replace(entry.lent, used=len(used))
        if problem := enrollment.objection(asked, question.name, now):
            raise IdentityError(problem, reason="ticket")
        return Loan(msgspec.structs.replace(entry.lent, used=len(used)), again, now)

    def _entries(self) -> Iterator[_Entry]:
        if not self._path.exists():
            return
        yield from read_lines(self._path, _decoder)

    def _forget(self, ended: float) -> None:
        """Drop what ended before a time, once it is the most."""
        entries = list(self._entries())
        kept = {entry.lent.ref for entry in entries if isinstance(entry, _Made) and entry.lent.until >= ended}
        lines = [
            msgspec.json.encode(entry) + b"\n"
            for entry in entries
            if (entry.lent.ref if isinstance(entry, _Made) else entry.ref) in kept
        ]
        if len(lines) < len(entries) // 2:
            write_private(self._path, b"".join(lines))


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
