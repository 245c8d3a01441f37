"""What clients and workers of a simulated zone wrote down, and what of it breaks a promise.

Everybody writes into one `History`, in the order in which things happen. `violations` reads it when all is over: each
line names the promise, by its number, and the message.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from autonomy import DeadLetter

SLACK = 0.05
"""Seconds that something may be late, as tasks take turns."""
WINDOW = 15.0
"""Seconds after which a far node has heard what it was told, or is down."""
NOTICED = 45.0
"""Seconds within which a watch tells of an end: ten of silence, and many more as one outage follows the other."""


@dataclass
class Sent:
    """One message on its way from one sender to one worker; a message that is forwarded is another one.

    Attributes:
        kind: ``"message"``, ``"timer"``, ``"request"``, ``"conversation"``.
        outcome: ``""`` while it is under way, ``"sent"``, ``"answered"``, ``"cancelled"``, or that of the error.
        limit: Seconds that the call may take.
        comes_back: Whether it is to a worker that waits for this very request.
    """

    number: int
    kind: str
    sender: str
    host: str
    start: int
    to: str
    begun: float
    limit: float = math.inf
    ended: float = math.inf
    outcome: str = ""
    error: str = ""
    answers: list[str] = field(default_factory=list)
    comes_back: bool = False

    def __str__(self) -> str:
        what = f"{self.kind} {self.number} of {self.sender} to {self.to}"
        return f"{what}, {self.begun:.3f} to {self.ended:.3f}: {self.outcome} {self.error}"


@dataclass
class Handled:
    """A message in a worker's hands."""

    number: int
    worker: str
    life: int
    host: str
    start: int
    begun: float
    sender: str


@dataclass
class Watched:
    """A look-out for the end of a worker."""

    worker: str
    begun: float
    ended: float = math.inf
    fired: float = math.inf
    reason: str = ""


class History:
    """Everything that happened in one run, as those saw it who took part."""

    def __init__(self) -> None:
        self.sent: list[Sent] = []
        self.handled: list[Handled] = []
        self.watched: list[Watched] = []
        self.letters: list[tuple[str, DeadLetter]] = []
        self.deaths: dict[str, list[float]] = defaultdict(list)
        self.starts: dict[tuple[str, int], float] = {}
        self.absences: dict[str, list[list[float]]] = defaultdict(list)
        """For each worker that is stopped and started again, from when to when it was away, more or less."""
        self.stopped: dict[tuple[str, int], float] = {}
        """Workers that are stopped at this moment, by the start of their node, and since when."""
        self.seen: list[str] = []
        """Violations that were seen while they happened."""
        self.cut_off: list[int] = []
        """Messages whose handlers were cancelled."""
        self.busy: dict[tuple[str, int], int] = {}
        self._last = 0

    def number(self) -> int:
        """Return the number of a new message."""
        self._last += 1
        return self._last


def violations(history: History) -> list[str]:
    """Return the promises that were broken."""
    checks = (
        _once, _not_lost, _ordered, _in_time, _outcomes, _answers, _incarnations, _watches, _circles, _senders,
        _withdrawn, _patient, _cut_off,
    )  # fmt: skip
    return history.seen + [line for check in checks for line in check(history)]


def violations_of_short_outages(history: History) -> list[str]:
    """Return what is wrong where all nodes live on and no outage is longer than the window: nobody notices (D2)."""
    counted = Counter((handled.number, handled.worker) for handled in history.handled)
    missed = [sent for sent in history.sent if _is_missed(sent, counted)]
    wrong = [f"D2 handled {counted[sent.number, sent.to]} times: {sent}" for sent in missed]
    wrong += [f"D2 failed: {sent}" for sent in history.sent if _is_cut_off(sent)]
    wrong += [f"Q6 not told that no reply will come: {sent}" for sent in history.sent if _waits_in_vain(sent)]
    wrong += [f"D2 a dead letter on {node}: {letter}" for node, letter in history.letters]
    return wrong + [f"D2 a watch fired: {watch}" for watch in history.watched if watch.reason]


