"""What a node tells about itself: its workers, its figures, what ended, what was lost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypedDict, cast

WorkerState = Literal["starting", "running", "restarting", "stopping"]


class WorkerFields(TypedDict):
    """The keys of a `WorkerInfo`."""

    name: str
    state: WorkerState
    mailbox: int
    handled: int
    failed: int
    restarts: int


class WorkerInfo(dict[str, object]):
    """One worker as `Node.list_workers` saw it: a dict whose ``str()`` is the worker's name.

    Keys: ``name``; ``state``, one of starting, running, restarting, stopping; ``mailbox``, how many messages wait in
        it;
    ``handled`` and ``failed``, how many its handler returned from and raised from; ``restarts``.
    """

    def __init__(self, fields: WorkerFields) -> None:
        super().__init__(cast("dict[str, object]", fields))

    def __str__(self) -> str:
        return str(self["name"])


@dataclass(frozen=True, slots=True)
class Down:
    """A watched worker is gone.

    Attributes:
        name: The watched address, in full: ``worker@node``.
        incarnation: Id of the start that ended; empty if there was no such worker when the watch began, or if its node
            is down.
        reason: Why, for people: ``"stopped"``, ``"not found"``, ``"failed: ValueError: …"``, ``"restart limit reached:
            …"``, ``"node 'b' is down: …"``.
    """

    name: str
    incarnation: str
    reason: str


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that was accepted and that nobody will handle; or, to another node, one that perhaps nobody will.

    Attributes:
        to: Full address of the worker it was for.
        sender: Full address of who sent it; ``@node`` for the program of a node.
        message: Its text.
        reason: Why it was lost, for people.
    """

    to: str
    sender: str
    message: str
    reason: str


@dataclass(frozen=True, slots=True)
class NodeStatistics:
    """A node's figures at one moment.

    Attributes:
        name: The node's full name.
        incarnation: Id of this start of the node.
        workers: Workers that are registered, in whatever state.
        mailboxes: Mailboxes of `Node.send` and `Node.create_mailbox` that are open.
        queued: Messages that wait in workers' mailboxes on this node.
        waiting_requests: Requests that await their reply, those of other nodes to workers here included.
        timers: Timers that have yet to fire.
        dead_letters: Messages lost so far, see `DeadLetter`; those to other nodes count where they were sent.
        dropped_replies: Replies so far that came too late, twice, or to a message that wanted none.
        links: Other nodes to which there is a link at this moment.
    """

    name: str
    incarnation: str
    workers: int
    mailboxes: int
    queued: int
    waiting_requests: int
    timers: int
    dead_letters: int
    dropped_replies: int
    links: int = 0
