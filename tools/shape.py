"""Check the shape of the code: files and functions of a size one can hold in mind, and names that say something.

Prints one line a problem and exits 1 if there is any. The soft limit prints a note and fails nothing.
Sizes are whole: blank lines, comments and docstrings count. What is wrong inside a line is ruff's to say.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import quantiles

PACKAGE = Path("src/autonomy")
FOLDERS = [PACKAGE, Path("tests"), Path("examples"), Path("benchmarks"), Path("tools")]

FILE_LINES = 600
FILE_LINES_NOTED = 400
FUNCTION_LINES = 80
FUNCTION_LINES_P90 = 35

# If a thing has no room, its idea has no name yet.
NAMES_THAT_SAY_NOTHING = {"utils", "helpers", "common", "misc", "base", "manager", "impl", "types"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def main() -> int:
    problems: list[str] = []
    lengths: list[int] = []
    for folder in FOLDERS:
        for path in sorted(folder.rglob("*.py")):
            tree = ast.parse(path.read_text(), str(path))
            problems += file_problems(path)
            problems += function_problems(path, tree)
            if folder == PACKAGE:
                problems += import_problems(path, tree)
                lengths += [lines_of(function) for function in functions_of(tree)]
    problems += percentile_problems(lengths)

    for problem in problems:
        print(problem)
    return 1 if problems else 0


def file_problems(path: Path) -> Iterator[str]:
    lines = len(path.read_text().splitlines())
    if path.stem.lstrip("_") in NAMES_THAT_SAY_NOTHING or path.parent.name.lstrip("_") in NAMES_THAT_SAY_NOTHING:
        yield f"{path}: the name says nothing about what is inside. Name the idea."
    if lines > FILE_LINES:
        yield f"{path}: {lines} lines, at most {FILE_LINES}. If its first sentence needs an 'and', it is two files."
    elif lines > FILE_LINES_NOTED:
        print(f"note: {path} has {lines} lines; think of parting it above {FILE_LINES_NOTED}")


def function_problems(path: Path, tree: ast.Module) -> Iterator[str]:
    for function in functions_of(tree):
        if lines_of(function) > FUNCTION_LINES:
            yield f"{path}:{function.lineno}: {function.name} has {lines_of(function)} lines, at most {FUNCTION_LINES}."


def import_problems(path: Path, tree: ast.Module) -> Iterator[str]:
    """Inside the package, imports are relative: the package then works under any name, and a move shows in the diff."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=aliases):
                modules = [alias.name for alias in aliases]
            case ast.ImportFrom(module=str(module), level=0):
                modules = [module]
            case _:
                continue
        if any(module.partition(".")[0] == PACKAGE.name for module in modules):
            yield f"{path}:{node.lineno}: imports {PACKAGE.name} by name. Import relatively."


def percentile_problems(lengths: list[int]) -> Iterator[str]:
    if len(lengths) < 2:
        return
    p90 = quantiles(lengths, n=10, method="inclusive")[-1]
    print(f"{len(lengths)} functions in {PACKAGE}: p90 {p90:.0f} lines, longest {max(lengths)}")
    if p90 > FUNCTION_LINES_P90:
        yield f"{PACKAGE}: one function in ten has more than {p90:.0f} lines, at most {FUNCTION_LINES_P90} wanted."


def functions_of(tree: ast.Module) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def lines_of(function: Function) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


if __name__ == "__main__":
    sys.exit(main())
