"""What hinders at some places: each hindrance ends by itself, and a place is free again when the last one has."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Place = TypeVar("Place", bound=Hashable)
Value = TypeVar("Value")


class Hindrances(Generic[Place, Value]):
    """Hindrances of one kind.

    Args:
        changed: Called when one has ended.
    """

    def __init__(self, changed: Callable[[], object] = lambda: None) -> None:
        self._changed = changed
        self._at: dict[Place, dict[int, Value]] = {}
        self._numbers = itertools.count()

    def __contains__(self, place: Place) -> bool:
        return place in self._at

    def newest(self, place: Place, usual: Value) -> Value:
        """Return what the one that began last says of a place, or what is usual if there is none."""
        there = self._at.get(place)
        return usual if there is None else next(reversed(there.values()))

    def clear(self, place: Place) -> None:
        """End all that hinders at a place."""
        self._at.pop(place, None)
        self._changed()

    def begin(self, value: Value, *places: Place) -> Callable[[], None]:
        """Hinder at these places; returns what ends it, and twice does no harm."""
        number = next(self._numbers)
        for place in places:
            self._at.setdefault(place, {})[number] = value

        def end() -> None:
            for place in places:
                there = self._at.get(place, {})
                there.pop(number, None)
                if not there:
                    self._at.pop(place, None)
            self._changed()

        return end
