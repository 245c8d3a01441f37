"""Everything that a simulation leaves to chance comes from one seed.

A source of chance for each purpose, so that one draw more in one place shifts no other. And Trio's own: it runs the
tasks of a batch in an order that depends on memory addresses, unless it is told otherwise.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import random
from typing import Final

EXTRA: Final = "pip install 'autonomy-actors[testing]'"
"""What brings all that a simulation needs."""


def derive(seed: int, *purpose: object) -> random.Random:
    """Return the source of chance for a purpose: the same one for the same seed and purpose, on every machine."""
    digest = hashlib.sha256(repr((seed, *purpose)).encode()).digest()
    return random.Random(int.from_bytes(digest[:8]))


def seed_scheduler(seed: int) -> None:
    """Let Trio run tasks in an order that depends on the seed and nothing else, in this process from now on.

    Trio offers this to Hypothesis under a published entry point, and to nobody else by a public name. What it hands
    over to be seeded is caught here.

    Raises:
        ImportError: Hypothesis is not installed.
        RuntimeError: This Trio does not offer it any more: a simulation would not be the same twice.
    """
    try:
        import hypothesis  # noqa: PLC0415  # an optional client of this package
    except ModuleNotFoundError as error:
        raise ImportError(f"a simulation needs {error.name}: {EXTRA}") from error

    caught: list[random.Random] = []
    register = hypothesis.register_random
    hypothesis.register_random = caught.append  # type: ignore[assignment]
    try:
        for hook in importlib.metadata.entry_points(group="hypothesis", name="trio"):
            hook.load()()
    finally:
        hypothesis.register_random = register
    if len(caught) != 1 or not isinstance(caught[0], random.Random):
        raise RuntimeError(
            "this Trio hands no source of chance to Hypothesis: a simulation would not be the same twice"
        )
    caught[0].seed(seed)
