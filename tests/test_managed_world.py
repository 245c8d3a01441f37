"""What nodes promise that manage each other, in simulated zones that break; and bugs that are planted to be found."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterator

import pytest

from autonomy.testing import SimulationFailed

from .managed_bugs import BUGS, Plant
from .managed_world import ManagedWorld

pytestmark = pytest.mark.slow
MANY = int(os.environ.get("AUTONOMY_ZONE_SEEDS", "1000"))


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Log nothing: what goes wrong is wanted, thousands of times."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def wrong_in(seed: int, seconds: float = 60.0, *, is_first_enough: bool = False) -> list[str]:
    world = ManagedWorld(seed, seconds)
    if is_first_enough:
        world.sim.always(lambda _: not world.history.seen)
    try:
        world.run()
    except SimulationFailed as failure:
        return [f"seed {seed}: {world.history.seen[0] if is_first_enough and world.history.seen else failure}"]
    return [f"seed {seed}: {violation}" for violation in world.violations]


def test_workers_start_on_other_nodes_once_or_not_at_all_and_the_truth_is_told() -> None:
    told: Counter[str] = Counter()
    for seed in range(1, 4):
        world = ManagedWorld(seed)
        world.run()
        assert [f"seed {seed}: {violation}" for violation in world.violations] == []
        told.update(type(order.error).__name__ for order in world.history.orders)

    kinds = ("NoneType", "CodeRefused", "NotAllowed", "WorkerExists", "ValueError", "DeadlineExceeded", "NodeDown")
    assert min(told[kind] for kind in kinds) > 2  # what is never told proves nothing


def test_the_same_seed_manages_in_the_same_way() -> None:
    one, other = ManagedWorld(5, 10.0), ManagedWorld(5, 10.0)

    assert one.run().trace_hash == other.run().trace_hash
    assert one.history.lives == other.history.lives


@pytest.mark.parametrize("plant", BUGS, ids=lambda plant: plant.__name__)
def test_a_planted_bug_in_managing_is_found(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    found = next((wrong[0] for seed in range(1, 21) if (wrong := wrong_in(seed, 20.0, is_first_enough=True))), "")

    print(f"\n{plant.__name__}: {found:.200}")  # noqa: T201  # what found it
    assert found


@pytest.mark.soak
def test_many_managed_zones() -> None:
    assert [wrong for seed in range(10, 10 + MANY) for wrong in wrong_in(seed)] == []
