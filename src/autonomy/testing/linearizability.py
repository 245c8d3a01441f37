"""Whether a history could have been made by one thing that handles one call after another: `check_linearizable`.

Herlihy and Wing (Linearizability: a correctness condition for concurrent objects, 1990) call a history linearizable if
each call can be thought to happen at one instant between its start and its end, such that the results are those of a
sequential specification, here a `Model` of `models.py`. No I/O, no clock, no chance; `verdicts.py` puts what is found
into words.

The search is that of Wing and Gong (Testing and verifying concurrent objects, 1993): try every call that could be
next. With it goes what makes it bearable, most of it from Lowe (Testing for linearizability, 2017):

- what was tried is remembered as (calls done, state), and not tried twice;
- calls take their place just in time: only when one returns must it have happened, and perhaps others before it;
- parts of the history that have nothing to do with each other, such as the keys of a map, are judged alone
  (Herlihy and Wing, theorem 1).

Three rules more prune what cannot help. A call that only reads happens as soon as it may. Of calls that are alike the
one that returns first goes first. And fewer is better: a place that was reached with more reads behind it, or fewer
calls of unknown outcome used up, makes one with the same state superfluous. None of this holds for calls that merely
happen to change nothing: a write of the value that is there may be needed later.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from .history import UNSEEN, Call, Event, History
from .models import Model
from .verdicts import Failure, Verdict, linearizable, not_linearizable, undecided

State = TypeVar("State", bound=Hashable)

FEW = 60
"""Contradictions between more calls than that are not told: nobody would read them."""


def check_linearizable(history: History, model: Model[State], *, budget: int = 1_000_000) -> Verdict:
    """Say whether `history` is linearizable by `model`, and if it is not, why.

    It can afford thousands of calls, of five clients or so that call at once; or hundreds, of ten. A history that is
    not linearizable costs far more than one that is, and so does each call of unknown outcome. The page on testing has
    figures.

    Calls that never happened are left out. Those of unknown outcome may have happened at any time after their start, or
    not at all.

    Args:
        history: What clients saw. Calls that go on are of unknown outcome so far.
        model: `Register`, `KeyedRegister`, `Set`, `Queue`, `Counter`, or one of your own.
        budget: How often `model.step` may be called, or work like it done, before the verdict is "undecided"; a million
            takes some seconds. If the history fails, half of it more may go to finding which calls contradict each
            other.

    Raises:
        TypeError: The model returned a state that cannot be hashed, or an initial state that is None.
        ValueError: The model does not know an operation.
    """
    parts = _parts(history, model)
    failures: list[tuple[Hashable, Sequence[Event], _Search[State]]] = []
    steps = 0
    gave_up = False
    for number, (key, events) in enumerate(parts.items()):
        search = _Search(model, events, budget=(budget - steps) // (len(parts) - number))
        result = search.run()
        steps += search.steps
        if result == "undecided":
            gave_up = True
        elif result == "failed":
            failures.append((key, *_shortest(model, events, search)))
    if failures:
        ends = _times(history.events, "end")
        key, beginning, search = min(failures, key=lambda failure: ends[failure[1][-1].call])
        failure = _explain(model, key, beginning, search, budget=budget // 2)
        return not_linearizable(model, history, failure, steps=steps)
    if gave_up:
        return undecided(model, history, steps=steps)
    return linearizable(steps=steps)


def _parts(history: History, model: Model[State]) -> dict[Hashable, list[Event]]:
    """Part the history by the model's keys, without the calls that never happened."""
    parts: dict[Hashable, list[Event]] = {}
    for event in history.events:
        if event.call.ending != "never happened":
            key = model.key(event.call.operation, event.call.argument)
            parts.setdefault(key, []).append(event)
    return parts


