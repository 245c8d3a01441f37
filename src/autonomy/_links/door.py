"""Who may come in: strangers and links are counted, and those turned away are logged, but not without end.

Nothing here waits, and nothing here reads what somebody says.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

from .. import logs
from .limits import LinkLimits

_security = logs.get_logger("security")


class Door:
    """The count of those who knock at one listening transport."""

    def __init__(self, limits: LinkLimits) -> None:
        self._limits = limits
        self._strangers: dict[str, int] = {}
        self._links = 0
        self._second = -math.inf
        self._logged = 0
        self._unlogged = 0

    @property
    def strangers(self) -> int:
        """Those who have not shown who they are yet."""
        return sum(self._strangers.values())

    @property
    def links(self) -> int:
        """Links that were accepted and have not ended."""
        return self._links

    def objection(self, address: str) -> str:
        """Return why somebody from `address` may not even knock now; empty if he may."""
        if self._strangers.get(address, 0) >= self._limits.handshakes_each:
            return "too many unfinished handshakes from this address"
        if self.strangers >= self._limits.handshakes:
            return "too many unfinished handshakes"
        if self.strangers + self._links >= self._limits.links:
            return "too many links"
        return ""

    @contextmanager
    def stranger(self, address: str) -> Iterator[None]:
        """Count somebody while he shows who he is."""
        self._strangers[address] = self._strangers.get(address, 0) + 1
        try:
            yield
        finally:
            self._strangers[address] -= 1
            if not self._strangers[address]:
                del self._strangers[address]  # else a walk through addresses would fill the memory

    @contextmanager
    def link(self) -> Iterator[None]:
        """Count a link while it is handled."""
        self._links += 1
        try:
            yield
        finally:
            self._links -= 1

    def refused(self, address: str, reason: str, now: float) -> None:
        """Log that somebody was turned away: a flood of strangers must not become a flood of lines."""
        if now - self._second >= 1.0:
            self._second, self._logged = now, 0
        if self._logged >= self._limits.refusals_logged:
            self._unlogged += 1
            return
        self._logged += 1
        # Free text of far sides and libraries, so cut; the log's formatter escapes it.
        fields: dict[str, object] = {"reason": reason[:200], "address": address}
        if self._unlogged:
            fields["unlogged_before"] = self._unlogged
            self._unlogged = 0
        _security.warning("connection refused", **fields)
