"""This node, as far nodes may see it: who is there, who may be reached, and what is refused."""

from __future__ import annotations

from collections.abc import Callable

from .. import logs
from .._actors.inbox import Inbox
from .._actors.queue import Queue
from .._actors.runtime import Runtime
from .._actors.system import ActorSystem
from .._actors.watching import Lookout
from .._sansio.envelope import Failure
from .._sansio.reports import Down
from .._sansio.rights import Rights, matches, may_reach
from .._sansio.spiffe import PeerIdentity
from ..abc import Wire
from ..errors import CallCycle

_security = logs.get_logger("security")
_NOTHING = Failure("", "", "not_sent")
_DOING = {"message": "reach worker {worker!r} on", "manage": "manage the workers of", None: "use the directory of"}
"""What is refused, by the right that it takes."""


class Here:
    """One node, from outside.

    Args:
        runtime: What its workers share.
        system: Who is there.
        rights: What others may do.
        prefix: Returns what the full names of nodes of its zone begin with, before their short names; perhaps nothing.
        start_soon: Starts a task that lives as long as the node.
    """

    def __init__(
        self,
        runtime: Runtime,
        system: ActorSystem,
        rights: Rights,
        prefix: Callable[[], str],
        start_soon: Callable[..., object],
    ) -> None:
        self.runtime = runtime
        self.start_soon = start_soon
        self._registry = system.registry
        self._router = system.router
        self._look_out = system.look_out
        self._rights = rights
        self._prefix = prefix

    @property
    def refusal(self) -> Failure | None:
        """Why nothing may be asked of this node any more."""
        if self._router.refusal is None:
            return None
        return Failure("NodeDown", f"node {self.runtime.name!r} {self._router.refusal}", "not_sent")

    def admit(self, worker: str, wire: Wire, converses: Callable[[int], bool]) -> tuple[Failure, Queue | Inbox | None]:
        """Return the mailbox that a far node may send to, or why it may not.

        Args:
            worker: Name of the worker, or mailbox.
            wire: The way to that node.
            converses: Whether a conversation was begun with it: then it may answer, whatever its rights.
        """
        target = self._registry.queues.get(worker) or self._registry.inboxes.get(worker)
        asked = isinstance(target, Inbox) and converses(target.number)
        refusal = self.refusal
        if refusal is not None and not asked:
            return refusal, None
        if not asked and not self._may_reach(worker, wire.identity):
            return self._not_allowed(worker, wire), None
        if target is None:
            text = f"no worker {worker!r} on node {self.runtime.name!r}"
            return Failure("WorkerNotFound", text, "not_sent"), None
        return _NOTHING, target

    def _may_reach(self, worker: str, peer: PeerIdentity | None) -> bool:
        if peer is None:
            return False
        short = peer.name.removeprefix(self._prefix())
        right = self._registry.internal.get(worker, "message")
        if right is not None and not matches(getattr(self._rights, right), short):
            return False
        allow = self._registry.allowed.get(worker)
        try:
            return may_reach(allow, peer, short)
        except Exception as error:  # noqa: BLE001  # the application's code: what it cannot say is no yes
            _security.exception("allow raised", error, worker=worker, peer=peer.name)
            return False

    def _not_allowed(self, worker: str, wire: Wire) -> Failure:
        right = self._registry.internal.get(worker, "message")
        _security.warning("not allowed", peer=wire.node, worker=worker, right=right)
        text = f"node {wire.node!r} may not {_DOING[right]} node {self.runtime.name!r}".format(worker=worker)
        return Failure("NotAllowed", text, "not_sent")

    def cycle(self, worker: str, chain: tuple[str, ...]) -> Failure | None:
        """Return the failure of a request that has come back to a worker that waits for it."""
        try:
            self._router.check_cycle(worker, chain)
        except CallCycle as error:
            return Failure("CallCycle", str(error), "not_sent")
        return None

    def watch(self, worker: str, wire: Wire, report: Callable[[Down], None]) -> Callable[[], object]:
        """Have `report` called when a worker is gone; return what ends that."""
        if not self._may_reach(worker, wire.identity):
            report(Down(worker, "", self._not_allowed(worker, wire).text))
            return _nothing
        return self._look_out(worker, Lookout(report))


def _nothing() -> None:
    pass
