"""The worlds in which links are tried: the simulated network, the real transport over wires in memory, and over TCP."""

from __future__ import annotations

import itertools
import socket
from random import Random

import trio

from autonomy._links.limits import LinkLimits
from autonomy._links.websocket import WebSocketTransport
from autonomy.testing.moments import Moments
from autonomy.testing.network import LATENCY, Latency, Network
from autonomy.testing.streams import BYTES, Streams

from .certificates import security
from .wires import Wires
from .world import World

GENEROUS = LinkLimits(handshakes_each=64, send=5.0)


def simulated_world(latency: Latency = LATENCY) -> World:
    """Return a world on a simulated network; for virtual time."""
    network = Network(lambda way: Random(repr(way)), Moments(trio.current_time), latency, GENEROUS)
    return World(network.transport, lambda: "wss://here:0", "wss://nowhere:1")


def streamed_world() -> World:
    """Return a world with the real TLS and websocket over simulated streams; for virtual time."""
    network = Network(lambda way: Random(repr(way)), Moments(trio.current_time), LATENCY, BYTES, lambda _: "")
    ports = itertools.count(1)

    def transport(node: str) -> WebSocketTransport:
        streams = Streams(network, node, node, Random(node))
        return WebSocketTransport(security(node), GENEROUS, streams.connect, streams.listen)

    return World(transport, lambda: f"wss://b:{next(ports)}", "wss://nowhere:1")


def wired_world(wires: Wires | None = None, limits: LinkLimits = GENEROUS) -> World:
    """Return a world with the real TLS and websocket over wires in memory; for virtual time."""
    wires = wires or Wires()
    ports = itertools.count(1)

    def transport(node: str) -> WebSocketTransport:
        return WebSocketTransport(security(node), limits, wires.connect, wires.listen)

    return World(transport, lambda: f"wss://wired:{next(ports)}", "wss://wired:9999")


def tcp_world() -> World:
    """Return a world on this machine's loopback; for real time, so its bounds are short."""
    limits = LinkLimits(handshakes_each=64, close=0.5, send=0.8)

    def transport(node: str) -> WebSocketTransport:
        return WebSocketTransport(security(node), limits)

    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nowhere = f"wss://127.0.0.1:{unused.getsockname()[1]}"
    return World(
        transport,
        lambda: "wss://127.0.0.1:0",
        nowhere,
        patience=0.4,
        close=limits.close,
        send=limits.send,
        many=20,
    )
