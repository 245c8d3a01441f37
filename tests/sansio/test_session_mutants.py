"""Planted bugs: each is one small edit of the session, and must be seen by the scripts or by the random walks.

`make soak` walks until each one is caught, and prints what caught it. The test run tries the scripts, and a few walks
where these see nothing.
"""
# ruff: noqa: E501  # a line a bug is easier to read

from __future__ import annotations

import importlib.util
import inspect
import itertools
import os
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest

from autonomy._sansio import greeting, session_life
from autonomy._sansio import session as session_module
from autonomy._sansio.session import Session

from . import test_session_beginning, test_session_leaving, test_session_losing, test_session_rules
from .session_world import walk_through

SOAK = bool(os.environ.get("AUTONOMY_SOAK"))
SOURCES = {
    name: Path(str(module.__file__)).read_text()
    for name, module in (("session", session_module), ("session_life", session_life), ("greeting", greeting))
}
SCRIPTS = (test_session_beginning, test_session_losing, test_session_leaving, test_session_rules)
Script = Callable[..., None]
_numbers = itertools.count()


@dataclass(frozen=True)
class Bug:
    """One edit. `walked`: whether walks show it too, which need honest nodes and few restarts to do so."""

    name: str
    old: str
    new: str
    walked: bool = True

    def __str__(self) -> str:
        return self.name

    def session(self) -> type[Session]:
        """Return the session with this bug in it."""
        (file,) = (name for name, source in SOURCES.items() if source.count(self.old) == 1)
        edited = {**SOURCES, file: SOURCES[file].replace(self.old, self.new)}
        number = next(_numbers)
        _load("session_life", number, edited)
        _load("greeting", number, edited)
        broken: type[Session] = _load("session", number, edited).Session
        return broken


def _load(file: str, number: int, edited: dict[str, str]) -> ModuleType:
    """Load a copy that imports the copies of the others."""
    source = re.sub(r"from \.(session_life|greeting) ", rf"from .\1_{number} ", edited[file])
    name = f"autonomy._sansio.{file}_{number}"
    spec = importlib.util.spec_from_loader(name, loader=None)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    exec(compile(source, f"<{name}>", "exec"), module.__dict__)  # so named, it is not measured
    return module


