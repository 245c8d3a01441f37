"""How often somebody may fail: so many times in so many seconds, and then not for a while.

Time comes in as `now`. What is remembered is bounded, so that a walk through addresses does not fill the memory.
"""

from __future__ import annotations

from collections import deque


class Tries:
    """Failures by address.

    Args:
        most: Failures of one address that are put up with.
        within: Seconds after which one is forgotten.
        remembered: Addresses at once; beyond that the one that failed first is forgotten.
    """

    def __init__(self, most: int = 5, within: float = 60.0, remembered: int = 4096) -> None:
        self._most = most
        self._within = within
        self._remembered = remembered
        self._failures: dict[str, deque[float]] = {}

    def pause(self, address: str, now: float) -> float:
        """Return for how many seconds an address may not try again; 0 if it may now."""
        failures = self._failures.get(address)
        if failures is None:
            return 0.0
        while failures and failures[0] <= now - self._within:
            failures.popleft()
        if not failures:
            del self._failures[address]
        return failures[0] + self._within - now if len(failures) >= self._most else 0.0

    def failed(self, address: str, now: float) -> None:
        """Note that somebody failed."""
        failures = self._failures.pop(address, None) or deque(maxlen=self._most)
        failures.append(now)
        self._failures[address] = failures  # the last one to be forgotten
        if len(self._failures) > self._remembered:
            del self._failures[next(iter(self._failures))]
