"""The wires between hosts, as a value: which frame goes where, and when. No I/O, no clock: time comes in as `now`.

A way is one direction between two hosts; each has its own quality. Frames of one way stay in order, also when jitter
delays one more than the next: what TCP makes of frames out of order is the kernel's business, and tested there.
"""

from __future__ import annotations

from heapq import heappop, heappush
from random import Random

import msgspec

_TO_MANY = 0x01
"""Bit of an address's first byte: this frame is for more than one station."""


class Quality(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a way does to frames.

    Attributes:
        delay: Seconds that each takes.
        jitter: Seconds that it may take beyond that, evenly spread.
        loss: Which part of them is lost, from 0 to 1, each by itself.
        is_cut: Whether nothing passes, not even what is on its way.
    """

    delay: float = 0.0
    jitter: float = 0.0
    loss: float = 0.0
    is_cut: bool = False


PERFECT = Quality()


class Fabric:
    """Wires from each host to each other, and what is on its way on them.

    Args:
        chance: What is lost, and how late the rest is.

    Attributes:
        carried: Frames that came through.
        lost: Frames that did not.
    """

    def __init__(self, chance: Random) -> None:
        self._chance = chance
        self._hosts: dict[str, None] = {}
        self._stations: dict[bytes, str] = {}
        self._qualities: dict[tuple[str, str], Quality] = {}
        self._under_way: list[tuple[float, int, str, str, bytes]] = []
        self._last: dict[tuple[str, str], float] = {}
        self._count = 0
        self.carried = self.lost = 0

    def add(self, host: str) -> None:
        """Plug a host in."""
        self._hosts[host] = None

    def remove(self, host: str) -> None:
        """Unplug a host, which is gone: what is on its way to it is lost, and where it was is forgotten."""
        self._hosts.pop(host, None)
        self._stations = {station: each for station, each in self._stations.items() if each != host}

    def set(self, source: str, sink: str, quality: Quality) -> None:
        """Say what the way from one host to another is like from now on. It stays so when the hosts are gone."""
        self._qualities[source, sink] = quality

    def take(self, source: str, frame: bytes, now: float) -> None:
        """Take an Ethernet frame off a host."""
        sink_station, source_station = frame[:6], frame[6:12]
        self._stations[source_station] = source
        known = None if sink_station[0] & _TO_MANY else self._stations.get(sink_station)
        for sink in [known] if known is not None else list(self._hosts):
            if sink != source:
                self._send(source, sink, frame, now)

    def _send(self, source: str, sink: str, frame: bytes, now: float) -> None:
        quality = self._qualities.get((source, sink), PERFECT)
        if self._chance.random() < quality.loss:
            self.lost += 1
            return
        due = now + quality.delay + self._chance.random() * quality.jitter
        due = self._last[source, sink] = max(due, self._last.get((source, sink), 0.0))
        self._count += 1
        heappush(self._under_way, (due, self._count, source, sink, frame))

    def due(self, now: float) -> list[tuple[str, bytes]]:
        """Return the frames that arrive by now, each with its host, in order."""
        arrived = []
        while self._under_way and self._under_way[0][0] <= now:
            _, _, source, sink, frame = heappop(self._under_way)
            if sink not in self._hosts or self._qualities.get((source, sink), PERFECT).is_cut:
                self.lost += 1
            else:
                self.carried += 1
                arrived.append((sink, frame))
        return arrived

    @property
    def next_due(self) -> float | None:
        """When the next frame arrives; None if none is on its way."""
        return self._under_way[0][0] if self._under_way else None