BUGS = [
    # --- resuming
    Bug("nothing is sent again after a resume", "self.sent = expects - 1", "self.sent = max(self.sent, expects - 1)"),
    Bug("sent again from one too far", "self.sent = expects - 1", "self.sent = expects"),
    Bug("sent again from one too early", "self.sent = expects - 1", "self.sent = max(expects - 2, 0)"),
    Bug("an acknowledgement is one off", "while self.base < expects:", "while self.base <= expects and self.queue:"),
    Bug("nothing is ever acknowledged by a handshake", "        self.trim(expects)\n        self.sent", "        self.sent"),
    Bug("a handshake may expect anything", "return self.base <= number <= self.written + 1", "return True", False),
    Bug("a handshake may expect the past", "return self.base <= number <= self", "return number <= self", False),
    Bug("a handshake may expect what was not sent", "number <= self.written + 1", "number <= self.next", False),
    Bug("a gap is passed over", "if data.number > life.expects or", "if", False),
    Bug("what comes twice is delivered twice", "if data.number < life.expects:", "if False:", False),
    Bug("frames of a dropped connection count", "if life is None or life.connection != connection:\n            return []",
        "if life is None or life.connection is None:\n            return []", False),
    Bug("a superseded connection stays open", 'events = self._release("there is a newer connection")', "events = []"),
    Bug("a superseded session keeps its connection", 'events = self._release("there is a newer session")', "events = []"),
    Bug("no tie-break when both resume", "if life.dial is not None and self._me < self._peer:", "if False:"),
    Bug("both give way when both resume", "if life.dial is not None and self._me < self._peer:", "if life.dial is not None:"),
    # --- beginning
    Bug("the acceptor sends before READY", "if life.connection is None or not life.confirmed:\n            return []\n        events",
        "if life.connection is None:\n            return []\n        events"),
    Bug("both accept the other one's dial", "theirs = rival is not None and (rival.dial is None or self._peer < self._me)", "theirs = True"),
    Bug("neither accepts the other one's dial", "(rival.dial is None or self._peer < self._me)", "rival.dial is None"),
    Bug("two that dial in step outbid each other", "if rival is None or rival.dial is None else", "if not tie else"),
    Bug("a TIE teaches a generation", "if reject.code is not RejectCode.TIE and", "if"),
    Bug("a stale HELLO is accepted", "if not (generation > self._generation or (tie and theirs)):", "if tie and not theirs:"),
    Bug("generations are not learned", "            self._generation = reject.generation", "            pass", False),
    Bug("generations leap", "if hello.fresh and session.generation > generation + LEAP:", "if False:", False),
    Bug("a session has the id of the one before", "        self._generation += 1\n", "        self._generation = max(self._generation, 1)\n"),
    Bug("the queue is lost when it moves", "self.queue, self.size = old.queue, old.size", "pass"),
    Bug("the size is lost when the queue moves", "self.queue, self.size = old.queue, old.size", "self.queue = old.queue"),
    Bug("the queue dies and moves", "        elif life is not None:\n            new.take_over(life)", "        if life is not None:\n            life.confirmed, life.written = False, 0\n            new.take_over(life)"),
    Bug("an offer does not get the mail", "        elif life is not None:\n            new.take_over(life)", "        elif life is not None:\n            pass"),
    Bug("a session named by them is not confirmed", "life.confirmed |= life.ours", "pass"),
    Bug("a session named by us is confirmed", "life.confirmed |= life.ours", "life.confirmed = True"),
    Bug("a WELCOME is taken from any connection", "if life is None or life.dial != connection:\n            return self._misplaced(connection, \"WELCOME", "if life is None:\n            return self._misplaced(connection, \"WELCOME", False),
    Bug("a REJECT is taken from any connection", "if life is None or life.dial != connection:\n            return self._misplaced(connection, \"REJECT", "if life is None:\n            return self._misplaced(connection, \"REJECT", False),
    Bug("a second HELLO is taken", "if self._knows(connection):", "if False:", False),
    Bug("READY is not sent", "Transmit(connection, Ready()), *", "*"),
    Bug("any frame will do for READY", "if not isinstance(frame, Ready):", "if False:", False),
    # --- losing
    Bug("what is unacknowledged is not reported", "Down(life.id, reason, *life.rest())", "Down(life.id, reason, [], [])"),
    Bug("what was sent is reported as not sent", "return queue[:written], queue[written:]", "return [], queue"),
    Bug("one too many is reported as not sent", "max(self.written + 1 - self.base, 0)", "max(self.written - self.base, 0)"),
    Bug("a session goes on though they lost it", "events += self._finish(life) if in_order else self._end(\"it has lost the session\")\n                if", "if"),
    Bug("nobody calls who wants something", "                if reject.wants:", "                if False:", False),
    Bug("only mail is a want", "wants=self._life is not None,", "wants=self.unacknowledged > 0,", False),
    Bug("a restart is not noticed", "if life is not None and life.peer is not None and life.peer != hello.incarnation:", "if False:", False),
    Bug("a restart moves what was in doubt", "        if life.confirmed:\n            return self._end(\"it has started anew\")", "        if life.confirmed:\n            life.confirmed, life.written = False, 0"),
    Bug("whoever claims a name gets it", "if life.connection is not None:\n                return self._challenge", "if False:\n                return self._challenge", False),
    Bug("nobody who claims a name gets it", "(self._incumbent_is_lost or now >= self._challenger[2])", "self._incumbent_is_lost", False),
    Bug("a node that came back is not asked there", "probe = [] if self._challenger is None else", "probe = [] if True else", False),
    Bug("any answer is an answer to a claim", "self._challenger is not None and frame.nonce == self._nonce", "self._challenger is not None", False),
    Bug("a claim outlives its connection", "            self._challenger = None\n        if life is not None and life.dial", "            pass\n        if life is not None and life.dial"),
    Bug("a lost dial is never made again", "            life.dial = None\n        if", "            pass\n        if"),
    Bug("a session never ends", "elif life.connection is None and now >= life.heard + self._limits.liveness.down:", "elif False:"),
    # --- leaving
    Bug("CLOSE takes back what was to be sent", "        life.close_sent = True\n", "        life.close_sent = True\n        life.trim(life.next)\n"),
    Bug("a farewell before all is acknowledged", "if life.they_close and not life.queue:", "if life.they_close:"),
    Bug("a farewell without an acknowledgement", "farewell = (Ack(life.tell_acknowledged()), Closed())", "farewell = (Closed(),)", False),
    Bug("an offer is left at once", "if life.ours and not life.confirmed and not life.queue:", "if not life.confirmed and not life.queue:"),
    Bug("CLOSE is not said again after a cut", "self.close_sent = False", "pass"),
    Bug("a closed session is forgotten", "        self._closed = life.id\n", ""),
    Bug("a HELLO does not say what was closed", "hello(life, self._closed)", "hello(life, None)"),
    Bug("CLOSED is taken at any time", "in_order = life.close_sent and not life.queue", "in_order = True", False),
    Bug("what is closed is taken on trust", "in_order = life.closing is not None and reject.code is RejectCode.CLOSED", "in_order = reject.code is RejectCode.CLOSED", False),
    Bug("frames after CLOSE are taken", "data.number > life.expects or life.they_close", "data.number > life.expects", False),
    Bug("CLOSE may come early", "if close.last != life.expects - 1:", "if False:", False),
    # --- acknowledging, and room
    Bug("nothing is acknowledged", "self.ack_due = min(self.ack_due, now if full else now + limits.patience)", "pass"),
    Bug("an acknowledgement is due for ever", "self.acknowledged, self.ack_due = self.expects, math.inf", "self.acknowledged = self.expects"),
    Bug("an acknowledgement is due without a connection", "self.connection, self.ack_due = None, math.inf", "self.connection = None"),
    Bug("what was never sent may be acknowledged", "if expects > life.written + 1:", "if False:", False),
    Bug("the number of messages has no bound", "len(self.queue) < limits.messages and ", ""),
    Bug("the size of messages has no bound", " and self.size + size <= limits.size", ""),
    Bug("sizes add up", "self.size -= len(self.queue.popleft())", "self.queue.popleft()"),
]  # fmt: skip


