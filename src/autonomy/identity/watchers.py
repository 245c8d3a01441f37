"""Those who want to know when something was exchanged."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack


class Watchers:
    """Callbacks, called in the order in which they came."""

    def __init__(self) -> None:
        self._callbacks: dict[object, Callable[[], None]] = {}

    def add(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` from now on; return what ends that, harmless when called twice."""
        ticket = object()
        self._callbacks[ticket] = callback

        def remove() -> None:
            self._callbacks.pop(ticket, None)

        return remove

    def tell(self) -> None:
        """Call all of them. One that raises keeps no other from being called; its exception comes out afterwards."""
        with ExitStack() as stack:
            for callback in reversed(self._callbacks.values()):
                stack.callback(callback)
