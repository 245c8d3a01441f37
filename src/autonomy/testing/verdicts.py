"""What was found out about a history, in words for a tired person: `Verdict`.

Only words; `linearizability.py` finds out.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

from .history import Call, History

Answer = Literal["linearizable", "not linearizable", "undecided"]

SHOWN = 12


@dataclass(frozen=True, slots=True)
class Verdict:
    """What `check_linearizable` found: ``assert verdict.holds, verdict.text``.

    Attributes:
        answer: "undecided" if the budget was used up first.
        text: The same for people, in some lines if the history is not linearizable.
        steps: Steps of the model that it took.
        key: The part of the history that failed, if the model has keys.
        conflict: A few calls that cannot all be true, in the order of their starts; none if none were found in time.
        prefix: The smallest beginning of the history, of that key, that is not linearizable: all calls that had
            started when one returned without which it could still be explained.
        longest: The longest order of the calls in `prefix` that was found before it goes on no more.
    """

    answer: Answer
    text: str
    steps: int
    key: Hashable = None
    conflict: tuple[Call, ...] = ()
    prefix: tuple[Call, ...] = ()
    longest: tuple[Call, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether the history is linearizable. False if that is undecided."""
        return self.answer == "linearizable"

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Failure:
    """One part of a history that cannot be explained. `last`: the call whose return is too much; `stuck`: the first one
    that no order explains, given what `last` came back with; `states`: those in which the model could be then. The
    others are as in `Verdict`."""

    key: Hashable
    last: Call
    stuck: Call
    prefix: tuple[Call, ...]
    conflict: tuple[Call, ...]
    longest: tuple[Call, ...]
    states: tuple[str, ...]


def linearizable(*, steps: int) -> Verdict:
    """Return the verdict on a good history."""
    return Verdict("linearizable", "linearizable", steps)


def undecided(model: object, history: History, *, steps: int) -> Verdict:
    """Return the verdict on a history that takes too long."""
    calls = [call for call in history.calls if call.ending != "never happened"]
    unknown = sum(call.ending == "unknown" for call in calls)
    text = (
        f"undecided after {steps:,} steps: {len(calls)} calls to {model!r}, {unknown} of them of unknown outcome. "
        "Raise budget=, let fewer clients call at once, or give the model keys."
    )
    return Verdict("undecided", text, steps)


def not_linearizable(model: object, history: History, failure: Failure, *, steps: int) -> Verdict:
    """Return the verdict on a history of which a part failed."""
    text = "\n".join(_lines(model, history, failure))
    return Verdict("not linearizable", text, steps, failure.key, failure.conflict, failure.prefix, failure.longest)


def _lines(model: object, history: History, failure: Failure) -> list[str]:
    where = "" if failure.key is None else f", key {failure.key!r}"
    last, stuck = failure.last, failure.stuck
    lines = [
        f"not linearizable as {model!r}{where}: {_claim(len(failure.conflict))}",
        *_table(failure.conflict or [last], last),
        f"When {stuck.client} got {stuck.result!r}, the state could only be {_some(failure.states)}.",
    ]
    unknown = sum(call.ending == "unknown" for call in failure.prefix)
    if unknown:
        lines.append(f"Calls of unknown outcome ({unknown}) were allowed to have happened at any time, or never.")
    lines.append(
        f"By then {len(failure.prefix)} of {len(history.calls)} calls had started. The longest order that explains "
        f"what was seen before has {len(failure.longest)} of them" + (":" if failure.longest else ".")
    )
    return lines + _table(failure.longest)


def _claim(many: int) -> str:
    return {
        0: "this call contradicts the ones before it, too many to tell which.",
        1: "this call cannot be true.",
    }.get(many, f"these {many} calls cannot all be true.")


def _table(calls: Sequence[Call], last: Call | None = None) -> list[str]:
    """Return a line a call, in columns; the one that is too much is marked."""
    shown = calls[-SHOWN:]
    client = max((len(call.client) for call in shown), default=0)
    what = min(max((len(call.what()) for call in shown), default=0), 60)
    lines = [
        f"  {call.client:{client}}  {call.what():{what}}  {call.when()}" + ("  <- this one" if call is last else "")
        for call in shown
    ]
    if len(calls) > len(shown):
        lines.insert(0, f"  ... {len(calls) - len(shown)} more, then")
    return lines


def _some(states: Sequence[str]) -> str:
    return " or ".join(states[:5]) + (f" or one of {len(states) - 5} others" if len(states) > 5 else "")
