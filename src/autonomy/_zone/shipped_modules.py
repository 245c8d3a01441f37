"""Source from other nodes as modules of this process, each run once.

A second worker of the same source finds the module that the first one made, so that it does not set back what the
first has changed in it. For that reason none is ever dropped either, and there is a limit to how many there may be.
"""

from __future__ import annotations

import linecache
import sys
import traceback
from threading import RLock
from types import ModuleType
from typing import Final

from .._sansio.shipment import digest
from ..errors import CodeRefused
from .sources import SHIPPED, UNREADABLE

MAX_MODULES: Final = 1_000
MAX_TRACEBACK: Final = 4_000
"""Characters, the last ones."""

_loaded: dict[str, ModuleType] = {}
_loading = RLock()


def module_of(source: str, python: str) -> ModuleType:
    """Return the module of a source, which is run if it is new. Nothing is left of one that fails.

    Args:
        source: What defines it.
        python: The version that it was written for.

    Raises:
        CodeRefused: It is no program for this version of Python, or it raised; or there are too many.
    """
    sha256 = digest(source)
    name = SHIPPED + sha256[:16]
    with _loading:
        if sha256 in _loaded:
            return _loaded[sha256]
        if len(_loaded) >= MAX_MODULES:
            raise CodeRefused(f"this process has run {MAX_MODULES} different sources already; it must start anew")
        if name in sys.modules:
            raise CodeRefused(f"this process has another module with the name {name}")
        _loaded[sha256] = _run(source, name, python)
        return _loaded[sha256]


def _run(source: str, name: str, python: str) -> ModuleType:
    module = ModuleType(name)
    module.__file__ = file = f"<{name}>"
    try:
        code = compile(source, file, "exec", dont_inherit=True)
    except UNREADABLE as error:
        here = f"{sys.version_info.major}.{sys.version_info.minor}"
        raise CodeRefused(
            f"the source comes from Python {python}, and Python {here} cannot read it: {_only(error)}"
        ) from None
    linecache.cache[file] = len(source), None, source.splitlines(keepends=True), file
    sys.modules[name] = module
    try:
        exec(code, vars(module))
    except BaseException as error:
        trace = trace_of(error)
        del sys.modules[name], linecache.cache[file]
        if not isinstance(error, (Exception, SystemExit)):
            raise
        raise CodeRefused(f"the source raised when it was run here:\n{trace}") from error
    return module


def trace_of(error: BaseException) -> str:
    """Return the traceback of what foreign code raised, without the frame that called it."""
    trace = error.__traceback__ and error.__traceback__.tb_next
    return "".join(traceback.format_exception(type(error), error, trace))[-MAX_TRACEBACK:].rstrip()


def _only(error: BaseException) -> str:
    return "".join(traceback.format_exception_only(error))[-MAX_TRACEBACK:].rstrip()
