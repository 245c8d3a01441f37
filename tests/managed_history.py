"""What becomes of workers that nodes start on each other, as the workers themselves saw it, and as it was told.

The workers of `managed_workers` write into the `History` of their run: the object that a node was given is a copy,
which knows nobody here. `violations` reads it when all is over.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field

import trio

from autonomy import CodeRefused, Context, MailboxFull, Node, NodeDown, NoReply, NotAllowed, WorkerExists
from autonomy.errors import DeadlineExceeded, Unreachable

SLACK = 0.05
PREFIX = "Remote node error: "
UNSURE = (NodeDown, Unreachable, DeadlineExceeded, MailboxFull)
"""What anybody may be told who asks something of a node when things break."""
REFUSED = (CodeRefused, NotAllowed, WorkerExists)
"""What is told of an order by which nothing was run."""


@dataclass
class Order:
    """One attempt to start a worker on another node.

    Attributes:
        number: That of the object; several nodes may have copies of it.
        expected: The errors that may be told besides `UNSURE`.
        may_succeed: Whether it may.
        is_local: Whether it is to be refused before anything is sent.
    """

    number: int
    name: str
    by: str
    to: str
    limit: float
    expected: tuple[type[Exception], ...] = ()
    may_succeed: bool = True
    is_local: bool = False
    began: float = 0.0
    ended: float = math.inf
    error: Exception | None = None

    def __str__(self) -> str:
        told = "nothing yet" if self.ended == math.inf else repr(self.error) if self.error else "that it runs"
        return f"{self.by} was told of {self.name}, {self.number}, on {self.to}, {self.began:.3f}: {told}"


@dataclass
class Life:
    """A copy of an object on a node: when its ``on_start`` began and succeeded, and when it ended."""

    number: int
    name: str
    node: str
    incarnation: str
    begun: float
    started: float = math.inf
    ended: float = math.inf
    handled: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.name}, {self.number}, on {self.node} since {self.begun:.3f}"


@dataclass
class History:
    """Everything that happened in one run."""

    orders: list[Order] = field(default_factory=list)
    lives: list[Life] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    starts: list[tuple[str, str]] = field(default_factory=list)
    """Nodes, and the incarnations of their starts."""

    def begin(self, number: int, context: Context) -> int:
        """Note that a copy begins its life; return where it is noted. A name is had by one at a time (N1)."""
        assert isinstance(context.node, Node)
        name, node, incarnation = context.name, context.node.name, context.node.incarnation
        for other in self.lives:
            if (other.name, other.node, other.incarnation, other.ended) == (name, node, incarnation, math.inf):
                self.seen.append(f"N1 {number} begins where there is {other}")
        self.lives.append(Life(number, name, node, incarnation, trio.current_time()))
        return len(self.lives) - 1

    def of(self, order: Order) -> list[Life]:
        """Return the lives that an order has begun."""
        return [life for life in self.lives if (life.number, life.node) == (order.number, order.to)]


current: ContextVar[History] = ContextVar("managed_history")


def violations(history: History) -> list[str]:
    """Return the promises that were broken."""
    checks = (_started, _told, _handled, _incarnations)
    return history.seen + [line for check in checks for line in check(history)]


def _started(history: History) -> Iterator[str]:
    """F2, F3: it has started once, before that was told; or it has not, and that was told."""
    for order in history.orders:
        lives, error = history.of(order), order.error
        if len(lives) > 1:
            yield f"F2 started {len(lives)} times: {order}"
        if order.ended == math.inf:
            continue
        if error is None and not any(life.started <= order.ended for life in lives):
            yield f"F2 not started by then: {order}"
        if error is None and not order.may_succeed:
            yield f"F3 not refused: {order}"
        if lives and (isinstance(error, REFUSED) or getattr(error, "outcome", "") == "not_sent"):
            yield f"F3 run all the same: {order}"
        if isinstance(error, ValueError) and [life.started for life in lives] != [math.inf]:
            yield f"L1 its on_start did not fail, or was not run: {order}"


def _told(history: History) -> Iterator[str]:
    """F1: what is told is so, says where it comes from, and is told in time."""
    for order in history.orders:
        if order.error is not None:
            may_be: tuple[type[Exception], ...] = order.expected if order.is_local else (*UNSURE, *order.expected)
            if not isinstance(order.error, may_be):
                yield f"F3 of which there was no reason: {order}"
            if str(order.error).startswith(PREFIX) is order.is_local:
                yield f"F1 does not say where it comes from: {order}"
            if isinstance(order.error, MailboxFull) and order.ended < order.began + order.limit - SLACK:
                yield f"B1 there was time to wait for a place: {order}"
            if isinstance(order.error, NoReply) and "timeout" not in str(order.error):
                yield f"Q5 no word of a timeout: {order}"
        if order.ended < math.inf and order.ended > order.began + order.limit + SLACK:
            yield f"Q3 told after {order.ended - order.began:.3f} s: {order}"


def _handled(history: History) -> Iterator[str]:
    counted = Counter(text for life in history.lives for text in life.handled)
    yield from (f"D1 {text} was handled {times} times" for text, times in counted.items() if times > 1)


def _incarnations(history: History) -> Iterator[str]:
    counted = Counter(incarnation for _, incarnation in history.starts)
    yield from (f"N2 {times} starts have the incarnation {one}" for one, times in counted.items() if times > 1)
