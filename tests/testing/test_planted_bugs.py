"""Planted bugs: each is one small edit of the search, and must give a wrong verdict on some small history."""

from __future__ import annotations

import importlib.util
import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from autonomy.testing import Verdict, linearizability

from .scripts import OPERATIONS, executed, oracle, scrambled

SOURCE = Path(str(linearizability.__file__)).read_text()
TRIES = 1500
Check = Callable[..., Verdict]
_numbers = itertools.count()

BUGS = {
    "what changes nothing happens at once, even a write": ("if option.is_read and debt", "if option.is_owed and debt"),
    "a write done counts as better than one to do": ("(state, debt & due.strict)", "(state, 0)"),
    "only the state is remembered": ("if any(known & debt == known for known in debts)", "if debts"),
    "more used up counts as better": ("known & debt == known for", "known | debt == known for"),
    "what returns last goes first": ("key=lambda option: ends[option.call])", "key=lambda option: -ends[option.call])"),
    "calls that are not alike count as such": (
        "alike = (call.operation, call.argument, is_owed,",
        "alike = (call.operation, is_owed,",
    ),
    "results do not part what is alike": ("is_owed, call.result if is_owed else None)", "is_owed, None)"),
    "a call of unknown outcome must happen": (
        'call in ends and call.ending == "returned" and call not in weakened',
        "call in ends and call not in weakened",
    ),
    "a call of unknown outcome may not happen": ("            loose.append(option)\n", "            pass\n"),
    "a call of unknown outcome happens as often as it likes": (
        "place.debt ^ option.bit, path",
        "place.debt & ~option.bit, path",
    ),
    "the result of a call is not looked at": ("option.call.argument, option.result)", "option.call.argument, UNSEEN)"),
    "only the first way is tried": ("ways.pop()\n", "return False\n"),
    "what starts is not owed": ("place.debt | self.returns[passed].fresh", "place.debt"),
    "only one call fits before a return": ("                    places.append(place)\n", "                    pass\n"),
    "keys are mixed up": ("parts.setdefault(key, [])", "parts.setdefault(None, [])"),
    "a call that was not sent may have happened": ('event.call.ending != "never happened"', "event.call"),
}


def test_the_search_as_it_is_gives_no_wrong_verdict() -> None:
    assert wrong_verdict(linearizability.check_linearizable, tries=100) is None


@pytest.mark.slow
@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_noticed(bug: str) -> None:
    old, new = BUGS[bug]
    assert SOURCE.count(old) == 1
    broken = loaded(SOURCE.replace(old, new))

    found = wrong_verdict(broken, tries=TRIES)

    assert found is not None, f"nobody noticed in {TRIES} histories of each kind"


def loaded(source: str) -> Check:
    name = f"autonomy.testing.linearizability_{next(_numbers)}"
    spec = importlib.util.spec_from_loader(name, loader=None)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    exec(compile(source, f"<{name}>", "exec"), module.__dict__)  # so named, it is not measured
    check: Check = module.check_linearizable
    return check


def wrong_verdict(check: Check, *, tries: int) -> str | None:
    """Return how `check` was wrong on a small history, if it was. To fail at it is wrong, too."""
    for seed, (model, operations) in itertools.product(range(tries), OPERATIONS.values()):
        random = Random(seed)
        small = scrambled(operations, random)
        ran = executed(model, random.choices(operations, k=12), 3, random)
        for history, runs in ((ran, True), (small, False)):
            try:
                holds = check(history, model, budget=20_000).holds
            except Exception as error:  # noqa: BLE001  # whatever a broken one does
                return f"seed {seed}: {error!r}"
            if holds != (runs or oracle(history, model)):
                return f"seed {seed}: {holds} on {history.calls}"
    return None
