"""The parent of a container's process: it sees to it that nothing of a container is left when it should not be.

A program of its own, run as a file, which imports nothing but the standard library, for one runs beside each
container. Standard input is its lifeline: ``T`` asks the container's program to end (SIGTERM), and the end of it, or
the death of who holds the other side, however that came about, kills all of the container at once. So does the end of
its program: whatever that has started ends with it, even what has left its process group, for orphans come to this
process. To standard output it says ``started PID``, and ``ended WHAT`` when nothing is left; standard error is the
container's log.

If this process itself is killed, the kernel kills the container's program (Linux). What that had started then lives on.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_LOOK_EVERY = 1.0
"""Seconds; the lifeline may be held open by some fork of a parent that is dead."""


def main(argv: list[str]) -> int:
    """Run `argv` until it has ended, or has to."""
    parent = os.getppid()
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    try:
        child = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=2, stderr=2, start_new_session=True, preexec_fn=_die_with_parent
        )
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        _say(f"ended cannot be started: {getattr(error, 'strerror', None) or error}: {argv[0]!r}")
        return 1
    try:
        _say(f"started {child.pid}")
        _watch(child, parent, woken)
    finally:
        _kill_all(child)
    _say(f"ended {_ending(child.wait())}")
    return 0


def _watch(child: subprocess.Popen[bytes], parent: int, woken: int) -> None:
    """Return when the program has ended, or has to."""
    while os.getppid() == parent and child.poll() is None:
        readable, _, _ = select.select([0, woken], [], [], _LOOK_EVERY)
        if woken in readable:
            os.read(woken, 512)
        if 0 in readable:
            order = os.read(0, 16)
            if not order:
                return
            child.terminate()


def _kill_all(child: subprocess.Popen[bytes]) -> None:
    """Kill the program and all that came from it, until nothing is left."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    for _ in range(1000):
        orphans = _children()
        if not orphans:
            return
        for pid in orphans:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        time.sleep(0.002)


def _children() -> list[int]:
    """Return the processes whose parent is this one."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError, IndexError):
            # The name, in parentheses, may hold anything; state and parent come after it.
            if int(path.read_text(errors="replace").rpartition(")")[2].split()[1]) == os.getpid():
                found.append(int(path.parent.name))
    return found


def _ending(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    with suppress(ValueError):
        return f"killed by {signal.Signals(-code).name}"
    return f"killed by signal {-code}"


def _die_with_parent() -> None:
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _prctl(option: int, value: int) -> None:
    with suppress(OSError, AttributeError):  # there is none but on Linux
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _leave(*_: object) -> None:
    raise SystemExit(1)


def _say(line: str) -> None:
    with suppress(OSError):
        os.write(1, f"{line}\n".encode(errors="backslashreplace"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
