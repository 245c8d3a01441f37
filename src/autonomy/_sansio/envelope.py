"""The one thing that travels: a message with its addresses.

A reply is simply another envelope, and so is the news that there will be none. Envelopes are not changed once they are
on their way; whoever passes one on makes a new one. Next: `_actors/router.py`, which brings them to their mailboxes.
"""

from __future__ import annotations

from typing import Final

import msgspec

from ..errors import Outcome

MESSAGE: Final = 0
"""Wants no reply."""
REQUEST: Final = 1
"""Wants one reply: the first wins, and its number is then forgotten."""
CONVERSATION: Final = 2
"""Any number of replies go to one mailbox, for as long as that is open."""
REPLY: Final = 3
FAILURE: Final = 4
"""Instead of a reply; `Envelope.failure` says why there is none."""


class Failure(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Why there is no reply, as plain text, so that it reads the same wherever it happened."""

    kind: str
    """Name of the class in `errors` that the caller gets."""
    text: str
    """What happened, to be read behind "no reply from 'x@n' before timeout=5s: "."""
    outcome: Outcome
    """What is known of the message."""
    remote_type: str = ""
    """Name of the type of the worker's exception; empty if it raised none."""
    remote_message: str = ""
    """Its text."""
    remote_traceback: str = ""
    """Its traceback; over a link at most the last 65,536 characters."""
    cause: str = ""
    """Text of the `RestartLimitReached` behind it, if that is why."""


class Envelope(msgspec.Struct, array_like=True, gc=False):
    """A message on its way. Made by `node`, opened by a worker's process.

    No field of it can take part in a reference cycle, so the garbage collector need not look at it (`gc=False`).
    """

    kind: int
    to: str
    """Name of the addressed worker; the one that answered, in a REPLY or FAILURE."""
    body: str
    id: int = 0
    """Number of the request or conversation at the node that asks; replies carry it back. 0 for a plain message."""
    sender: str = ""
    """``worker@node`` of the sender; empty for the program of this node."""
    deadline: float = 0.0
    """When the one who asks gives up, on Trio's clock. Only for a REQUEST."""
    chain: tuple[str, ...] = ()
    """Addresses of the workers that wait for this request, the outermost first."""
    failure: Failure | None = None
    forwarded: bool = False
    """Whether a worker has handled it already and handed it on."""
