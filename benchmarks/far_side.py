"""The far side of a link: a process of its own, reached over TCP and mutual TLS 1.3, that ends when this one does.

Both sides of a workload meet theirs here, so that processes, certificates and TLS are the same for both.
"""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Protocol

import trio

from autonomy.identity import Credentials, ZoneAuthority

NEAR = "near"
FAR = "far"
_PATIENCE = 60.0
"""Seconds for a process to start, and to end."""


class Serve(Protocol):
    """What the far process runs, until it is cancelled; an importable function."""

    def __call__(self, credentials: Credentials, *, task_status: trio.TaskStatus[str]) -> Awaitable[None]:
        """Serve as the node `FAR`, and report the address."""


@dataclass(frozen=True, slots=True)
class FarSide:
    """A far process that serves.

    Attributes:
        address: What it has reported.
        credentials: Those of the node `NEAR`, which it trusts.
    """

    address: str
    credentials: Credentials


@contextmanager
def far_side(serve: Serve) -> Iterator[FarSide]:
    """Run `serve` in a process of its own as long as the block runs."""
    spawning = get_context("spawn")
    receiver, sender = spawning.Pipe(duplex=False)
    with tempfile.TemporaryDirectory() as folder, receiver:
        authority = ZoneAuthority.create(Path(folder) / "zone", "benchmarks.test")
        authority.credentials(FAR).save(Path(folder) / FAR)
        process = spawning.Process(target=_serve_until_left_alone, args=(serve, Path(folder) / FAR, sender))
        process.start()
        sender.close()
        try:
            if not receiver.poll(_PATIENCE):
                raise TimeoutError(f"the far side has not said within {_PATIENCE:g} s where it listens")
            yield FarSide(_heard(receiver), authority.credentials(NEAR))
        finally:
            process.terminate()
            process.join(_PATIENCE)


def _heard(receiver: Connection[str]) -> str:
    try:
        address: str = receiver.recv()
    except EOFError:
        raise RuntimeError("the far side ended before it listened; its traceback is on stderr") from None
    return address


def _serve_until_left_alone(serve: Serve, folder: Path, sender: Connection[str]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is for the near side, with which this one ends

    async def main() -> None:
        near_process = parent_process()
        assert near_process is not None
        async with trio.open_nursery() as nursery:
            sender.send(await nursery.start(partial(serve, Credentials.load(folder))))
            await trio.lowlevel.wait_readable(near_process.sentinel)
            nursery.cancel_scope.cancel()

    trio.run(main)
