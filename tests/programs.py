"""Runs whole programs, as processes of their own: for what a program does with signals, exit codes and its output."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PATIENCE = 60.0
"""Seconds after which a program is killed, so that a test that fails does not hang."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A program that has ended.

    Attributes:
        code: Its exit code; negative if a signal killed it.
        out: The lines of its standard output.
        err: Its standard error, whole.
        seconds: From the last signal, or from its start, to its end.
    """

    code: int
    out: list[str]
    err: str
    seconds: float


def run_file(
    path: Path,
    *,
    environment: Mapping[str, str] | None = None,
    signals: Sequence[tuple[str, signal.Signals]] = (),
    folder: Path | None = None,
) -> Ended:
    """Run a program to its end.

    Args:
        path: Of the program.
        environment: Variables that it gets beside those of this process; none of them is ``AUTONOMY_…``.
        signals: Pairs of a line and a signal: once the program has printed that line, the signal is sent. With an
            empty line it is sent at once, after those before.
        folder: Where it runs.
    """
    variables = {name: value for name, value in os.environ.items() if not name.startswith("AUTONOMY_")}
    for name in ("CLUSTER", "ZONE", "NODE", "ENROLLMENT_TICKET"):
        variables.pop(name, None)
    variables |= {"PYTHONUNBUFFERED": "1", **(environment or {})}
    with subprocess.Popen(
        [sys.executable, str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=variables,
        cwd=folder,
    ) as process:
        killer = threading.Timer(PATIENCE, process.kill)
        killer.start()
        started = time.monotonic()
        try:
            out = []
            for line, number in signals:
                out += _read_until(process, line)
                process.send_signal(number)
                started = time.monotonic()
            rest, err = process.communicate()
        finally:
            killer.cancel()
    return Ended(process.returncode, out + rest.splitlines(), err, time.monotonic() - started)


def _read_until(process: subprocess.Popen[str], line: str) -> list[str]:
    """Return the lines that a program prints, up to and with `line`; all that there are if it never does."""
    assert process.stdout is not None
    lines: list[str] = []
    while line and (not lines or lines[-1] != line):
        text = process.stdout.readline()
        if not text:
            break
        lines.append(text.rstrip("\n"))
    return lines