@dataclass(frozen=True, slots=True)
class _Option:
    """A call that may happen now.

    Attributes:
        bit: Marks it in a debt.
        is_owed: Whether it returned, hence must have happened. The others may be left out.
        is_read: Whether it returned, and changes nothing in any state.
        likeness: The same number for calls that do and tell the same.
    """

    call: Call
    bit: int
    is_owed: bool
    is_read: bool
    likeness: int
    result: object


@dataclass(frozen=True, slots=True)
class _Return:
    """A moment by which a call must have happened.

    Attributes:
        option: That call.
        options: All calls that have started and not returned before, those that return first in front.
        fresh: The bits of those that must happen and started since the return before.
        strict: The bits of those that must happen and do not only read.
    """

    option: _Option
    options: tuple[_Option, ...]
    fresh: int
    strict: int


def _returns(model: Model[State], events: Sequence[Event], weakened: Collection[Call] = ()) -> list[_Return]:
    """Return the moments of a history. Of `weakened` calls it is ignored that they returned, and what."""
    ends = {event.call: place for place, event in enumerate(events) if event.moment == "end"}
    likenesses: dict[Hashable, int] = {}
    returns: list[_Return] = []
    owed: dict[Call, _Option] = {}
    loose: list[_Option] = []
    free: list[int] = []
    fresh = used = 0
    for event in events:
        call = event.call
        is_owed = call in ends and call.ending == "returned" and call not in weakened
        if event.moment == "end":
            if is_owed:
                in_order = sorted(owed.values(), key=lambda option: ends[option.call])
                strict = sum(option.bit for option in in_order if not option.is_read)
                returns.append(_Return(owed[call], (*in_order, *loose), fresh, strict))
                free.append(owed.pop(call).bit)
                fresh = 0
            continue
        if not free:
            free.append(1 << used)
            used += 1
        likeness = _likeness(call, likenesses, is_owed=is_owed)
        is_read = is_owed and model.is_read(call.operation, call.result)
        option = _Option(call, free.pop(), is_owed, is_read, likeness, call.result if is_owed else UNSEEN)
        if is_owed:
            owed[call] = option
            fresh |= option.bit
        else:
            loose.append(option)
    return returns


def _likeness(call: Call, known: dict[Hashable, int], *, is_owed: bool) -> int:
    alike = (call.operation, call.argument, is_owed, call.result if is_owed else None)
    try:
        return known.setdefault(alike, len(known))
    except TypeError:  # an argument or a result that cannot be hashed: like no other
        return known.setdefault(call, len(known))


_Path = tuple["_Path", Call] | None
"""Calls in order, the last one outside."""


@dataclass(frozen=True, slots=True)
class _Place(Generic[State]):
    """Where a search can be: a way through the first `passed` returns, and perhaps some calls more.

    Attributes:
        debt: Bits of the calls that must happen, have started and have not happened; and of those that need not happen
            and did.
    """

    passed: int
    state: State
    debt: int
    path: _Path
    length: int


class _OutOfBudget(Exception):
    """The search takes too long."""


