"""A module's source as its top-level statements, each with the names that it binds and those that it needs.

Nothing here is run or imported. `ast` tells the statements apart, and `symtable`, which is the compiler's own view of
scopes, says which names are a module's and which are local to a function. The text of a statement stays as it was
written, so that it is the same for every version of Python. Next: `slicing`, which chooses among them.
"""

from __future__ import annotations

import ast
import symtable
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_ASSIGNMENTS = (ast.Assign, ast.AnnAssign, ast.AugAssign)
_TYPE_ALIAS: type[ast.AST] = getattr(ast, "TypeAlias", ast.Assign)  # from 3.12 on
_MEANS_NOTHING = ", and a relative import means nothing elsewhere"
_LAZY_NAME = "annotations"
_LAZY = f"from __future__ import {_LAZY_NAME}\n"


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement at the top of a module, or one name of an import.

    Attributes:
        text: How it reads.
        line: Where it begins.
        binds: Names of the module that it gives a value.
        changes: Names whose values it changes: ``handlers["a"] = f``.
        needs: Names of the module that are looked up when it runs, or by its functions.
        mentions: Names in annotations that nobody need look up.
        problem: Why it cannot travel, though others may need what it binds.
        spare: Whether it may stay behind if something else binds its names too.
        imports: Whether it is an import, alone.
    """

    text: str
    line: int
    binds: frozenset[str] = frozenset()
    changes: frozenset[str] = frozenset()
    needs: frozenset[str] = frozenset()
    mentions: frozenset[str] = frozenset()
    problem: str = ""
    spare: bool = False
    imports: bool = False


class Text:
    """A source by the positions that `ast` gives, which count bytes."""

    def __init__(self, source: str) -> None:
        self._data = source.encode()
        self._starts = [0]
        for line in self._data.split(b"\n"):
            self._starts.append(self._starts[-1] + len(line) + 1)

    def span(self, node: ast.stmt) -> tuple[int, int]:
        """Where a statement begins and ends, without its decorators."""
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return self._starts[node.lineno - 1] + node.col_offset, self._starts[node.end_lineno - 1] + node.end_col_offset

    def whole(self, node: ast.stmt, after: int) -> tuple[int, int]:
        """Where a statement begins and ends, with the decorators that may be between it and the one before it, and
        with the comment in its last line.
        """
        start, end = self.span(node)
        rest = self._data[end:].partition(b"\n")[0]
        if rest.lstrip().startswith(b"#"):
            end += len(rest)
        if isinstance(node, _DEFINITIONS) and node.decorator_list:
            # The expression of a decorator may begin behind brackets, so its @ is looked for: lines before it that
            # are no comments have none.
            lines = self._data[after:start].split(b"\n")
            for index, line in enumerate(lines):
                if line.lstrip().startswith(b"@"):
                    start = after + sum(len(each) + 1 for each in lines[:index]) + len(line) - len(line.lstrip())
                    break
        return start, end

    def without(self, start: int, end: int, holes: list[tuple[int, int]]) -> str:
        """The text from `start` to `end`, with ``pass`` for each of the holes in it."""
        parts = []
        for begin, stop in holes:
            parts += [self._data[start:begin], b"pass"]
            start = stop
        return b"".join([*parts, self._data[start:end]]).decode()


@lru_cache(maxsize=32)
def statements_of(source: str) -> tuple[Statement, ...]:
    """Return the statements of a module, in order. Imports are parted into one for each name.

    It takes some 40 ms for a thousand lines, and a program may send its workers to many nodes, so what
    was read last is kept.

    Raises:
        SyntaxError, ValueError, RecursionError, MemoryError: It is no Python of this version, or too deep.
    """
    body = ast.parse(source).body
    text, after = Text(source), 0
    found: list[Statement] = []
    lazy = any(isinstance(node, ast.ImportFrom) and node.module == "__future__" for node in body)
    for node in body:
        start, end = text.whole(node, after)
        after = end
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            found += _imports(node)
        elif _is_main_guard(node):
            found.append(_left_behind(node, "is bound below 'if __name__ == ...', which does not travel", spare=True))
        elif _travels(node):
            holes = list(_holes(node))
            found += [_left_behind(hole, problem) for hole, problem in holes if problem]
            found.append(_kept(node, text.without(start, end, [text.span(hole) for hole, _ in holes]), lazy=lazy))
        elif not isinstance(node, ast.Delete):
            found.append(_left_behind(node, _why_not(node)))
    return tuple(found)


def _imports(node: ast.Import | ast.ImportFrom) -> Iterator[Statement]:
    for alias in node.names:
        name = alias.name + (f" as {alias.asname}" if alias.asname else "")
        if isinstance(node, ast.Import):
            statement, problem, bound = f"import {name}", "", alias.asname or alias.name.partition(".")[0]
        else:
            statement, bound = f"from {'.' * node.level}{node.module or ''} import {name}", alias.asname or alias.name
            problem = f"comes from {statement!r}{_MEANS_NOTHING}" if node.level else ""
        yield Statement(statement, node.lineno, frozenset([bound]), problem=problem, imports=True)


def _is_main_guard(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and "__name__" in names_in(node.test)


def _travels(node: ast.stmt) -> bool:
    """Whether a statement gives names their values and does nothing else of its own."""
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.NamedExpr)
    return isinstance(node, (*_DEFINITIONS, *_ASSIGNMENTS, _TYPE_ALIAS, ast.If, ast.Try, ast.TryStar))


def _why_not(node: ast.stmt) -> str:
    return f"is bound by a statement that does not travel ({type(node).__name__.lower()}, line {node.lineno})"


def _holes(node: ast.stmt) -> Iterator[tuple[ast.stmt, str]]:
    """The statements within an if or a try that do not travel, in order, and why they would be missed, if so."""
    if not isinstance(node, (ast.If, ast.Try, ast.TryStar)):
        return
    blocks = [node.body]
    if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
        yield from ((each, "") for each in node.body)
        blocks = []
    if not isinstance(node, ast.If):
        blocks += [handler.body for handler in node.handlers]
    blocks += [node.orelse, [] if isinstance(node, ast.If) else node.finalbody]
    for inner in (each for block in blocks for each in block):
        if _travels(inner) and not _is_main_guard(inner):
            yield from _holes(inner)
        elif not isinstance(inner, (ast.Import, ast.ImportFrom, ast.Pass, ast.Raise)):
            yield inner, _why_not(inner)


def _left_behind(node: ast.stmt, problem: str, *, spare: bool = False) -> Statement:
    top = _scopes(ast.unparse(node))
    return Statement("", node.lineno, frozenset(_bound(top)), problem=problem, spare=spare)


def _kept(node: ast.stmt, text: str, *, lazy: bool) -> Statement:
    top = _scopes(text)
    annotations = _Annotations(lazy=lazy)
    annotations.visit(ast.parse(text))
    return Statement(
        text,
        node.lineno,
        binds=frozenset(_bound(top)),
        changes=frozenset(_changed(node)),
        needs=frozenset(_looked_up(top)) | annotations.needs,
        mentions=frozenset(annotations.mentions),
        problem=_relative_within(node),
    )


def _relative_within(node: ast.stmt) -> str:
    """Return the problem with a relative import inside a statement. In a ``try`` it may fail."""
    for each in [] if isinstance(node, (ast.Try, ast.TryStar)) else ast.walk(node):
        if isinstance(each, ast.ImportFrom) and each.level:
            return f"has {ast.unparse(each)!r} in it{_MEANS_NOTHING}"
    return ""


def _scopes(text: str) -> symtable.SymbolTable:
    """Return the compiler's scopes of a statement, the same for every version of Python.

    With lazy annotations the compiler leaves them out of its tables. From 3.12 on it counts the variables of a
    comprehension as those of the module or class around it, unless there is a function between.
    """
    tree = ast.fix_missing_locations(_Wrapped().visit(ast.parse(text)))
    return symtable.symtable(_LAZY + ast.unparse(tree), "<module>", "exec")


class _Wrapped(ast.NodeTransformer):
    """Puts a function around each comprehension that is in none. Defaults and decorators are not in their function."""

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> ast.AST:
        node.decorator_list = [self.visit(each) for each in node.decorator_list]
        node.args = self.visit(node.args)
        return node

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815  # ast's name for it

    def visit_Lambda(self, node: ast.Lambda) -> ast.AST:
        node.args = self.visit(node.args)
        return node

    def visit_ListComp(self, node: ast.expr) -> ast.AST:
        nothing = ast.arguments(posonlyargs=[], args=[], kwonlyargs=[], kw_defaults=[], defaults=[])
        return ast.Call(ast.Lambda(nothing, node), [], [])

    visit_SetComp = visit_DictComp = visit_GeneratorExp = visit_ListComp  # noqa: N815


def _bound(top: symtable.SymbolTable) -> Iterator[str]:
    bound = (symbol.get_name() for symbol in top.get_symbols() if symbol.is_assigned() or symbol.is_imported())
    return (name for name in bound if name != _LAZY_NAME)


def _changed(node: ast.stmt) -> Iterator[str]:
    """Names whose values an assignment changes by an attribute or an index."""
    if not isinstance(node, _ASSIGNMENTS):
        return
    for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
        root: ast.expr = target
        while isinstance(root, (ast.Attribute, ast.Subscript)):
            root = root.value
        if isinstance(root, ast.Name) and root is not target:
            yield root.id


def _looked_up(table: symtable.SymbolTable) -> Iterator[str]:
    """Names that a scope and those within it look up in the module. The body of a class may look up one that it binds
    itself: ``limit = limit``."""
    for symbol in table.get_symbols():
        own = table.get_type() == "class" and symbol.is_local() and symbol.is_referenced()
        if symbol.is_global() or own:
            yield symbol.get_name()
    for inner in table.get_children():
        yield from _looked_up(inner)


class _Annotations(ast.NodeVisitor):
    """Parts the names in annotations into those that are looked up and those that are not: all of them if annotations
    are lazy, else those of local variables and those in quotes."""

    def __init__(self, *, lazy: bool) -> None:
        self.needs: set[str] = set()
        self.mentions: set[str] = set()
        self._lazy = lazy

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        every = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs, node.args.vararg, node.args.kwarg]
        for annotation in [node.returns, *(each.annotation for each in every if each)]:
            self._note(annotation)
        lazy, self._lazy = self._lazy, True
        self.generic_visit(node)
        self._lazy = lazy

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815  # ast's name for it

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self._note(node.annotation)
        self.generic_visit(node)

    def _note(self, annotation: ast.expr | None) -> None:
        if annotation is None:
            return
        (self.mentions if self._lazy else self.needs).update(names_in(annotation))
        for each in ast.walk(annotation):
            if isinstance(each, ast.Constant) and isinstance(each.value, str):
                self.mentions.update(_names_in_quotes(each.value))


def _names_in_quotes(annotation: str) -> set[str]:
    try:
        return names_in(ast.parse(annotation, mode="eval"))
    except (SyntaxError, ValueError):  # it is a text that means something else
        return set()


def names_in(node: ast.AST) -> set[str]:
    """Return the names in a tree, with ``typing`` and not ``TYPE_CHECKING`` for ``typing.TYPE_CHECKING``."""
    return {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
