"""Who is believed to be who: the one place that turns a certificate into an identity, or refuses it.

The rule of this file: it fails closed. What cannot be read, is not known or is too old is a refusal, never an identity,
and each refusal by `TrustStore.verify` is a line of the logger ``security``. A handshake that succeeded proves nothing
yet: TLS checks no revocation and knows no zones. Next: `roots.py` for paths, `profile.py` for what a certificate must
look like.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import get_args

from cryptography import x509

from .._sansio.spiffe import PeerIdentity, Revocation, check_zone_name
from ..errors import IdentityError
from ..logs import get_logger
from .lifetimes import LEAF_LIFETIME, SHORT_LIFETIME, SKEW, Clock, utc_now
from .profile import UNREADABLE, check_node_certificate
from .roots import Roots, crl_deadline, crl_number
from .watchers import Watchers

_log = get_logger("security")
_REMINDER = timedelta(minutes=1)
_LONGEST_CERTIFICATE = 16 * 1024


class TrustStore:
    """Decides which certificates are those of nodes of one zone.

    Ask at each connection, and about all live peers again whenever `on_change` calls and once a minute, for
    certificates end while links live.

    Example:
        ```python
        trust = TrustStore("shop.example", ca=authority.ca, crl=authority.crl)
        peer = trust.verify(stream.getpeercert(True), expected="runner-1")

        def cut_off() -> None:
            for peer, why in trust.no_longer_trusted(live_peers):
                ...  # end the session, and say why

        trust.on_change(cut_off)
        ```

    Args:
        zone: The zone's name.
        ca: The zone's CA certificates; several while the CA changes.
        crl: The current list of revoked certificates of each of them.
        clock: Says what time it is. Nothing else is asked.
        crl_grace: Seconds by which a CRL may be older than a day. Zero refuses everybody once the CRL is a day old;
            more lets the zone outlive its authority, and revoked nodes their revocation. Logged as an error while it
            is made use of.
        revocation: How a stolen key comes to its end. ``crl``: by the lists of its CA, without which nobody is trusted.
            ``lifetime``: by the end of its certificate, which may then last for an hour at most; a CA needs no list,
            and if it has one, what is on it is refused, however old it is. For CAs that issue no lists, such as
            cert-manager's.

    Raises:
        IdentityError: A CA is for another zone or could sign for others, or a CRL is signed by none of the CAs.
        ValueError: The zone's name, a negative grace, or another kind of revocation.
    """

    def __init__(
        self,
        zone: str,
        *,
        ca: Iterable[x509.Certificate],
        crl: Iterable[x509.CertificateRevocationList],
        clock: Clock = utc_now,
        crl_grace: float = 0.0,
        revocation: Revocation = "crl",
    ) -> None:
        if revocation not in get_args(Revocation):
            raise ValueError(f"revocation must be 'crl' or 'lifetime', got {revocation!r:.80}")
        if not 0 <= crl_grace < float("inf"):
            raise ValueError(f"crl_grace must be a number of seconds, at least 0, got {crl_grace!r:.80}")
        self.zone = check_zone_name(zone)
        self.clock = clock
        self.revocation = revocation
        self._grace = timedelta(seconds=crl_grace)
        self._roots = Roots(zone, ca, crl)
        self._watchers = Watchers()
        self._reminded: datetime | None = None

    def __repr__(self) -> str:
        return f"<TrustStore of zone {self.zone}: {len(self.ca)} CA, {len(self.crl)} CRL>"

    @property
    def ca(self) -> tuple[x509.Certificate, ...]:
        """The CAs that are trusted."""
        return self._roots.ca

    @property
    def crl(self) -> tuple[x509.CertificateRevocationList, ...]:
        """The CRLs in force, at most one for each CA."""
        return self._roots.crl

    @property
    def is_outdated(self) -> bool:
        """Whether a CRL is too old to be believed, so that nobody is whom its CA has issued a certificate to."""
        if self.revocation == "lifetime":
            return False
        now = self.clock()
        return any(now - crl_deadline(each) > self._grace for each in self.crl)

    def verify(self, certificate: bytes | None, *, expected: str | None = None) -> PeerIdentity:
        """Return whose certificate this is.

        Args:
            certificate: DER, as ``getpeercert(True)`` returns it; None, for no certificate, is refused.
            expected: Name of the node that was dialled: any other is refused.

        Raises:
            IdentityError: It is not that of a node of this zone, now; `reason` and the text say why. No bytes whatever
                raise anything else.
        """
        try:
            return self._judge(certificate, expected)
        except IdentityError as error:
            refused = error.fingerprint
            _log.warning("identity refused", zone=self.zone, reason=error.reason, problem=error, certificate=refused)
            raise

    def no_longer_trusted(self, peers: Iterable[PeerIdentity]) -> list[tuple[PeerIdentity, IdentityError]]:
        """Return those who would be refused if they came now, each with the reason. Their links must be cut.

        Takes about half a millisecond for each: with hundreds of peers, ask about some at a time, and let others run
        between.
        """
        refused = []
        for peer in peers:
            try:
                self.verify(peer.certificate, expected=peer.name)
            except IdentityError as error:
                refused.append((peer, error))
        return refused

    def replace(
        self,
        *,
        ca: Iterable[x509.Certificate] | None = None,
        crl: Iterable[x509.CertificateRevocationList] | None = None,
    ) -> None:
        """Trust these CAs from now on, and believe these CRLs.

        Args:
            ca: All CAs to be trusted, in place of the present ones; None leaves them.
            crl: New CRLs, of one CA or more. The CRL of a CA that none of these is for stays in force.

        Raises:
            IdentityError: As for the constructor, or a CRL is older than the one in force. Nothing was changed.

        Who watches is called after the change, if there was any.
        """
        self._adopt(self._next_roots(ca=ca, crl=crl))

    def on_change(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` after each change of CAs or CRLs; return what ends that."""
        return self._watchers.add(callback)

    # ---- within this room: `Credentials` exchanges a certificate together with what it is verified by, and a handshake
    # leaves the log to who asked for it

    def _judge(self, certificate: bytes | None, expected: str | None) -> PeerIdentity:
        """Do what `verify` does, and log nothing."""
        try:
            identity = self._identify(certificate)
            if expected is not None and identity.name != expected:
                raise IdentityError(
                    f"the certificate is that of {identity.name!r}, expected {expected!r:.140}", reason="name"
                )
        except IdentityError as error:
            error.fingerprint = _fingerprint(certificate)
            raise
        except Exception as error:  # hostile bytes, two parsers: whatever they raise is a refusal
            problem = f"the certificate cannot be read: {type(error).__name__}: {error!s:.200}"
            raise IdentityError(problem, reason="malformed", fingerprint=_fingerprint(certificate)) from error
        return identity

    def _next_roots(
        self, *, ca: Iterable[x509.Certificate] | None, crl: Iterable[x509.CertificateRevocationList] | None
    ) -> Roots:
        try:
            given = Roots(self.zone, self.ca if ca is None else ca, () if crl is None else crl)
            kept = []
            for authority in given.ca:
                old, new = self._roots.crl_of(authority), given.crl_of(authority)
                if old is not None and new is not None:
                    _check_growth(old, new)
                # Not `new or old`: a CRL without entries counts as false.
                kept.append(old if new is None else new)
            return Roots(self.zone, given.ca, [each for each in kept if each is not None])
        except IdentityError as error:
            _log.warning("trust not changed", zone=self.zone, reason=error.reason, problem=error)
            raise

    def _adopt(self, roots: Roots) -> None:
        if (roots.ca, roots.crl) == (self.ca, self.crl):
            return
        self._roots = roots
        numbers = ",".join(str(crl_number(crl)) for crl in roots.crl)
        _log.info("trust changed", zone=self.zone, cas=len(roots.ca), crls=numbers or "none")
        for authority in roots.ca:
            if self.revocation == "crl" and roots.crl_of(authority) is None:
                _log.warning("CA has no CRL, so its certificates are refused", ca=authority.subject.rfc4514_string())
        self._watchers.tell()

    def _check(self, certificate: x509.Certificate, roots: Roots) -> str:
        """Return the name that a certificate proves by these roots, or raise IdentityError."""
        now, longest = self.clock(), LEAF_LIFETIME
        if self.revocation == "lifetime":
            # Who issues for so short a time need not date back, as our own authority does for clocks that are behind.
            now, longest = max(now, min(certificate.not_valid_before_utc, now + SKEW)), SHORT_LIFETIME
        late = roots.check_path(certificate, now, self._grace, self.revocation)
        name = check_node_certificate(certificate, self.zone, longest)
        if late:
            self._remind(late)
        return name

    # ---- within

    def _identify(self, der: bytes | None) -> PeerIdentity:
        if der is None:
            raise IdentityError("no certificate was shown", reason="missing")
        certificate = _parsed(der)
        name = self._check(certificate, self._roots)
        return PeerIdentity(name, self.zone, certificate.serial_number, certificate.not_valid_after_utc, der)

    def _remind(self, late: timedelta) -> None:
        now = self.clock()
        if self._reminded is None or now - self._reminded >= _REMINDER:
            self._reminded = now
            _log.error(
                "CRL is too old; believed for the grace period only", zone=self.zone, late=late, grace=self._grace
            )


def _fingerprint(certificate: bytes | None) -> str:
    return "" if certificate is None else hashlib.sha256(certificate).hexdigest()[:16]


def _parsed(der: bytes) -> x509.Certificate:
    if len(der) > _LONGEST_CERTIFICATE:
        raise IdentityError(
            f"the certificate has {len(der)} bytes, at most {_LONGEST_CERTIFICATE} are read", reason="malformed"
        )
    try:
        return x509.load_der_x509_certificate(der)
    except UNREADABLE as error:
        raise IdentityError(f"the bytes are no X.509 certificate: {error!s:.200}", reason="malformed") from error


def _check_growth(old: x509.CertificateRevocationList, new: x509.CertificateRevocationList) -> None:
    if old == new or crl_number(old) < crl_number(new):
        return
    raise IdentityError(
        f"CRL {crl_number(new)} came after CRL {crl_number(old)}: an older one would bring back what was revoked since",
        reason="revocation_unknown",
    )
