"""From a stream of bytes to one whose other end is known.

In TLS 1.3 the dialling side's handshake is over before the other side has looked at its certificate: that these
functions return says that *this* side is content. A connection counts once both have said so, by a first message each.

Nothing is logged here. Who calls knows where a stranger came from, and how many lines about strangers are too many.
"""

from __future__ import annotations

import math
import ssl
from collections.abc import Awaitable, Callable

import trio

from .._sansio.spiffe import PeerIdentity, check_identity_name
from ..errors import IdentityError
from .contexts import client_context, server_context
from .credentials import Credentials
from .roots import reason_of

TlsStream = trio.SSLStream[trio.abc.Stream]
Dial = Callable[[trio.abc.Stream, str | None], Awaitable[tuple[TlsStream, PeerIdentity]]]
Accept = Callable[[trio.abc.Stream], Awaitable[tuple[TlsStream, PeerIdentity]]]


def both_ways(credentials: Credentials) -> tuple[Dial, Accept]:
    """Return `dial_tls` and `accept_tls` for these credentials, without deadlines: links have one for all they do."""

    async def dial(stream: trio.abc.Stream, name: str | None) -> tuple[TlsStream, PeerIdentity]:
        return await dial_tls(stream, credentials, name, timeout=math.inf)

    async def accept(stream: trio.abc.Stream) -> tuple[TlsStream, PeerIdentity]:
        return await accept_tls(stream, credentials, timeout=math.inf)

    return dial, accept


async def dial_tls(
    stream: trio.abc.Stream, credentials: Credentials, name: str | None, *, timeout: float = 5.0
) -> tuple[TlsStream, PeerIdentity]:
    """Make a stream that this node has opened into TLS, and check that its other end is the node `name`.

    A refusal is logged by nobody but you.

    Args:
        stream: Bytes. It belongs to what is returned, and is closed if there is an error.
        credentials: Who this node is, and whom it trusts.
        name: The node that was dialled, within the zone of `credentials`; None for any node of that zone.
        timeout: Seconds for the handshake, on Trio's clock.

    Raises:
        IdentityError: The other end is another node, or cannot be trusted, or did not answer with TLS 1.3.
        trio.TooSlowError: `timeout` passed.
        trio.BrokenResourceError: The stream broke; perhaps because the other end refused this node.
        ValueError: No node can have that name. Nothing was done.
    """
    if name is not None:
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
        return credentials.trust._judge(tls.getpeercert(binary_form=True), expected)
    except trio.BrokenResourceError as error:
        await trio.aclose_forcefully(tls)
        cause = error.__cause__
        # The end of the stream is nobody's refusal that could be told from a lost connection: Trio sends no alerts.
        if isinstance(cause, ssl.SSLError) and not isinstance(cause, ssl.SSLEOFError):
            raise _refusal(cause) from error
        raise
    except BaseException:
        await trio.aclose_forcefully(tls)
        raise


def _refusal(error: ssl.SSLError) -> IdentityError:
    """Return why TLS ended the handshake."""
    if isinstance(error, ssl.SSLCertVerificationError):
        text = f"the certificate does not verify: {error.verify_message} (OpenSSL error {error.verify_code})"
        return IdentityError(text, reason=reason_of(error.verify_code))
    if error.reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE":
        return IdentityError("no certificate was shown", reason="missing")
    if "_ALERT_" in (error.reason or ""):
        return IdentityError(f"the other end refused this node, or gave up: {error.reason}")
    return IdentityError(f"no TLS 1.3 handshake took place: {error.reason or error!s:.100}", reason="malformed")
