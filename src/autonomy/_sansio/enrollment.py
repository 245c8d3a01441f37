"""How a machine joins a zone that it has no certificate of: a ticket, a question and an answer, as values.

The rule of this file: whoever holds a secret does not show it. `repr` of a ticket or a question says its public
reference alone, and no error here quotes what was read. Comparing secrets is the caller's, in constant time; so is
every signature. Next: `identity/tickets.py` keeps what was handed out, `identity/enrolling.py` asks and answers.

Source: Ockam's enrollment tickets (a secret code beside a public reference, few uses, a short life).
"""

from __future__ import annotations

import binascii
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Annotated, Final

import msgspec

from .rights import Rights
from .shipment import CodePolicy
from .spec import zone_name_problem
from .spiffe import check_identity_name

VERSION: Final = 1
SHORT_NAME: Final = "authority"
"""Short name of the node that runs a zone's authority; no ticket is good for it."""
LONGEST_TICKET: Final = 4096
"""Characters."""
LONGEST_QUESTION: Final = 8 * 1024
"""Bytes of what a stranger may say."""
LONGEST_ANSWER: Final = 4 * 2**20
"""Bytes of what an authority may say: its list of revoked certificates grows."""
LONGEST_TTL: Final = 30 * 24 * 3600
"""Seconds."""
MOST_USES: Final = 10_000

_PATTERN = re.compile(r"[a-z0-9_*?](?:[a-z0-9._*?-]{0,126}[a-z0-9_*?])?")
_REF = r"\A[a-z0-9]{1,32}\Z"
_HOST_PORT = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9](?:[A-Za-z0-9._-]{0,252})):([0-9]{1,5})")

_Ref = Annotated[str, msgspec.Meta(pattern=_REF)]
_Digest = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]
_Secret = Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9_-]{43}\Z")]
_Short = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
_Pem = Annotated[str, msgspec.Meta(max_length=LONGEST_QUESTION)]


class Ticket(msgspec.Struct, frozen=True, kw_only=True):
    """What lets a machine join a zone.

    Attributes:
        v: Version of this format.
        zone: The zone's name.
        cluster: The cluster's name.
        at: Where the zone's authority takes enrollments, ``HOST:PORT``.
        ca: SHA-256 of the zone's CA certificates, DER, in hex. Nobody else is told the secret.
        ref: What the ticket is called in logs. No secret.
        secret: 32 random bytes, base64url. Whoever has it may join.
        until: When it ends, in seconds since 1970.
        names: Pattern of the short names that it is good for.
    """

    v: int
    zone: str
    cluster: str
    at: str
    ca: Annotated[tuple[_Digest, ...], msgspec.Meta(min_length=1, max_length=4)]
    ref: _Ref
    secret: _Secret
    until: int
    names: str

    def __repr__(self) -> str:
        return f"<Ticket {self.ref} of zone {self.zone} for {self.names!r}>"

    @property
    def place(self) -> tuple[str, int]:
        """Host and port at which the authority takes enrollments."""
        return parse_host_port(self.at)


