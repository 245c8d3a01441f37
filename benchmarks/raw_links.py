"""The hand-written side of the workloads between two processes: trio-websocket over mutual TLS, as it comes.

One websocket message for each message, and trio-websocket's own defaults, its receive buffer of 4 KiB among them. There
are no names, no back-pressure but TCP's, no resending after a cut, and no answer for a request that fails.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, suppress
from functools import partial

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, WebSocketRequest, open_websocket, serve_websocket

from autonomy.identity import Credentials, client_context, server_context

from .far_side import FarSide
from .measure import rate
from .terms import FAR_CALLERS, FAR_TIMEOUT, MEBIBYTE, PAYLOAD, READ

HOST = "127.0.0.1"
_ECHO, _TALLY = "/echo", "/tally"


async def serve(credentials: Credentials, *, task_status: trio.TaskStatus[str]) -> None:
    """Answer on websockets, on each as its path says. Reports the port."""
    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(serve_websocket, _answer, HOST, 0, server_context(credentials)))
        task_status.started(str(server.port))


async def _answer(request: WebSocketRequest) -> None:
    socket = await request.accept()
    with suppress(ConnectionClosed):
        await (_tally(socket) if request.path == _TALLY else _echo(socket))


async def _echo(socket: WebSocketConnection) -> None:
    while True:
        await socket.send_message(await socket.get_message())


async def _tally(socket: WebSocketConnection) -> None:
    handled = 0
    while True:
        if await socket.get_message() == READ:
            await socket.send_message(str(handled))
            handled = 0
        else:
            handled += 1


def _open(far: FarSide, path: str) -> AbstractAsyncContextManager[WebSocketConnection]:
    return open_websocket(HOST, int(far.address), path, use_ssl=client_context(far.credentials))


def one_caller(far: FarSide, requests: int, payload: str = PAYLOAD) -> float:
    """R1: a request, then its reply, which is the next message that comes. Returns requests a second."""

    async def main() -> float:
        async with _open(far, _ECHO) as socket:

            async def ask(count: int) -> None:
                for _ in range(count):
                    await socket.send_message(payload)
                    assert len(await socket.get_message()) == len(payload)

            return await rate(ask, requests)

    return trio.run(main)


def fire_and_forget(far: FarSide, messages: int) -> float:
    """R2: messages that want no reply, then one that asks how many came. Returns messages a second."""

    async def main() -> float:
        async with _open(far, _TALLY) as socket:

            async def send(count: int) -> None:
                for _ in range(count):
                    await socket.send_message(PAYLOAD)
                await socket.send_message(READ)
                assert await socket.get_message() == str(count)

            return await rate(send, messages)

    return trio.run(main)


def many_callers(far: FarSide, requests: int) -> float:
    """R3: one connection for all callers, and a number in front of each message. Returns requests a second."""

    async def main() -> float:
        waiting: dict[str, trio.MemorySendChannel[str]] = {}
        async with _open(far, _ECHO) as socket, trio.open_nursery() as nursery:

            async def receive() -> None:
                while True:
                    message = await socket.get_message()
                    assert isinstance(message, str)
                    number, _, reply = message.partition(" ")
                    waiting.pop(number).send_nowait(reply)

            async def call(caller: int, count: int) -> None:
                for request in range(count):
                    number = f"{caller}.{request}"
                    waiting[number], reply = trio.open_memory_channel[str](1)
                    with trio.fail_after(FAR_TIMEOUT):
                        await socket.send_message(f"{number} {PAYLOAD}")
                        await reply.receive()

            async def call_all(count: int) -> None:
                async with trio.open_nursery() as callers:
                    for caller in range(FAR_CALLERS):
                        callers.start_soon(call, caller, max(count // FAR_CALLERS, 1))

            nursery.start_soon(receive)
            result = await rate(call_all, requests)
            nursery.cancel_scope.cancel()
        return result

    return trio.run(main)


def large_messages(far: FarSide, requests: int) -> float:
    """R4: as R1, with a mebibyte each way. Returns MB a second, of which an echo is counted once."""
    return one_caller(far, requests, MEBIBYTE) * len(MEBIBYTE) / 1e6
