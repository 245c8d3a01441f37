"""The folder that a simulated program works in, and where its relative paths lead; the process itself works in one.

Functions of `os` and ``open`` are exchanged for such that put the program's folder before a relative path. What is
written in C and opens files by itself, such as `sqlite3`, sees the folder of this process.
"""

from __future__ import annotations

import builtins
import io
import os
from collections.abc import Callable
from typing import Any, Final

from .processes import process

_OF_ONE_PATH: Final = [
    "access",
    "chmod",
    "listdir",
    "lstat",
    "mkdir",
    "open",
    "readlink",
    "remove",
    "rmdir",
    "scandir",
    "stat",
    "truncate",
    "unlink",
    "utime",
]
_OF_TWO_PATHS: Final = ("link", "rename", "replace")


def stand_ins() -> list[tuple[object, str, object]]:
    """Return what to exchange: an object, the name of an attribute, and what to put there."""
    return [
        (os, "getcwd", _getcwd),
        (os, "getcwdb", lambda: os.fsencode(_getcwd())),
        (os, "chdir", _chdir),
        (builtins, "open", _opening(builtins.open)),
        (io, "open", _opening(io.open)),
        *((os, name, _of_one_path(getattr(os, name))) for name in _OF_ONE_PATH),
        *((os, name, _of_two_paths(getattr(os, name))) for name in _OF_TWO_PATHS),
    ]


_usual_getcwd = os.getcwd
_usual_chdir = os.chdir
_usual_stat = os.stat


def _getcwd() -> str:
    own = process.get()
    return _usual_getcwd() if own is None else own.folder


def _chdir(path: Any) -> None:
    own = process.get()
    if own is None:
        _usual_chdir(path)
        return
    folder = os.path.normpath(os.fsdecode(_led(path)))
    _usual_stat(os.path.join(folder, ""))  # raises as `chdir` does  # noqa: PTH118  # which keeps the last slash
    own.folder = folder


def _led(path: Any) -> Any:
    """Return where a path leads from the folder of the program; what is no path stays as it is."""
    own = process.get()
    if own is None or isinstance(path, int):
        return path
    given = os.fspath(path)
    return os.path.join(os.fsencode(own.folder) if isinstance(given, bytes) else own.folder, given)  # noqa: PTH118


def _opening(usual: Callable[..., Any]) -> Callable[..., Any]:
    def open_led(file: Any, *args: Any, **options: Any) -> Any:
        return usual(_led(file), *args, **options)

    return open_led


def _of_one_path(usual: Callable[..., Any]) -> Callable[..., Any]:
    def led(path: Any = ".", *args: Any, **options: Any) -> Any:
        return usual(path if options.get("dir_fd") is not None else _led(path), *args, **options)

    return led


def _of_two_paths(usual: Callable[..., Any]) -> Callable[..., Any]:
    def led(src: Any, dst: Any, **options: Any) -> Any:
        return usual(_led(src), _led(dst), **options)

    return led