class _Search(Generic[State]):
    """Looks for one order of calls that explains a history. It holds all that it tried, for the explanation."""

    def __init__(
        self, model: Model[State], events: Sequence[Event], *, budget: int, weakened: Collection[Call] = ()
    ) -> None:
        self.model = model
        self.returns = _returns(model, events, weakened)
        self.budget = budget
        self.steps = sum(len(entry.options) for entry in self.returns) >> 6  # about what it took to list them
        self.tried: list[dict[tuple[State, int], list[int]]] = [{} for _ in self.returns]
        self.best: _Place[State] | None = None

    def run(self) -> str:
        """Return "found", "failed" or "undecided"."""
        initial = self.model.initial()
        if initial is None:
            raise TypeError(f"the initial state of {self.model!r} is None, which means impossible; wrap it in a tuple")
        if not self.returns:
            return "found"
        try:
            return "found" if self._explains(_Place(0, initial, self.returns[0].fresh, None, 0)) else "failed"
        except _OutOfBudget:
            return "undecided"

    def stuck_at(self) -> _Return:
        """Return the first return that no order explains, if the search failed."""
        assert self.best is not None  # it arrived at least at the first return
        return self.returns[self.best.passed]

    def _explains(self, start: _Place[State]) -> bool:
        """Go through the returns depth first, with a stack of its own, for there may be thousands."""
        first = self._settle(start)
        ways = [iter([first] if first else [])]
        while ways:
            place = next(ways[-1], None)
            if place is None:
                ways.pop()
            elif place.passed == len(self.returns):
                return True
            else:
                ways.append(self._pass_return(place))
        return False

    def _pass_return(self, start: _Place[State]) -> Iterator[_Place[State]]:
        """Yield the places behind the next return that can be reached from `start`, those with few calls first."""
        due = self.returns[start.passed]
        if not start.debt & due.option.bit:
            if arrived := self._arrive(start):
                yield arrived
            return
        places = deque([start])
        while places:
            for place in self._next_places(places.popleft(), due.options):
                if place.debt & due.option.bit:
                    places.append(place)
                elif arrived := self._arrive(place):
                    yield arrived

    def _next_places(self, place: _Place[State], options: Sequence[_Option]) -> Iterator[_Place[State]]:
        """Yield the places that are one call further, unless something at least as good was tried."""
        alike: set[int] = set()
        self.steps += len(options) >> 3  # looking at many costs about as much as some steps
        for option in options:
            is_done = bool(place.debt & option.bit) != option.is_owed
            if is_done or option.likeness in alike:
                continue
            alike.add(option.likeness)
            state = self._step(place.state, option)
            if state is None or (state == place.state and not option.is_owed):
                continue
            path = (place.path, option.call)
            further = _Place(place.passed, state, place.debt ^ option.bit, path, place.length + 1)
            if settled := self._settle(further):
                yield settled

    def _arrive(self, place: _Place[State]) -> _Place[State] | None:
        """Pass the next return, whose call has happened, and come to the one after: what has started is owed."""
        passed = place.passed + 1
        if passed < len(self.returns):
            debt = place.debt | self.returns[passed].fresh
            return self._settle(_Place(passed, place.state, debt, place.path, place.length))
        self.best = _Place(passed, place.state, place.debt, place.path, place.length)
        return self.best

    def _settle(self, place: _Place[State]) -> _Place[State] | None:
        """Let happen what only reads; return None if something at least as good was tried."""
        state, debt, path, length = place.state, place.debt, place.path, place.length
        due = self.returns[place.passed]
        for option in due.options:
            if option.is_read and debt & option.bit and self._step(state, option) is not None:
                debt ^= option.bit
                path = (path, option.call)
                length += 1
        try:
            debts = self.tried[place.passed].setdefault((state, debt & due.strict), [])
        except TypeError as error:
            raise TypeError(f"{self.model!r} returned a state that cannot be hashed: {state!r:.80}") from error
        self.steps += len(debts) >> 3
        if any(known & debt == known for known in debts):
            return None
        debts[:] = [known for known in debts if known & debt != debt]
        debts.append(debt)
        settled = _Place(place.passed, state, debt, path, length)
        if self.best is None or (settled.passed, length) > (self.best.passed, self.best.length):
            self.best = settled
        return settled

    def _step(self, state: State, option: _Option) -> State | None:
        self.steps += 1
        if self.steps > self.budget:
            raise _OutOfBudget
        return self.model.step(state, option.call.operation, option.call.argument, option.result)


