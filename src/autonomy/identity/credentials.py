"""A node's own side of its identity: its key, its certificate, and what it trusts.

The rule of this file: the key leaves by `save`, into a file that only this user can read, and by the TLS context that
`contexts.py` makes; never by repr, by a log line or by an error. Everything can be replaced while links live.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from .._sansio.spiffe import Revocation, node_uri
from ..errors import IdentityError
from ..logs import get_logger
from .lifetimes import Clock, utc_now
from .mounted import MOUNTED_KEY, read_mounted
from .pem import read_certificates, read_crls, read_keys, write_certificates, write_crls, write_keys
from .private_files import check_private_folder, make_private_folder, read_private, write_private
from .profile import PrivateKey, is_accepted_key, zone_of_authority
from .roots import Roots
from .trust import TrustStore
from .watchers import Watchers

_log = get_logger("security")

# Key and certificate share a file, so that one rename exchanges both.
_NODE, _CA, _CRL = "node.pem", "ca.crt", "ca.crl"


def new_key() -> PrivateKey:
    """Make a private key (P-256). It is made where it is used; an authority needs its public half alone."""
    return ec.generate_private_key(ec.SECP256R1())


class Credentials:
    """A node's key and certificate, and the zone's CAs and CRLs.

    Example:
        ```python
        key = new_key()
        certificate = authority.issue("runner-1", key.public_key())
        trust = TrustStore(authority.zone, ca=authority.ca, crl=authority.crl)
        credentials = Credentials(key, certificate, trust)
        credentials.save(Path("runner-1"))
        ```

    Args:
        key: P-256 or Ed25519.
        certificate: The certificate that the zone's authority issued for that key.
        trust: Decides about peers, and now about `certificate`: what this node would refuse, others would too.

    Raises:
        IdentityError: The certificate would be refused, or is not for this key.
    """

    def __init__(self, key: PrivateKey, certificate: x509.Certificate, trust: TrustStore) -> None:
        self._trust = trust
        self._watchers = Watchers()
        self._name = self._checked(key, certificate, trust._roots)
        self._key = key
        self._certificate = certificate

    def __repr__(self) -> str:
        return f"<Credentials of {self.uri}, until {self.not_after}>"

    @classmethod
    def load(
        cls,
        folder: Path | str,
        *,
        clock: Clock = utc_now,
        crl_grace: float = 0.0,
        revocation: Revocation = "crl",
    ) -> Self:
        """Return what `save` put into a folder, or what a Kubernetes Secret of cert-manager has mounted there.

        Args:
            folder: What `save` wrote must belong to this user, and be closed to all others. ``tls.crt``, ``tls.key``
                (PKCS 8), ``ca.crt`` and perhaps ``ca.crl`` may be root's too, and the key readable by a group of this
                process: that is how volumes are mounted.
            clock: Says what time it is, for the `TrustStore`.
            crl_grace: As for the `TrustStore`.
            revocation: As for the `TrustStore`.

        Raises:
            IdentityError: Files are missing, could have been read by others, or do not go together; or the certificate
                would be refused, for instance because it has expired.
        """
        return cls(*read_kept(folder, clock=clock, crl_grace=crl_grace, revocation=revocation))

    def reload(self, folder: Path | str) -> None:
        """Use what was put into a folder since: a new certificate with its key, new CAs and CRLs, as `replace` does.

        Nothing happens if all of it is known. Blocks for some milliseconds.

        Raises:
            IdentityError: As for `load` and `replace`. Nothing was changed.
        """
        key, certificate, ca, crl = _read(Path(folder), self._trust.revocation)
        if certificate == self._certificate:
            self.replace(ca=ca, crl=crl)
        else:
            self.replace(key=key, certificate=certificate, ca=ca, crl=crl)

    def save(self, folder: Path | str) -> None:
        """Write everything into a folder, which is made with mode 0700; files have mode 0600.

        Each file is written whole or not at all. Blocks for some milliseconds.

        Raises:
            IdentityError: The folder is another user's, or others may enter it.
            OSError: A file could not be written.
        """
        folder = Path(folder)
        make_private_folder(folder)
        save_trust(folder, self.trust.ca, self.trust.crl)
        write_private(folder / _NODE, write_keys([self._key]) + write_certificates([self._certificate]))

    @property
    def name(self) -> str:
        """The node's name, as its certificate has it."""
        return self._name

    @property
    def zone(self) -> str:
        """The zone's name."""
        return self._trust.zone

    @property
    def uri(self) -> str:
        """The node's identity, ``spiffe://ZONE/node/NAME``."""
        return node_uri(self.zone, self.name)

    @property
    def certificate(self) -> x509.Certificate:
        """The node's certificate."""
        return self._certificate

    @property
    def not_after(self) -> datetime:
        """When the certificate ends, in UTC. Renew it after two thirds of its life."""
        return self._certificate.not_valid_after_utc

    @property
    def issuer(self) -> str:
        """Key id, in hex, of the CA that issued the certificate; empty if it does not say."""
        try:
            found = self._certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
        except x509.ExtensionNotFound:
            return ""
        return (found.value.key_identifier or b"").hex()

    @property
    def trust(self) -> TrustStore:
        """Decides about peers. It stays the same object for as long as these credentials live."""
        return self._trust

    def replace(
        self,
        *,
        key: PrivateKey | None = None,
        certificate: x509.Certificate | None = None,
        ca: Iterable[x509.Certificate] | None = None,
        crl: Iterable[x509.CertificateRevocationList] | None = None,
    ) -> None:
        """Use these from now on. What is None stays as it is.

        TLS contexts made before stay as they are; each connection makes its own. A new certificate must be for the same
        node, and be one that others accept. New CAs and CRLs are adopted even if they disown this node's present
        certificate, for the sake of everybody else: that is logged as an error.

        Args:
            key: Comes with its certificate.
            certificate: For `key`, or for the present key.
            ca: As for `TrustStore.replace`.
            crl: As for `TrustStore.replace`.

        Raises:
            IdentityError: As for the constructor and for `TrustStore.replace`, or the certificate is that of another
                node. Nothing was changed.

        Who watches is called after the change: those of `trust` first, if CAs or CRLs have changed.
        """
        if key is not None and certificate is None:
            raise IdentityError(
                "a new key needs its certificate: none was given, and the present one is for the old key"
            )
        roots = self._trust._next_roots(ca=ca, crl=crl)
        if certificate is not None:
            key = self._key if key is None else key
            name = self._checked(key, certificate, roots)
            if name != self._name:
                raise IdentityError(f"the new certificate is that of {name!r}, expected {self._name!r}", reason="name")
            self._key, self._certificate = key, certificate
            _log.info("certificate replaced", identity=self.uri, until=self.not_after)
        with ExitStack() as told:
            if certificate is not None:
                told.callback(self._watchers.tell)
            told.callback(self._notice_disowned)
            self._trust._adopt(roots)

    def on_change(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` after each change of key or certificate; return what ends that.

        Changes of CAs and CRLs are `trust.on_change`'s to tell.
        """
        return self._watchers.add(callback)

    # ---- within

    def _checked(self, key: PrivateKey, certificate: x509.Certificate, roots: Roots) -> str:
        if not is_accepted_key(key):
            raise IdentityError(f"a node's key is P-256 or Ed25519, got {type(key).__name__}", reason="profile")
        try:
            name = self._trust._check(certificate, roots)
        except IdentityError as error:
            raise IdentityError(f"this node's own certificate: {error}", reason=error.reason) from error
        if certificate.public_key() != key.public_key():
            raise IdentityError(f"the certificate of {name!r} is for another key than the one given with it")
        return name

    def _notice_disowned(self) -> None:
        try:
            self._trust._check(self._certificate, self._trust._roots)
        except IdentityError as error:
            _log.error("own certificate is no longer trusted", identity=self.uri, reason=error.reason, problem=error)


def read_kept(
    folder: Path | str, *, clock: Clock = utc_now, crl_grace: float = 0.0, revocation: Revocation = "crl"
) -> tuple[PrivateKey, x509.Certificate, TrustStore]:
    """Return what `Credentials` are made from, as `Credentials.load` reads it; nobody has judged the certificate."""
    key, certificate, ca, crl = _read(Path(folder), revocation)
    zone = zone_of_authority(ca[0])
    trust = TrustStore(zone, ca=ca, crl=crl, clock=clock, crl_grace=crl_grace, revocation=revocation)
    return key, certificate, trust


def save_trust(folder: Path, ca: Iterable[x509.Certificate], crl: Iterable[x509.CertificateRevocationList]) -> None:
    """Write what is trusted into a folder of credentials, in place of what was before."""
    write_private(folder / _CA, write_certificates(ca))
    write_private(folder / _CRL, write_crls(crl))


_Read = tuple[PrivateKey, x509.Certificate, tuple[x509.Certificate, ...], tuple[x509.CertificateRevocationList, ...]]


def _read(folder: Path, revocation: Revocation) -> _Read:
    """Return key, certificate, CAs and CRLs, as `Credentials.save` has written them, or as they were mounted."""
    if (folder / MOUNTED_KEY).exists() and not (folder / _NODE).exists():
        return _read_mounted(folder, revocation)
    check_private_folder(folder)
    node = read_private(folder / _NODE)
    what = f"file {str(folder / _NODE)!r}"
    key, certificate = read_keys(node, what)[0], read_certificates(node, what)[0]
    ca = read_certificates(read_private(folder / _CA), f"file {str(folder / _CA)!r}")
    crl = read_crls(read_private(folder / _CRL), f"file {str(folder / _CRL)!r}")
    return key, certificate, ca, crl


def _read_mounted(folder: Path, revocation: Revocation) -> _Read:
    mounted = read_mounted(folder)
    if mounted.crl is None and revocation == "crl":
        raise IdentityError(
            f"folder {str(folder)!r} has no ca.crl, so nobody can tell what was revoked. Put the zone's list there; or "
            "say revocation='lifetime', and have certificates that last for an hour at most",
            reason="revocation_unknown",
        )
    what = f"in folder {str(folder)!r}, "
    return (
        read_keys(mounted.key, f"{what}{MOUNTED_KEY}")[0],
        read_certificates(mounted.certificate, f"{what}tls.crt")[0],
        read_certificates(mounted.ca, f"{what}ca.crt"),
        () if mounted.crl is None else read_crls(mounted.crl, f"{what}ca.crl"),
    )
