"""From a module's source to as much of it as one class needs: what is shipped.

The class, and all that it names, and all that this names in turn: imports, functions, classes and assignments, in the
order and the words of the module. Everything else stays behind, above all statements that only do something, such as
``Node.start(main)``. The same source gives the same slice on every version of Python, so that two nodes can tell
whether they have the same class without running either.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import lru_cache

from .statements import Statement, statements_of

_UNKNOWN_ELSEWHERE = frozenset({"__file__", "__path__", "__spec__", "__loader__"})
"""What only a module in a file has."""


@dataclass(frozen=True, slots=True)
class Slice:
    """What a class needs of its module.

    Attributes:
        text: Source that defines the class.
        problem: Why that would not do elsewhere, naming what is at fault, or nothing.
    """

    text: str
    problem: str


@dataclass(frozen=True, slots=True)
class Import:
    """A module that a source cannot do without.

    Attributes:
        module: Its name.
        names: What is taken from it; one of these may be a module too.
        text: How the import reads.
    """

    module: str
    names: tuple[str, ...]
    text: str


def slice_of(source: str, name: str, present: Collection[str] = ()) -> Slice:
    """Return what is needed of a module to define one name at its top.

    Args:
        source: The whole module.
        name: Of a class or function.
        present: All names that the module has at run time, which tells more problems.

    Raises:
        SyntaxError, ValueError, RecursionError, MemoryError: It is no Python of this version, or too deep.
    """
    module = _module_of(source)
    kept, problem = module.closure([name], set())
    if not any(name in module.statements[index].binds for index in kept):
        problem = problem or f"{name!r} is not defined by a statement at the top of its module"
    problem = problem or module.missing(kept, present)
    kept = module.with_mentions(kept)
    return Slice(module.text(kept), problem)


@lru_cache(maxsize=32)
def _module_of(source: str) -> _Module:
    """Return a module, taken apart once, for a program may ship a thousand workers of one class."""
    return _Module(statements_of(source))


class _Module:
    """The statements of a module, and who needs whom."""

    def __init__(self, statements: tuple[Statement, ...]) -> None:
        self.statements = statements
        self._binding: dict[str, list[int]] = {}
        for index, statement in enumerate(statements):
            for name in statement.binds:
                self._binding.setdefault(name, []).append(index)
        for index, statement in enumerate(statements):
            for name in statement.changes:
                # A change of what was imported is a deed, not a definition: os.environ["X"] = "1".
                if not any(statements[each].imports for each in self._binding.get(name, [])):
                    self._binding.setdefault(name, []).append(index)

    def closure(self, names: Iterable[str], kept: set[int]) -> tuple[set[int], str]:
        """Return `kept` with all statements that these names need, and the first problem with one of them."""
        kept, problem, waiting = set(kept), "", list(names)
        while waiting:
            name = waiting.pop()
            binding = [self.statements[index] for index in self._binding.get(name, [])]
            for index, statement in zip(self._binding.get(name, []), binding, strict=True):
                if statement.problem:
                    spare = statement.spare and not all(each.spare for each in binding)
                    problem = problem or ("" if spare else f"{name!r} {statement.problem}")
                if statement.text and index not in kept:
                    kept.add(index)
                    waiting += sorted(statement.needs, reverse=True)
        return kept, problem

    def with_mentions(self, kept: set[int]) -> set[int]:
        """Return `kept` with what annotations mention, as far as that can travel."""
        seen: set[str] = set()
        while names := {name for index in kept for name in self.statements[index].mentions} - seen:
            seen |= names
            for name in sorted(names):
                more, problem = self.closure([name], kept)
                kept = kept if problem else more
        return kept

    def missing(self, kept: set[int], present: Collection[str]) -> str:
        """Return a problem if something is looked up in the module that no statement binds, though it is there."""
        needs = {name for index in kept for name in self.statements[index].needs}
        for name in sorted(needs):
            if name in _UNKNOWN_ELSEWHERE:
                return f"{name!r} is that of the file here, which does not travel"
            if name in self._binding or name not in present or hasattr(builtins, name) or name.startswith("__"):
                continue
            for star in (each for each in self.statements if each.imports and each.text.endswith(" import *")):
                return f"{name!r} may come from {star.text!r}; import it by its name"
            return f"{name!r} is set while the program runs, not by a statement at the top of the module"
        return ""

    def text(self, kept: set[int]) -> str:
        """Return the source of these statements."""
        future = {index for index, each in enumerate(self.statements) if each.text.startswith("from __future__ ")}
        return "".join(f"{self.statements[index].text}\n" for index in sorted(kept | future))


@lru_cache(maxsize=32)
def imports_of(source: str) -> tuple[Import, ...]:
    """Return what a source imports in any case: not what it may do without, in a ``try`` or an ``if``.

    Raises:
        SyntaxError, ValueError, RecursionError, MemoryError: It is no Python of this version, or too deep.
    """
    found: list[Import] = []
    for node in ast.parse(source).body:
        if isinstance(node, ast.Import):
            found += [Import(alias.name, (), ast.unparse(node)) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level and node.module != "__future__":
            found.append(Import(node.module, tuple(alias.name for alias in node.names), ast.unparse(node)))
    return tuple(found)