def scripts() -> Iterator[Script]:
    """Return each directed script, once for each set of its parameters."""
    for name, function in (item for module in SCRIPTS for item in vars(module).items()):
        if name.startswith("test_"):
            cases: list[dict[str, object]] = [{}]
            for mark in getattr(function, "pytestmark", []):
                names = mark.args[0].split(", ") if isinstance(mark.args[0], str) else list(mark.args[0])
                values = [value if len(names) > 1 else (value,) for value in mark.args[1]]
                cases = [{**case, **dict(zip(names, value, strict=True))} for case in cases for value in values]
            assert set(inspect.signature(function).parameters) == {"session", *cases[0]}
            yield from (partial(function, **case) for case in cases)


def caught_by_scripts(session: type[Session]) -> bool:
    return any(_fails(partial(script, session=session)) for script in scripts())


def walks_until_caught(session: type[Session], count: int) -> int | None:
    """Return how many walks of 60 steps it took to see a bug; None if they did not."""
    return next((seed + 1 for seed in range(count) if _fails(walk_through, seed, 60, session)), None)


def _fails(run: Callable[..., object], *arguments: object) -> bool:
    try:
        run(*arguments)
    except Exception:  # noqa: BLE001  # a bug may show in any way
        return True
    return False


def test_a_session_without_a_bug_passes_what_they_are_caught_by() -> None:
    unbroken = Bug("none", "        self._generation += 1\n", "        self._generation += 1\n").session()

    assert not caught_by_scripts(unbroken)
    assert walks_until_caught(unbroken, 20) is None


@pytest.mark.parametrize("bug", BUGS, ids=str)
def test_the_scripts_or_some_walks_catch(bug: Bug) -> None:
    broken = bug.session()

    assert caught_by_scripts(broken) or walks_until_caught(broken, 100)


@pytest.mark.soak
def test_the_walks_catch_what_the_rules_alone_can_show() -> None:
    rows = []
    for bug in BUGS:
        broken = bug.session()
        rows.append((bug, caught_by_scripts(broken), walks_until_caught(broken, 20_000 if bug.walked else 200)))

    for bug, scripted, walked in rows:
        print(f"{bug.name:55} scripts: {'caught' if scripted else '-':7} walks: {walked or '-'}")  # noqa: T201
    caught = sum(scripted or walked is not None for _, scripted, walked in rows)
    print(f"{caught} of {len(rows)} caught, {sum(row[1] for row in rows)} by scripts")  # noqa: T201
    assert caught == len(rows)
    assert not [bug.name for bug, _, walked in rows if bug.walked and walked is None]
