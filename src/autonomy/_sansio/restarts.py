"""Supervision as decisions: who is restarted after a failure, how often, and who with it.

Words and rules are OTP's (``supervisor``): restart intensity is `max_restarts` within a time window; strategies are
``one_for_one``, ``one_for_all``, ``rest_for_one``; children are ``permanent``, ``transient`` or ``temporary``. New is
`Resume`, the default: a handler that raises fails its message, not its worker. `_actors/supervisor.py` acts on all
this.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from .address import check_name
from .backoff import Backoff
from .border import check_count, check_delay

Strategy = Literal["one_for_one", "one_for_all", "rest_for_one"]
ChildRestart = Literal["permanent", "transient", "temporary"]
Ending = Literal["stopped", "finished", "failed", "recycled"]
"""How a life ended: somebody stopped the worker, it stopped itself (`Context.stop`), it failed, or its group restarts
it."""


@dataclass(frozen=True, slots=True)
class Resume:
    """Keep the worker as it is: a handler that raises fails its message alone. The default."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Stop the worker at its first failure."""


@dataclass(frozen=True, slots=True)
class Escalate:
    """End the node with the worker's exception."""


@dataclass(frozen=True, slots=True)
class Restart:
    """Put a fresh object in the failed one's place; the mailbox stays, the failed message is not retried.

    Needs a class or a factory to make the objects from.

    Args:
        max_restarts: How many restarts are allowed `within` a time; at the next failure the worker stops.
        within: Seconds that the count looks back.
        backoff: Wait before each restart; doubles while restarts follow each other within `within`.

    Source: OTP's ``supervisor``, restart intensity and period.
    """

    max_restarts: int = 3
    within: float = 30.0
    backoff: Backoff = field(default_factory=Backoff)

    def __post_init__(self) -> None:
        check_count(self.max_restarts, "Restart: max_restarts", least=0)
        check_delay(self.within, "Restart: within", zero=False)
        if not isinstance(self.backoff, Backoff):
            raise TypeError(
                f"Restart: backoff must be a Backoff, for instance Backoff(0.1, 5.0), got {self.backoff!r:.80}"
            )


Supervision = Resume | Restart | Stop | Escalate
RESUME = Resume()


def check_supervision(policy: object) -> Supervision:
    """Return `policy` if it is one of the four; a class such as ``Stop`` in place of ``Stop()`` is told apart."""
    if isinstance(policy, Resume | Restart | Stop | Escalate):
        return policy
    hint = f" Write {policy.__name__}()." if isinstance(policy, type) and policy.__module__ == __name__ else ""
    raise TypeError(f"supervision must be Resume(), Restart(), Stop() or Escalate(), got {policy!r:.80}.{hint}")


def check_factory(source: object, name: str) -> None:
    """Raise TypeError unless `source` can make worker after worker: a class, or a function that is no worker itself."""
    if not isinstance(source, type) and (not callable(source) or hasattr(source, "handle_message")):
        raise TypeError(
            f"worker {name!r} is to be restarted with fresh objects, so pass a class or a factory such as "
            f"{type(source).__name__} or lambda: {type(source).__name__}(...), not an object"
        )


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """One worker of a group.

    Args:
        name: The worker's name on its node.
        worker: A class or factory of workers; for a ``temporary`` child an object will do.
        restart: ``permanent``: restarted whenever it ends by itself. ``transient``: when it failed. ``temporary``:
            never.
        mailbox_capacity: How many messages may wait for it.

    Raises:
        TypeError, ValueError: A value that cannot be.
    """

    name: str
    worker: object | Callable[[], object]
    restart: ChildRestart = "permanent"
    mailbox_capacity: int = 1000

    def __post_init__(self) -> None:
        check_name(self.name)
        check_count(self.mailbox_capacity, f"ChildSpec {self.name!r}: mailbox_capacity")
        if self.restart not in get_args(ChildRestart):
            raise ValueError(
                f"ChildSpec {self.name!r}: restart must be permanent, transient or temporary, got {self.restart!r}"
            )
        if self.restart != "temporary":
            check_factory(self.worker, self.name)

    def wants_restart(self, ending: Ending) -> bool:
        """Whether the child is started again after it ended like this."""
        return ending != "stopped" and (
            self.restart == "permanent" or (self.restart == "transient" and ending == "failed")
        )


LIMIT_REACHED = "restart limit reached"
"""How the reason of an end begins that restarts could not prevent."""


class RestartWindow:
    """Counts restarts in a sliding window of time."""

    __slots__ = ("_times", "max_restarts", "within")

    def __init__(self, max_restarts: int, within: float) -> None:
        self.max_restarts = max_restarts
        self.within = within
        self._times: deque[float] = deque()

    def allow(self, now: float) -> int:
        """Count one more failure; return how many the window now holds, or 0 when that is more than is allowed."""
        while self._times and self._times[0] <= now - self.within:
            self._times.popleft()
        if len(self._times) >= self.max_restarts:
            return 0
        self._times.append(now)
        return len(self._times)

    def __str__(self) -> str:
        return f"more than {self.max_restarts} restarts within {self.within:g} s"


def check_strategy(strategy: object) -> Strategy:
    """Return `strategy` if it is one of the three."""
    for known in get_args(Strategy):
        if strategy == known:
            return known  # type: ignore[no-any-return]  # get_args is untyped
    raise ValueError(f"strategy must be one_for_one, one_for_all or rest_for_one, got {strategy!r:.80}")


def check_children(group: str, children: object) -> None:
    """Raise TypeError or ValueError unless `children` are specifications, at least one, with names of their own."""
    if not isinstance(children, Sequence) or not children or not all(isinstance(c, ChildSpec) for c in children):
        raise TypeError(f"children must be a list of ChildSpec objects, at least one, got {children!r:.80}")
    names = [child.name for child in children]
    if len({group, *names}) <= len(names):
        raise ValueError(f"the group and its children must all have different names, got {group!r} and {names}")


def affected(strategy: Strategy, children: Sequence[str], failed: str) -> list[str]:
    """Return the names of the children to restart together, in start order, the failed one among them."""
    match strategy:
        case "one_for_one":
            return [failed]
        case "one_for_all":
            return list(children)
        case "rest_for_one":
            return list(children[children.index(failed) :])
