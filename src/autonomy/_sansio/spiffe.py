"""Identities: ``spiffe://ZONE/node/NAME``, the one name that a certificate proves, and who was proven to be it.

The rule of this file: names are compared as exact text and never normalised. What is not literally the name that the
zone would issue is refused; nothing is lower-cased, decoded or trimmed into shape, for two spellings of one name are
two nodes to somebody. Hence no general URL parser either: those repair what they read.

Source: SPIFFE-ID and X.509-SVID specifications, narrowed. Next: `identity/` for the certificates themselves.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from ..errors import IdentityError

Revocation = Literal["crl", "lifetime"]
"""How a stolen key comes to its end: by a list of what was revoked, or by the end of a short life."""

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,126}[a-z0-9])?")
_ZONE = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,251}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class PeerIdentity:
    """Who a certificate was proven to belong to, at one moment. `TrustStore.verify` alone makes these.

    Attributes:
        name: The node's name within its zone.
        zone: The zone whose CA vouches for it.
        serial: Serial number of the certificate, unique in the zone.
        not_after: When the certificate ends, in UTC.
        certificate: The certificate, DER: what `TrustStore.no_longer_trusted` asks about again.
    """

    name: str
    zone: str
    serial: int
    not_after: datetime
    certificate: bytes = field(repr=False)

    @property
    def uri(self) -> str:
        """``spiffe://ZONE/node/NAME``."""
        return node_uri(self.zone, self.name)


def check_identity_name(name: object) -> str:
    """Return `name` if a certificate may carry it; else raise TypeError or ValueError."""
    return _check(name, _NAME, "node name", 128)


def check_zone_name(zone: object) -> str:
    """Return `zone` if it may be a zone's name; else raise TypeError or ValueError."""
    return _check(zone, _ZONE, "zone name", 253)


def _check(name: object, pattern: re.Pattern[str], what: str, longest: int) -> str:
    if not isinstance(name, str):
        raise TypeError(f"{what} must be a str, got {type(name).__name__}: {name!r:.80}")
    if not pattern.fullmatch(name) or ".." in name:
        raise ValueError(
            f"{what} {name!r:.300} cannot be put into a certificate: write 1 to {longest} of the characters "
            "a-z 0-9 . _ -, a letter or digit first and last, and no '..'"
        )
    return name


def zone_uri(zone: str) -> str:
    """Return the identity of a zone, which its CA carries."""
    return f"spiffe://{zone}"


def node_uri(zone: str, name: str) -> str:
    """Return the identity of a node, which its certificate carries."""
    return f"spiffe://{zone}/node/{name}"


def parse_node_uri(uri: str, zone: str) -> str:
    """Return the name in a node's identity of this zone.

    Raises:
        IdentityError: Anything but exactly ``spiffe://ZONE/node/NAME``; `reason` is ``"zone"`` for another zone's node,
            else ``"identity"``.
    """
    expected = f"expected spiffe://{zone}/node/NAME"
    scheme, _, rest = uri.partition("://")
    if scheme != "spiffe":
        raise IdentityError(f"identity {uri!r:.300} is no SPIFFE id: {expected}", reason="identity")
    authority, _, path = rest.partition("/")
    if authority != zone:
        if any(mark in authority for mark in "@:?#%"):
            raise IdentityError(
                f"identity {uri!r:.300} has a user, port, query or escape where only a zone may stand: {expected}",
                reason="identity",
            )
        raise IdentityError(f"identity {uri!r:.300} belongs to zone {authority!r:.260}: {expected}", reason="zone")
    kind, _, name = path.partition("/")
    if kind != "node":
        raise IdentityError(f"identity {uri!r:.300} is not that of a node: {expected}", reason="identity")
    try:
        return check_identity_name(name)
    except ValueError as error:
        raise IdentityError(f"identity {uri!r:.300}: {error}", reason="identity") from None
