"""The server of the log page: it listens on this machine alone, and outlives whatever its clients do."""

from __future__ import annotations

import ipaddress
from contextlib import suppress
from typing import Final

import trio

from .. import logs
from .conversation import Conversation, Refused
from .site import Site
from .source import ZoneLogs

_log = logs.get_logger("web")
_CONNECTIONS: Final = 512


async def serve_logs(
    source: ZoneLogs,
    *,
    port: int = 32101,
    host: str = "127.0.0.1",
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve the log page of a zone until it is cancelled.

    ``/`` is the page, ``/api/pods`` the pods as JSON, ``/pods/NAME/containers/CONTAINER`` a log as text, which goes on
    as it grows unless ``?follow=false``. There is no login: whoever can connect to this machine's loopback can read.

    Args:
        source: What there is to read.
        port: Where to listen; 0 for any free port.
        host: An address of the loopback: ``127.0.0.1`` or ``::1``.
        task_status: Gets the address of the page, ``http://127.0.0.1:32101``, once it is served.

    Raises:
        OSError: The port is taken, or may not be had; the text names it.
        ValueError: The host is no loopback address.
    """
    if not _is_loopback(host):
        raise ValueError(f"host must be a loopback address, 127.0.0.1 or ::1, got {host!r:.80}: logs are for you alone")
    try:
        listeners = await trio.open_tcp_listeners(port, host=host)
    except OSError as error:
        what = error.strerror or str(error)
        raise OSError(error.errno, f"the log page cannot listen on {host} port {port}: {what}") from None
    port = listeners[0].socket.getsockname()[1]
    name = f"[{host}]" if ":" in host else host
    server = _Server(Site(source, _hosts(name, port)))
    task_status.started(f"http://{name}:{port}")
    await trio.serve_listeners(server.talk, listeners)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _hosts(name: str, port: int) -> frozenset[str]:
    names = {name, "127.0.0.1", "localhost", "[::1]"}
    with_port = {f"{one}:{port}" for one in names}
    return frozenset(with_port | names if port == 80 else with_port)


class _Server:
    """Talks with every client, as many as there may be at once."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._connections = 0

    async def talk(self, stream: trio.SocketStream) -> None:
        """Answer one client's requests until it goes; no error of it or of the zone's ends the server."""
        self._connections += 1
        conversation = Conversation(stream)
        try:
            # A client that goes while it is answered is no news.
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
                await self._answer_all(conversation)
        except Exception as error:  # noqa: BLE001  # the source's own, or ours: a page must not end the command
            _log.exception("answering a request failed", error)
        finally:
            self._connections -= 1
            await trio.aclose_forcefully(stream)

    async def _answer_all(self, conversation: Conversation) -> None:
        try:
            if self._connections > _CONNECTIONS:
                raise Refused(503, f"{_CONNECTIONS} connections are open already")
            while (request := await conversation.next_request()) is not None:
                await self._site.answer(request, conversation)
        except Refused as refused:
            await conversation.refuse(refused)
        except Exception:
            await conversation.refuse(Refused(500, "the zone could not be read; the terminal of this command says why"))
            raise
