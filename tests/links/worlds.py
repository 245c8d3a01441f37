"""The worlds in which links are tried out: memory, the real transport over wires in memory, and over TCP."""

from __future__ import annotations

import functools
import itertools
import socket

from autonomy._links.limits import LinkLimits
from autonomy._links.websocket import Tls, WebSocketTransport

from . import certificates, memory
from .wires import Wires
from .world import World

GENEROUS = LinkLimits(handshakes_each=64, send=5.0)


@functools.cache
def authority() -> certificates.Authority:
    """Return the authority that all nodes in tests trust."""
    return certificates.Authority()


@functools.cache
def tls(node: str) -> Tls:
    """Return what a node of the tests shows and trusts."""
    return authority().issue(node).tls()


def memory_world() -> World:
    """Return a world in memory; for virtual time."""
    network = memory.MemoryNetwork(GENEROUS)
    return World(network.transport, lambda: "wss://here:0", "wss://nowhere:1", memory.node_of)


def wired_world(wires: Wires | None = None, limits: LinkLimits = GENEROUS) -> World:
    """Return a world with the real TLS and websocket over wires in memory; for virtual time."""
    wires = wires or Wires()
    ports = itertools.count(1)

    def transport(node: str) -> WebSocketTransport:
        return WebSocketTransport(tls(node), limits, wires.connect, wires.listen)

    return World(transport, lambda: f"wss://wired:{next(ports)}", "wss://wired:9999", certificates.node_of)


def tcp_world() -> World:
    """Return a world on this machine's loopback; for real time, so its bounds are short."""
    limits = LinkLimits(handshakes_each=64, close=0.5, send=0.8)

    def transport(node: str) -> WebSocketTransport:
        return WebSocketTransport(tls(node), limits)

    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nowhere = f"wss://127.0.0.1:{unused.getsockname()[1]}"
    return World(
        transport,
        lambda: "wss://127.0.0.1:0",
        nowhere,
        certificates.node_of,
        patience=0.4,
        close=limits.close,
        send=limits.send,
        many=20,
    )
