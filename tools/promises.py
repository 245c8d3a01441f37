"""Check tests/promises.md: every promise that is due has a test, and every test named there exists.

The line that starts with `due:` lists the numbers that are due. Each table row gives one number, the promise in a few
words, and its tests in backticks, as pytest names them. Tests are looked up in the source, so this takes no time.
"""

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

TABLE = Path("tests/promises.md")
NUMBER = re.compile(r"[A-Z][0-9]+")

Function = ast.FunctionDef | ast.AsyncFunctionDef


def main() -> int:
    text = TABLE.read_text()
    due = due_numbers(text)
    rows = [cells for line in text.splitlines() if (cells := row_cells(line))]

    problems = list(due_problems(due, [cells[0] for cells in rows]))
    for number, *_, tests in rows:
        problems += row_problems(number, re.findall(r"`([^`]+)`", tests))

    for problem in problems:
        print(f"{TABLE}: {problem}")
    if not problems:
        named = {test for *_, tests in rows for test in re.findall(r"`([^`]+)`", tests)}
        print(f"{len(due)} promises, {len(named)} tests")
    return 1 if problems else 0


def due_numbers(text: str) -> list[str]:
    lines = [line for line in text.splitlines() if line.startswith("due:")]
    return NUMBER.findall(lines[0]) if lines else []


def row_cells(line: str) -> list[str]:
    """The cells of a table row about a promise; nothing for any other line."""
    cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
    return cells if line.startswith("|") and NUMBER.fullmatch(cells[0]) else []


def due_problems(due: list[str], numbers: list[str]) -> Iterator[str]:
    if not due:
        yield "no line 'due: N1 N3 …' says which promises are due."
    for number in sorted(set(numbers)):
        if numbers.count(number) > 1:
            yield f"{number} has {numbers.count(number)} rows. Make them one."
    for number in due:
        if number not in numbers:
            yield f"{number} is due and has no row."


def row_problems(number: str, tests: list[str]) -> Iterator[str]:
    if not tests:
        yield f"{number} has no test."
    for test in sorted(set(tests)):
        if tests.count(test) > 1:
            yield f"{number} names {test} {tests.count(test)} times."
        file, separator, name = test.partition("::")
        if not separator or name not in tests_in(Path(file)):
            yield f"{number} names {test}, which does not exist."


@cache
def tests_in(path: Path) -> frozenset[str]:
    """Everything in a test file that pytest could collect: `test_x`, `TestY`, `TestY::test_z`."""
    if not path.is_file():
        return frozenset()
    names: set[str] = set()
    for node in ast.parse(path.read_text(), str(path)).body:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                names.add(name)
            case ast.ClassDef(name=name, body=body):
                names.add(name)
                names |= {f"{name}::{part.name}" for part in body if isinstance(part, Function)}
            case ast.Assign(targets=[ast.Name(id=name)]):
                # A Hypothesis state machine is collected from an assignment: its TestCase, under a name of ours.
                names |= {name, f"{name}::runTest"}
    return frozenset(name for name in names if name.lower().startswith("test"))


if __name__ == "__main__":
    sys.exit(main())
