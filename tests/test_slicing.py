"""What of a module is shipped with a class: what it needs, in the module's own words, and nothing else (F2)."""

from __future__ import annotations

import ast
import re
from textwrap import dedent
from types import FunctionType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autonomy._zone.slicing import imports_of, slice_of
from autonomy._zone.statements import statements_of


def sliced(source: str, name: str = "Worker") -> str:
    """Return a slice that has no problem."""
    found = slice_of(dedent(source), name)
    assert not found.problem
    ast.parse(found.text)
    return found.text


def problem(source: str, present: tuple[str, ...] = ()) -> str:
    return slice_of(dedent(source), "Worker", present).problem


KEPT = {
    "constants": "LIMIT = 3",
    "annotated constants": "LIMIT: int = 3",
    "constants in a tuple": "LIMIT, *REST = 3, 4",
    "constants that walrus": "(LIMIT := 3)",
    "functions": "def LIMIT():\n    # why\n    return 'é'",
    "async functions": "async def LIMIT(): ...",
    "classes": "class LIMIT: ...",
    "decorated functions": "@property\ndef LIMIT(self): ...",
    "decorators in brackets": "@(\n    property\n)\ndef LIMIT(self): ...",
    "lambdas": "LIMIT = lambda x, *y: x",
    "imports": "import a.b as LIMIT",
    "imports of packages": "import LIMIT.b",
    "imports of names": "from a import b as LIMIT",
    "imports that may fail": "try:\n    import LIMIT\nexcept ImportError:\n    LIMIT = None",
    "choices": "if 1 > 2:\n    LIMIT = 3\nelif 2 > 3:\n    LIMIT = 4\nelse:\n    def LIMIT(): ...",
    "loggers": "LIMIT = logging.getLogger(__name__)",
    "texts of several lines": 'LIMIT = """a\n\n  # b\n"""',
}


@pytest.mark.parametrize("statement", KEPT.values(), ids=KEPT)
def test_what_a_class_names_is_kept_word_for_word(statement: str) -> None:
    worker = "class Worker:\n    def handle_message(self):\n        return LIMIT"

    assert sliced(f"{statement}\n{worker}\n") == f"{statement}\n{worker}\n"


@pytest.mark.parametrize(
    "use",
    [
        "class Worker(LIMIT): ...",
        "@LIMIT\nclass Worker: ...",
        "@LIMIT.x(3)\nclass Worker: ...",
        "class Worker(metaclass=LIMIT): ...",
        "class Worker:\n    LIMIT = LIMIT",
        "class Worker:\n    class Inner(LIMIT): ...",
        "class Worker:\n    x: LIMIT",
        "class Worker:\n    def f(self, x: LIMIT = 3, *args: int): ...",
        "class Worker:\n    def f(self, *args: LIMIT): ...",
        "class Worker:\n    def f(self) -> 'list[LIMIT]': ...",
        "class Worker:\n    def f(self, x=LIMIT): ...",
        "class Worker:\n    @LIMIT\n    def f(self): ...",
        "class Worker:\n    def f(self):\n        global LIMIT\n        LIMIT += 1",
        "class Worker:\n    f = lambda self: [LIMIT for _ in self]",
        "class Worker:\n    def f(self):\n        def g(): return LIMIT\n        return g",
        "class Worker:\n    def f(self, x):\n        match x:\n            case LIMIT.y: return 1",
        "def helper(): return LIMIT\nclass Worker:\n    f = helper",
        "class Before(LIMIT): ...\nclass Worker(Before):\n    def f(self): return super().f()",
        "from __future__ import annotations\nclass Worker:\n    x: list[LIMIT]",
    ],
)
def test_a_class_may_name_things_anywhere(use: str) -> None:
    assert "LIMIT = object" in sliced(f"{use}\nLIMIT = object\n")


def test_everything_else_stays_behind() -> None:
    text = sliced(
        '''
        """A program."""
        import os, json, sys; print("loaded")
        from typing import Any, Final
        from .siblings import other
        os.environ["KEY"] = "1"
        with open("/etc/passwd") as file:
            data = file.read()
        rows = [1, 2]
        for row in rows:
            print(row)
        class Other: ...
        class Worker:
            def handle_message(self, context: Any, message):
                data = json.loads(message)
                for row in data:
                    os.stat(row)
        async def main(node): ...
        if __name__ == "__main__":
            Node.start(main)
        assert Worker
        del rows
        Node.start(main)
        '''
    )

    assert text == dedent(
        """\
        import os
        import json
        from typing import Any
        class Worker:
            def handle_message(self, context: Any, message):
                data = json.loads(message)
                for row in data:
                    os.stat(row)
        """
    )


