"""The front door: what it offers, and that opening it changes nothing."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import autonomy
from autonomy import errors

STATE = """
import asyncio, builtins, faulthandler, gc, json, locale, logging, os, signal, sys, threading, warnings

def state():
    root, ours = logging.getLogger(), logging.getLogger("autonomy")
    return {
        "root logger": [root.level, repr(root.handlers), root.disabled, repr(root.filters)],
        "our logger": [ours.level, repr(ours.handlers), ours.propagate, repr(ours.filters)],
        "logging": [repr(logging.getLoggerClass()), logging.root.manager.disable, logging.raiseExceptions,
                    repr(logging.getLogRecordFactory()), repr(logging.lastResort), logging.getLevelName(25)],
        "asyncio policy": repr(getattr(asyncio, "_get_event_loop_policy", asyncio.get_event_loop_policy)().__class__),
        "signals": {int(number): repr(signal.getsignal(number)) for number in signal.valid_signals()},
        "wakeup fd": signal.set_wakeup_fd(-1),
        "warnings": [repr(warnings.filters), repr(warnings.showwarning)],
        "hooks": [repr(hook) for hook in (sys.excepthook, sys.unraisablehook, threading.excepthook, sys.displayhook,
                                          sys.breakpointhook, sys.gettrace(), sys.getprofile(),
                                          sys.get_asyncgen_hooks(), builtins.__import__)],
        "interpreter": [sys.getrecursionlimit(), sys.getswitchinterval(), gc.get_threshold(), gc.isenabled(),
                        faulthandler.is_enabled(), repr(sys.stdout), repr(sys.stderr), sys.path, repr(sys.meta_path),
                        repr(sys.path_hooks), locale.setlocale(locale.LC_ALL)],
        "threads": [thread.name for thread in threading.enumerate()],
        "environment": dict(os.environ),
        "folder": os.getcwd(),
    }

before = state()
import autonomy
print(json.dumps([before, state()]))
"""


# ---- O7


@pytest.mark.slow
def test_importing_the_library_changes_nothing_global() -> None:
    done = subprocess.run([sys.executable, "-c", STATE], capture_output=True, text=True, check=True, timeout=60)

    before, after = json.loads(done.stdout)

    assert len(before) == 12
    assert after == before
    assert done.stderr == ""


@pytest.mark.slow
def test_importing_the_library_needs_no_extra() -> None:
    text = "import sys, autonomy; print([m for m in ('hypothesis', 'pytest', 'click', 'rich') if m in sys.modules])"

    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True, timeout=60)

    assert done.stdout.strip() == "[]"


WITHOUT_EXTRAS = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name in ("hypothesis", "pytest", "yaml", "click", "rich", "fastapi"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
import autonomy.testing

sim = autonomy.testing.Simulation(1)
for wants_more in (sim.run, lambda: sim.zone("folder")):
    try:
        wants_more()
    except ImportError as error:
        print(error)
"""


@pytest.mark.slow
def test_what_judges_histories_needs_no_extra_and_simulations_say_which_they_need() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_EXTRAS], capture_output=True, text=True, check=True, timeout=60
    )

    assert done.stdout.splitlines() == [
        "a simulation needs hypothesis: pip install 'autonomy-actors[testing]'",
        "a zone's folder needs yaml: pip install 'autonomy-actors[testing]'",
    ]


# ---- names


def public_names() -> list[str]:
    """Return what somebody who looks at the package finds: no private name, no submodule that is not meant."""
    return [
        name
        for name, thing in vars(autonomy).items()
        if not name.startswith("_") and name != "annotations" and (thing is errors or not isinstance(thing, ModuleType))
    ]


def test_all_names_every_public_name_once() -> None:
    assert sorted(autonomy.__all__) == sorted(public_names())
    assert len(set(autonomy.__all__)) == len(autonomy.__all__)


def test_all_is_sorted() -> None:
    assert autonomy.__all__ == sorted(autonomy.__all__)


def documented() -> list[tuple[str, object]]:
    """Return every public class and function, and the public methods of each class, with its name."""
    found: list[tuple[str, object]] = []
    for module in (autonomy, errors):
        for name, thing in vars(module).items():
            if name.startswith("_") or not (inspect.isclass(thing) or inspect.isfunction(thing)):
                continue
            if not thing.__module__.startswith("autonomy"):
                continue
            found.append((name, thing))
            if inspect.isclass(thing):
                found += [
                    (f"{name}.{method}", what)
                    for method, what in inspect.getmembers(thing)
                    if not method.startswith("_") and (inspect.isfunction(what) or isinstance(what, property))
                ]
    return found


@pytest.mark.parametrize(("name", "thing"), [pytest.param(*pair, id=pair[0]) for pair in documented()])
def test_everything_public_has_a_docstring(name: str, thing: object) -> None:
    text = getattr(thing, "__doc__", None) or ""

    first = text.partition("\n")[0]
    assert first.strip(), f"{name} has no docstring"
    assert not first.startswith(f"{name.rpartition('.')[2]}("), f"{name}: that is a generated signature, no docstring"


def test_every_error_is_an_autonomy_error() -> None:
    classes = [
        thing for thing in vars(errors).values() if inspect.isclass(thing) and thing.__module__ == errors.__name__
    ]

    assert len(classes) >= 17
    assert all(issubclass(thing, errors.AutonomyError) and issubclass(thing, RuntimeError) for thing in classes)


def test_the_package_is_typed() -> None:
    assert autonomy.__file__ is not None

    assert Path(autonomy.__file__).with_name("py.typed").is_file()
