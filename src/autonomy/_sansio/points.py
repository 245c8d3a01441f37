"""Points at which a simulation may have a program take a turn that is right, and rare."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager

Decide = Callable[[str, float], bool]
"""Whether the odd turn is taken at a point of that name, with that probability."""


def _never(name: str, p: float) -> bool:
    return False


_decide: Decide = _never


def buggify(name: str, p: float = 0.05) -> bool:
    """Whether to take an odd turn here: never, but in a simulation sometimes.

    What stands behind it must be right as well, only rare: a short batch, a cache that is empty, a retry that nothing
    made necessary. Each simulated run has some of the points alive, which say yes with probability `p`.

    Example:
        ```python
        limit = 1 if buggify("short batch") else 1000
        ```

    Args:
        name: Of the point, for `Report.points`.
        p: Of a point that is alive.
    """
    return _decide(name, p)


@contextmanager
def deciding(decide: Decide) -> Generator[None]:
    """Have another function decide while the block runs."""
    global _decide  # one for the process, as the simulation is
    before, _decide = _decide, decide
    try:
        yield
    finally:
        _decide = before
