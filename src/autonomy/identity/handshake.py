"""From a stream of bytes to one whose other end is known.

In TLS 1.3 the dialling side's handshake is over before the other side has looked at its certificate: that these
functions return says that *this* side is content. A connection counts once both have said so, by a first message each.
"""

from __future__ import annotations

import ssl

import trio

from .._sansio.spiffe import PeerIdentity, check_identity_name
from ..errors import IdentityError
from ..logs import get_logger
from .contexts import client_context, server_context
from .credentials import Credentials
from .roots import reason_of

_log = get_logger("security")

TlsStream = trio.SSLStream[trio.abc.Stream]


async def dial_tls(
    stream: trio.abc.Stream, credentials: Credentials, name: str, *, timeout: float = 5.0
) -> tuple[TlsStream, PeerIdentity]:
    """Make a stream that this node has opened into TLS, and check that its other end is the node `name`.

    Args:
        stream: Bytes. It belongs to what is returned, and is closed if there is an error.
        credentials: Who this node is, and whom it trusts.
        name: The node that was dialled, within the zone of `credentials`.
        timeout: Seconds for the handshake, on Trio's clock.

    Raises:
        IdentityError: The other end is another node, or cannot be trusted, or did not answer with TLS 1.3.
        trio.TooSlowError: `timeout` passed.
        trio.BrokenResourceError: The stream broke; perhaps because the other end refused this node.
        ValueError: No node can have that name. Nothing was done.
    """
    check_identity_name(name)
    tls = trio.SSLStream(stream, client_context(credentials), https_compatible=True)
    return tls, await _identify(tls, credentials, name, timeout)


async def accept_tls(
    stream: trio.abc.Stream, credentials: Credentials, *, timeout: float = 5.0
) -> tuple[TlsStream, PeerIdentity]:
    """Make a stream that another node has opened into TLS, and find out which node that is.

    Arguments and errors are those of `dial_tls`.
    """
    tls = trio.SSLStream(stream, server_context(credentials), server_side=True, https_compatible=True)
    return tls, await _identify(tls, credentials, None, timeout)


async def _identify(tls: TlsStream, credentials: Credentials, expected: str | None, timeout: float) -> PeerIdentity:
    try:
        with trio.fail_after(timeout):
            await tls.do_handshake()
        return credentials.trust.verify(tls.getpeercert(binary_form=True), expected=expected)
    except trio.BrokenResourceError as error:
        await trio.aclose_forcefully(tls)
        cause = error.__cause__
        # The end of the stream is nobody's refusal that could be told from a lost connection: Trio sends no alerts.
        if isinstance(cause, ssl.SSLError) and not isinstance(cause, ssl.SSLEOFError):
            raise _refusal(cause, credentials) from error
        raise
    except BaseException:
        await trio.aclose_forcefully(tls)
        raise


def _refusal(error: ssl.SSLError, credentials: Credentials) -> IdentityError:
    """Return why TLS ended the handshake, and log it."""
    if isinstance(error, ssl.SSLCertVerificationError):
        text = f"the certificate does not verify: {error.verify_message} (OpenSSL error {error.verify_code})"
        refusal = IdentityError(text, reason=reason_of(error.verify_code))
    elif error.reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE":
        refusal = IdentityError("no certificate was shown", reason="missing")
    elif "_ALERT_" in (error.reason or ""):
        refusal = IdentityError(f"the other end refused this node, or gave up: {error.reason}")
    else:
        refusal = IdentityError(f"no TLS 1.3 handshake took place: {error.reason or error!s:.100}", reason="malformed")
    _log.warning("identity refused", zone=credentials.zone, reason=refusal.reason, problem=refusal)
    return refusal
