"""Where machines without a certificate knock: a port of its own, and bounds on what they may cost."""

from __future__ import annotations

from contextlib import suppress

import trio

from .._links.door import Door
from .._links.limits import LinkLimits
from .._links.reasons import why
from .._sansio.enrollment import parse_host_port, write_host_port
from ..identity.admitting import Admission


class EnrollmentDesk:
    """Listens for strangers: 64 at once, 8 of one address, 5 s each.

    Args:
        admission: Answers each.
        limits: Bounds.
    """

    def __init__(self, admission: Admission, limits: LinkLimits | None = None) -> None:
        self._admission = admission
        self._limits = limits or LinkLimits()
        self._door = Door(self._limits)

    async def serve(self, listen: str, *, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen at ``HOST:PORT``, port 0 for any, for ever; reports where.

        Raises:
            OSError: It cannot listen there.
        """
        host, port = parse_host_port(listen)
        try:
            listeners = await trio.open_tcp_listeners(port, host=host)
        except OSError as error:
            raise OSError(error.errno, f"the authority cannot take tickets at {listen}: {error.strerror}") from None
        task_status.started(write_host_port(host, listeners[0].socket.getsockname()[1]))
        await trio.serve_listeners(self._meet, listeners)

    async def _meet(self, stream: trio.SocketStream) -> None:
        address = "unknown"
        with suppress(OSError):  # it may be gone already
            address = str(stream.socket.getpeername()[0])
        if objection := self._door.objection(address):
            self._door.refused(address, objection, trio.current_time())
            return  # and so hang up
        with self._door.stranger(address):
            try:
                with trio.fail_after(self._limits.handshake):
                    await self._admission.meet(stream, address)
            except Exception as error:  # noqa: BLE001  # whatever a stranger's bytes can do in three libraries
                self._door.refused(address, why(error), trio.current_time())
