"""Runs programs that serve HTTP, as processes of their own on a port of their own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from .programs import Ended

ROOT = Path(__file__).parent.parent
PATIENCE = 60.0
"""Seconds after which a program is killed, so that a test that fails does not hang."""
_ADDRESS = re.compile(r"Uvicorn running on http://(?P<host>[\d.]+):(?P<port>\d+)|host=(?P<h>\S+) port=(?P<p>\d+)")
"""The lines in which uvicorn and `HttpServer` say where they listen."""


class Served:
    """A program that serves HTTP.

    Attributes:
        port: Where it listens.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        assert process.stderr is not None
        self._process = process
        self._out: list[str] = []
        self._err: list[str] = []
        self._heard = threading.Condition()
        self._readers = [self._read(process.stdout, self._out), self._read(process.stderr, self._err)]
        self._since = time.monotonic()
        self.port = 0

    def _read(self, stream: IO[str], lines: list[str]) -> threading.Thread:
        def read() -> None:
            for line in stream:
                with self._heard:
                    lines.append(line.rstrip("\n"))
                    self._heard.notify_all()
            with self._heard:
                self._heard.notify_all()

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        return reader

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def err(self) -> str:
        """What it has written to stderr so far."""
        return "\n".join(self._err)

    def listen(self, port: int | None = None) -> None:
        """Wait until it says where it listens, or has ended; not if that is known."""
        if port is not None:
            self.port = port
            return
        with self._heard:
            self._heard.wait_for(lambda: _ADDRESS.search(self.err) or not self._readers[1].is_alive(), PATIENCE)
        found = _ADDRESS.search(self.err)
        if found is not None:
            self.port = int(found["port"] or found["p"])

    def wait_for(self, line: str, times: int = 1) -> None:
        """Wait until it has printed a line so often."""
        with self._heard:
            assert self._heard.wait_for(lambda: self._out.count(line) >= times, PATIENCE), self.err

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._since = time.monotonic()
        self._process.send_signal(number)

    def wait(self) -> Ended:
        """Wait until it has ended."""
        code = self._process.wait()
        seconds = time.monotonic() - self._since
        for reader in self._readers:
            reader.join()
        return Ended(code, self._out, self.err, seconds)


@contextmanager
def running(arguments: Sequence[str], port: int | None = None) -> Generator[Served]:
    """Run ``python arguments`` in the folder of the library, and end it if need be.

    Args:
        arguments: Of the interpreter.
        port: Where it will listen; None to wait until it says so.
    """
    variables = {name: value for name, value in os.environ.items() if not name.startswith("AUTONOMY_")}
    variables |= {"PYTHONUNBUFFERED": "1", "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=variables,
        cwd=ROOT,
    ) as process:
        killer = threading.Timer(PATIENCE, process.kill)
        killer.start()
        served = Served(process)
        try:
            served.listen(port)
            yield served
        finally:
            killer.cancel()
            process.kill()
            served.wait()


@contextmanager
def uvicorn(application: str, loop: str) -> Generator[Served]:
    """Let uvicorn serve an application, ``module:name`` of the tests or examples, on one of its loops."""
    options = ["--app-dir", "examples", "--port", "0", "--loop", loop, "--no-access-log"]
    with running(["-m", "uvicorn", application, *options]) as served:
        yield served
