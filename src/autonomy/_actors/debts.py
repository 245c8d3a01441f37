"""What a worker owes to those who sent it messages.

A request is owed a reply, and whoever cannot have one an error, at the earliest moment that is known (Q3). A message
that is lost is owed a dead letter (D3). Each worker has one of these; it is told how a handler ended and does the rest.
"""

from __future__ import annotations

import traceback

import msgspec

from .. import logs
from .._sansio.envelope import CONVERSATION, FAILURE, MESSAGE, REQUEST, Envelope, Failure
from .._sansio.restarts import LIMIT_REACHED
from .runtime import Runtime

_log = logs.get_logger("worker")
_MANY = 1024


class Debts:
    """The debts of one worker.

    Attributes:
        kept: Messages whose handler returned without replying while somebody held the context, by identity; or None.
    """

    __slots__ = ("_name", "_runtime", "kept")

    def __init__(self, name: str, runtime: Runtime) -> None:
        self._name = name
        self._runtime = runtime
        self.kept: dict[int, Envelope] | None = None

    def failed(self, envelope: Envelope, error: Exception, *, answered: bool) -> None:
        """A handler raised."""
        trace = error.__traceback__ and error.__traceback__.tb_next  # without the library's own frame
        _log.exception("worker failed", error, trace, worker=f"{self._name}@{self._runtime.name}")
        if _is_owed(envelope, answered=answered):
            lines = traceback.format_exception(type(error), error, trace)
            text = f"the worker raised {text_of(error)}"
            failure = Failure("WorkerFailed", text, "handled", type(error).__name__, str_of(error), "".join(lines))
            self._fail(envelope, failure)

    def unanswered(self, envelope: Envelope) -> None:
        """A handler returned without replying, and nobody holds its context."""
        self._fail(envelope, Failure("WorkerFailed", "the worker returned without replying", "handled"))

    def keep(self, envelope: Envelope) -> None:
        """A handler returned without replying, and somebody who may yet reply holds its context."""
        if self.kept is None:
            self.kept = {}
        elif len(self.kept) >= _MANY and not len(self.kept) % _MANY:
            wanted = self._runtime.replies.wanted
            self.kept = {id(kept): kept for kept in self.kept.values() if wanted(kept.id)}
        self.kept[id(envelope)] = envelope

    def cut_off(self, envelope: Envelope, *, answered: bool) -> None:
        """A handler was cancelled."""
        text = "the worker was stopped while it handled the message"
        if envelope.kind == MESSAGE:
            self._runtime.dead_letters.report(envelope, text)
        elif _is_owed(envelope, answered=answered):
            self._fail(envelope, Failure("WorkerStopped", text, "maybe_handled"))

    def close(self) -> None:
        """A life is over: nobody may reply to what it kept any more."""
        for envelope in (self.kept or {}).values():
            if self._runtime.replies.wanted(envelope.id):
                self._fail(envelope, Failure("WorkerStopped", "the worker ended before it replied", "maybe_handled"))
        self.kept = None

    def left_behind(self, envelopes: list[Envelope], reason: str) -> None:
        """The worker is gone for good, and never came to these."""
        text = "the worker stopped before it handled the message"
        if reason != "stopped":
            text += f" ({reason})"
        cause = reason if reason.startswith(LIMIT_REACHED) else ""
        for envelope in envelopes:
            if envelope.kind == MESSAGE:
                self._runtime.dead_letters.report(envelope, text)
            else:
                self._fail(envelope, Failure("WorkerStopped", text, "not_sent", cause=cause))

    def _fail(self, envelope: Envelope, failure: Failure) -> None:
        if envelope.forwarded:
            outcome = "maybe_handled" if failure.outcome == "not_sent" else failure.outcome
            text = f"{failure.text} (it was forwarded to {self._name!r})"
            failure = msgspec.structs.replace(failure, text=text, outcome=outcome)
        self._runtime.replies.accept(Envelope(FAILURE, self._name, "", envelope.id, failure=failure))


def _is_owed(envelope: Envelope, *, answered: bool) -> bool:
    """Whether somebody is to be told of a bad end: a conversation always, whatever replies it had."""
    return envelope.kind == CONVERSATION or (envelope.kind == REQUEST and not answered)


def str_of(error: BaseException) -> str:
    """Return the text of an exception, even of one whose class cannot say it."""
    try:
        return str(error)
    except Exception:  # noqa: BLE001  # the user's own __str__
        return "<its text cannot be had>"


def text_of(error: BaseException) -> str:
    """Return type and text of an exception: ``ValueError: no coffee``."""
    text = str_of(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
