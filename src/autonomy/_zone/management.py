"""The worker that starts, stops and lists workers here for other nodes, if they have the right to.

Whoever asks is who the link says it is. Orders are carried out side by side: one that takes long holds up no other.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

import msgspec

from .. import logs
from .._actors.process import current_process
from .._sansio.management import Done, ListWorkers, Order, Refused, StartWorker, StopWorker, orders, read, text_of
from ..abc import Context
from ..errors import AutonomyError

_log = logs.get_logger("zone")
_LONGEST = 65_536
"""Characters of a traceback that travel."""


class ManagementWorker:
    """Carries out the orders of other nodes.

    Args:
        node: This node: it has `start_worker`, `stop_worker` and `list_workers`, as `Node` has.
        start_soon: Starts a task that lives as long as the node.
        unpack: Makes a worker, or a class of workers, of what a node has shipped; it is given that node's name, and
            raises CodeRefused.
    """

    def __init__(self, node: Any, start_soon: Callable[..., object], unpack: Callable[[bytes, str], object]) -> None:
        self._node = node
        self._start_soon = start_soon
        self._unpack = unpack

    async def handle_message(self, context: Context, message: str) -> None:
        """Begin to carry out an order."""
        order = orders.decode(message)
        self._start_soon(self._answer, context, order)

    async def _answer(self, context: Context, order: Order) -> None:
        current_process.set(None)  # it is not that worker's child, nor its message
        asker = context.sender.rpartition("@")[2]
        try:
            outcome: msgspec.Struct = await self._do(order, asker)
        except Exception as error:  # noqa: BLE001  # a worker's own code may raise anything: the asker is told
            outcome = _refused(error)
            _log.warning("order refused", peer=asker, order=type(order).__name__, reason=repr(error)[:200])
        await context.reply(text_of(outcome))

    async def _do(self, order: Order, asker: str) -> Done:
        if isinstance(order, ListWorkers):
            return Done([dict(info) for info in await self._node.list_workers()])
        if isinstance(order, StopWorker):
            await self._node.stop_worker(order.name, timeout=order.timeout)
            _log.info("worker stopped", peer=asker, worker=order.name)
            return Done()
        await self._start(order, asker)
        return Done()

    async def _start(self, order: StartWorker, asker: str) -> None:
        worker = self._unpack(order.shipment, asker)
        if hasattr(worker, "handle_message") and not isinstance(worker, type):
            _acquaint(worker, self._node)
        await self._node.start_worker(
            order.name,
            worker,
            supervision=read(order.policy),
            mailbox_capacity=order.mailbox_capacity,
            allow=order.allow,
            on_conflict=order.on_conflict,
        )
        _log.info("worker started", peer=asker, worker=order.name)


def _acquaint(worker: Any, node: object) -> None:
    """Let a worker that came from elsewhere know its node, as ``self.node``, if it takes that (L2)."""
    try:
        worker.node = node
    except (AttributeError, TypeError):  # slots, or a property of its own
        _log.debug("worker takes no attribute node", worker=type(worker).__name__)


def _refused(error: Exception) -> Refused:
    if isinstance(error, AutonomyError):
        return Refused(type(error).__name__, str(error))
    return Refused(type(error).__name__, str(error), "".join(traceback.format_exception(error))[-_LONGEST:])
