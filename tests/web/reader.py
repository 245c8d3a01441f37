"""A client that reads an answer that goes on: line by line, or event by event."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import h11
import trio

_PATIENCE = 60.0


class Reader:
    """One answer, as it comes."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._http = h11.Connection(h11.CLIENT)
        self._lines: deque[str] = deque()
        self._rest = b""

    async def ask(self, host: str, path: str) -> None:
        request = self._http.send(h11.Request(method="GET", target=path, headers=[("host", host)]))
        await self._stream.send_all((request or b"") + (self._http.send(h11.EndOfMessage()) or b""))

    async def line(self) -> str:
        """Return the next line."""
        while not self._lines:
            with trio.fail_after(_PATIENCE):
                await self._receive()
        return self._lines.popleft()

    async def event(self, wanted: str = "") -> tuple[str, dict[str, Any]]:
        """Return the next event, of this name."""
        name = ""
        while True:
            field, _, value = (await self.line()).partition(": ")
            if field == "event":
                name = value
            elif field == "data" and name.startswith(wanted):
                return name, json.loads(value)

    async def until_ready(self) -> list[dict[str, Any]]:
        """Return all events of lines that come before ``ready``."""
        found = []
        while (event := await self.event())[0] != "ready":
            if event[0] == "lines":
                found.append(event[1])
        return found

    async def _receive(self) -> None:
        match self._http.next_event():
            case h11.Data(data=data):
                *lines, self._rest = (self._rest + data).split(b"\n")
                self._lines.extend(line.decode() for line in lines)
            case h11.NEED_DATA:
                self._http.receive_data(await self._stream.receive_some(2**16))
            case h11.Response(status_code=status):
                assert status == 200
            case other:
                raise AssertionError(f"the answer ended: {other!r}")


@asynccontextmanager
async def reading(url: str, path: str) -> AsyncGenerator[Reader]:
    """Ask for something, and go on reading as long as the block runs."""
    host = url.removeprefix("http://")
    name, _, port = host.rpartition(":")
    async with await trio.open_tcp_stream(name, int(port)) as stream:
        reader = Reader(stream)
        await reader.ask(host, path)
        yield reader
