"""What a zone trusts at one moment: its CAs and what they have revoked, checked, and the paths that lead to them.

`Roots` never change; `trust.py` exchanges one for the next. The validation of paths is OpenSSL's, by pyOpenSSL. It is
asked twice, because `X509Store.set_time` takes effect only once in the life of a store (pyOpenSSL 26.4.0, silently)
while reading a long CRL is too dear to do for each connection:

1. a store made for this one question, with the CAs and the time, says whether the certificate is theirs and valid now;
2. a store that is kept, with CAs and CRLs and without a time, says whether it was revoked.

The age of a CRL is judged here. Both answers must be yes. Source: RFC 5280 section 6.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from OpenSSL import crypto

from .._sansio.spiffe import Revocation
from ..errors import IdentityError, Refusal
from .lifetimes import CRL_LIFETIME, SKEW
from .profile import UNREADABLE, zone_of_authority

# X509_V_FLAG_NO_CHECK_TIME, <openssl/x509_vfy.h>. pyOpenSSL hands flags on and has no name for this one.
NO_CHECK_TIME = 0x200000

# <openssl/x509_vfy.h>, X509_V_ERR_*: the few that are worth a reason of their own. All others are "untrusted".
_REASONS: dict[int, Refusal] = {
    3: "revocation_unknown",
    9: "not_yet_valid",
    10: "expired",
    23: "revoked",
    47: "zone",
}


class Roots:
    """CAs and CRLs of one zone.

    Args:
        zone: The zone that all of them must be for.
        ca: Its CA certificates, at least one; more during a change of CA.
        crl: The newest CRL of each CA. Nothing is trusted that was issued by a CA without one.

    Raises:
        IdentityError: A CA is not this zone's, or a CRL is not a CA's.
    """

    def __init__(
        self, zone: str, ca: Iterable[x509.Certificate], crl: Iterable[x509.CertificateRevocationList]
    ) -> None:
        self.zone = zone
        self.ca = tuple(dict.fromkeys(ca))
        if not self.ca:
            raise IdentityError(f"zone {zone!r} has no CA certificate, and nobody can be trusted without one")
        for authority in self.ca:
            self._check_authority(authority)
        self._anchors = [crypto.X509.from_cryptography(authority) for authority in self.ca]
        self._crls: dict[x509.Certificate, x509.CertificateRevocationList] = {}
        for revocations in crl:
            self._add(revocations)
        self._revocations = self._store(crypto.X509StoreFlags.CRL_CHECK | NO_CHECK_TIME)
        for revocations in self._crls.values():
            self._revocations.add_crl(revocations)

    @property
    def crl(self) -> tuple[x509.CertificateRevocationList, ...]:
        """The CRLs in force, at most one for each CA."""
        return tuple(self._crls.values())

    def crl_of(self, authority: x509.Certificate) -> x509.CertificateRevocationList | None:
        """Return the CRL in force of one CA."""
        return self._crls.get(authority)

    def _check_authority(self, authority: x509.Certificate) -> None:
        zone = zone_of_authority(authority)
        if zone != self.zone:
            raise IdentityError(f"the CA certificate is for zone {zone!r}, expected {self.zone!r}", reason="zone")
        try:
            authority.verify_directly_issued_by(authority)
        except (InvalidSignature, *UNREADABLE) as error:
            raise IdentityError("the CA certificate is not signed by itself", reason="untrusted") from error

    def _add(self, revocations: x509.CertificateRevocationList) -> None:
        authority = self._signer(revocations)
        other = self._crls.get(authority)
        if other is None or crl_number(other) < crl_number(revocations):
            self._crls[authority] = revocations

    def _signer(self, revocations: x509.CertificateRevocationList) -> x509.Certificate:
        for authority in self.ca:
            if revocations.issuer == authority.subject and _signed_by(revocations, authority):
                return authority
        raise IdentityError(
            f"the CRL of {revocations.issuer.rfc4514_string()!r:.200} is signed by none of the {len(self.ca)} CAs of "
            f"zone {self.zone!r}",
            reason="untrusted",
        )

    def _store(self, flags: int) -> crypto.X509Store:
        store = crypto.X509Store()
        store.set_flags(crypto.X509StoreFlags.X509_STRICT | flags)
        for anchor in self._anchors:
            store.add_cert(anchor)
        return store

    def check_path(
        self, certificate: x509.Certificate, now: datetime, grace: timedelta, revocation: Revocation = "crl"
    ) -> timedelta:
        """Check that a CA of the zone issued this certificate, that it is valid, and that it is not revoked.

        Args:
            certificate: A leaf. Others that might lead to a CA are not considered: zones have no intermediate CAs.
            now: The time to judge by.
            grace: How much longer than a day a CRL is believed.
            revocation: With ``lifetime`` a CA needs no CRL, and if it has one, that may be of any age.

        Returns:
            By how much the CRL is too old: above zero only within the grace.

        Raises:
            IdentityError: It is not so.
        """
        leaf = crypto.X509.from_cryptography(certificate)
        timed = self._store(0)
        timed.set_time(now)
        authority = _ask(timed, leaf)[-1].to_cryptography()
        if revocation == "lifetime" and authority not in self._crls:
            return timedelta(0)
        late = timedelta(0) if revocation == "lifetime" else self._check_crl(authority, now, grace)
        _ask(self._revocations, leaf)
        return late

    def _check_crl(self, authority: x509.Certificate, now: datetime, grace: timedelta) -> timedelta:
        revocations = self._crls.get(authority)
        if revocations is None:
            raise IdentityError(
                "the CA that issued the certificate has no CRL here, so it may have been revoked",
                reason="revocation_unknown",
            )
        number = crl_number(revocations)
        if revocations.last_update_utc > now:
            raise IdentityError(
                f"CRL {number} is from {revocations.last_update_utc}, which is yet to come", reason="revocation_unknown"
            )
        late = max(now - crl_deadline(revocations), timedelta(0))
        if late > grace:
            raise IdentityError(
                f"CRL {number} ended at {crl_deadline(revocations)}, and what was revoked since is not known here; "
                "get the zone's current CRL",
                reason="revocation_unknown",
            )
        return late


def _ask(store: crypto.X509Store, leaf: crypto.X509) -> list[crypto.X509]:
    try:
        return crypto.X509StoreContext(store, leaf).get_verified_chain()
    except crypto.X509StoreContextError as error:
        code, depth, message = error.errors
        which = f"certificate with serial number {leaf.get_serial_number():x}"[:80] if depth == 0 else "CA certificate"
        raise IdentityError(
            f"the {which} does not verify: {message} (OpenSSL error {code} at depth {depth})",
            reason=reason_of(code),
        ) from None


def reason_of(code: int) -> Refusal:
    """Return the kind of refusal that an error of OpenSSL's verification, ``X509_V_ERR_*``, stands for."""
    return _REASONS.get(code, "untrusted")


def crl_number(revocations: x509.CertificateRevocationList) -> int:
    """Return the number of a CRL.

    Raises:
        IdentityError: It has none (RFC 5280 section 5.2.3 wants one).
    """
    try:
        return revocations.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    except (x509.ExtensionNotFound, *UNREADABLE) as error:
        raise IdentityError(f"the CRL has no number that can be read: {error!s:.200}", reason="malformed") from error


def crl_deadline(revocations: x509.CertificateRevocationList) -> datetime:
    """Return until when a CRL is believed: a day after its issue, or earlier if it says so itself."""
    oldest = revocations.last_update_utc + SKEW + CRL_LIFETIME
    return min(oldest, revocations.next_update_utc or oldest)


def _signed_by(revocations: x509.CertificateRevocationList, authority: x509.Certificate) -> bool:
    key = authority.public_key()
    try:
        return revocations.is_signature_valid(key)  # type: ignore[arg-type]  # a key that cannot sign is the TypeError
    except UNREADABLE:
        return False
