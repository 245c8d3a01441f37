"""The modules that a simulated program has for itself: the files beside it, imported anew at each start.

Two hosts that import the same file then share no globals, as two machines do not. The standard library and what is
installed are one for all. While a program imports, its modules are in ``sys.modules``; otherwise they are kept here.
"""

from __future__ import annotations

import pkgutil
import sys
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType
from typing import Final

_MAIN: Final = "__main__"
_LIBRARY: Final = __name__.partition(".")[0]


class OwnModules:
    """The modules of one start of a program.

    Args:
        folders: Where they are looked for, first of all.
        main: The program itself.
    """

    def __init__(self, folders: Iterable[Path], main: ModuleType) -> None:
        self._folders = [str(folder) for folder in folders]
        self._names = {*_names_in(self._folders), _MAIN} - sys.stdlib_module_names - {_LIBRARY}
        self._kept = {_MAIN: main}
        self._others: dict[str, ModuleType] | None = None

    def own(self, name: str) -> bool:
        """Whether a module, or the package it is in, is one of the program's own."""
        return name.partition(".")[0] in self._names

    @contextmanager
    def in_reach(self) -> Generator[None]:
        """Let imports find them, and nobody else's of the same names, while the block runs."""
        if self._others is not None:
            yield
            return
        self._enter()
        try:
            yield
        finally:
            self._leave()

    @contextmanager
    def out_of_reach(self) -> Generator[None]:
        """Let others run in between."""
        if self._others is None:
            yield
            return
        self._leave()
        try:
            yield
        finally:
            self._enter()

    def _enter(self) -> None:
        self._others = self._take()
        sys.modules.update(self._kept)
        sys.path[:0] = self._folders

    def _leave(self) -> None:
        assert self._others is not None
        for folder in self._folders:
            if folder in sys.path:
                sys.path.remove(folder)
        self._kept = self._take()
        sys.modules.update(self._others)
        self._others = None

    def _take(self) -> dict[str, ModuleType]:
        return {name: sys.modules.pop(name) for name in list(sys.modules) if self.own(name)}


def _names_in(folders: list[str]) -> Iterator[str]:
    for module in pkgutil.iter_modules(folders):
        yield module.name
    for folder in folders:
        for path in Path(folder).iterdir():
            is_package = path.name.isidentifier() and path.is_dir() and any(path.glob("*.py"))
            if is_package and PathFinder.find_spec(path.name) is None:  # what is installed is stronger without __init__
                yield path.name
