"""Why a link ended or never came about: one line for a log, from the errors of three libraries."""

from __future__ import annotations

import ssl

import trio

from ..errors import IdentityError


def why(error: BaseException) -> str:
    """Return the reason behind an error, in one line."""
    while isinstance(error, trio.BrokenResourceError) and error.__cause__ is not None:
        error = error.__cause__
    match error:
        case IdentityError(fingerprint=str(fingerprint)):
            which = f", certificate {fingerprint}" if fingerprint else ""
            return f"identity refused ({error.reason}{which}): {error}"
        case ssl.SSLEOFError():
            return "it hung up in the handshake"
        case ssl.SSLError(reason=str(reason)):
            return reason.lower().replace("_", " ")
        case trio.BrokenResourceError(args=()):
            return "the connection broke"
        case trio.TooSlowError():
            return "the handshake took too long"
    return str(error) or type(error).__name__


def is_refused(error: BaseException) -> bool:
    """Return whether an error of connecting is the host's word that nobody listens, at each of its addresses."""
    # Trio tries all addresses, also if there is but one, and raises an OSError because of a group of theirs.
    tried = error.__cause__ if isinstance(error, OSError) else None
    errors = tried.exceptions if isinstance(tried, ExceptionGroup) else [error]
    return all(isinstance(each, ConnectionRefusedError) for each in errors)
