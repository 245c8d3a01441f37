"""Who is who: certificates for the nodes of a zone, and who believes them.

A zone has one `ZoneAuthority`, which issues and revokes. Each node has `Credentials`, which it shows, and a
`TrustStore`, which decides about all others. What is refused raises `autonomy.errors.IdentityError`. The security
model, in the documentation, says what all this is for.

Read on in `trust.py`.
"""

from __future__ import annotations

from .._sansio.spiffe import PeerIdentity
from .authority import ZoneAuthority
from .contexts import client_context, server_context
from .credentials import Credentials, new_key
from .enrolling import Enrolled, enroll, enrolled_in
from .handshake import accept_tls, dial_tls
from .returning import catch_up
from .trust import TrustStore

__all__ = [
    "Credentials",
    "Enrolled",
    "PeerIdentity",
    "TrustStore",
    "ZoneAuthority",
    "accept_tls",
    "catch_up",
    "client_context",
    "dial_tls",
    "enroll",
    "enrolled_in",
    "new_key",
    "server_context",
]
