"""A zone's authority: the CA that says which key is which node's.

The rule of this file: the folder is the state. Every call takes the folder's lock and reads what is there, so that a
command and a running authority may work on one zone; and what a call hands out was written down first. Issuing is done
with cryptography. Calls block for some milliseconds: ask from a thread where that matters.

Source: X.509-SVID (one URI, usages), RFC 5280 sections 4 (certificates) and 5 (CRLs).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Self

from cryptography import x509

from .._sansio.spiffe import check_identity_name, check_zone_name
from ..errors import IdentityError
from ..logs import get_logger
from .credentials import Credentials, new_key
from .issuing import Signer, new_ca, new_crl, new_leaf
from .lifetimes import CRL_LIFETIME, LEAF_LIFETIME, Clock, utc_now
from .pem import read_certificates, read_crls, read_keys, write_certificates, write_crls, write_keys
from .private_files import check_private_folder, locked_folder, make_private_folder, read_private, write_private
from .profile import UNREADABLE, PublicKey, is_accepted_key, zone_of_authority
from .serials import Admitted, Barred, Issued, Ledger, Listed, Revoked, SerialLog, Switched
from .trust import TrustStore

_log = get_logger("security")

# ca.key and ca.crt hold the CA, and during a change the next one after it. A key is written before its certificate and
# removed after it, so that whatever certificate is there has its key. Which of the two issues is in the log.
_KEYS, _CERTIFICATES, _CRLS, _SERIALS = "ca.key", "ca.crt", "ca.crl", "serials.log"


class ZoneAuthority:
    """The CA of one zone, in a folder.

    Example:
        ```python
        authority = ZoneAuthority.create(Path("zone"), "shop.example")
        certificate = authority.issue("runner-1", key.public_key())
        authority.revoke("runner-1")
        trust.replace(crl=authority.crl)
        ```

    Args:
        folder: Where `create` has put the zone.
        passphrase: What the CA's key is encrypted with, or None if it is not.
        clock: Says what time it is.

    Raises:
        IdentityError: There is no zone, others could have read its key, or its files do not go together.
    """

    def __init__(self, folder: Path | str, *, passphrase: bytes | None = None, clock: Clock = utc_now) -> None:
        self._folder = Path(folder)
        self._passphrase = passphrase
        self._clock = clock
        self._serials = SerialLog(self._folder / _SERIALS)
        with self._locked() as signers:
            self._zone = zone_of_authority(signers[0].certificate)
            self._serials.read()

    def __repr__(self) -> str:
        return f"<ZoneAuthority of {self._zone} in {str(self._folder)!r}>"

    @classmethod
    def create(cls, folder: Path | str, zone: str, *, passphrase: bytes | None = None, clock: Clock = utc_now) -> Self:
        """Make a zone: a CA, a log of serial numbers, and an empty CRL, number 1, good for a day.

        Args:
            folder: Is made with mode 0700. It holds the zone's power to name nodes: keep a copy, show it to nobody.
            zone: 1 to 253 of ``a-z 0-9 . _ -``, for instance a domain name of yours.
            passphrase: Encrypts the key on the disk.
            clock: Says what time it is.

        Raises:
            IdentityError: There is a zone in that folder already. Nothing was changed.
            ValueError: No zone can have that name.
        """
        check_zone_name(zone)
        folder = Path(folder)
        make_private_folder(folder)
        with locked_folder(folder):
            if (folder / _CERTIFICATES).exists():
                raise IdentityError(
                    f"folder {str(folder)!r} holds a zone already; make another one elsewhere", reason="files"
                )
            signer = new_ca(zone, clock())
            write_private(folder / _KEYS, write_keys([signer.key], passphrase))
            write_private(folder / _SERIALS, b"")
            write_private(folder / _CERTIFICATES, write_certificates([signer.certificate]))
        authority = cls(folder, passphrase=passphrase, clock=clock)
        authority.sign_crl()
        _log.info("zone created", zone=zone, folder=folder)
        return authority

    @property
    def zone(self) -> str:
        """The zone's name."""
        return self._zone

    @property
    def ca(self) -> tuple[x509.Certificate, ...]:
        """What nodes must trust: the CA, and from `roll_over` to `retire` the next one too."""
        with self._locked() as signers:
            return tuple(signer.certificate for signer in signers)

    def now(self) -> datetime:
        """What time it is, by the clock of this authority."""
        return self._clock()

    @property
    def ca_ids(self) -> tuple[str, ...]:
        """Key ids, in hex, of the CAs in `ca`."""
        with self._locked() as signers:
            return tuple(signer.id for signer in signers)

    @property
    def issuer(self) -> str:
        """Key id, in hex, of the CA that issues now."""
        with self._locked() as signers:
            return _issuer(signers, self._serials.read()).id

    @property
    def ledger(self) -> Ledger:
        """What was issued, revoked and barred, as far as it still matters."""
        with self._locked():
            return self._serials.read()

    @property
    def crl(self) -> tuple[x509.CertificateRevocationList, ...]:
        """The newest CRL of each CA, as `sign_crl` or `revoke` has made it."""
        with self._locked():
            path = self._folder / _CRLS
            return read_crls(read_private(path), f"file {str(path)!r}")

    def issue(
        self, name: str, key: PublicKey | x509.CertificateSigningRequest, *, lifetime: timedelta = LEAF_LIFETIME
    ) -> x509.Certificate:
        """Issue a certificate for a node: that name, that key, and nothing else that anybody asked for.

        Args:
            name: 1 to 128 of ``a-z 0-9 . _ -``. Whether this node may have it is for the caller to know.
            key: P-256 or Ed25519. Of a request, signed by its key, the key is taken and all else is ignored.
            lifetime: At most 24 hours.

        Raises:
            IdentityError: The key is of another kind, or the request is not signed by it; or the node is barred.
            ValueError: The name, or the lifetime.
        """
        check_identity_name(name)
        if not timedelta(0) < lifetime <= LEAF_LIFETIME:
            raise ValueError(f"lifetime must be above zero and at most {LEAF_LIFETIME}, got {lifetime}")
        public = _key_of(key)
        with self._locked() as signers:
            ledger = self._serials.read()
            if name in ledger.barred:
                raise IdentityError(
                    f"node {name!r} is barred from zone {self._zone!r}: 'admit' it first", reason="revoked"
                )
            now, signer = self._clock(), _issuer(signers, ledger)
            certificate = new_leaf(signer, self._zone, name, public, now, lifetime)
            serial, until = f"{certificate.serial_number:x}", certificate.not_valid_after_utc
            self._serials.append(Issued(now, serial, name, until, signer.id))
        _log.info("certificate issued", zone=self._zone, name=name, serial=serial, until=until)
        return certificate

    def credentials(self, name: str, *, crl_grace: float = 0.0) -> Credentials:
        """Make a key here and issue its certificate: for zones on one machine, and for tests.

        On other machines a node makes its key itself, and only the public half travels.
        """
        key = new_key()
        certificate = self.issue(name, key.public_key())
        trust = TrustStore(self._zone, ca=self.ca, crl=self.crl, clock=self._clock, crl_grace=crl_grace)
        return Credentials(key, certificate, trust)

    def revoke(self, name: str) -> int:
        """Revoke all certificates of a node that have not ended, and sign new CRLs.

        The node can be given new ones, unless it is barred as well: `bar` it first.

        Returns:
            How many were revoked now; 0 if all of them were before.

        Raises:
            IdentityError: No valid certificate was issued for that name.
        """
        now = self._clock()
        with self._locked() as signers:
            ledger = self._serials.read()
            live = [serial for serial, each in ledger.issued.items() if each.name == name and each.not_after > now]
            if not live:
                raise IdentityError(
                    f"zone {self._zone!r} has issued no certificate for {name!r:.140} that is valid now"
                )
            return self._revoke(signers, [serial for serial in live if serial not in ledger.revoked])

    def revoke_serial(self, serial: int) -> int:
        """Revoke one certificate by its serial number; otherwise as `revoke`.

        Raises:
            IdentityError: No certificate with that number was issued here.
        """
        with self._locked() as signers:
            ledger = self._serials.read()
            if f"{serial:x}" not in ledger.issued:
                raise IdentityError(f"zone {self._zone!r} has issued no certificate with serial number {serial:x}")
            return self._revoke(signers, [f"{serial:x}"] if f"{serial:x}" not in ledger.revoked else [])

    def bar(self, name: str) -> bool:
        """Issue nothing to a node from now on, until `admit`; return whether that is new. What it has stays valid."""
        check_identity_name(name)
        with self._locked():
            return self._note(Barred(self._clock(), name), name not in self._serials.read().barred)

    def admit(self, name: str) -> bool:
        """Issue to a node again that was barred; return whether it was. What was revoked stays so."""
        check_identity_name(name)
        with self._locked():
            return self._note(Admitted(self._clock(), name), name in self._serials.read().barred)

    def sign_crl(self) -> tuple[x509.CertificateRevocationList, ...]:
        """Sign a new CRL for each CA, with the next number, good for a day. Do so at least twice a day."""
        with self._locked() as signers:
            return self._sign_crl(signers)

    def restored(self) -> None:
        """Go on with a copy of the folder: number CRLs above all that may have been signed since it was made.

        What was issued since is not in the copy, and cannot be revoked by name before its node has renewed it.
        """
        with self._locked() as signers:
            now = self._clock()
            self._serials.append(Listed(now, max(self._serials.read().crl_number, int(now.timestamp()))))
            self._sign_crl(signers)
        _log.warning("zone restored from a copy", zone=self._zone)

    def roll_over(self) -> None:
        """Make the next CA. The present one goes on issuing, for nobody trusts the new one yet.

        Three steps change a zone's CA, and no node is ever refused if each is finished before the next begins:
        `roll_over`, and hand `ca` and `crl` to all nodes; `switch_over`, and reissue all certificates; `retire`, and
        hand out `ca` and `crl` again.

        Raises:
            IdentityError: The last change of CA has not ended. Nothing was changed.
        """
        with self._locked() as signers:
            if len(signers) > 1:
                raise IdentityError(f"zone {self._zone!r} is changing its CA already: 'retire' the old one first")
            signers = [*signers, new_ca(self._zone, self._clock())]
            self._write_keys(signers)
            self._write_certificates(signers)
            self._sign_crl(signers)
        _log.info("zone CA rolled over", zone=self._zone, next=signers[1].id)

    def switch_over(self) -> None:
        """Let the new CA issue from now on. The old one remains trusted. Does nothing if that was done before.

        Raises:
            IdentityError: There is no new CA. Nothing was changed.
        """
        with self._locked() as signers:
            self._check_rolled_over(signers)
            if _issuer(signers, self._serials.read()) is signers[0]:
                self._serials.append(Switched(self._clock(), signers[1].id))
                _log.info("zone CA switched over", zone=self._zone, ca=signers[1].id)

    def retire(self) -> None:
        """Forget the old CA and its key: nodes that are given `ca` now refuse what it has issued.

        Raises:
            IdentityError: There is no new CA, or the old one still issues. Nothing was changed.
        """
        with self._locked() as signers:
            self._check_rolled_over(signers)
            if _issuer(signers, self._serials.read()) is signers[0]:
                raise IdentityError(
                    f"the old CA of zone {self._zone!r} still issues: 'switch_over' to the new one first"
                )
            self._write_certificates(signers[1:])
            self._write_keys(signers[1:])
            self._sign_crl(signers[1:])
        _log.info("zone CA retired", zone=self._zone, ca=signers[0].id)

    # ---- within: all of these are called with the folder locked

    @contextmanager
    def _locked(self) -> Iterator[list[Signer]]:
        check_private_folder(self._folder)
        with locked_folder(self._folder):
            yield self._read_signers()

    def _read_signers(self) -> list[Signer]:
        path, key_path = self._folder / _CERTIFICATES, self._folder / _KEYS
        certificates = read_certificates(read_private(path), f"file {str(path)!r}")
        keys = read_keys(read_private(key_path), f"file {str(key_path)!r}", self._passphrase)
        signers = []
        for certificate in certificates:
            key = next((key for key in keys if key.public_key() == certificate.public_key()), None)
            if key is None:
                raise IdentityError(f"{str(key_path)!r} has no key for a certificate in {str(path)!r}", reason="files")
            signers.append(Signer(key, certificate))
        return signers

    def _write_keys(self, signers: list[Signer]) -> None:
        write_private(self._folder / _KEYS, write_keys([each.key for each in signers], self._passphrase))

    def _write_certificates(self, signers: list[Signer]) -> None:
        write_private(self._folder / _CERTIFICATES, write_certificates([each.certificate for each in signers]))

    def _check_rolled_over(self, signers: list[Signer]) -> None:
        if len(signers) < 2:
            raise IdentityError(f"zone {self._zone!r} has one CA alone: 'roll_over' makes the next one")

    def _note(self, entry: Barred | Admitted, is_new: bool) -> bool:  # noqa: FBT001  # what is returned
        if is_new:
            self._serials.append(entry)
            what = "node barred" if isinstance(entry, Barred) else "node admitted"
            _log.warning(what, zone=self._zone, name=entry.name)
        return is_new

    def _revoke(self, signers: list[Signer], serials: list[str]) -> int:
        for serial in serials:
            self._serials.append(Revoked(self._clock(), serial))
            _log.warning("certificate revoked", zone=self._zone, serial=serial)
        # Even if there is none: the last call may have been cut short here.
        self._sign_crl(signers)
        return len(serials)

    def _sign_crl(self, signers: list[Signer]) -> tuple[x509.CertificateRevocationList, ...]:
        now = self._clock()
        self._serials.archive(now - 2 * CRL_LIFETIME)
        ledger = self._serials.read()
        number = ledger.crl_number + 1
        self._serials.append(Listed(now, number))
        crls = tuple(new_crl(signer, number, ledger, now) for signer in signers)
        write_private(self._folder / _CRLS, write_crls(crls))
        return crls


def _issuer(signers: list[Signer], ledger: Ledger) -> Signer:
    return next((signer for signer in signers if signer.id == ledger.issuer), signers[0])


def _key_of(key: PublicKey | x509.CertificateSigningRequest) -> PublicKey:
    """Return the key to be certified."""
    if isinstance(key, x509.CertificateSigningRequest):
        try:
            if not key.is_signature_valid:
                raise IdentityError("the request is not signed by the key in it, so that may be somebody else's")
            public = key.public_key()
        except UNREADABLE as error:
            raise IdentityError(f"the request cannot be read: {error!s:.200}", reason="malformed") from error
    else:
        public = key
    if not is_accepted_key(public):
        raise IdentityError(f"a node's key is P-256 or Ed25519, got {type(public).__name__}", reason="profile")
    return public  # type: ignore[return-value]  # is_accepted_key has looked
