"""Whether a run kept simple promises, judged by a journal: what was sent, handled, reported and answered, in order.

A journal is a sequence of the records below; what precedes what is its order, for in virtual time much happens at one
instant, and times are for people. Messages are told apart by their text, so a workload numbers them. Each checker reads
the records it understands, takes time in proportion to the journal, and returns what is wrong, in order; nothing if the
promise was kept: ``assert check_order(journal) == []``. No I/O, no clock, no chance.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sent:
    """A message was accepted for sending, or perhaps was: its sender has it behind it, however the call ended.

    Attributes:
        sender: Who sent it: ``"worker@node"``, or any other name.
        worker: Full address of whom it is for.
    """

    time: float
    message: str
    sender: str
    worker: str


@dataclass(frozen=True, slots=True)
class Began:
    """A handler was given the message.

    Attributes:
        life: Tells the starts of a worker apart; what a life began and did not end when its node lost power is over.
    """

    time: float
    message: str
    worker: str
    life: str = ""


@dataclass(frozen=True, slots=True)
class Ended:
    """That handler returned or raised."""

    time: float
    message: str
    worker: str
    life: str = ""


@dataclass(frozen=True, slots=True)
class Reported:
    """The sender's side was told that the message was not handled, or perhaps not: by a dead letter or an error."""

    time: float
    message: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Answered:
    """The sender got a reply to its message."""

    time: float
    message: str
    reply: str


@dataclass(frozen=True, slots=True)
class Died:
    """A sender is gone: `who` is its name, or the name of its node."""

    time: float
    who: str


Record = Sent | Began | Ended | Reported | Answered | Died
"""One line of a journal."""


@dataclass(frozen=True, slots=True)
class Violation:
    """A promise that was not kept.

    Attributes:
        text: What happened, for people.
        records: The lines of the journal that show it.
    """

    text: str
    records: tuple[Record, ...] = ()

    def __str__(self) -> str:
        return self.text


def check_order(journal: Iterable[Record]) -> list[Violation]:
    """What a worker handled from one sender is the beginning of what that sender sent it, in that order.

    Messages that were reported may be missing; those that were not may not, if a later one was handled. A message that
    is handled again is left to `check_no_duplicates`.
    """
    journal = list(journal)
    reported = {record.message for record in journal if isinstance(record, Reported)}
    handled = _first_handled(journal)
    pairs: defaultdict[tuple[str, str], list[Sent]] = defaultdict(list)
    for sent in _sent(journal).values():
        pairs[sent.sender, sent.worker].append(sent)
    return [found for sents in pairs.values() for found in _disorder(sents, handled, reported)]


def _disorder(sents: list[Sent], handled: dict[str, tuple[int, Began]], reported: set[str]) -> list[Violation]:
    """Go through what one sender sent one worker, from the last message back to the first."""
    found: list[Violation] = []
    later: tuple[int, Began] | None = None  # of the messages sent after this one, the one that was handled first
    for sent in reversed(sents):
        entry = handled.get(sent.message)
        if entry is None:
            if later and sent.message not in reported:
                text = f"{later[1].message!r}, sent later, was handled, and {sent.message!r} was skipped: {_way(sent)}"
                found.append(Violation(text, (sent, later[1])))
            continue
        if later and later[0] < entry[0]:
            text = (
                f"{later[1].message!r} was handled at {later[1].time:.3f} s, before {sent.message!r} at "
                f"{entry[1].time:.3f} s, which was sent first: {_way(sent)}"
            )
            found.append(Violation(text, (sent, later[1], entry[1])))
        else:
            later = entry
    return found[::-1]


def check_no_duplicates(journal: Iterable[Record]) -> list[Violation]:
    """No message is handled twice, and none that nobody sent."""
    journal = list(journal)
    sent = _sent(journal)
    handled: defaultdict[str, list[Began]] = defaultdict(list)
    for record in journal:
        if isinstance(record, Began):
            handled[record.message].append(record)
    found = []
    for message, begun in handled.items():
        times = ", ".join(f"at {began.time:.3f} s by {began.worker}" for began in begun)
        if message not in sent:
            found.append(Violation(f"{message!r} was handled {times}, and nobody sent it", tuple(begun)))
        elif len(begun) > 1:
            text = f"{message!r} was handled {len(begun)} times: {times}; {_way(sent[message])}"
            found.append(Violation(text, (sent[message], *begun)))
    return found


def check_no_silent_loss(journal: Iterable[Record]) -> list[Violation]:
    """Every message was handled, or reported, or its sender died after sending it.

    Use it when the zone has come to rest: what is still on its way counts as lost.
    """
    journal = list(journal)
    told = {record.message for record in journal if isinstance(record, Began | Reported | Answered)}
    death = {record.who: place for place, record in enumerate(journal) if isinstance(record, Died)}
    found = []
    for place, record in enumerate(journal):
        if not isinstance(record, Sent) or record.message in told:
            continue
        if max(death.get(record.sender, -1), death.get(_node(record.sender), -1)) > place:
            continue
        text = f"{record.message!r} was lost in silence: {_way(record)}, neither handled nor reported"
        found.append(Violation(text, (record,)))
    return found


