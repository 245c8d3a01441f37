"""What an authority says to machines that have no certificate yet: the other end of `enrolling.py`.

The rule of this file: a stranger costs little and learns little. What he may say has a bound, an unknown ticket and a
wrong secret look alike, and whoever fails five times a minute waits. A use of a ticket is on the disk before anything
is signed for it. Each ticket that was used or refused is a line of the logger ``security``, with its public reference.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import timedelta
from functools import partial

import msgspec
import trio
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from .._sansio import enrollment
from .._sansio.enrollment import Answer, Introduction, Lent, Place, Question, Refused
from .._sansio.tries import Tries
from ..errors import IdentityError
from ..logs import get_logger
from .asking import Asked, answer_all
from .authority import ZoneAuthority
from .contexts import open_context
from .credentials import Credentials
from .enrolling import ENROLLMENT, INTRODUCTION, NO_REQUEST, read_request
from .lifetimes import LEAF_LIFETIME
from .pem import write_certificates, write_crls
from .profile import UNREADABLE
from .tickets import Loan, TicketBook

_log = get_logger("security")
_OK, _FORBIDDEN, _NOT_FOUND, _UNREADABLE, _TOO_MANY = 200, 403, 404, 400, 429


class Admission:
    """Takes machines into a zone that bring a ticket.

    Args:
        authority: Signs.
        book: Knows the tickets.
        credentials: What the authority's own node shows.
        place_of: Returns the place of a node of that short name.
        lifetime: Of the certificates.
    """

    def __init__(
        self,
        authority: ZoneAuthority,
        book: TicketBook,
        credentials: Credentials,
        place_of: Callable[[str], Place],
        lifetime: timedelta = LEAF_LIFETIME,
    ) -> None:
        self._authority = authority
        self._book = book
        self._credentials = credentials
        self._place_of = place_of
        self._lifetime = lifetime
        self._tries = Tries()
        self._one = trio.Lock()

    async def meet(self, stream: trio.abc.Stream, address: str) -> None:
        """Answer one stranger. The caller sees to a deadline, and closes the stream.

        Raises:
            Nonsense, trio.BrokenResourceError: What came is no question, or the stream broke.
        """
        tls = trio.SSLStream(stream, open_context(self._credentials), server_side=True, https_compatible=True)
        await tls.do_handshake()
        await answer_all(tls, partial(self._answer, address), longest=enrollment.LONGEST_QUESTION)

    async def _answer(self, address: str, asked: Asked) -> tuple[int, bytes]:
        if (asked.method, asked.path) == ("GET", INTRODUCTION):
            return _OK, enrollment.written(await trio.to_thread.run_sync(self._introduce))
        if (asked.method, asked.path) != ("POST", ENROLLMENT):
            return _refused(_NOT_FOUND, "there is nothing here")
        if self._tries.pause(address, trio.current_time()):
            return _refused(_TOO_MANY, "too many were refused from this address: wait a minute")
        try:
            question = enrollment.questions.decode(asked.body)
        except (msgspec.MsgspecError, RecursionError):
            self._tries.failed(address, trio.current_time())
            return _refused(_UNREADABLE, "that is no question of a machine that wants to join")
        try:
            # One at a time, so that two machines cannot both find a name free.
            async with self._one:
                answer = await trio.to_thread.run_sync(self._admit, question, address)
        except IdentityError as error:
            self._tries.failed(address, trio.current_time())
            _log.warning("ticket refused", ticket=question.ref, name=question.name, address=address, reason=error)
            return _refused(_FORBIDDEN, str(error))
        return _OK, enrollment.written(answer)

    def _introduce(self) -> Introduction:
        authority = self._authority
        return Introduction(
            zone=authority.zone, ca=write_certificates(authority.ca).decode(), crl=write_crls(authority.crl).decode()
        )

    def _admit(self, question: Question, address: str) -> Answer:
        """Spend a ticket, and sign for it."""
        request = read_request(question.request)
        key, place = _key_digest(request), self._place_of(question.name)
        loan = self._book.check(question, key)
        self._check_free(place.name, question.name, loan)
        lent = self._book.spend(question, key)
        self._take_over(place.name, lent)
        certificate = self._authority.issue(place.name, request, lifetime=self._lifetime)
        _log.info("node enrolled", name=place.name, ticket=lent.ref, use=lent.used, of=lent.uses, address=address)
        shown = self._introduce()
        text = write_certificates([certificate]).decode()
        return Answer(certificate=text, ca=shown.ca, crl=shown.crl, place=place)

    def _check_free(self, name: str, short_name: str, loan: Loan) -> None:
        """See to it that one machine alone has a name: a ticket that names it takes it over, a pattern does not."""
        ledger, lent = self._authority.ledger, loan.lent
        since = ledger.barred.get(name)
        if since is not None and not (lent.is_for(short_name) and lent.made >= since.timestamp()):
            raise IdentityError(
                f"node {short_name!r} was revoked, and is barred: whoever runs the zone lets it in again by "
                f"'autonomy zone admit {short_name}', or by a newer ticket for that very name",
                reason="ticket",
            )
        takes = lent.replaces or loan.is_repeated or lent.is_for(short_name)
        if not takes and ledger.live(name, self._authority.now()):
            raise IdentityError(
                f"node {short_name!r} has a valid certificate already, and a ticket for {lent.names!r} does not take "
                f"its name over: use one that was made with '--names {short_name}', or with '--replace'",
                reason="ticket",
            )

    def _take_over(self, name: str, lent: Lent) -> None:
        ledger = self._authority.ledger
        if name in ledger.barred:
            self._authority.admit(name)
        if ledger.live(name, self._authority.now()):
            _log.warning("name taken over; what it had before is revoked", name=name, ticket=lent.ref)
            self._authority.revoke(name)


def _key_digest(request: x509.CertificateSigningRequest) -> str:
    try:
        key = request.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except UNREADABLE:
        raise IdentityError(NO_REQUEST, reason="malformed") from None
    return hashlib.sha256(key).hexdigest()


def _refused(status: int, why: str) -> tuple[int, bytes]:
    return status, enrollment.written(Refused(why=why))
