"""How a machine gets its first certificate: it makes a key, asks the zone's authority with a ticket, and keeps both.

The rule of this file: nothing is said to anybody who has not proven to be that authority. TLS without a certificate of
one's own comes first, over which the other end shows the zone's CA; the ticket has the CA's hash, and the TLS
certificate must be the authority's, by that CA. Only then the secret goes out. The key never leaves this machine.
Next: `admitting.py` is the other end.

Source: SPIFFE's node attestation by join token, with the CA pinned as kubeadm's ``--discovery-token-ca-cert-hash``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from .._sansio import enrollment
from .._sansio.backoff import Backoff
from .._sansio.enrollment import Answer, Place, Question, Ticket
from ..errors import IdentityError, Unreachable
from ..logs import get_logger
from .asking import Asker, Nonsense
from .contexts import stranger_context
from .credentials import Credentials, new_key
from .lifetimes import Clock, utc_now
from .pem import read_certificates, read_crls
from .private_files import check_private_folder, make_private_folder, read_private, write_private
from .profile import UNREADABLE, PrivateKey
from .trust import TrustStore

_log = get_logger("security")
INTRODUCTION: Final = "/zone"
ENROLLMENT: Final = "/enroll"
NO_REQUEST: Final = "that is no certificate request with a P-256 or Ed25519 key"
_PLACE: Final = "place.json"
ONE_TRY: Final = 10.0
_TOO_MANY: Final = (429, 503)
BACKOFF: Final = Backoff(0.2, 5.0)

Connect = Callable[[str, int], Awaitable[trio.abc.Stream]]


@dataclass(frozen=True, slots=True)
class Enrolled:
    """A node that a zone has taken.

    Attributes:
        credentials: Its key and certificate, and whom it trusts.
        place: Its names, where the directory and the authority are, and what others may do on it.
        folder: Where both are kept; None if nowhere.
    """

    credentials: Credentials
    place: Place
    folder: Path | None = None

    def save(self) -> None:
        """Write all of it into the folder, mode 0700. Blocks for some milliseconds."""
        if self.folder is not None:
            self.credentials.save(self.folder)
            write_private(self.folder / _PLACE, msgspec.json.encode(self.place))


def enrolled_in(folder: Path | str, *, clock: Clock = utc_now) -> Enrolled | None:
    """Return what `enroll` has kept in a folder, as it was renewed since; None if there is nothing.

    Raises:
        IdentityError: It cannot be used: others could have read it, or it has ended. A new ticket makes it anew. If
            ``reason`` is ``"revocation_unknown"``, `catch_up` may do.
    """
    folder = Path(folder)
    place = place_in(folder)
    return None if place is None else Enrolled(Credentials.load(folder, clock=clock), place, folder)


def place_in(folder: Path) -> Place | None:
    """Return the place of the node that is kept in a folder, None if none is; errors as `enrolled_in`."""
    if not (folder / _PLACE).exists():
        return None
    check_private_folder(folder)
    try:
        return enrollment.places.decode(read_private(folder / _PLACE))
    except msgspec.MsgspecError as error:
        raise IdentityError(f"{str(folder / _PLACE)!r} does not say a node's place: {error}", reason="files") from None


async def enroll(
    ticket: str,
    name: str,
    folder: Path | str | None = None,
    *,
    timeout: float = 30.0,
    clock: Clock = utc_now,
    connect: Connect = trio.open_tcp_stream,
) -> Enrolled:
    """Join a zone with a ticket: make a key, have it certified, and keep both in a folder.

    The key is made here. The ticket's secret is told only to the authority whose CA the ticket names. An authority that
    is not there, or has no time, is asked again until `timeout`; one that refuses is not.

    Example:
        ```python
        enrolled = await enroll(os.environ.pop("ENROLLMENT_TICKET"), "runner-1", Path("runner-1"))
        async with open_node(enrolled=enrolled, listen="wss://10.0.0.2:7400") as node: ...
        ```

    Args:
        ticket: As ``autonomy zone ticket`` prints it.
        name: Short name of the node: a-z 0-9 _ -.
        folder: Is made with mode 0700; None keeps nothing.
        timeout: Seconds on Trio's clock, all tries together.
        clock: Says what time it is, for the `TrustStore`.
        connect: Opens a stream to a host and port.

    Raises:
        TypeError, ValueError: It is no ticket, or no node can have that name. Nobody was asked.
        IdentityError: The ticket was refused (``reason`` is ``"ticket"``), or who answers is not the zone's authority.
            Nothing was kept.
        Unreachable: Nobody answered in time. The ticket may have been used: for the same machine only, if it still has
            the key, which a new call has not.

    Cancelling keeps nothing.
    """
    parsed = enrollment.decode_ticket(ticket)
    enrollment.check_short_name(name)
    place = None if folder is None else Path(folder)
    if place is not None:  # before the ticket is spent
        await trio.to_thread.run_sync(make_private_folder, place)
    key, failure = new_key(), "it did not answer"
    with trio.move_on_after(timeout):
        attempt = 0
        while True:
            attempt += 1
            try:
                with trio.fail_after(ONE_TRY):
                    answer = await _ask(parsed, name, key, clock, connect)
            except (OSError, Nonsense, trio.BrokenResourceError, trio.TooSlowError) as error:
                failure = str(error) or "the connection broke"
            else:
                enrolled = Enrolled(_credentials(answer, parsed, name, key, clock), answer.place, place)
                with trio.CancelScope(shield=True):
                    await trio.to_thread.run_sync(enrolled.save)
                _log.info("enrolled", identity=enrolled.credentials.uri, ticket=parsed.ref)
                return enrolled
            if attempt == 1:
                _log.info("not enrolled yet, and tried again", ticket=parsed.ref, at=parsed.at, reason=failure)
            await trio.sleep(BACKOFF.delay(attempt))
    raise Unreachable(
        f"the authority of zone {parsed.zone!r} could not be asked at {parsed.at} within {timeout:g} s: {failure}",
        outcome="maybe_handled",
        node=f"{parsed.cluster}-{parsed.zone}-{enrollment.SHORT_NAME}",
    )


async def _ask(ticket: Ticket, name: str, key: PrivateKey, clock: Clock, connect: Connect) -> Answer:
    host, port = ticket.place
    stream = trio.SSLStream(await connect(host, port), stranger_context(), https_compatible=True)
    try:
        await stream.do_handshake()
        asker = Asker(stream, ticket.at, enrollment.LONGEST_ANSWER)
        status, shown = await asker.ask("GET", INTRODUCTION)
        _check_busy(status)
        _check_authority(shown, stream.getpeercert(binary_form=True), ticket, clock)
        question = Question(ref=ticket.ref, secret=ticket.secret, name=name, request=new_request(key))
        status, answered = await asker.ask("POST", ENROLLMENT, enrollment.written(question))
        _check_busy(status)
        return _read_answer(status, answered)
    finally:
        await trio.aclose_forcefully(stream)


def _check_busy(status: int) -> None:
    if status in _TOO_MANY:
        raise Nonsense("it has no time now, or somebody from here was refused too often: this may take a minute")


def _check_authority(shown: bytes, certificate: bytes | None, ticket: Ticket, clock: Clock) -> None:
    """Check that the other end is the authority of the ticket's zone."""
    where = f"what answers at {ticket.at}"
    try:
        introduction = enrollment.introductions.decode(shown)
    except msgspec.MsgspecError:
        raise IdentityError(f"{where} is no authority of a zone", reason="malformed") from None
    authorities = read_certificates(introduction.ca.encode(), where)
    digests = [digest_of(authority) for authority in authorities]
    pinned = [authorities[index] for index in enrollment.pinned(ticket, digests)]
    if not pinned:
        raise IdentityError(
            f"{where} shows another CA than the one that the ticket is for: either it is not the authority of zone "
            f"{ticket.zone!r}, or that has changed its CA since; nothing was told to it. Get a new ticket.",
            reason="untrusted",
        )
    lists = [each for each in read_crls(introduction.crl.encode(), where) if is_by(each, pinned)]
    trust = TrustStore(ticket.zone, ca=pinned, crl=lists, clock=clock)
    trust.verify(certificate, expected=f"{ticket.cluster}-{ticket.zone}-{enrollment.SHORT_NAME}")


