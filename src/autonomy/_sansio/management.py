"""What nodes ask of each other's workers as a whole: start this one, stop that one, which are there?

Each is a request to a worker of the library's own, and its reply; texts are JSON.
"""

from __future__ import annotations

from typing import Final, cast

import msgspec

from .backoff import Backoff
from .reports import WorkerFields, WorkerInfo
from .restarts import Escalate, Restart, Resume, Stop, Supervision

WORKER: Final = "_management"


class Policy(msgspec.Struct, frozen=True, omit_defaults=True):
    """A supervision of one worker, as text."""

    kind: str = "resume"
    max_restarts: int = 0
    within: float = 0.0
    first: float = 0.0
    longest: float = 0.0


def written(supervision: Supervision) -> Policy:
    """Return a supervision as it travels."""
    if isinstance(supervision, Restart):
        backoff = supervision.backoff
        return Policy("restart", supervision.max_restarts, supervision.within, backoff.first, backoff.longest)
    return Policy(type(supervision).__name__.lower())


def read(policy: Policy) -> Supervision:
    """Return the supervision that travelled; raise ValueError if it is none."""
    match policy.kind:
        case "resume":
            return Resume()
        case "stop":
            return Stop()
        case "escalate":
            return Escalate()
        case "restart":
            return Restart(policy.max_restarts, policy.within, Backoff(policy.first, policy.longest))
    raise ValueError(f"no supervision is called {policy.kind!r:.80}")


class StartWorker(msgspec.Struct, frozen=True, omit_defaults=True, tag="start"):
    """Start a worker there.

    Attributes:
        name: Its name.
        shipment: What it is made of; see `shipment`.
        policy: Its supervision.
        mailbox_capacity: How many messages may wait.
        allow: Patterns of short node names, or None.
        on_conflict: What to do if the name is taken.
    """

    name: str
    shipment: bytes
    policy: Policy = Policy()
    mailbox_capacity: int = 1000
    allow: str | list[str] | None = None
    on_conflict: str = "error"


class StopWorker(msgspec.Struct, frozen=True, omit_defaults=True, tag="stop"):
    """Stop a worker or a group there."""

    name: str
    timeout: float | None = None


class ListWorkers(msgspec.Struct, frozen=True, omit_defaults=True, tag="list"):
    """Which workers are there?"""


Order = StartWorker | StopWorker | ListWorkers


class Done(msgspec.Struct, frozen=True, omit_defaults=True, tag="done"):
    """It is done; of `ListWorkers`, what there is."""

    workers: list[dict[str, str | int]] = []

    def infos(self) -> list[WorkerInfo]:
        """Return the workers that were listed."""
        return [WorkerInfo(cast("WorkerFields", fields)) for fields in self.workers]


class Refused(msgspec.Struct, frozen=True, omit_defaults=True, tag="refused"):
    """It was not done.

    Attributes:
        kind: Name of the type of error.
        text: Why.
        traceback: Where, if a worker's own code failed.
    """

    kind: str
    text: str
    traceback: str = ""


orders: Final = msgspec.json.Decoder(Order)
outcomes: Final = msgspec.json.Decoder(Done | Refused)


def text_of(message: msgspec.Struct) -> str:
    """Return an order or an outcome as it travels."""
    return msgspec.json.encode(message).decode()
