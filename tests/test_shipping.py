"""Workers that go to another node: what of them arrives, and who refuses what (F2, F3, D6)."""

from __future__ import annotations

import functools
import sys
import traceback
from pathlib import Path

import pytest

from autonomy import CodePolicy, CodeRefused, Node, Restart
from autonomy._zone.packing import pack
from autonomy._zone.unpacking import unpack

from .shipping import GREETER, SOURCE, packed, program, refusal, sent

# ---- what arrives


async def test_a_worker_goes_with_its_class_and_state_and_works_there(node: Node, tmp_path: Path) -> None:
    accepted = sent(tmp_path, GREETER, "Greeter('?')")

    await node.start_worker("greeter", accepted.worker)

    assert await node.send_and_receive("greeter", "Alice") == "Hello, Alice?"
    assert (accepted.code, accepted.mode, len(accepted.sha256)) == ("program.Greeter", "source", 64)


def test_the_object_is_copied(tmp_path: Path) -> None:
    with program(tmp_path, GREETER) as module:
        worker = module.Greeter([1, (2, {3})])
        data = pack(worker)
    copies = [unpack(data, SOURCE).worker for _ in range(2)]

    assert all(vars(copy) == {"mark": [1, (2, {3})]} for copy in copies)
    assert len({id(each.mark) for each in (worker, *copies)}) == 3


def test_a_second_worker_of_a_class_finds_what_the_first_changed_in_it(tmp_path: Path) -> None:
    text = GREETER.replace("Hello", "Good morning")
    first = sent(tmp_path, text, "Greeter()").worker
    type(first).greeting = "Bonjour"  # type: ignore[attr-defined]

    second = sent(tmp_path, text, "Greeter('?')").worker

    assert type(second) is type(first)
    assert second.greeting == "Bonjour"  # type: ignore[attr-defined]


def test_another_source_is_another_class(tmp_path: Path) -> None:
    first = sent(tmp_path, GREETER, "Greeter()").worker
    second = sent(tmp_path, GREETER.replace("Hello", "Hi"), "Greeter()").worker

    assert type(first) is not type(second)


WORLD = '''
    """What people write."""
    from __future__ import annotations
    import enum, json as j
    import logging
    from abc import ABC, abstractmethod
    from dataclasses import dataclass, field
    from typing import ClassVar, Generic, TypeVar

    T = TypeVar("T")
    LIMIT, *REST = 1, 2, 3
    LIMIT += 1
    logger = logging.getLogger(__name__)
    total = 0

    class Colour(enum.Enum):
        RED = "red"

    @dataclass(frozen=True)
    class Job:
        name: str
        colours: list[Colour] = field(default_factory=lambda: [Colour.RED])

    def loud(function):
        def inner(self, context, message):
            return function(self, context, message).upper()
        return inner

    class Mixin:
        def tail(self): return f"-{LIMIT}{REST}"

    class Base(ABC, Generic[T]):
        @abstractmethod
        def handle_message(self, context, message): ...

        def tail(self): return "base"

    class Worker(Mixin, Base[str]):
        seen: ClassVar[list[str]] = []

        class Inner:
            mark = "*"

        @property
        def mark(self): return self.Inner.mark

        @loud
        def handle_message(self, context, message: str) -> str:
            global total
            total += 1
            self.seen.append(message)
            return j.dumps([Job(message).colours[0].value, super().tail(), self.mark, total])

'''


def test_whatever_a_class_is_built_from_goes_with_it(tmp_path: Path) -> None:
    worker = sent(tmp_path, WORLD).worker

    assert worker.handle_message(None, "x") == '["RED", "-2[2, 3]", "*", 1]'  # type: ignore[attr-defined]
    assert worker.handle_message(None, "x").endswith("2]")  # type: ignore[attr-defined]


STATES = {
    "slots": "__slots__ = ('x', 'empty')\n    def __init__(self): self.x = {1}",
    "slots beside a dict": "__slots__ = ('x', '__dict__')\n    def __init__(self): self.x = {1}; self.y = 2",
    "__getstate__ and __setstate__": (
        "def __init__(self): self.lock = open\n    def __getstate__(self): return (1,)\n"
        "    def __setstate__(self, state): self.x = set(state)"
    ),
    "__getstate__ alone": "def __getstate__(self): return {'x': {1}}",
    "__setstate__ alone": "def __init__(self): self.z = 1\n    def __setstate__(self, state): self.x = {state['z']}",
    "a frozen dataclass": "x: object\n    def __new__(cls, *args): return object.__new__(cls)",
    "__init__ with arguments": "def __init__(self, *, x={1}): self.x = x",
    "__getattr__ that needs what is in the state": (
        "def __init__(self): self.inner = {'x': {1}}\n    def __getattr__(self, name): return self.inner[name]"
    ),
    "__setattr__": "def __init__(self): vars(self)['x'] = {1}\n    def __setattr__(self, name, value): raise TypeError",
}


