"""Names to mailboxes: who lives on this node.

One name, one owner: a worker, a group of workers, or a `Mailbox` of a program. The registry is the only writer of its
tables; `queues` is the one that every message is looked up in.
"""

from __future__ import annotations

from collections.abc import Iterable
from weakref import WeakValueDictionary

from ..abc import Allow
from ..errors import WorkerExists
from .inbox import Inbox
from .process import Process
from .queue import Queue
from .supervisor import Group


class Registry:
    """The names of one node."""

    def __init__(self, node: str) -> None:
        self._node = node
        self.workers: dict[str, Process] = {}
        self.queues: dict[str, Queue] = {}
        self.groups: dict[str, Group] = {}
        self.inboxes: WeakValueDictionary[str, Inbox] = WeakValueDictionary()
        self.allowed: dict[str, Allow] = {}
        self.internal: dict[str, str | None] = {}
        """The library's own workers, which no list shows; and which of the `Rights` reaches each, None for none."""
        self._kept: dict[str, str] = {}

    def check_free(self, name: str) -> None:
        """Raise WorkerExists if `name` is taken."""
        if name in self.workers:
            process = self.workers[name]
            raise WorkerExists(
                f"node {self._node!r} already has a worker {name!r} ({process.describe()}). "
                "Stop it first, or start yours under another name."
            )
        if name in self.groups or name in self.inboxes:
            what = "group" if name in self.groups else "mailbox"
            raise WorkerExists(
                f"node {self._node!r} already has a {what} {name!r}. Close it first, or choose another name."
            )
        if name in self._kept:
            raise WorkerExists(
                f"node {self._node!r} keeps the name {name!r} for a member of group {self._kept[name]!r}, which is "
                "starting. Stop that group first, or choose another name."
            )

    def keep(self, names: Iterable[str], group: str) -> None:
        """Keep free names for the members of a group, until each is given to its member."""
        self._kept.update(dict.fromkeys(names, group))

    def give(self, names: Iterable[str]) -> None:
        """Keep names no longer; those that nobody kept are left as they are."""
        for name in names:
            self._kept.pop(name, None)

    def add(self, process: Process, allow: Allow) -> None:
        """Register a worker under its free name; `allow` says who on other nodes may reach it."""
        self.workers[process.name] = process
        if allow is not None:
            self.allowed[process.name] = allow
        self.queues[process.name] = process.queue

    def remove(self, process: Process) -> None:
        """Free the name of a worker that has ended."""
        if self.workers.get(process.name) is process:
            del self.workers[process.name]
            del self.queues[process.name]
            self.allowed.pop(process.name, None)