def test_deeds_within_a_choice_are_left_out() -> None:
    text = sliced(
        """
        try:
            import fast
            fast.install()
        except ImportError:
            fast = None
            for each in range(3):
                print(each)
        class Worker:
            fast = fast
        """
    )

    assert "install" not in text
    assert "print" not in text
    assert text.count("pass") == 2


def test_changes_of_what_is_kept_are_kept_in_their_order() -> None:
    source = """\
        handlers = {}
        handlers["a"] = len
        count = 1
        count += 1
        class Worker:
            x = count, handlers
        Worker.limit = 3
        """

    assert sliced(source) == dedent(source)


def test_a_name_with_several_meanings_has_all_of_them() -> None:
    text = sliced("import a.b\nimport a.c\nx = 1\nx = x + 1\nclass Worker:\n    y = a, x\nclass Worker(Worker): ...\n")

    assert text.count("import") == 2
    assert text.count("x = ") == 2
    assert text.count("class Worker") == 2


def test_a_relative_import_that_may_fail_is_kept() -> None:
    statement = "try:\n    from .prices import tax\nexcept ImportError:\n    from prices import tax\n"

    assert statement in sliced(f"{statement}class Worker:\n    tax = tax\n")


def test_what_only_type_checkers_import_is_not_needed() -> None:
    text = sliced(
        """
        from __future__ import annotations
        from typing import TYPE_CHECKING
        if TYPE_CHECKING:
            from .siblings import Other
        class Worker:
            def f(self, other: Other) -> Missing: ...
        """
    )

    assert "Other" not in text.partition("class Worker")[0]
    assert text.startswith("from __future__ import annotations\n")


def test_annotations_that_nobody_looks_up_bring_what_can_travel() -> None:
    text = sliced(
        """
        from __future__ import annotations
        from .siblings import Far
        from shop import Near
        class Job: ...
        class Worker:
            def f(self, job: Job, near: Near, far: Far): ...
        """
    )

    assert text.startswith("from __future__ import annotations\nfrom shop import Near\nclass Job: ...\nclass Worker:")


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("from .prices import tax", "'tax' comes from 'from .prices import tax', and a relative import"),
        ("from . import tax", "'from . import tax'"),
        ("def tax():\n    from .prices import vat as v", "'tax' has 'from .prices import vat as v' in it"),
        ("if 1:\n    from .prices import tax", "'tax' has 'from .prices import tax' in it"),
        ("with open('x') as tax:\n    pass", "'tax' is bound by a statement that does not travel (with, line 1)"),
        ("for tax in range(3):\n    pass", "(for, line 1)"),
        ("while 1:\n    tax = 3", "(while, line 1)"),
        ("print(tax := 3)", "(expr, line 1)"),
        ("if 1:\n    with x as tax: pass", "(with, line 2)"),
        ("match 1:\n    case tax: pass", "(match, line 1)"),
        ("if __name__ == '__main__':\n    tax = 3", "'tax' is bound below 'if __name__"),
    ],
)
def test_what_cannot_travel_is_named(source: str, names: str) -> None:
    worker = "\nclass Worker:\n    def f(self): return tax\n"

    assert names in problem(source + worker)
    assert not problem(source + "\nclass Worker:\n    def f(self):\n        tax = 3\n        return tax\n")


def test_what_is_set_at_run_time_is_named() -> None:
    worker = "class Worker:\n    def f(self): return tax, len, __name__, unknown\n"

    assert "'tax' is set while the program runs" in problem(
        f"def setup():\n    global tax\n    tax = 3\n{worker}", ("tax",)
    )
    assert "'tax' may come from 'from prices import *'" in problem(f"from prices import *\n{worker}", ("tax",))
    assert "'__file__' is that of the file here" in problem("class Worker:\n    path = __file__\n")


def test_a_constant_that_the_main_guard_changes_keeps_its_first_value() -> None:
    text = sliced("tax = 1\nif __name__ == '__main__':\n    tax = 2\nclass Worker:\n    tax = tax\n")

    assert text == "tax = 1\nclass Worker:\n    tax = tax\n"


def test_a_class_that_no_statement_defines_is_no_slice() -> None:
    assert "'Worker' is not defined by a statement" in problem("x = 1\n")


def test_what_a_source_may_do_without_is_no_import_of_it() -> None:
    found = imports_of(
        "import a.b as c, d\nfrom e.f import g, h\nfrom __future__ import annotations\n"
        "try:\n    import i\nexcept ImportError: ...\n"
    )

    assert [(each.module, each.names) for each in found] == [("a.b", ()), ("d", ()), ("e.f", ("g", "h"))]