def _is_missed(sent: Sent, counted: Counter[tuple[int, str]]) -> bool:
    if sent.kind == "request" and sent.outcome == "sent":  # handed on, perhaps too late
        return False
    return sent.outcome in ("sent", "answered") and counted[sent.number, sent.to] != 1


def _is_cut_off(sent: Sent) -> bool:
    return sent.limit >= 30.0 and sent.error in ("NodeDown", "Unreachable")


def _waits_in_vain(sent: Sent) -> bool:
    """Whether a request to a worker that never replies had all its time, and was not told by that worker's node."""
    if sent.kind != "request" or sent.limit < 30.0 or not sent.to.startswith("forgets@"):
        return False
    return sent.outcome not in ("", "cancelled") and sent.error not in ("WorkerFailed", "MailboxFull")


def violations_of_deaths(history: History, noticed: float) -> list[str]:
    """Return who waited for a node that died for more than so many seconds: nothing else was broken (K2)."""
    return [
        f"K2 {death:.3f} was the end of its node: {sent}"
        for sent in history.sent
        for death in history.deaths[sent.to.partition("@")[2]]
        if sent.begun <= death and sent.outcome and death + noticed < sent.ended
    ]


def number_of(text: str) -> int:
    """Return the number of a message."""
    return int(text.partition("|")[0].partition("#")[0])


def _once(history: History) -> Iterator[str]:
    counted = Counter((handled.number, handled.worker) for handled in history.handled)
    for (number, worker), times in counted.items():
        if times > 1:
            yield f"D1 message {number} was handled {times} times by {worker}"


def _not_lost(history: History) -> Iterator[str]:
    handled = {(each.number, each.worker) for each in history.handled}
    reported = {number_of(letter.message) for _, letter in history.letters}
    for node, letter in history.letters:
        if "#" in letter.message:
            yield f"Q2 a reply is a dead letter on {node}: {letter}"
    for sent in history.sent:
        if sent.kind != "message" or sent.outcome != "sent":
            continue
        host = sent.to.partition("@")[2]
        died = any(death >= sent.begun for death in history.deaths[sent.host] + history.deaths[host])
        if (sent.number, sent.to) not in handled and sent.number not in reported and not died:
            yield f"D3 lost in silence: {sent}"


def _ordered(history: History) -> Iterator[str]:
    places = {(sent.number, sent.to): (place, sent) for place, sent in enumerate(history.sent)}
    last: dict[tuple[str, str, int], int] = {}
    for handled in history.handled:
        place, sent = places.get((handled.number, handled.worker), (0, None))
        if sent is None:
            yield f"D1 message {handled.number} was handled by {handled.worker}, and nobody sent it there"
        elif sent.kind != "timer":
            sender = sent.sender, handled.worker, handled.life
            if last.get(sender, -1) > place:
                yield f"D4 handled after a later one, {history.sent[last[sender]]}: {sent}"
            last[sender] = place


def _in_time(history: History) -> Iterator[str]:
    for sent in history.sent:
        if sent.ended < math.inf and sent.ended - sent.begun > sent.limit + SLACK:
            yield f"Q3 later than its {sent.limit:g} s: {sent}"


def _outcomes(history: History) -> Iterator[str]:
    handled = {(each.number, each.worker): each.begun for each in reversed(history.handled)}
    for sent in history.sent:
        begun = handled.get((sent.number, sent.to), math.inf)
        if sent.outcome == "not_sent" and begun < math.inf:
            yield f"Q3 said to be not sent, and handled at {begun:.3f}: {sent}"
        if sent.outcome == "cancelled" and sent.kind == "message" and begun < math.inf:
            yield f"Q8 cancelled, and handled at {begun:.3f}: {sent}"
        if sent.outcome in ("handled", "answered") and begun > sent.ended:
            yield f"Q3 said to be handled, and was not by then: {sent}"