def _shortest(
    model: Model[State], events: Sequence[Event], search: _Search[State]
) -> tuple[Sequence[Event], _Search[State]]:
    """Return the shortest beginning of a history that fails, and the search that failed with it.

    It is no shorter than where the search was stuck, but perhaps longer: the search knows what calls will come back
    with that go on there. When all of those are back, nothing is missing. In between, what fails goes on failing.
    """
    ends = _times(events, "end")
    owed = [ends[option.call] for option in search.stuck_at().options if option.is_owed]
    candidates = sorted(ends[entry.option.call] for entry in search.returns if ends[entry.option.call] <= max(owed))
    low, high = candidates.index(min(owed)), len(candidates) - 1
    found = search
    while low < high:
        middle = (low + high) // 2
        shorter = _Search(model, events[: candidates[middle] + 1], budget=2 * search.steps + 1000)
        if shorter.run() == "failed":
            found, high = shorter, middle
        else:
            low = middle + 1
    return events[: candidates[high] + 1], found


def _explain(
    model: Model[State], key: Hashable, events: Sequence[Event], search: _Search[State], *, budget: int
) -> Failure:
    """Say what a search that failed has found out, and look for the calls that contradict each other."""
    best = search.best
    assert best is not None
    states = (model.describe(state) for state, _ in search.tried[best.passed])
    return Failure(
        key=key,
        last=events[-1].call,
        stuck=search.stuck_at().option.call,
        prefix=tuple(event.call for event in events if event.moment == "start"),
        conflict=tuple(_conflict(model, events, budget=budget)),
        longest=tuple(_calls(best.path)),
        states=tuple(dict.fromkeys(states)),
    )


def _calls(path: _Path) -> list[Call]:
    calls = []
    while path is not None:
        path, call = path
        calls.append(call)
    return calls[::-1]


def _conflict(model: Model[State], events: Sequence[Event], *, budget: int) -> Sequence[Call]:
    """Return the fewest calls that cannot all be true, whatever is thought of when the others ended and with what.

    Fewest in that none of them can be spared, unless the budget is used up before that is known; none if it is used up
    before anything is, or if they are still too many. It begins with the call that returned last and adds what its
    explanations get wrong, rather than leave out one call after another: a search in which almost nothing must happen
    is short.
    """
    returned = [entry.option.call for entry in _returns(model, events)]
    conflict = [returned.pop()]
    while True:
        search = _Search(model, events, budget=budget, weakened=set(returned))
        result = search.run()
        budget -= search.steps
        if result == "failed":
            break
        if result == "undecided" or not returned:
            return ()
        for call in _suspects(search, events, set(returned), many=len(conflict) // 2 + 1):
            returned.remove(call)
            conflict.append(call)
    conflict = _without_the_superfluous(model, events, conflict, set(returned), budget=budget)
    return _in_order(conflict, events) if len(conflict) <= FEW else ()


def _suspects(search: _Search[State], events: Sequence[Event], weakened: set[Call], *, many: int) -> list[Call]:
    """Return the calls that an explanation has later than they can have been; if there are none, the last to return."""
    starts, ends = _times(events, "start"), _times(events, "end")
    late = []
    latest = -1  # of the starts of all calls that were before
    for call in _calls(search.best.path if search.best else None):
        if call in weakened and ends[call] < latest:
            late.append(call)
        latest = max(latest, starts[call])
    return late[:many] or sorted(weakened, key=ends.__getitem__)[-many:]


def _without_the_superfluous(
    model: Model[State], events: Sequence[Event], conflict: list[Call], weakened: set[Call], *, budget: int
) -> list[Call]:
    """Leave out calls as long as the others contradict each other, many at a time first."""
    size = len(conflict)
    while size > 1:
        size = (size + 1) // 2
        for start in range(0, len(conflict), size):
            trial = weakened.union(conflict[start : start + size])
            search = _Search(model, events, budget=budget, weakened=trial)
            if search.run() == "failed":
                weakened = trial
            budget -= search.steps
        conflict = [call for call in conflict if call not in weakened]
        size = min(size, len(conflict))
    return conflict


def _in_order(calls: Collection[Call], events: Sequence[Event]) -> list[Call]:
    return sorted(calls, key=_times(events, "start").__getitem__)


def _times(events: Sequence[Event], moment: str) -> dict[Call, int]:
    return {event.call: place for place, event in enumerate(events) if event.moment == moment}
