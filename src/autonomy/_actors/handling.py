"""One message in a worker's hands: what the process keeps of it, and what `context` gives users words for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._sansio.envelope import Envelope

if TYPE_CHECKING:
    from .process import Process


class Handling:
    """One message in a worker's hands. `context` gives it the words that users know."""

    __slots__ = ("answered", "envelope", "process")

    def __init__(self, process: Process, envelope: Envelope) -> None:
        self.process = process
        self.envelope = envelope
        self.answered = False

    def for_thread(self) -> object:
        """Return what a plain handler gets in place of this."""
        return self
