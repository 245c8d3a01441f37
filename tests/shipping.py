"""Programs that ship workers: modules made from text, which are loaded at the sender and nowhere else."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from textwrap import dedent
from types import ModuleType

import pytest

from autonomy import CodePolicy, CodeRefused
from autonomy._zone.packing import pack
from autonomy._zone.sources import SHIPPED
from autonomy._zone.unpacking import Accepted, unpack

SOURCE = CodePolicy("source")
GREETER = """
class Greeter:
    greeting = "Hello"

    def __init__(self, mark="!"):
        self.mark = mark

    async def handle_message(self, context, message):
        await context.reply(f"{self.greeting}, {message}{self.mark}")
"""


@contextmanager
def program(folder: Path, text: str, name: str = "program") -> Iterator[ModuleType]:
    """Run a text as a module that can be imported here for as long as the block lasts, as one far away could not."""
    file = folder / f"{name}.py"
    file.write_text(dedent(text))
    spec = spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        yield module
    finally:
        del sys.modules[name]


def packed(folder: Path, text: str, expression: str = "Worker()", name: str = "program") -> bytes:
    """Return a worker packed that an expression makes in a program."""
    with program(folder, text, name) as module:
        return pack(eval(expression, vars(module)))


def sent(folder: Path, text: str, expression: str = "Worker()") -> Accepted:
    """Return a worker of a program, on a node that takes everything and does not have that program."""
    return unpack(packed(folder, text, expression), SOURCE)


def refusal(folder: Path, text: str, expression: str = "Worker()") -> str:
    """Return why the sender refuses to ship a worker of a program that nobody else could import."""
    with program(folder, text, f"{SHIPPED}program") as module, pytest.raises(CodeRefused) as caught:
        pack(eval(expression, vars(module)))
    return str(caught.value)
