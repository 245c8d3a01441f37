"""How a machine comes back that was away for longer than its list of revoked certificates is good for.

Its certificate has not ended; but without the current list it believes nobody, not even the authority that would tell
it. That shows the list to everybody who asks, where machines without a certificate come.

The rule of this file: nothing is believed for having been said there. A list must be signed by a CA that this node has
trusted before, and its number must have grown; whoever shows it must be the zone's authority, by that very list. New
CAs are not taken from there: the link to the authority brings them. Whose own certificate is on the list, or has ended,
stays out.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import trio
from cryptography import x509

from .._sansio import enrollment
from .._sansio.enrollment import Place
from ..errors import IdentityError, Unreachable
from ..logs import get_logger
from .asking import Asker, Nonsense
from .contexts import stranger_context
from .credentials import Credentials, read_kept
from .enrolling import BACKOFF, INTRODUCTION, ONE_TRY, Connect, Enrolled, enrolled_in, is_by, place_in
from .lifetimes import Clock, utc_now
from .pem import read_crls
from .trust import TrustStore

_log = get_logger("security")


async def catch_up(
    folder: Path | str,
    *,
    timeout: float = 30.0,
    clock: Clock = utc_now,
    connect: Connect = trio.open_tcp_stream,
) -> Enrolled | None:
    """Return what `enroll` has kept in a folder, as `enrolled_in` does, with the zone's current CRL if that is too old.

    The zone's authority is asked for it, again and again until `timeout`; a list is believed if it is signed by a CA
    that was trusted before, and newer. With it, what is kept is saved.

    Args:
        folder: Where the node is kept.
        timeout: Seconds on Trio's clock, all tries together.
        clock: Says what time it is, for the `TrustStore`.
        connect: Opens a stream to a host and port.

    Raises:
        IdentityError: As for `enrolled_in`; or the node was revoked meanwhile, or who answers is not the zone's
            authority. Nothing was changed. A new ticket makes it anew.
        Unreachable: Nobody answered in time. Nothing was changed.

    Cancelling changes nothing.
    """
    folder = Path(folder)
    try:
        return enrolled_in(folder, clock=clock)
    except IdentityError as error:
        if error.reason != "revocation_unknown":
            raise
        place = place_in(folder)
        assert place is not None, "it was there just now"
    key, certificate, trust = read_kept(folder, clock=clock)
    trust.replace(crl=await _ask_until(timeout, place, trust, connect))
    enrolled = Enrolled(Credentials(key, certificate, trust), place, folder)
    with trio.CancelScope(shield=True):
        await trio.to_thread.run_sync(enrolled.save)
    _log.info("back, with the current list of what was revoked", identity=enrolled.credentials.uri)
    return enrolled


async def _ask_until(
    timeout: float, place: Place, trust: TrustStore, connect: Connect
) -> list[x509.CertificateRevocationList]:
    failure: Exception | None = None
    with trio.move_on_after(timeout):
        attempt = 0
        while True:
            attempt += 1
            try:
                return await current_crl(place, trust, connect)
            except Unreachable as error:
                failure = error
            await trio.sleep(BACKOFF.delay(attempt))
    raise _unreachable(place, f"within {timeout:g} s: {failure or 'it did not answer'}") from failure


async def current_crl(place: Place, trust: TrustStore, connect: Connect) -> list[x509.CertificateRevocationList]:
    """Return the CRLs that a zone's authority shows now, of the CAs that are trusted; whether newer, nobody has judged.

    Args:
        place: Says where it is.
        trust: Whom this node trusts.
        connect: Opens a stream to a host and port.

    Raises:
        IdentityError: Who answers is not the zone's authority.
        Unreachable: Nobody answers, or it is not known where.
    """
    if not place.enrollment:
        raise IdentityError("it is not known where the authority shows its current list", reason="revocation_unknown")
    try:
        with trio.fail_after(ONE_TRY):
            shown, certificate = await _ask(place, connect)
    except (OSError, Nonsense, trio.BrokenResourceError, trio.TooSlowError) as error:
        raise _unreachable(place, str(error) or "the connection broke") from error
    where = f"what answers at {place.enrollment}"
    try:
        introduction = enrollment.introductions.decode(shown)
    except msgspec.MsgspecError:
        raise IdentityError(f"{where} is no authority of a zone", reason="malformed") from None
    lists = [each for each in read_crls(introduction.crl.encode(), where) if is_by(each, trust.ca)]
    judge = TrustStore(trust.zone, ca=trust.ca, crl=lists, clock=trust.clock)
    judge.verify(certificate, expected=place.authority)
    return lists


async def _ask(place: Place, connect: Connect) -> tuple[bytes, bytes | None]:
    """Return what the authority shows to everybody, and the certificate that it shows with it."""
    host, port = enrollment.parse_host_port(place.enrollment)
    stream = trio.SSLStream(await connect(host, port), stranger_context(), https_compatible=True)
    try:
        await stream.do_handshake()
        status, shown = await Asker(stream, place.enrollment, enrollment.LONGEST_ANSWER).ask("GET", INTRODUCTION)
        if status != 200:
            raise Nonsense(f"it answered with status {status}")
        return shown, stream.getpeercert(binary_form=True)
    finally:
        await trio.aclose_forcefully(stream)


def _unreachable(place: Place, why: str) -> Unreachable:
    return Unreachable(
        f"the authority of zone {place.zone!r} could not be asked at {place.enrollment} what was revoked: {why}",
        outcome="not_sent",
        node=place.authority,
    )