@pytest.mark.parametrize("body", STATES.values(), ids=STATES)
def test_state_is_taken_and_given_as_by_copy(tmp_path: Path, body: str) -> None:
    frozen = "x: object" in body
    decorator = "@dataclass(frozen=True, slots=True)\n" if frozen else ""
    handler = "def handle_message(self, context, message): ..."
    text = f"from dataclasses import dataclass\n{decorator}class Worker:\n    {body}\n    {handler}"

    worker = sent(tmp_path, text, "Worker({1})" if frozen else "Worker()").worker

    assert worker.x == {1}  # type: ignore[attr-defined]


def test_a_worker_without_state_needs_none(tmp_path: Path) -> None:
    assert sent(tmp_path, "class Worker:\n    def handle_message(self, c, m): return 3").worker is not None


def test_a_nested_class_goes_with_the_one_around_it(tmp_path: Path) -> None:
    text = "class Outer:\n    class Worker:\n        def handle_message(self, c, m): return Outer"

    accepted = sent(tmp_path, text, "Outer.Worker()")

    assert accepted.code == "program.Outer.Worker"
    assert accepted.worker.handle_message(0, 0).__name__ == "Outer"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "source",
    ["Greeter", "functools.partial(Greeter, '!')", "functools.partial(Greeter, mark='!')", "make"],
)
async def test_what_makes_workers_can_be_sent_for_supervision_to_use(node: Node, tmp_path: Path, source: str) -> None:
    text = f"import functools\n{GREETER}\ndef make(): return Greeter()\n"
    factory = sent(tmp_path, text, source).worker
    assert callable(factory)

    await node.start_worker("greeter", factory, supervision=Restart())

    assert await node.send_and_receive("greeter", "Alice") == "Hello, Alice!"


def test_a_worker_that_came_can_be_sent_on(tmp_path: Path) -> None:
    accepted = sent(tmp_path, GREETER, "Greeter('?')")

    again = unpack(pack(accepted.worker), SOURCE)

    assert again.sha256 == accepted.sha256
    assert type(again.worker) is type(accepted.worker)


def test_tracebacks_show_the_shipped_source(tmp_path: Path) -> None:
    worker = sent(tmp_path, "class Worker:\n    def handle_message(self, c, m):\n        return 1 / m  # why\n").worker

    with pytest.raises(ZeroDivisionError) as caught:
        worker.handle_message(None, 0)  # type: ignore[attr-defined]

    text = "".join(traceback.format_exception(caught.value))
    assert "return 1 / m  # why" in text
    assert f'File "<{type(worker).__module__}>", line 3, in handle_message' in text


# ---- what is refused where it is


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("open(__import__('os').devnull)", ["self.x", "TextIOWrapper", "Open it in on_start"]),
        ("__import__('threading').Lock()", ["self.x", "lock", "Open it in on_start"]),
        ("__import__('socket').socket()", ["self.x", "socket.socket", "Open it in on_start"]),
        ("lambda: 1", ["self.x", "function", "Write it as a method"]),
        ("print", ["self.x", "builtin_function", "Write it as a method"]),
        ("__import__('json')", ["self.x", "module", "Import it"]),
        ("{'a': [1, {(1, 2): object()}]}", ["self.x['a'][1][(1, 2)]", "object", "__getstate__"]),
        ("Job()", ["self.x", "program.Job", "__getstate__"]),
        ("__import__('collections').OrderedDict()", ["self.x", "OrderedDict", "plain dict"]),
        ("__import__('http').HTTPStatus.OK", ["self.x", "HTTPStatus", "plain int"]),
        ("bytes(2**20 + 1)", ["self.x", "1,048,576 bytes", "on_start"]),
        ("{10**5000: print}", ["self.x[...]", "builtin_function"]),
    ],
)
def test_state_that_cannot_travel_is_refused_by_its_attribute_and_with_a_remedy(
    tmp_path: Path, value: str, words: list[str]
) -> None:
    text = f"""
    class Job: ...
    class Worker:
        def __init__(self): self.ok = 1; self.x = {value}
        def handle_message(self, context, message): ...
    worker = Worker()
    """

    why = refusal(tmp_path, text, "worker if not hasattr(worker.x, 'close') else (worker, worker.x.close())[0]")

    assert why.startswith("Worker cannot be shipped: ")
    assert [word for word in words if word not in why] == []


def test_state_in_slots_of_getstate_and_of_arguments_is_named_too(tmp_path: Path) -> None:
    handler = "    def handle_message(self, context, message): ..."
    slots = f"class Worker:\n    __slots__ = ('x',)\n    def __init__(self): self.x = [print]\n{handler}"
    own = f"class Worker:\n    def __getstate__(self): return [print]\n{handler}"
    raising = f"class Worker:\n    def __getstate__(self): return 1 / 0\n{handler}"

    assert "self.x[0] is not plain data" in refusal(tmp_path, slots)
    assert "self.__getstate__()[0] is not plain data" in refusal(tmp_path, own)
    assert "__getstate__ raised ZeroDivisionError" in refusal(tmp_path, raising)
    text = f"import functools\n{GREETER}"
    assert "argument 0 is not plain" in refusal(tmp_path, text, "functools.partial(Greeter, print)")
    assert "argument 'mark'[0] is not plain" in refusal(tmp_path, text, "functools.partial(Greeter, mark=[print])")


