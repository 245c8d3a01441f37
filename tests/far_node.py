"""The far node of `test_two_processes.py`: a program of its own, told what to do by lines of JSON.

``python -m tests.far_node FOLDER NAME PORT`` opens a node named in the zone of that folder. Each line on its standard
input is a command with its arguments; each is answered with one line on its standard output.
"""

from __future__ import annotations

import json
import os
import sys
from random import Random
from typing import Any

import msgspec
import trio

from autonomy import Context, Node, open_node
from autonomy._sansio.keepalive import Liveness
from autonomy.identity import Credentials, ZoneAuthority, new_key

from .haste import Ledger
from .traffic import Traffic


class Silent:
    """Takes messages and never answers; says what it got if asked."""

    def __init__(self) -> None:
        self._got: list[str] = []

    async def handle_message(self, context: Context, message: str) -> None:
        if message == "what?":
            await context.reply(" ".join(self._got) or "nothing")
            return
        self._got.append(message)
        if message.startswith("wait"):
            await trio.sleep_forever()


def renew(credentials: Credentials, authority: ZoneAuthority) -> None:
    """Give a node a new key and certificate."""
    key = new_key()
    credentials.replace(key=key, certificate=authority.issue(credentials.name, key.public_key()))


def trust(credentials: Credentials, authority: ZoneAuthority) -> None:
    """Have a node trust what its zone trusts now."""
    credentials.replace(ca=authority.ca, crl=authority.crl)


class Commands:
    """What the far node can be told."""

    def __init__(self, node: Node, credentials: Credentials, authority: ZoneAuthority, nursery: trio.Nursery) -> None:
        self._node = node
        self._credentials = credentials
        self._authority = authority
        self._nursery = nursery
        self._traffic = Traffic(node, Random(2))
        self._ledger = Ledger()

    async def open(self) -> None:
        """Start the workers."""
        await self._traffic.open()
        await self._node.start_worker("silent", Silent())
        await self._ledger.open(self._node)
        await self._node.start_worker("full", Silent(), mailbox_capacity=1)

    async def obey(self, command: str, *arguments: str) -> Any:
        """Do what one line says; return what the answer says."""
        match command, arguments:
            case "connect", (address,):
                return (await self._node.connect(address)).name
            case "send", (far,):
                self._nursery.start_soon(self._traffic.run, far)
            case "stop", ():
                await self._traffic.stop()
            case "report", ():
                return msgspec.to_builtins(self._traffic.report())
            case "tell", (address, message):
                self._nursery.start_soon(self._node.send_message, address, message)
            case "handled", ():
                return self._ledger.handled
            case "links", ():
                return self._node.statistics().links
            case "renew", ():
                renew(self._credentials, self._authority)
            case "trust", ():
                trust(self._credentials, self._authority)
            case _:
                raise ValueError(command)
        return None


class Lines:
    """What comes on a stream, line by line."""

    def __init__(self, stream: trio.abc.ReceiveStream) -> None:
        self._stream = stream
        self._bytes = b""

    async def next(self) -> str:
        """Return the next line; empty if there is none."""
        while b"\n" not in self._bytes:
            data = await self._stream.receive_some()
            if not data:
                return ""
            self._bytes += data
        line, self._bytes = self._bytes.split(b"\n", 1)
        return line.decode()


def say(answer: object) -> None:
    """Answer a command."""
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


async def main(folder: str, name: str, port: str, liveness: str) -> None:
    """Be the far node until nobody gives commands any more."""
    authority = ZoneAuthority(folder)
    credentials = authority.credentials(name)
    figures = Liveness(*map(float, liveness.split(",")))
    opening = open_node(
        credentials=credentials, listen=f"wss://127.0.0.1:{port}", liveness=figures, stall_warning=None, drain_timeout=1
    )
    async with trio.open_nursery() as nursery:
        async with opening as node:
            commands = Commands(node, credentials, authority, nursery)
            await commands.open()
            say(node.address)
            told = Lines(trio.lowlevel.FdStream(os.dup(0)))
            while line := await told.next():
                say(await commands.obey(*json.loads(line)))
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    _, folder, name, port, liveness = sys.argv
    trio.run(main, folder, name, port, liveness)
