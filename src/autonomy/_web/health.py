"""What a node answers to probes: ``/ready`` and ``/live`` over HTTP, for whoever runs it, such as Kubernetes.

The rule of this file: it tells the truth at the moment it is asked, and costs next to nothing. ``/ready`` is 200 once
the node's names are complete and 503 before, and again from the moment that the node leaves. ``/live`` is 200: whoever
gets an answer knows that the loop turns. While a handler holds the node neither answers, which is what the timeout of
a probe is for. Nothing is told but that, so whoever can connect may ask.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final

import trio

from .. import logs
from .conversation import TEXT, Conversation, Refused, Request

_log = logs.get_logger("node")
_CONNECTIONS: Final = 16
"""How many may ask at once. Probes come alone; the bound is for everybody else."""
_WITHIN: Final = 10.0
"""Seconds from a connection's first byte to its last, whatever is asked on it."""
_READY: Final = {True: (200, b"ready\n"), False: (503, b"not ready\n")}


async def serve_health(
    host: str,
    port: int,
    is_ready: Callable[[], bool],
    *,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answer probes until it is cancelled.

    Args:
        host: The address to listen on.
        port: Where to listen; 0 for any free port.
        is_ready: Whether the node may be sent work now.
        task_status: Gets the address, ``http://HOST:PORT``, once it answers.

    Raises:
        OSError: The port is taken, or may not be had; the text names it.
    """
    try:
        listeners = await trio.open_tcp_listeners(port, host=host)
    except OSError as error:
        what = error.strerror or str(error)
        raise OSError(error.errno, f"the health endpoint cannot listen on {host} port {port}: {what}") from None
    port = listeners[0].socket.getsockname()[1]
    address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    task_status.started(address)
    _log.info("health endpoint started", address=address)
    await trio.serve_listeners(partial(_talk, trio.CapacityLimiter(_CONNECTIONS), is_ready), listeners)


async def _talk(room: trio.CapacityLimiter, is_ready: Callable[[], bool], stream: trio.SocketStream) -> None:
    """Answer one client, unless too many are there already; no error of it ends the node."""
    try:
        room.acquire_nowait()
    except trio.WouldBlock:
        await trio.aclose_forcefully(stream)
        return
    try:
        # A client that goes, or dawdles, is no news.
        with trio.move_on_after(_WITHIN), suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await _answer_all(Conversation(stream), is_ready)
    finally:
        room.release()
        await trio.aclose_forcefully(stream)


async def _answer_all(conversation: Conversation, is_ready: Callable[[], bool]) -> None:
    try:
        while (request := await conversation.next_request()) is not None:
            status, body = _answer(request, is_ready)
            await conversation.answer(status, TEXT, body, {})
    except Refused as refused:
        await conversation.refuse(refused)


def _answer(request: Request, is_ready: Callable[[], bool]) -> tuple[int, bytes]:
    if request.method not in ("GET", "HEAD"):
        raise Refused(405, "the health of a node can be read, and nothing else: GET or HEAD", allow="GET, HEAD")
    match request.path:
        case ("ready",):
            return _READY[is_ready()]
        case ("live",):
            return 200, b"live\n"
        case _:
            raise Refused(404, "there is nothing here; there is /ready and /live")
