"""An HTTP server beside a node: an ASGI application of the program's, served by uvicorn on the asyncio loop in Trio.

uvicorn, not Hypercorn's Trio worker, by measurement and by nature: it answers three times as many requests here, and
its endpoints run as asyncio tasks, as applications written for FastAPI expect.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import Any

import trio

from . import logs
from ._mixed.mixture import current_mixture
from .abc import NodeRef

_log = logs.get_logger("http")
GRACE = 5.0
"""Seconds that requests have to end when the program does."""
_UNREADY = 10.0
"""Seconds after which requests are taken even if ``main`` has not said that its workers are there (R4)."""


@dataclass(frozen=True, slots=True)
class HttpServer:
    """An HTTP server for `Node.start`: ``Node.start(main, http_server=HttpServer(app, port=8000))``.

    It listens from the start, and answers once `main` has returned or called `Node.ready`, so that the workers which
    requests need are there. When the program ends it takes no more requests, lets those at hand end within 5 s, and
    then the node stops. Endpoints get the node as `autonomy.aio.NodeDep`, or as ``request.app.state.node``.

    Attributes:
        app: An ASGI application, of FastAPI or Starlette for instance.
        port: Where it listens; 0 for any free port, which a log line names.
        host: The address it listens on. Loopback unless another one is named: there is no access control but yours.

    Raises:
        TypeError, ValueError: A value that cannot be.
    """

    app: Any
    port: int = 8000
    host: str = "127.0.0.1"

    def __post_init__(self) -> None:
        if not callable(self.app):
            raise TypeError(f"app must be an ASGI application, such as FastAPI(), got {self.app!r:.80}")
        if type(self.port) is not int:
            raise TypeError(f"port must be an int, got {self.port!r:.80}")
        if not 0 <= self.port <= 65535:
            raise ValueError(f"port must be 0 to 65535, got {self.port}")
        if not isinstance(self.host, str):
            raise TypeError(f"host must be a str, got {self.host!r:.80}")

    def listen(self) -> socket.socket:
        """Return a socket that listens.

        Raises:
            OSError: The port is taken, or the address is none of this machine's.
        """
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        try:
            listener = socket.create_server((self.host, self.port), family=family)
        except OSError as error:
            raise OSError(error.errno, f"the http server cannot listen: {error.strerror}") from None
        # asyncio sends at once (TCP_NODELAY) only by sockets that say that they are TCP's.
        return socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP, fileno=listener.detach())


@asynccontextmanager
async def serving(
    server: HttpServer | None,
    node: NodeRef,
    ready: trio.Event,
    start_soon: Callable[..., object],
    crash: Callable[[BaseException], None],
) -> AsyncGenerator[None]:
    """Serve as long as the block runs, and let requests end after it.

    Args:
        server: What and where; None for no server at all.
        node: For the application's endpoints.
        ready: Set when the node's workers are there.
        start_soon: Starts a Trio task.
        crash: Told of what ends the server before its time.
    """
    if server is None:
        yield
        return
    with server.listen() as listener:
        uvicorn = _make_server(server.app)
        if hasattr(server.app, "state"):
            server.app.state.node = node
        ended = trio.Event()

        async def serve() -> None:
            with trio.move_on_after(_UNREADY):
                await ready.wait()
            if uvicorn.should_exit:
                return
            address = listener.getsockname()
            _log.info("http server started", host=address[0], port=address[1])
            with suppress(SystemExit):  # uvicorn's word for an application that did not start
                await uvicorn.serve(sockets=[listener])
            if not uvicorn.started:
                raise RuntimeError("the application of the http server did not start; its log lines say why")

        async def run() -> None:
            try:
                await current_mixture().run_program("http server", serve)
            except Exception as error:  # noqa: BLE001  # the application's own
                crash(error)
            finally:
                ended.set()

        start_soon(run)
        try:
            yield
        finally:
            uvicorn.should_exit = True
            ready.set()
            await ended.wait()


def _make_server(app: Callable[..., Awaitable[None]]) -> Any:
    try:
        import uvicorn  # noqa: PLC0415  # an optional client
    except ImportError as error:
        raise ImportError("an http_server needs uvicorn: pip install autonomy-actors[fastapi]") from error

    class Server(uvicorn.Server):
        """uvicorn's server, without its hands on the signals, which are `Node.start`'s."""

        def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]  # no generator
            return nullcontext()

    # log_config=None: nothing global is changed, logging least of all (O7).
    return Server(uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=int(GRACE)))
