"""TLS for links: version 1.3, certificates on both sides, the zone's CAs alone.

A context is made for one connection attempt: what has been rotated since the last one is then in force, and no session
of an earlier connection can be resumed, which would skip the certificates. A handshake by these contexts decides
nothing by itself: `handshake.py` asks the `TrustStore` afterwards.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

from .credentials import Credentials
from .lifetimes import utc_now
from .pem import write_certificates, write_keys
from .roots import NO_CHECK_TIME


def server_context(credentials: Credentials) -> ssl.SSLContext:
    """Return a new context for one connection that another node opens: it must show a certificate."""
    context = _context(ssl.PROTOCOL_TLS_SERVER, credentials)
    context.num_tickets = 0
    return context


def client_context(credentials: Credentials) -> ssl.SSLContext:
    """Return a new context for one connection to another node. Whose certificate it shows is not checked by TLS."""
    return _context(ssl.PROTOCOL_TLS_CLIENT, credentials)


def open_context(credentials: Credentials) -> ssl.SSLContext:
    """Return a new context for one connection that a stranger opens, who shows no certificate."""
    context = _bare(ssl.PROTOCOL_TLS_SERVER)
    context.num_tickets = 0
    context.verify_mode = ssl.CERT_NONE
    _show(context, credentials)
    return context


def stranger_context() -> ssl.SSLContext:
    """Return a new context for one connection of a machine that has no certificate yet, and knows no CA.

    TLS checks nothing: whoever uses it verifies the other end's certificate before it says anything.
    """
    context = _bare(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_mode = ssl.CERT_NONE
    return context


def _context(protocol: int, credentials: Credentials) -> ssl.SSLContext:
    context = _bare(protocol)
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    if credentials.trust.clock is not utc_now or credentials.trust.revocation == "lifetime":
        # OpenSSL would judge by the system's time, to the second. The TrustStore judges by the clock it was given, and
        # knows what may be a little ahead of it.
        context.verify_flags = ssl.VerifyFlags(context.verify_flags | NO_CHECK_TIME)
    context.load_verify_locations(cadata=write_certificates(credentials.trust.ca).decode())
    _show(context, credentials)
    return context


def _bare(protocol: int) -> ssl.SSLContext:
    # Not ssl.create_default_context: that trusts the system's CAs and writes secrets to SSLKEYLOGFILE.
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False  # nodes are no hosts: the TrustStore compares names
    context.options |= ssl.OP_NO_TICKET
    return context


def _show(context: ssl.SSLContext, credentials: Credentials) -> None:
    # load_cert_chain reads files and nothing else, and a key has no business on a disk for that: a pipe is a file too.
    certificate, key = write_certificates([credentials.certificate]), write_keys([credentials._key])
    with _as_file(certificate) as certificate_file, _as_file(key) as key_file:
        context.load_cert_chain(certificate_file, key_file)


@contextmanager
def _as_file(content: bytes) -> Iterator[str]:
    readable, writable = os.pipe()
    try:
        try:
            # A certificate of this room has at most about 2 kB, the smallest pipe holds 4: this does not wait.
            os.write(writable, content)
        finally:
            os.close(writable)
        yield f"/dev/fd/{readable}"
    finally:
        os.close(readable)
