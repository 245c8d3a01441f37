"""What holds in a simulated zone whatever breaks, its directory too; and bugs that are planted to be found."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterator

import pytest

from autonomy.testing import SimulationFailed

from .zone_bugs import BUGS, Plant
from .zone_world import ZoneWorld, errors_of

pytestmark = pytest.mark.slow
FIRST = 20
MANY = int(os.environ.get("AUTONOMY_ZONE_SEEDS", "1000"))


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Log nothing: what goes wrong is wanted, thousands of times."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def wrong_in(world: ZoneWorld) -> list[str]:
    try:
        world.run()
    except SimulationFailed as failure:
        return [f"seed {world.seed}: {failure}"]
    return [f"seed {world.seed}: {violation}" for violation in world.violations]


def test_names_lead_to_their_workers_once_and_are_right_again_when_all_is_mended() -> None:
    told: Counter[str] = Counter()
    for seed in range(FIRST):
        world = ZoneWorld(seed)
        assert wrong_in(world) == []
        told += errors_of(world)

    assert told["answered"] > 1000, "too little happened to prove anything"
    assert min(told[name] for name in ("WorkerNotFound", "AmbiguousWorker", "NodeDown", "DirectoryUnavailable")) > 10


def test_the_same_seed_is_the_same_zone() -> None:
    one, other = ZoneWorld(3), ZoneWorld(3)

    assert one.run().trace_hash == other.run().trace_hash
    assert one.asked == other.asked or list(map(str, one.asked)) == list(map(str, other.asked))


@pytest.mark.parametrize("plant", BUGS, ids=lambda plant: plant.__name__)
def test_a_planted_bug_is_found(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)

    assert any(wrong_in(ZoneWorld(seed)) for seed in range(20))


@pytest.mark.soak
def test_many_zones() -> None:
    assert [wrong for seed in range(FIRST, FIRST + MANY) for wrong in wrong_in(ZoneWorld(seed))] == []
