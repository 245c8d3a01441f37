"""Actors in structured concurrency: workers that answer messages, on nodes that supervise them and link up.

Start reading at `Node`. Errors are in `autonomy.errors`, certificates for linked nodes in `autonomy.identity`, where
nodes of a zone find each other in `autonomy.directory`.
"""

from __future__ import annotations

from . import errors
from ._actors.gathering import gather
from ._actors.mailbox import Mailbox
from ._local_zone import LocalZone, open_local_zone
from ._sansio.backoff import Backoff
from ._sansio.keepalive import Liveness
from ._sansio.members import ZoneInfo
from ._sansio.points import buggify
from ._sansio.reports import DeadLetter, Down, NodeStatistics, WorkerInfo
from ._sansio.restarts import ChildSpec, Escalate, Restart, Resume, Stop
from ._sansio.rights import Rights
from ._sansio.shipment import CodePolicy
from ._serving import HttpServer
from ._zone.remote import RemoteNode
from ._zone.zone import Zone
from .abc import Context, NodeRef, ThreadContext, Timer, Watch, Worker
from .errors import (
    AmbiguousWorker,
    AutonomyError,
    CallCycle,
    CodeRefused,
    DeadlineExceeded,
    DeployFailed,
    DirectoryUnavailable,
    IdentityError,
    MailboxFull,
    NodeDown,
    NoReply,
    NotAllowed,
    RestartLimitReached,
    Unreachable,
    WorkerExists,
    WorkerFailed,
    WorkerNotFound,
    WorkerStopped,
)
from .logs import debug, error, get_logger, info, set_log_level, set_log_levels, warning
from .node import Node, open_node

__all__ = [
    "AmbiguousWorker",
    "AutonomyError",
    "Backoff",
    "CallCycle",
    "ChildSpec",
    "CodePolicy",
    "CodeRefused",
    "Context",
    "DeadLetter",
    "DeadlineExceeded",
    "DeployFailed",
    "DirectoryUnavailable",
    "Down",
    "Escalate",
    "HttpServer",
    "IdentityError",
    "Liveness",
    "LocalZone",
    "Mailbox",
    "MailboxFull",
    "NoReply",
    "Node",
    "NodeDown",
    "NodeRef",
    "NodeStatistics",
    "NotAllowed",
    "RemoteNode",
    "Restart",
    "RestartLimitReached",
    "Resume",
    "Rights",
    "Stop",
    "ThreadContext",
    "Timer",
    "Unreachable",
    "Watch",
    "Worker",
    "WorkerExists",
    "WorkerFailed",
    "WorkerInfo",
    "WorkerNotFound",
    "WorkerStopped",
    "Zone",
    "ZoneInfo",
    "buggify",
    "debug",
    "error",
    "errors",
    "gather",
    "get_logger",
    "info",
    "open_local_zone",
    "open_node",
    "set_log_level",
    "set_log_levels",
    "warning",
]