class Question(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a machine asks its zone's authority.

    Attributes:
        ref: The ticket's public reference.
        secret: The ticket's secret.
        name: The short name that the node wants.
        request: A certificate request, PEM. Its key is taken, and nothing else.
    """

    ref: _Ref
    secret: _Secret
    name: _Short
    request: _Pem

    def __repr__(self) -> str:
        return f"<Question of {self.name!r:.130} with ticket {self.ref}>"


class Introduction(msgspec.Struct, frozen=True, kw_only=True):
    """What an authority shows to everybody who asks, before it is told anything.

    Attributes:
        zone: The zone's name.
        ca: Its CA certificates, PEM.
        crl: Their lists of revoked certificates, PEM.
    """

    zone: str
    ca: str
    crl: str


class Place(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A node's place in its zone, as the authority has given it; a node keeps it beside its credentials.

    Attributes:
        name: The node's full name.
        zone: The zone's name.
        cluster: The cluster's name.
        directory: Where the zone's directory is, as a URL.
        authority: Full name of the authority's node.
        authority_address: Where that listens, ``wss://HOST:PORT``.
        enrollment: Where it takes machines without a certificate, ``HOST:PORT``; empty if that is not known.
        rights: What other nodes may do there.
        code: Which code it takes from those that may ship.
    """

    name: str
    zone: str
    cluster: str
    directory: str
    authority: str
    authority_address: str
    enrollment: str = ""
    rights: Rights = Rights()
    code: CodePolicy = CodePolicy()


def moved(place: Place, address: str) -> Place:
    """Return a place whose authority listens at another address, ``wss://HOST:PORT``.

    The directory that it keeps goes with it, and so does the port for machines without a certificate, unless that was
    at another host than the first.
    """
    keeper = f"embedded://{place.authority}@"
    there, before = address.removeprefix("wss://"), place.authority_address.removeprefix("wss://")
    directory = keeper + there if place.directory.startswith(keeper) else place.directory
    host, _, port = place.enrollment.rpartition(":")
    enrollment = (
        f"{there.rpartition(':')[0]}:{port}" if host and host == before.rpartition(":")[0] else place.enrollment
    )
    return msgspec.structs.replace(place, authority_address=address, directory=directory, enrollment=enrollment)


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What a machine gets that may join: its certificate, what to trust, and its place.

    Attributes:
        certificate: PEM.
        ca: The zone's CA certificates, PEM.
        crl: Their lists of revoked certificates, PEM.
        place: Where it belongs.
    """

    certificate: str
    ca: str
    crl: str
    place: Place


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """Why a machine may not join, in a sentence for whoever runs it.

    Attributes:
        why: The sentence.
    """

    why: str


class Lent(msgspec.Struct, frozen=True, kw_only=True):
    """A ticket, as its authority remembers it: everything but the secret.

    Attributes:
        ref: Its public reference.
        names: Pattern of the short names that it is good for.
        made: When it was made, in seconds since 1970.
        until: When it ends.
        uses: How often it may be used.
        used: How often it was.
        replaces: Whether it is also good for names that a live certificate was issued for.
    """

    ref: str
    names: str
    made: float
    until: float
    uses: int
    used: int = 0
    replaces: bool = False

    def is_for(self, name: str) -> bool:
        """Whether it names this one node, and no pattern."""
        return self.names == name


questions: Final = msgspec.json.Decoder(Question)
introductions: Final = msgspec.json.Decoder(Introduction)
answers: Final = msgspec.json.Decoder(Answer)
refused: Final = msgspec.json.Decoder(Refused)
places: Final = msgspec.json.Decoder(Place)
_tickets: Final = msgspec.json.Decoder(Ticket)


def written(value: msgspec.Struct) -> bytes:
    """Return a question or an answer as it travels."""
    return msgspec.json.encode(value)


def encode_ticket(ticket: Ticket) -> str:
    """Return a ticket as text: one word, fit for an environment variable."""
    return urlsafe_b64encode(msgspec.json.encode(ticket)).rstrip(b"=").decode("ascii")


def decode_ticket(text: str) -> Ticket:
    """Return the ticket in a text.

    Raises:
        TypeError: It is no text.
        ValueError: It is no ticket, one cut short, or one of another version. Nothing of the text is quoted.
    """
    if not isinstance(text, str):
        raise TypeError(f"an enrollment ticket must be a str, got {type(text).__name__}")
    text = text.strip()
    if not text:
        raise ValueError("the enrollment ticket is empty: 'autonomy zone ticket' prints one")
    if len(text) > LONGEST_TICKET:
        raise ValueError(f"the enrollment ticket has {len(text)} characters, at most {LONGEST_TICKET} are read")
    data = _decoded(text)
    version = _version_of(data)
    if version != VERSION:
        raise ValueError(
            f"the enrollment ticket is of version {version}, and this library reads version {VERSION}: "
            "the zone's authority and this machine need the same version of autonomy"
        )
    try:
        ticket = _tickets.decode(data)
        check_pattern(ticket.names)
        parse_host_port(ticket.at)
        if problem := zone_name_problem(ticket.zone):
            raise ValueError(problem)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        # Not the reason: it could quote a part of the secret.
        raise ValueError("the enrollment ticket does not say what a ticket says: get a new one") from None
    return ticket


_CUT_SHORT: Final = (
    "the enrollment ticket cannot be read; perhaps it was cut short when it was copied. It is one word without spaces, "
    "as 'autonomy zone ticket' prints it"
)


def _decoded(text: str) -> bytes:
    if not re.fullmatch(r"[A-Za-z0-9_-]+", text):
        raise ValueError(_CUT_SHORT)
    try:
        return urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        raise ValueError(_CUT_SHORT) from None


class _Versioned(msgspec.Struct):
    v: int


def _version_of(data: bytes) -> int:
    try:
        return msgspec.json.decode(data, type=_Versioned).v
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise ValueError(_CUT_SHORT) from None


def check_pattern(names: str) -> str:
    """Return a pattern of short names, as a shell has them, if a ticket may have it; else raise ValueError."""
    if not _PATTERN.fullmatch(names) or ".." in names:
        raise ValueError(
            f"names {names!r:.140} cannot be what a ticket is good for: write a short node name, or a pattern of such "
            "as 'runner-*', with a-z 0-9 . _ - and * ?"
        )
    if names == SHORT_NAME:
        raise ValueError(f"{SHORT_NAME!r} is the zone's authority itself, which needs no ticket")
    return names


def check_short_name(name: str) -> str:
    """Return the short name that a node wants, if it may be one; else raise ValueError."""
    if name == SHORT_NAME:
        raise ValueError(f"{SHORT_NAME!r} is the name of the zone's authority itself: choose another one by NODE=…")
    if "." in name:
        raise ValueError(f"node name {name!r:.140} is not allowed: write a-z 0-9 _ -")
    return check_identity_name(name)


def parse_host_port(text: str) -> tuple[str, int]:
    """Return host and port of ``HOST:PORT``; an IPv6 address stands in brackets. Raise ValueError if it is none."""
    found = _HOST_PORT.fullmatch(text)
    if found is None or int(found[2]) > 65535:
        raise ValueError(f"{text!r:.140} is no HOST:PORT, such as 10.0.0.1:7400")
    return found[1].strip("[]"), int(found[2])


def write_host_port(host: str, port: int) -> str:
    """Return ``HOST:PORT``, which `parse_host_port` takes apart."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


UNKNOWN: Final = "this zone knows no such ticket: it is of another zone, or misspelt; 'autonomy zone ticket' prints one"
"""Said of an unknown reference and of a wrong secret alike, so that nobody learns which tickets there are."""


def objection(ticket: Lent, name: str, now: float) -> str | None:
    """Return why a ticket whose secret was right is no good for a node, in a sentence; None if it is.

    Args:
        ticket: As the authority remembers it.
        name: The short name that the node wants.
        now: Seconds since 1970.
    """
    try:
        check_short_name(name)
    except ValueError as error:
        return str(error)
    if not fnmatchcase(name, ticket.names):
        return f"ticket {ticket.ref} is good for nodes called {ticket.names!r}, and this one is called {name!r}"
    if now >= ticket.until:
        return f"ticket {ticket.ref} ended {_ago(now - ticket.until)} ago: get a new one"
    if ticket.used >= ticket.uses:
        times = "once" if ticket.uses == 1 else f"{ticket.uses} times"
        return f"ticket {ticket.ref} was good {times}, and is used up: get a new one"
    return None


def check_terms(names: str, ttl: float, uses: int) -> None:
    """Raise ValueError if no ticket may be lent on these terms."""
    check_pattern(names)
    if not 1 <= ttl <= LONGEST_TTL:
        raise ValueError(f"a ticket lasts 1 second to 30 days, got {ttl:g} seconds")
    if not 1 <= uses <= MOST_USES:
        raise ValueError(f"a ticket is good for 1 to {MOST_USES} uses, got {uses}")


def _ago(seconds: float) -> str:
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{int(seconds // size)} {unit}"
    return f"{max(int(seconds), 1)} s"


def pinned(ticket: Ticket, digests: Sequence[str]) -> list[int]:
    """Return which of these CAs, by the SHA-256 of each, the ticket vouches for."""
    return [index for index, digest in enumerate(digests) if digest in ticket.ca]
