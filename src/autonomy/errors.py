"""Every error a caller may catch, as one tree.

The rule of this file: an error says which value was wrong or what happened, where, and what would be right, and it
carries the same as attributes. Nothing here knows why an error is raised; `_actors` and `node` decide that.
"""

from __future__ import annotations

from typing import Literal

Outcome = Literal["not_sent", "maybe_handled", "handled"]
"""What is known of a message that got no reply: it never reached the worker, it may have, or it surely did."""

Refusal = Literal[
    "missing",
    "malformed",
    "untrusted",
    "expired",
    "not_yet_valid",
    "revoked",
    "revocation_unknown",
    "profile",
    "identity",
    "zone",
    "name",
    "files",
    "ticket",
]
"""Why an identity was refused.

`missing`: no certificate was shown. `malformed`: it is none. `untrusted`: no chain to the zone's CA. `expired`,
`not_yet_valid`, `revoked`: as they say. `revocation_unknown`: no fresh list of what was revoked. `profile`: a key, a
usage or a lifetime that the zone does not issue. `identity`: not exactly one well-formed name. `zone`, `name`: another
zone, or another node than the one expected. `files`: a key on disk that others could read or have written. `ticket`:
an enrollment ticket that is unknown, used up, has ended, or is not for that node.
"""


class AutonomyError(RuntimeError):
    """The root of all errors of this library."""


class NoReply(AutonomyError):
    """A message got no reply. The subclass says why, `outcome` what is known of the message.

    The text of one raised by a request contains the word "timeout", so that programs written as
    ``except RuntimeError as error: if "timeout" in str(error)`` take their fallback at once.

    Attributes:
        outcome: ``"not_sent"``: the worker never saw the message, sending it again is safe. ``"handled"``: its handler
            ran. ``"maybe_handled"``: nobody can tell; send it again only if handling it twice does no harm.
        worker: Name of the worker that was addressed, or None where there was none.
        node: Full name of the node on which it was looked for, or None.
        elapsed: Seconds from the call to the error, on Trio's clock.
    """

    def __init__(
        self,
        text: str,
        *,
        outcome: Outcome = "maybe_handled",
        worker: str | None = None,
        node: str | None = None,
        elapsed: float = 0.0,
    ) -> None:
        super().__init__(text)
        self.outcome: Outcome = outcome
        self.worker = worker
        self.node = node
        self.elapsed = elapsed


class DeadlineExceeded(NoReply, TimeoutError):
    """The time of a call was up. The message may yet be handled; a reply to it will be dropped.

    It is a `TimeoutError`, hence an `OSError`, too: code that catches `OSError` catches this first.
    """


class WorkerFailed(NoReply):
    """The worker raised, or returned without replying.

    Attributes:
        remote_type: Name of the exception's type, for instance ``"ValueError"``; empty if the worker did not raise.
        remote_message: Its text.
        remote_traceback: Its traceback, as text. Never an exception object: nothing is unpickled.
    """

    def __init__(
        self,
        text: str,
        *,
        outcome: Outcome = "handled",
        worker: str | None = None,
        node: str | None = None,
        elapsed: float = 0.0,
        remote_type: str = "",
        remote_message: str = "",
        remote_traceback: str = "",
    ) -> None:
        super().__init__(text, outcome=outcome, worker=worker, node=node, elapsed=elapsed)
        self.remote_type = remote_type
        self.remote_message = remote_message
        self.remote_traceback = remote_traceback


class WorkerStopped(NoReply):
    """The worker ended before it replied."""


class WorkerNotFound(NoReply):
    """Nobody has that name. The message was not sent."""


class AmbiguousWorker(NoReply):
    """Several nodes have a worker of that name. The message was not sent."""


class MailboxFull(NoReply):
    """No room came in time, here or on the worker's node. The message was not handled and will not be."""


class NodeDown(NoReply):
    """The node is leaving, has left, or was lost: it said goodbye, started anew, was silent for too long, or its
    address refuses connections.

    Across nodes `outcome` is ``"not_sent"`` if the message surely did not arrive, and ``"maybe_handled"`` if it was on
    its way.
    """


class Unreachable(NoReply):
    """No way to that node is known, or none was found in time. The message was not sent."""


class CallCycle(NoReply):
    """The request would have come back to a worker that is waiting for it. The message was not sent."""


class NotAllowed(NoReply):
    """The other node does not let this one do that, by its `Rights` or by the worker's ``allow=``. The message was not
    handled."""


class WorkerExists(AutonomyError):
    """The name is taken on this node. Nothing was started."""


class RestartLimitReached(AutonomyError):
    """A worker or group failed more often than its supervision allows, and was stopped. The last failure is the
    cause."""


class IdentityError(AutonomyError):
    """A certificate, a key or a claimed name was refused.

    Attributes:
        reason: The kind of refusal, for programs; the text is for people. See `Refusal`.
        fingerprint: The beginning of the SHA-256 of a peer's certificate that was refused, to tell one intruder from
            another; else empty.
    """

    def __init__(self, text: str, *, reason: Refusal = "untrusted", fingerprint: str = "") -> None:
        super().__init__(text)
        self.reason: Refusal = reason
        self.fingerprint = fingerprint


class ZoneFileError(AutonomyError):
    """A zone file, or a file that it names, does not say what can be done. Nothing was changed.

    Attributes:
        path: The file.
        line: Where in it, from 1.
        column: Where in that line, from 1.
    """

    def __init__(self, text: str, *, path: str, line: int = 1, column: int = 1) -> None:
        super().__init__(f"{path}:{line}:{column}: {text}")
        self.path = path
        self.line = line
        self.column = column


class DeployFailed(AutonomyError):
    """A zone, or a part of it, does not run as it should; the text says which and why."""


class DirectoryUnavailable(AutonomyError):
    """The zone's directory does not answer."""


class CodeRefused(AutonomyError):
    """A worker's code or state cannot be shipped, or the far node does not accept it."""


class ProtocolError(AutonomyError):
    """Bytes from a link that mean nothing, or that the sender had no right to send. It ends the link or the session;
    no program gets to see it."""
