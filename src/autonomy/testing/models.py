"""What a thing does when one call comes after another: the sequential specifications that histories are judged by.

Pure values and functions. `linearizability.py` says how they are used.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Protocol, TypeVar

State = TypeVar("State", bound=Hashable)


class Model(Protocol[State]):
    """A sequential specification. Derive from it to write your own.

    A state is any value that can be hashed and compared, except None. It is never changed: `step` returns a new one.

    Example:
        ```python
        class Lock(Model[str]):
            def initial(self) -> str:
                return "free"

            def step(self, state: str, operation: str, argument: object, result: object) -> str | None:
                match operation, state:
                    case "acquire", "free":
                        return str(argument)
                    case "release", owner if owner == argument:
                        return "free"
                return None
        ```
    """

    def initial(self) -> State:
        """Return the state before the first call."""
        ...

    def step(self, state: State, operation: str, argument: object, result: object) -> State | None:
        """Return the state after a call that came back with `result`; None if it could not, in that state.

        A result that nobody saw equals everything: compare with ``==``, ``!=`` or ``in``, not with ``is``.
        """
        ...

    def key(self, operation: str, argument: object) -> Hashable:
        """Return which part of the state a call is about; None for all of it.

        Calls with different keys must have nothing to do with each other: each key is judged alone, with a state of its
        own. That is what makes long histories affordable.
        """
        return None

    def is_read(self, operation: str, result: object) -> bool:
        """Whether a call that came back with `result` changes nothing, in any state that it can come back from.

        False is always right; True where it is true saves much time.
        """
        return False

    def describe(self, state: State) -> str:
        """Return a state as text, for verdicts."""
        return repr(state)


@dataclass(frozen=True)
class Register(Model[tuple[object]]):
    """One value. ``read()`` returns it; ``write(new)`` replaces it, and its result is not looked at;
    ``cas((old, new))`` replaces it if it is `old`, and returns whether it was.

    Args:
        value: The value before the first call. Values must be hashable.
    """

    value: object = None

    def initial(self) -> tuple[object]:
        return (self.value,)

    def step(self, state: tuple[object], operation: str, argument: object, result: object) -> tuple[object] | None:
        match operation, argument:
            case "read", _:
                return state if result == state[0] else None
            case "write", _:
                return (argument,)
            case "cas", (old, new):
                is_swapped = state[0] == old
                if result != is_swapped:
                    return None
                return (new,) if is_swapped else state
        raise _unknown(self, operation, argument, "read(), write(new), cas((old, new))")

    def is_read(self, operation: str, result: object) -> bool:
        return operation == "read" or (operation == "cas" and result == False)  # noqa: E712  # or 0

    def describe(self, state: tuple[object]) -> str:
        return repr(state[0])


@dataclass(frozen=True)
class KeyedRegister(Model[tuple[object]]):
    """A map: a `Register` for each key. ``read(key)``, ``write((key, new))``, ``cas((key, old, new))``.

    Args:
        value: The value of each key before the first call to it.
    """

    value: object = None

    def initial(self) -> tuple[object]:
        return (self.value,)

    def step(self, state: tuple[object], operation: str, argument: object, result: object) -> tuple[object] | None:
        register = Register(self.value)
        match operation, argument:
            case "read", _:
                return register.step(state, operation, None, result)
            case "write", (_, new):
                return register.step(state, operation, new, result)
            case "cas", (_, old, new):
                return register.step(state, operation, (old, new), result)
        raise _unknown(self, operation, argument, "read(key), write((key, new)), cas((key, old, new))")

    def key(self, operation: str, argument: object) -> Hashable:
        match operation, argument:
            case "write" | "cas", (key, *_):
                return _hashable(key)
        return _hashable(argument)

    def is_read(self, operation: str, result: object) -> bool:
        return operation == "read" or (operation == "cas" and result == False)  # noqa: E712  # or 0

    def describe(self, state: tuple[object]) -> str:
        return repr(state[0])


@dataclass(frozen=True)
class Set(Model[bool]):
    """A set, empty at first. ``contains(x)`` returns a bool; ``add(x)`` and ``remove(x)`` return whether they changed
    anything, or None if that was not told."""

    def initial(self) -> bool:
        return False

    def step(self, state: bool, operation: str, argument: object, result: object) -> bool | None:  # noqa: FBT001
        match operation:
            case "contains":
                return state if result == state else None
            case "add":
                return True if result in (None, not state) else None
            case "remove":
                return False if result in (None, state) else None
        raise _unknown(self, operation, argument, "contains(x), add(x), remove(x)")

    def key(self, operation: str, argument: object) -> Hashable:
        return _hashable(argument)

    def is_read(self, operation: str, result: object) -> bool:
        return operation == "contains" or result == False  # noqa: E712  # or 0

    def describe(self, state: bool) -> str:  # noqa: FBT001
        return "in the set" if state else "not in the set"


@dataclass(frozen=True)
class Queue(Model[tuple[object, ...]]):
    """First in, first out, empty at first. ``put(x)``, whose result is not looked at; ``take()`` returns the oldest, or
    None if there is none. What is put in must be hashable, and not None."""

    def initial(self) -> tuple[object, ...]:
        return ()

    def step(
        self, state: tuple[object, ...], operation: str, argument: object, result: object
    ) -> tuple[object, ...] | None:
        match operation:
            case "put":
                return (*state, argument)
            case "take":
                oldest = state[0] if state else None
                return state[1:] if result == oldest else None
        raise _unknown(self, operation, argument, "put(x), take()")

    def is_read(self, operation: str, result: object) -> bool:
        return operation == "take" and result is None


@dataclass(frozen=True)
class Counter(Model[int]):
    """A number. ``read()`` returns it; ``add(amount)`` returns what it is afterwards, or None if that was not told.

    Args:
        value: The number before the first call.
    """

    value: int = 0

    def initial(self) -> int:
        return self.value

    def step(self, state: int, operation: str, argument: object, result: object) -> int | None:
        match operation, argument:
            case "read", _:
                return state if result == state else None
            case "add", int(amount):
                return state + amount if result in (None, state + amount) else None
        raise _unknown(self, operation, argument, "read(), add(amount)")

    def is_read(self, operation: str, result: object) -> bool:
        return operation == "read"


def _hashable(value: object) -> Hashable:
    hash(value)  # here rather than somewhere inside the search
    return value


def _unknown(model: object, operation: str, argument: object, known: str) -> ValueError:
    return ValueError(f"{type(model).__name__} knows {known}; got {operation}({argument!r:.80})")
