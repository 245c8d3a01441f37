"""Histories made from a short script, made by running a model, and judged by trying every order."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Iterator, Sequence
from random import Random
from typing import Any, TypeVar

from autonomy import MailboxFull
from autonomy.testing import UNSEEN, Call, Counter, History, KeyedRegister, Model, Queue, Register, Set

State = TypeVar("State", bound=Hashable)

Operation = tuple[str, object]
REFUSED = MailboxFull("full", outcome="not_sent")

OPERATIONS: dict[str, tuple[Model[Any], list[Operation]]] = {
    "register": (Register(0), [("read", None), ("write", 1), ("write", 2), ("cas", (1, 2)), ("cas", (0, 1))]),
    "map": (KeyedRegister(0), [("read", "x"), ("read", "y"), ("write", ("x", 1)), ("cas", ("y", 0, 1))]),
    "set": (Set(), [(operation, element) for operation in ("contains", "add", "remove") for element in "ab"]),
    "queue": (Queue(), [("put", 1), ("put", 2), ("take", None), ("take", None)]),
    "counter": (Counter(), [("read", None), ("add", 1), ("add", 2), ("add", -1)]),
}
"""A model of each kind, and what clients ask of it."""


def new_history() -> History:
    """Return a history whose clock ticks once for each event."""
    ticks = itertools.count()
    return History(clock=lambda: float(next(ticks)))


def told(script: str, **calls: tuple[object, ...]) -> History:
    """Return the history in which `calls` start and end in the order of `script`.

    ``told("a b a b", a=("write", 1, "ok"), b=("read", None, 1))``: both overlap. A call without a result, or named once
    only, never returns.
    """
    history = new_history()
    made: dict[str, Call] = {}
    for name in script.split():
        operation, argument, *result = calls[name]
        if name not in made:
            made[name] = history.call(name, str(operation), argument)
        else:
            made[name].ok(*result)
    return history


def result_of(model: Model[Any], state: object, operation: str, argument: object) -> object:
    """Return what a call comes back with in `state`; None where that is not looked at."""
    candidates: Sequence[object] = (None, True, False, *range(-20, 40))
    if operation in ("add", "remove"):
        candidates = candidates[1:]  # what a set or a counter need not tell, it tells
    return next(result for result in candidates if model.step(state, operation, argument, result) is not None)


def executed(model: Model[Any], operations: Sequence[Operation], clients: int, random: Random) -> History:
    """Run a model as `clients` would that call at once: each call happens at a moment between its start and its end.

    One call in eight never returns, having happened or not.
    """
    history = new_history()
    states: dict[Hashable, object] = {}
    waiting = list(operations)
    going: list[tuple[Call, list[object]]] = []  # with the result, once the call has happened
    while waiting or going:
        if waiting and len(going) < clients and random.random() < 0.5:
            operation, argument = waiting.pop()
            going.append((history.call(f"client-{random.randrange(clients)}", operation, argument), []))
        elif going:
            call, results = entry = random.choice(going)
            is_lost = random.random() < 1 / 8
            if not results and not is_lost:
                key = model.key(call.operation, call.argument)
                state = states.get(key, model.initial())
                results.append(result_of(model, state, call.operation, call.argument))
                states[key] = model.step(state, call.operation, call.argument, results[0])
                continue
            going.remove(entry)
            if is_lost:
                call.failed(TimeoutError() if results or random.random() < 0.5 else REFUSED)
            else:
                call.ok(results[0])
    return history


def scrambled(model_calls: Sequence[Operation], random: Random) -> History:
    """Return a history of up to seven calls with results that were made up."""
    history = new_history()
    going: list[Call] = []
    waiting = [random.choice(model_calls) for _ in range(random.randint(1, 7))]
    while waiting or going:
        if waiting and (not going or random.random() < 0.5):
            going.append(history.call(f"client-{len(waiting)}", *waiting.pop()))
            continue
        call = going.pop(random.randrange(len(going)))
        if random.random() < 1 / 5:
            call.failed(random.choice([TimeoutError(), REFUSED]))
        elif call.operation in ("contains", "cas", "remove"):
            call.ok(random.random() < 0.5)
        else:
            call.ok(random.choice([None, 0, 1, 2]) if call.operation in ("add", "take") else random.choice([0, 1, 2]))
    return history


def oracle(history: History, model: Model[State]) -> bool:
    """Whether the history is linearizable, found by trying every order of every choice of calls."""
    starts = {event.call: place for place, event in enumerate(history.events) if event.moment == "start"}
    ends = {event.call: place for place, event in enumerate(history.events) if event.moment == "end"}
    returned = [call for call in history.calls if call.ending == "returned"]
    unknown = [call for call in history.calls if call.ending == "unknown"]
    return any(
        _explains(model, order)
        for chosen in _choices(unknown)
        for order in itertools.permutations([*returned, *chosen])
        if all(
            early.ending == "unknown" or starts[late] < ends[early]
            for place, late in enumerate(order)
            for early in order[place + 1 :]
        )
    )


def _choices(calls: Sequence[Call]) -> Iterator[tuple[Call, ...]]:
    return itertools.chain.from_iterable(itertools.combinations(calls, many) for many in range(len(calls) + 1))


def _explains(model: Model[State], order: Sequence[Call]) -> bool:
    states: dict[Hashable, State] = {}
    for call in order:
        key = model.key(call.operation, call.argument)
        result = call.result if call.ending == "returned" else UNSEEN
        state = model.step(states.get(key, model.initial()), call.operation, call.argument, result)
        if state is None:
            return False
        states[key] = state
    return True
