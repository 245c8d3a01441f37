"""What leads out of a simulated zone, to the machine that it runs on: refused, with what to use instead.

Whatever a program starts or reaches there has a time of its own, and no seed makes that the same twice. Functions of
the standard library that end in one of these are refused with them.
"""

from __future__ import annotations

import _thread
import multiprocessing.process
import os
import socket
import subprocess
import threading
from collections.abc import Callable
from typing import Final, NoReturn

_PROCESSES: Final = ("fork", "forkpty", "system", "posix_spawn", "posix_spawnp", "execv", "execve")
"""Of `os`; what else starts processes there calls one of these."""
_CONNECTIONS: Final = ("connect", "connect_ex", "bind", "sendto")
_RESOLVERS: Final = ("getaddrinfo", "gethostbyname", "gethostbyname_ex", "gethostbyaddr")


def refusing(why: str, instead: str) -> Callable[..., NoReturn]:
    """Return what raises, however it is called."""

    def refuse(*_: object, **__: object) -> NoReturn:
        raise RuntimeError(f"not in a simulation: {why}. Use {instead}.")

    return refuse


def stand_ins() -> list[tuple[object, str, object]]:
    """Return what to exchange: an object, the name of an attribute, and what to put there."""
    thread = refusing("a thread has a time of its own", "a plain handler, or to_thread")
    process = refusing("a process is outside", "another simulated host")
    return [
        (threading.Thread, "start", thread),
        (_thread, "start_new_thread", thread),
        (subprocess.Popen, "__init__", process),
        (multiprocessing.process.BaseProcess, "start", process),
        *((os, name, process) for name in _PROCESSES if hasattr(os, name)),
        *((socket.socket, name, _refuse_socket) for name in _CONNECTIONS),
        *((socket, name, _refuse_address) for name in _RESOLVERS),
    ]


_refuse_address: Final = refusing("a socket leads outside", "messages to another simulated host")


def _refuse_socket(own: socket.socket, *_: object) -> NoReturn:
    own.close()  # whoever opened it did not reckon with this
    _refuse_address()
