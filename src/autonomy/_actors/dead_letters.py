"""What was accepted and will not be handled: counted, logged, handed to whoever wants to know."""

from __future__ import annotations

from collections.abc import Callable

from .. import logs
from .._sansio.envelope import MESSAGE, Envelope
from .._sansio.reports import DeadLetter

_log = logs.get_logger("node")


class DeadLetters:
    """The dead letters of one node."""

    def __init__(self, node: str) -> None:
        self._node = node
        self.count = 0
        self.hook: Callable[[DeadLetter], None] | None = None

    def report(self, envelope: Envelope, reason: str) -> None:
        """Report a lost message. What its text says is not logged: it may be private."""
        self.count += 1
        to = envelope.to if "@" in envelope.to else f"{envelope.to}@{self._node}"  # a timer's may be on another node
        letter = DeadLetter(to, envelope.sender or f"@{self._node}", envelope.body, reason)
        _log.warning("message lost", to=letter.to, sender=letter.sender, reason=reason)
        if self.hook is not None:
            try:
                self.hook(letter)
            except Exception as error:  # noqa: BLE001  # the application's code; a worker's end must go on
                _log.exception("on_dead_letter raised", error)

    def report_messages(self, envelopes: list[Envelope], reason: str) -> None:
        """Report those of `envelopes` that wanted no reply; the others have somebody who is told otherwise."""
        for envelope in envelopes:
            if envelope.kind == MESSAGE:
                self.report(envelope, reason)