def _answers(history: History) -> Iterator[str]:
    for sent in history.sent:
        right = [f"{sent.number}#{count}" for count in range(len(sent.answers))]
        if sent.answers != right:
            yield f"Q2 wrong answers {sent.answers}: {sent}"


def _incarnations(history: History) -> Iterator[str]:
    by_number = {(sent.number, sent.to): sent for sent in history.sent}
    newest: dict[tuple[str, int, str], int] = {}
    for handled in history.handled:
        sent = by_number.get((handled.number, handled.worker))
        if sent is None:
            continue
        if sent.kind == "message" and sent.ended < history.starts[handled.host, handled.start]:
            yield f"K3 sent to an older incarnation of {handled.host}, and handled at {handled.begun:.3f}: {sent}"
        key = handled.worker, handled.life, sent.host
        if sent.start < newest.get(key, 0):
            yield f"K3 of an older incarnation of {sent.host}, after something newer: {sent}"
        newest[key] = max(newest.get(key, 0), sent.start)


def _watches(history: History) -> Iterator[str]:
    for watch in history.watched:
        host = watch.worker.partition("@")[2]
        absences = history.absences[watch.worker]
        ends = [began for began, _ in absences] + history.deaths[host]
        due = min((end for end in ends if end >= watch.begun), default=math.inf) + NOTICED
        # Of one that nobody stops, the watch may have come to its next life, if there was no link before.
        if absences and due < min(watch.ended, watch.fired):
            yield f"L6 not told by {due:.3f}: {watch}"
        away = any(began <= watch.fired and watch.begun <= over for began, over in absences)
        is_of_node = watch.reason.startswith("node ")
        if watch.reason and not is_of_node and not away and not history.deaths[host]:
            yield f"L6 told of an end that was none: {watch}"


def _circles(history: History) -> Iterator[str]:
    for sent in history.sent:
        if sent.comes_back and sent.outcome and (sent.error != "CallCycle" or sent.ended > sent.begun + SLACK):
            yield f"Q7 not told at once that it comes back: {sent}"
        if sent.error == "CallCycle" and not sent.comes_back:
            yield f"Q7 said to come back: {sent}"


def _senders(history: History) -> Iterator[str]:
    by_number = {(sent.number, sent.to): sent for sent in history.sent}
    for handled in history.handled:
        sent = by_number.get((handled.number, handled.worker))
        if sent is None:
            continue
        name, _, host = sent.sender.partition(" ")[0].partition("@")
        said, _, at = handled.sender.partition("@")
        if sent.kind == "conversation":
            is_right = said.startswith("mailbox-") or said == name  # the latter handed it on
        else:
            is_right = said == ("" if name.startswith(("client-", "grace")) else name)
        if at != host or not is_right:
            yield f"K5 {handled.sender} is said to have sent it: {sent}"


def _withdrawn(history: History) -> Iterator[str]:
    """What was handed on goes on by itself: of that, nobody here knows."""
    by_number = {(sent.number, sent.to): sent for sent in history.sent if sent.kind == "request"}
    for handled in history.handled:
        sent = by_number.get((handled.number, handled.worker))
        if sent is not None and sent.outcome != "sent" and handled.begun > sent.ended + WINDOW:
            yield f"Q8 handled at {handled.begun:.3f}, long after anybody waited for it: {sent}"


def _patient(history: History) -> Iterator[str]:
    for sent in history.sent:
        limit = min(sent.limit, 30.0)
        is_full, name = sent.error == "MailboxFull", sent.sender.partition(" ")[0]
        if is_full and name != sent.to and sent.ended < sent.begun + limit - SLACK:
            yield f"B1 there was time to wait for a place: {sent}"


def _cut_off(history: History) -> Iterator[str]:
    cut_off = set(history.cut_off)
    for sent in history.sent:
        if sent.number in cut_off and sent.kind == "request" and sent.error == "WorkerFailed":
            yield f"L5 its handler was cancelled, and is said to have failed: {sent}"
