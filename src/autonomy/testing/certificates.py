"""The certificates of a simulated zone with TLS, and what may become of them while it runs.

They are issued by the library's own authority, by the right time, and are there at once: how they travel is none of the
network's business. Each host judges those of others by the clock on its own wall.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from cryptography.x509.verification import PolicyBuilder

from ..identity import Credentials, TrustStore, ZoneAuthority, new_key
from ..identity.lifetimes import LEAF_LIFETIME
from .hindrances import Hindrances
from .lanes import ZONE
from .stand_ins import here
from .verbs import Mended, Verbs

# cryptography takes `datetime.datetime` from where it is once, when it needs it first, and keeps it. While a simulation
# runs a stand-in is there, which would have it refuse all dates from then on: so it is asked for it now.
PolicyBuilder().time(datetime(2026, 1, 1, tzinfo=UTC))


class Certificates:
    """What simulated nodes show each other in a zone with TLS.

    Args:
        folder: For the zone's authority.
        nodes: Who has one at first.
        wall: Returns what the clock on a host's wall shows, in seconds since 1970; that of ``""`` is right.
    """

    def __init__(self, folder: Path, nodes: Iterable[str], wall: Callable[[str], float]) -> None:
        self._wall = wall
        self._hands_out = False
        self._authority = ZoneAuthority.create(folder, ZONE, clock=partial(self._now, ""))
        self._credentials = {node: self._issue(node) for node in nodes}

    def _issue(self, node: str) -> Credentials:
        key, authority = new_key(), self._authority
        with self._handing_out():
            certificate = authority.issue(node, key.public_key())
            trust = TrustStore(ZONE, ca=authority.ca, crl=authority.crl, clock=partial(self._now, node))
            return Credentials(key, certificate, trust)

    def of(self, node: str) -> Credentials:
        """Return a node's own: the same at each of its starts."""
        return self._credentials[node]

    def renew(self, node: str, lifetime: timedelta = LEAF_LIFETIME) -> None:
        """Give a node a new key and certificate."""
        own, key = self.of(node), new_key()
        with self._handing_out():
            own.replace(key=key, certificate=self._authority.issue(node, key.public_key(), lifetime=lifetime))

    def change(self, step: Callable[[ZoneAuthority], object], told: Iterable[str]) -> None:
        """Have the authority do something, and let some nodes have the CAs and CRLs of then."""
        with self._handing_out():
            step(self._authority)
        for node in told:
            own = self.of(node)
            with self._handing_out():
                own.replace(ca=self._authority.ca, crl=self._authority.crl)

    def _now(self, host: str) -> datetime:
        return datetime.fromtimestamp(self._wall("" if self._hands_out else host), UTC)

    @contextmanager
    def _handing_out(self) -> Generator[None]:
        """Let all clocks be right while the block runs: what a node is given it takes, and judges by its own later.

        No host's disk is written to.
        """
        place, self._hands_out = here.set(""), True
        try:
            yield
        finally:
            self._hands_out = False
            here.reset(place)


class CertificateVerbs(Verbs):
    """What may become of certificates; see `Simulation`."""

    def _begin_anew(self) -> None:
        super()._begin_anew()
        self._certificates: Certificates | None = None
        self._lapsed = Hindrances[str, None]()

    @property
    def _issued(self) -> Certificates:
        if self._certificates is None:
            raise RuntimeError(
                'there are certificates while a simulation with wire="tls" runs: write Simulation(wire="tls"), and do '
                "this in the scenario"
            )
        return self._certificates

    def renew(self, name: str, *, lifetime: int | None = None) -> None:
        """Give the node of a host a new key and certificate; its links are made anew, and nothing is lost.

        Nobody renews it by himself: a day after the beginning of a run, by the clocks on the walls, all certificates
        and the CRL have ended.

        Args:
            name: Of the host.
            lifetime: Seconds until it ends, at least 1; None for a day. Then no new links are made with it, and those
                that there are end within a minute.

        Raises:
            RuntimeError: There is no TLS, or the simulation does not run.
        """
        self.host(name)
        self._issued.renew(name, LEAF_LIFETIME if lifetime is None else timedelta(seconds=lifetime))
        self._note("fault", name, "", "renewal" if lifetime is None else f"renewal: for {lifetime} s")

    def expire(self, name: str, seconds: int = 1) -> Mended:
        """Let the certificate of a host's node end so many seconds from now. Mended, it is given a new one.

        Whoever's clock is not right is early or late to see it. Errors as for `renew`.
        """
        self.host(name)
        self._issued.renew(name, timedelta(seconds=seconds))
        return self._lapses("expiry", name, f": after {seconds} s")

    def revoke(self, name: str, hosts: Iterable[str] | None = None) -> Mended:
        """Revoke the certificate of a host's node: it is cut off at once. Mended, it is given a new one.

        Args:
            name: Of the host.
            hosts: Those that the new CRL reaches now; None for all. `send_crl` lets it reach others.

        Raises:
            RuntimeError: As for `renew`.
        """
        self.host(name)
        told = self._told(hosts)
        self._issued.change(lambda authority: authority.revoke(name), told)
        return self._lapses("revocation", name, "" if hosts is None else f": known at {', '.join(told) or 'no host'}")

    def send_crl(self, hosts: Iterable[str] | None = None) -> None:
        """Sign a new CRL, good for a day, and let it reach some hosts; None for all. Errors as for `renew`."""
        self._change("new CRL", ZoneAuthority.sign_crl, hosts)

    def _lapses(self, what: str, name: str, more: str) -> Mended:
        end_one = self._lapsed.begin(None, name)

        def end() -> None:
            end_one()
            if name not in self._lapsed:
                self._issued.renew(name)

        return self._begun(what, name, "", end, more)

    # --- another CA, in three steps

    def roll_over(self) -> None:
        """Make the zone's next CA, and have all hosts trust both: the first of three steps. Errors as for `renew`.

        `switch_over` follows, then `retire`. All hosts learn of each step at once.
        """
        self._change("CA rolled over", ZoneAuthority.roll_over)

    def switch_over(self) -> None:
        """Let the new CA issue, and give all nodes new certificates: the second step. Errors as for `renew`."""
        self._change("CA switched over", ZoneAuthority.switch_over)
        for name in self._hosts:
            if name not in self._lapsed:
                self._issued.renew(name)

    def retire(self) -> None:
        """Forget the old CA; all hosts trust the new one alone: the third step. Errors as for `renew`."""
        self._change("CA retired", ZoneAuthority.retire)

    def _change(self, what: str, step: Callable[[ZoneAuthority], object], hosts: Iterable[str] | None = None) -> None:
        told = self._told(hosts)
        self._issued.change(step, told)
        for name in told:
            self._note("fault", name, "", what)

    def _told(self, hosts: Iterable[str] | None) -> list[str]:
        return [self.host(name).name for name in (self._hosts if hosts is None else hosts)]
