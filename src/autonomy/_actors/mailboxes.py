"""The mailboxes that programs open on a node: a name for each, and an end with the worker that opened it.

What is in one and how it is read: `inbox.py` and `mailbox.py`.
"""

from __future__ import annotations

import weakref

from .._sansio.address import check_name
from ..errors import WorkerExists
from .inbox import Inbox
from .mailbox import Mailbox
from .process import Process, current_process
from .registry import Registry
from .router import Router
from .runtime import Runtime


class Mailboxes:
    """Opens the mailboxes of one node, and forgets them when they are closed."""

    def __init__(self, runtime: Runtime, registry: Registry, router: Router) -> None:
        self._runtime = runtime
        self._registry = registry
        self._router = router

    def open(self, name: str | None, capacity: int = 1000) -> Mailbox:
        """Open a mailbox under a name, or under one that nobody has."""
        self._router.check_open()
        number = self._runtime.replies.next_id()
        name = self._unused_name(number) if name is None else check_name(name)
        self._registry.check_free(name)
        inbox = Inbox(name, number, capacity)
        mailbox = Mailbox(inbox, self._router, self._runtime, self._forget)
        self._registry.inboxes[name] = inbox
        self._router.forget(name)
        self._runtime.replies.conversations[number] = inbox
        owner = current_process.get()
        if owner is not None and owner.alive:
            _own_weakly(owner, mailbox)
        return mailbox

    async def converse(self, address: str, message: str, node: object) -> Mailbox:
        """Send a message, and return the mailbox that its replies go to."""
        mailbox = self.open(None)
        try:
            await mailbox.send(address, message, node)
        except BaseException:
            mailbox.close()
            raise
        return mailbox

    def _unused_name(self, number: int) -> str:
        """Return the name for mailbox `number`, or for a later one if somebody has chosen that name."""
        while True:
            try:
                self._registry.check_free(f"mailbox-{number}")
            except WorkerExists:
                number = self._runtime.replies.next_id()
            else:
                return f"mailbox-{number}"

    def _forget(self, inbox: Inbox) -> None:
        if self._registry.inboxes.get(inbox.name) is inbox:
            del self._registry.inboxes[inbox.name]
        self._runtime.replies.conversations.pop(inbox.number, None)


def _own_weakly(owner: Process, mailbox: Mailbox) -> None:
    """Close the mailbox when the worker's life ends, if anybody still holds it then."""
    reference = weakref.ref(mailbox, owner.disown)

    def close() -> None:
        held = reference()
        if held is not None:
            held.close()

    owner.own(reference, close)
