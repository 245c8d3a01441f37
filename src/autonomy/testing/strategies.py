"""Strategies for Hypothesis: seeds, and stories that it shrinks to the shortest one that still fails.

Import this file by its name: nothing else in `autonomy.testing` imports Hypothesis before it is needed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hypothesis import strategies as st

from .faults import KINDS, Fault, Story, kinds_for

_TENTHS = 10
"""Times are whole tenths of a second: they shrink well and read well."""


def seeds() -> st.SearchStrategy[int]:
    """Return seeds of simulations."""
    return st.integers(0, 2**32 - 1)


def stories(
    hosts: Sequence[str],
    *,
    kinds: Iterable[str] | None = None,
    for_: float = 30.0,
    at_most: int = 12,
) -> st.SearchStrategy[Story]:
    """Return stories that shrink to fewer, earlier and shorter faults.

    Example:
        ```python
        @given(seed=seeds(), story=stories(["lock", "client-0", "client-1"]))
        def test_the_lock_is_held_by_one(seed: int, story: Story) -> None:
            locks(Simulation(seed, story=story))
        ```

    Args:
        hosts: To which something may happen.
        kinds: Some of `faults.KINDS`; None for all usual ones for which there are hosts enough.
        for_: Seconds in which faults begin, and the longest that one lasts.
        at_most: Faults.
    """
    fault = st.one_of([_faults(kind, hosts, for_) for kind in kinds_for(len(hosts), kinds)])
    return st.lists(fault, max_size=at_most).map(lambda faults: Story(tuple(faults)))


def _faults(kind: str, hosts: Sequence[str], for_: float) -> st.SearchStrategy[Fault]:
    places = st.permutations(hosts).map(lambda order: tuple(order[: KINDS[kind].hosts]))
    begins = _seconds(0, for_)
    lasts = _seconds(1 / _TENTHS, for_) if KINDS[kind].lasts else st.just(0.0)
    said = st.tuples(*(st.tuples(st.just(name), _seconds(*span)) for name, span in KINDS[kind].drawn.items()))
    return st.builds(Fault, st.just(kind), places, begins, lasts, said)


def _seconds(least: float, greatest: float) -> st.SearchStrategy[float]:
    return st.integers(round(least * _TENTHS), round(greatest * _TENTHS)).map(lambda tenths: tenths / _TENTHS)
