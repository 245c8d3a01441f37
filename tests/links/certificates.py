"""The zone of tests of links: what its nodes show and trust, and those who only pretend to be its nodes.

All of it is made by a forger who has the zone's CA, in his own time: nothing here depends on this machine's clock.
"""

from __future__ import annotations

import functools

import trio
from cryptography import x509

from autonomy._links.security import Security
from autonomy._sansio.spiffe import PeerIdentity, node_uri
from autonomy.identity import Credentials, TrustStore, new_key
from autonomy.identity.handshake import both_ways
from autonomy.testing.lanes import identity_of

from ..identity.forge import ZONE, Clock, Forger, make_ca, node_names

CLOCK = Clock()


@functools.cache
def forger() -> Forger:
    """Return who has the CA of the zone."""
    return Forger(make_ca(CLOCK), CLOCK)


def foreign_forger() -> Forger:
    """Return who has a CA that calls itself that of the zone."""
    return Forger(make_ca(CLOCK), CLOCK)


@functools.cache
def credentials(node: str) -> Credentials:
    """Return what a node shows and trusts."""
    zone, key = forger(), new_key()
    trust = TrustStore(ZONE, ca=[zone.signer.certificate], crl=[zone.crl(1)], clock=CLOCK)
    return Credentials(key, zone.leaf(names=_names(ZONE, node), key=key), trust)


def leaf(*nodes: str, zone: str = ZONE) -> x509.Certificate:
    """Return a certificate that names these nodes, for the forger's own key; one, if it is to be a good one."""
    return forger().leaf(names=_names(zone, *nodes))


def _names(zone: str, *nodes: str) -> x509.SubjectAlternativeName:
    return node_names(*(node_uri(zone, node) for node in nodes))


def security(node: str) -> Security:
    """Return what a transport takes."""
    return Security(*both_ways(credentials(node)))


def impostor(shown: x509.Certificate | None, holder: Forger | None = None) -> Security:
    """Return what shows this certificate, or none, and takes anybody for the node it wants."""

    async def begin(stream: trio.abc.Stream, *, server: bool) -> tuple[trio.abc.Stream, PeerIdentity]:
        context = (holder or forger()).context(shown, server=server)
        tls = trio.SSLStream(stream, context, server_side=server, https_compatible=True)
        await tls.do_handshake()
        return tls, identity_of("anybody")

    async def dial(stream: trio.abc.Stream, node: str | None) -> tuple[trio.abc.Stream, PeerIdentity]:
        del node
        return await begin(stream, server=False)

    async def accept(stream: trio.abc.Stream) -> tuple[trio.abc.Stream, PeerIdentity]:
        return await begin(stream, server=True)

    return Security(dial, accept)
