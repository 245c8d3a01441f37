"""How modules read: those that are loaded here, and those that could be, without loading them."""

from __future__ import annotations

import linecache
import sys
import sysconfig
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import decode_source, find_spec
from pathlib import Path
from types import ModuleType

from .._sansio.shipment import digest

UNREADABLE = (SyntaxError, ValueError, RecursionError, MemoryError)
"""What Python raises for text that is no program."""
SHIPPED = "autonomy_shipped_"
"""How the names of modules begin that came from other nodes."""

_LIBRARY = __name__.partition(".")[0]
_INSTALLED = tuple({path for name, path in sysconfig.get_paths().items() if name.endswith(("lib", "stdlib"))})


def text_of(module: ModuleType) -> str | None:
    """Return the source of a module that is loaded, or None if nobody knows it."""
    file = getattr(module, "__file__", None)
    if not isinstance(file, str):
        return None
    linecache.checkcache(file)
    return "".join(linecache.getlines(file, vars(module))) or None


def text_by_name(name: str) -> str | None:
    """Return the source of a module that could be imported here, or None if there is none. Nothing is imported."""
    spec = _find(name)
    if spec is None:
        return None
    try:
        if spec.has_location and spec.origin and spec.origin.endswith(".py") and Path(spec.origin).is_file():
            return decode_source(Path(spec.origin).read_bytes())
        get_source = getattr(spec.loader, "get_source", None)  # as that of an archive has
        return get_source(name) if callable(get_source) else None
    except (OSError, ImportError, *UNREADABLE):
        return None


def is_there(name: str) -> bool:
    """Whether the top-level package of a module is here."""
    return _find(name.partition(".")[0]) is not None


def _find(name: str) -> ModuleSpec | None:
    top, *rest = name.split(".")
    try:
        spec = find_spec(top)
        for part in rest:
            if spec is None or spec.submodule_search_locations is None:
                return None
            spec = PathFinder.find_spec(f"{spec.name}.{part}", spec.submodule_search_locations)
    except (ImportError, AttributeError, ValueError):  # a module without a spec, such as __main__
        return None
    return spec


def is_standard(name: str) -> bool:
    """Whether a module comes with Python."""
    return name.partition(".")[0] in sys.stdlib_module_names


def is_nameless(name: str) -> bool:
    """Whether the name of a module means something else on another node, or nothing."""
    return name == "__main__" or name.startswith(SHIPPED)


def is_program_s_own(name: str) -> bool:
    """Whether a loaded module is a file of the program, and neither Python's, this library's nor installed."""
    file = getattr(sys.modules.get(name), "__file__", None)
    if is_standard(name) or is_nameless(name) or name.partition(".")[0] == _LIBRARY:
        return False
    if not isinstance(file, str) or not file.endswith(".py"):
        return False
    return not file.startswith(_INSTALLED) and not {"site-packages", "dist-packages"} & set(Path(file).parts)


def text_digest(text: str) -> str:
    """Return the SHA-256 of a whole module's source, however its last line ends."""
    return digest(text.rstrip("\n"))
