"""What each process has for itself, for programs that share one: environment, arguments, folder, output, modules.

`process` says whose code runs. What is global to an interpreter is exchanged, while a simulation runs, for things that
look there; outside of programs they are what they were. Next: `own_modules`, for what programs
import, and `folders`.
"""

from __future__ import annotations

import builtins
import importlib
import io
import os
import sys
from collections.abc import Callable, Iterable, Iterator, MutableMapping, MutableSequence
from contextvars import ContextVar
from dataclasses import dataclass
from types import ModuleType
from typing import Any, TextIO, overload

from .own_modules import OwnModules


@dataclass
class Process:
    """What a program has for itself.

    Attributes:
        main: What its file is executed in.
        environment: Its variables.
        arguments: Its ``sys.argv``.
        folder: The one it works in.
        modules: What it has imported of its own.
    """

    main: ModuleType
    environment: dict[str, str]
    arguments: list[str]
    folder: str
    modules: OwnModules


process: ContextVar[Process | None] = ContextVar("autonomy_simulated_process", default=None)
"""The process whose code runs, or None for none of a program."""


def stand_ins(printed: Callable[[str], bool]) -> list[tuple[object, str, object]]:
    """Return what to exchange: an object, the name of an attribute, and what to put there.

    Args:
        printed: Told of what is written to stdout; returns False if that is nobody's here, and to be written there.
    """
    return [
        (os, "environ", _Environment(os.environ)),
        (sys, "argv", _Arguments(sys.argv)),
        (sys, "stdout", _Output(sys.stdout, printed)),
        (builtins, "__import__", _import),
        (importlib, "import_module", _import_module),
    ]


class _Environment(MutableMapping[str, str]):
    """``os.environ``: that of the process whose code runs."""

    def __init__(self, usual: MutableMapping[str, str]) -> None:
        self._usual = usual

    @property
    def _own(self) -> MutableMapping[str, str]:
        current = process.get()
        return self._usual if current is None else current.environment

    def __getitem__(self, name: str) -> str:
        return self._own[name]

    def __setitem__(self, name: str, value: str) -> None:
        for one in (name, value):
            if not isinstance(one, str):
                raise TypeError(f"str expected, not {type(one).__name__}")
        self._own[name] = value

    def __delitem__(self, name: str) -> None:
        del self._own[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._own)

    def __len__(self) -> int:
        return len(self._own)

    def __repr__(self) -> str:
        return f"environ({dict(self)!r})"

    def copy(self) -> dict[str, str]:
        """As that of ``os.environ``."""
        return dict(self)

    def __or__(self, other: MutableMapping[str, str]) -> dict[str, str]:
        return dict(self) | dict(other)

    def __ror__(self, other: MutableMapping[str, str]) -> dict[str, str]:
        return dict(other) | dict(self)

    def __ior__(self, other: MutableMapping[str, str]) -> _Environment:
        self.update(other)
        return self


class _Arguments(MutableSequence[str]):
    """``sys.argv``: that of the process whose code runs."""

    def __init__(self, usual: list[str]) -> None:
        self._usual = usual

    @property
    def _own(self) -> list[str]:
        current = process.get()
        return self._usual if current is None else current.arguments

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        return self._own[index]

    @overload
    def __setitem__(self, index: int, value: str) -> None: ...
    @overload
    def __setitem__(self, index: slice, value: Iterable[str]) -> None: ...
    def __setitem__(self, index: Any, value: Any) -> None:
        self._own[index] = value

    def __delitem__(self, index: int | slice) -> None:
        del self._own[index]

    def insert(self, index: int, value: str) -> None:
        """As that of ``sys.argv``."""
        self._own.insert(index, value)

    def __len__(self) -> int:
        return len(self._own)

    def __eq__(self, other: object) -> bool:
        return self._own == other

    __hash__ = None  # type: ignore[assignment]  # as lists

    def __repr__(self) -> str:
        return repr(self._own)


class _Output(io.TextIOBase):
    """``sys.stdout``: lines of hosts go to their logs."""

    def __init__(self, usual: TextIO, printed: Callable[[str], bool]) -> None:
        self._usual = usual
        self._printed = printed

    def write(self, text: str) -> int:
        if not self._printed(text):
            self._usual.write(text)
        return len(text)

    def flush(self) -> None:
        self._usual.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._usual, name)


# --- what they import

_usual_import = builtins.__import__
_usual_import_module = importlib.import_module


def _import(
    name: str,
    globals: Any = None,
    locals: Any = None,
    fromlist: Any = (),
    level: int = 0,
) -> ModuleType:
    own = process.get()
    if own is not None:
        whole = name if level == 0 else str((globals or {}).get("__package__") or "")
        if own.modules.own(whole):
            with own.modules.in_reach():
                return _usual_import(name, globals, locals, fromlist, level)
    return _usual_import(name, globals, locals, fromlist, level)


def _import_module(name: str, package: str | None = None) -> ModuleType:
    own = process.get()
    if own is None or not own.modules.own((package or "") if name.startswith(".") else name):
        return _usual_import_module(name, package)
    with own.modules.in_reach():
        return _usual_import_module(name, package)