HANDLER = "def handle_message(self, context, message): return x"


@pytest.mark.parametrize(
    ("text", "expression", "words"),
    [
        (f"with open(__file__) as x: pass\nclass Worker:\n    {HANDLER}", "Worker()", "(with, line 1)"),
        (f"globals()['x'] = 3\nclass Worker:\n    {HANDLER}", "Worker()", "'x' is set while the program runs"),
        (f"def make():\n    class Worker:\n        {HANDLER}\n    return Worker()", "make()", "inside a function"),
        ("make = lambda: 3", "make", "inside a function"),
        (f"class Worker:\n    {HANDLER}\nold = Worker()\nclass Worker: ...", "old", "is something else by now"),
        ("Worker = type('Other', (), {'handle_message': print})", "Worker()", "is something else by now"),
        ("class Worker: ...", "Worker()", "no method handle_message"),
        ("class Worker: ...", "Worker", "no method handle_message"),
        ("import functools", "functools.partial(print, 1)", "a partial of <built-in function print>"),
        (f"class Worker(dict):\n    {HANDLER}", "Worker()", "not written in Python, such as dict"),
        (f"class Worker:\n    def __reduce__(self): return 'x'\n    {HANDLER}", "Worker()", "__getstate__ and"),
    ],
)
def test_classes_that_cannot_travel_are_refused_at_the_sender(
    tmp_path: Path, text: str, expression: str, words: str
) -> None:
    assert words in refusal(tmp_path, text, expression)


def test_what_was_typed_at_a_prompt_is_refused() -> None:
    module = sys.modules["typed_at_a_prompt"] = type(sys)("typed_at_a_prompt")
    try:
        exec(f"class Worker:\n    {HANDLER}", vars(module))
        with pytest.raises(CodeRefused, match="what is typed at a prompt cannot be shipped"):
            pack(module.Worker())
    finally:
        del sys.modules["typed_at_a_prompt"]


def test_partials_of_anything_but_a_class_are_refused() -> None:
    with pytest.raises(CodeRefused, match="only one of a class"):
        pack(functools.partial(len, "x"))


# ---- what is refused where it comes to


def test_a_node_takes_no_code_unless_told_to(tmp_path: Path) -> None:
    data = packed(tmp_path, GREETER, "Greeter()")

    with pytest.raises(CodeRefused, match="takes no code"):
        unpack(data, CodePolicy())


def test_an_import_that_is_not_there_is_named(tmp_path: Path) -> None:
    text = f"import far_away.x as x\nclass Worker:\n    {HANDLER}"
    sys.modules["far_away"] = sys.modules["far_away.x"] = type(sys)("far_away")
    sys.modules["far_away"].x = 1  # type: ignore[attr-defined]
    try:
        data = packed(tmp_path, text)
    finally:
        del sys.modules["far_away"], sys.modules["far_away.x"]

    with pytest.raises(CodeRefused, match=r"'far_away.x' is not here \(import far_away.x as x\)"):
        unpack(data, SOURCE)


def test_source_that_raises_is_refused_with_its_traceback_and_leaves_nothing(tmp_path: Path) -> None:
    text = f"import sys\nx = 1 if hasattr(sys, 'at_the_sender') else 1 / 0  # here\nclass Worker:\n    {HANDLER}"
    sys.at_the_sender = True  # type: ignore[attr-defined]
    try:
        data = packed(tmp_path, text)
    finally:
        del sys.at_the_sender  # type: ignore[attr-defined]

    for _ in range(2):
        before = set(sys.modules)
        with pytest.raises(CodeRefused, match=r"(?s)raised when it was run here.*# here.*ZeroDivisionError"):
            unpack(data, SOURCE)
        assert set(sys.modules) == before


def test_an_object_that_cannot_be_made_is_refused_with_its_traceback(tmp_path: Path) -> None:
    text = f"class Worker:\n    def __init__(self): self.y = 0\n    def __setstate__(self, state): 1 / 0\n    {HANDLER}"

    with pytest.raises(CodeRefused, match=r"(?s)object of Worker cannot be made.*1 / 0.*ZeroDivisionError"):
        sent(tmp_path, f"x = 1\n{text}")


def test_a_program_that_was_edited_into_nonsense_meanwhile_is_refused(tmp_path: Path) -> None:
    with program(tmp_path, GREETER) as module:
        worker = module.Greeter()
        (tmp_path / "program.py").write_text("class (\n")

        with pytest.raises(CodeRefused, match="the source of program cannot be read: invalid syntax"):
            pack(worker)