def check_one_at_a_time(journal: Iterable[Record]) -> list[Violation]:
    """No life of a worker begins a message while it handles another one, and no message ends that it did not begin."""
    busy: dict[tuple[str, str], Began] = {}
    found = []
    for record in journal:
        if isinstance(record, Began):
            before = busy.get((record.worker, record.life))
            if before is not None:
                text = (
                    f"{record.worker} began {record.message!r} at {record.time:.3f} s, while it handled "
                    f"{before.message!r}, begun at {before.time:.3f} s"
                )
                found.append(Violation(text, (before, record)))
            busy[record.worker, record.life] = record
        elif isinstance(record, Ended):
            begun = busy.pop((record.worker, record.life), None)
            if begun is None or begun.message != record.message:
                text = f"{record.worker} ended {record.message!r} at {record.time:.3f} s, which it was not handling"
                found.append(Violation(text, (begun, record) if begun else (record,)))
    return found


def check_replies_match(journal: Iterable[Record], expected: Callable[[str], str]) -> list[Violation]:
    """Every reply is the one to its own message, and comes once, after the message was handled.

    Args:
        journal: The records.
        expected: Returns the right reply to a message; let replies name their message, so that no two are equal.
    """
    found = []
    sent: set[str] = set()
    begun: set[str] = set()
    answers: dict[str, Answered] = {}
    for record in journal:
        if isinstance(record, Sent):
            sent.add(record.message)
        elif isinstance(record, Began):
            begun.add(record.message)
        elif isinstance(record, Answered):
            problem = _wrong_answer(record, expected(record.message), sent, begun, answers)
            if problem:
                found.append(Violation(f"{record.message!r} {problem}, at {record.time:.3f} s", (record,)))
            answers[record.message] = record
    return found


def _wrong_answer(
    answer: Answered, right: str, sent: set[str], begun: set[str], answers: dict[str, Answered]
) -> str | None:
    if answer.message not in sent:
        return "got a reply, and nobody sent it"
    if answer.message in answers:
        return f"got a second reply: first {answers[answer.message].reply!r}, then {answer.reply!r}"
    if answer.reply != right:
        return f"got the reply {answer.reply!r} instead of {right!r}"
    if answer.message not in begun:
        return "got a reply before any handler began it"
    return None


def check_sequential_counter(journal: Iterable[Record], *, start: int = 0) -> list[Violation]:
    """A counter that replies with its new value to every message counts each of them once, and forgets nothing.

    For one worker whose every message adds 1: replies are numbers, no two are equal, none is higher than the messages
    sent so far allow, and one to a message that was sent after another reply had come is higher than that reply.
    Messages without a reply may have counted or not. Sharper, and dearer: `check_linearizable` with `Counter`.

    Args:
        journal: The records of that worker alone.
        start: The counter's first value.

    Raises:
        ValueError: A reply is no number.
    """
    found = []
    highest: Answered | None = None
    floors: dict[str, Answered | None] = {}
    owners: dict[int, Answered] = {}
    for record in journal:
        if isinstance(record, Sent):
            floors[record.message] = highest
        if not isinstance(record, Answered):
            continue
        value = int(record.reply)
        floor = floors.get(record.message)
        said = f"{record.message!r} got {value} at {record.time:.3f} s"
        if value in owners:
            other = owners[value]
            found.append(Violation(f"{said}, as {other.message!r} had at {other.time:.3f} s", (other, record)))
        elif not start < value <= start + len(floors):
            text = f"{said}, after {len(floors)} messages had been sent to a counter that began with {start}"
            found.append(Violation(text, (record,)))
        elif floor is not None and value < int(floor.reply):
            text = f"{said}, and was sent after {floor.message!r} had got {floor.reply} at {floor.time:.3f} s"
            found.append(Violation(text, (floor, record)))
        owners.setdefault(value, record)
        if highest is None or value > int(highest.reply):
            highest = record
    return found


def _sent(journal: Iterable[Record]) -> dict[str, Sent]:
    sent: dict[str, Sent] = {}
    for record in journal:
        if isinstance(record, Sent) and sent.setdefault(record.message, record) is not record:
            raise ValueError(
                f"the journal has {record.message!r} sent twice, by {sent[record.message].sender} and {record.sender}. "
                "Messages are told apart by their text: number them"
            )
    return sent


def _first_handled(journal: Iterable[Record]) -> dict[str, tuple[int, Began]]:
    """Return where in the journal each message was handled first, and its record."""
    handled: dict[str, tuple[int, Began]] = {}
    for place, record in enumerate(journal):
        if isinstance(record, Began):
            handled.setdefault(record.message, (place, record))
    return handled


def _node(sender: str) -> str:
    return sender.rpartition("@")[2]


def _way(sent: Sent) -> str:
    return f"sent at {sent.time:.3f} s from {sent.sender} to {sent.worker}"
