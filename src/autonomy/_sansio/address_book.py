"""The addresses that a name in DNS leads to, and which of them to visit when, to see who is there.

A node that is a member says itself where it is, and is not visited. What is not in DNS any more is forgotten.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

from .backoff import Backoff

MOST: Final = 1000
"""Addresses that are looked at; a name that leads to more is none of a zone's."""
_AGAIN: Final = Backoff(1.0, 5.0)
_LATER: Final = 30.0
"""Seconds after which an address is visited again at which a node was met that says that it is elsewhere."""


class _Entry:
    __slots__ = ("due", "failures", "is_visited", "node")

    def __init__(self) -> None:
        self.due = 0.0
        self.failures = 0
        self.is_visited = False
        self.node = ""


class AddressBook:
    """Addresses by what is known of them.

    Args:
        me: Full name of this node, which need not visit itself.
    """

    def __init__(self, me: str) -> None:
        self._me = me
        self._entries: dict[str, _Entry] = {}

    @property
    def is_waiting(self) -> bool:
        """Whether somebody is visited at this moment."""
        return any(entry.is_visited for entry in self._entries.values())

    def update(self, addresses: Iterable[str]) -> None:
        """Note which addresses there are now; others are forgotten."""
        self._entries = {address: self._entries.get(address) or _Entry() for address in addresses}

    def visit(self, members: Collection[str], now: float) -> list[str]:
        """Return the addresses to visit now; each is visited until `met` or `failed` is said of it.

        Args:
            members: Where members say that they are.
            now: Trio's clock.
        """
        known = {_bare(address) for address in members}
        found = []
        for address, entry in self._entries.items():
            if _bare(address) in known:
                entry.failures = 0
            elif not entry.is_visited and entry.due <= now and entry.node != self._me:
                entry.is_visited = True
                found.append(address)
        return found

    def met(self, address: str, node: str, now: float) -> None:
        """Note who is at an address."""
        entry = self._entries.get(address)
        if entry is not None:
            entry.is_visited, entry.node, entry.due = False, node, now + _LATER

    def failed(self, address: str, now: float, pause: float = 0.0) -> None:
        """Note that nobody was met at an address, who could be spoken to; visit it later, after a pause at least."""
        entry = self._entries.get(address)
        if entry is not None:
            entry.failures += 1
            entry.is_visited, entry.node = False, ""
            entry.due = now + max(pause, _AGAIN.delay(entry.failures))

    def lost(self, node: str, now: float, pause: float = 0.0) -> None:
        """Note that a node could not be spoken to; visit it later, after a pause at least."""
        for address, entry in self._entries.items():
            if entry.node == node:
                self.failed(address, now, pause)


def _bare(address: str) -> str:
    """Return an address without the brackets, which may stand around any kind of host."""
    return address.replace("[", "").replace("]", "")