@pytest.mark.parametrize(
    "statement",
    [
        "y = [x for x in range(3)]",
        "y = {x: 1 for x in range(3)}",
        "y = sum(x for x in range(3))",
        "y = (lambda: [x for x in range(3)])",
        "class y:\n    z = {x for x in range(3)}",
        "def y(z=[x for x in range(3)]): return [x for x in z]",
        "y = lambda z=[x for x in range(3)]: z",
        "@property\ndef y(z: int, *, w={x for x in range(3)}): ...",
    ],
)
def test_the_variables_of_a_comprehension_are_its_own(statement: str) -> None:
    assert "x = 3\n" not in sliced(f"x = 3\n{statement}\nclass Worker:\n    y = y\n")
    assert "x = 3\n" in sliced(f"x = 3\n{statement}\nclass Worker:\n    y = x\n")
    assert statement not in sliced(f"x = 3\n{statement}\nclass Worker:\n    y = x\n")


FORMS = [
    "{name} = [1, {uses}]",
    "{name}: list = [2, {uses}]",
    "{name}, *{name}_rest = [3, {uses}], 4",
    "({name} := [5, {uses}])",
    "def {name}():\n    return [6, {uses}]",
    "class {name}:\n    value = [7, {uses}]\n    def f(self, x=[{uses}]): return x",
    "{name} = [each for each in [8, {uses}]]",
    "{name} = lambda: [each for each in [9, {uses}]]",
    "if [{uses}]:\n    {name} = [10]\n    noise.append(1)\nelse:\n    {name} = [11]",
    "try:\n    noise.append(2)\n    {name} = [12, {uses}]\nfinally:\n    pass",
    "{name} = [13]\n{name} += [{uses}]",
    "{name} = {{}}\n{name}['x'] = [14, {uses}]",
    "import json as {name}",
    "from os import path as {name}",
]
NOISE = ["noise.append(3)", "for each in noise:\n    print(each)", "noise_name = noise", "noise[:] = []"]


@given(st.data())
def test_for_all_modules_a_class_has_the_same_values_from_a_slice_as_from_the_whole(data: st.DataObject) -> None:
    statements: list[str] = []
    names: list[str] = []
    texts: dict[str, str] = {}
    for number in range(data.draw(st.integers(1, 8))):
        uses = data.draw(st.lists(st.sampled_from(names), max_size=3)) if names else []
        form = data.draw(st.sampled_from(FORMS))
        statements += data.draw(st.lists(st.sampled_from(NOISE), max_size=1))
        texts[f"n{number}"] = form.format(name=f"n{number}", uses=", ".join(uses))
        statements.append(texts[f"n{number}"])
        names.append(f"n{number}")
    wanted = data.draw(st.lists(st.sampled_from(names), max_size=3))
    statements.append(f"class Worker:\n    def values(self): return [{', '.join(wanted)}]")
    source = "\n".join(statements)

    noise: list[int] = []
    whole: dict[str, object] = {"noise": noise}
    exec(source, whole)
    part: dict[str, object] = {}
    exec(sliced(source), part)  # which would fail at any noise

    assert shown(part["Worker"]) == shown(whole["Worker"])
    assert not set(part) & (set(names) - needed(texts, wanted))


def shown(worker: object) -> str:
    """Return the values of a class, deep, without addresses."""
    return _text(worker().values())  # type: ignore[operator]


def _text(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_text, value))}]"
    if isinstance(value, dict):
        return f"{{{_text(value['x'])}}}"
    if isinstance(value, type):
        return f"{value.__name__} {_text(vars(value)['value'])} {_text(value().f())}"
    if isinstance(value, FunctionType):
        return f"{value.__name__} {_text(value())}"
    return str(value)


def needed(texts: dict[str, str], wanted: list[str]) -> set[str]:
    """Return all names that these need, found by looking for them in the text."""
    found: set[str] = set()
    waiting = list(wanted)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += re.findall(r"\bn\d\b", texts[name])
    return found


def test_a_module_is_taken_apart_once_for_all_workers_that_come_from_it() -> None:
    source = "".join(f"def helper_{i}(x):\n    return [y + {i} for y in x]\n" for i in range(300))
    source += "class Worker:\n    def handle_message(self): helper_1([1])\n"

    first = slice_of(source, "Worker")
    taken_apart = statements_of.cache_info().misses
    later = [slice_of(source, "Worker") for _ in range(20)]

    assert statements_of.cache_info().misses == taken_apart
    assert later == [first] * 20