def is_by(crl: x509.CertificateRevocationList, authorities: Iterable[x509.Certificate]) -> bool:
    """Whether a CRL says that it is by one of these CAs."""
    return any(crl.issuer == authority.subject for authority in authorities)


def _read_answer(status: int, answered: bytes) -> Answer:
    try:
        if status == 200:
            return enrollment.answers.decode(answered)
        why = enrollment.refused.decode(answered).why
    except msgspec.MsgspecError as error:
        raise Nonsense(f"its answer, of status {status}, cannot be read: {error!s:.100}") from None
    raise IdentityError(f"the zone's authority refused this node: {why:.500}", reason="ticket")


def _credentials(answer: Answer, ticket: Ticket, name: str, key: PrivateKey, clock: Clock) -> Credentials:
    certificate = read_certificates(answer.certificate.encode(), "the authority's answer")[0]
    ca = read_certificates(answer.ca.encode(), "the authority's answer")
    crl = read_crls(answer.crl.encode(), "the authority's answer")
    credentials = Credentials(key, certificate, TrustStore(ticket.zone, ca=ca, crl=crl, clock=clock))
    wanted = f"{ticket.cluster}-{ticket.zone}-{name}"
    if not credentials.name == answer.place.name == wanted:
        raise IdentityError(
            f"the certificate is that of {credentials.name!r}, and {wanted!r} was asked for", reason="name"
        )
    return credentials


def new_request(key: PrivateKey) -> str:
    """Return a certificate request for a key, PEM: it proves that whoever asks has the key, and says nothing else."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode("ascii")


def read_request(pem: str) -> x509.CertificateSigningRequest:
    """Return a certificate request, whose signature nobody has checked yet; raise IdentityError if it is none."""
    try:
        return x509.load_pem_x509_csr(pem.encode())
    except UNREADABLE:
        raise IdentityError(NO_REQUEST, reason="malformed") from None


def digest_of(certificate: x509.Certificate) -> str:
    """Return the SHA-256 of a certificate, as tickets name CAs."""
    return hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest()
