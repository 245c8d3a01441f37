"""For all sequences of failures and stops, a group does what a model of fifty lines says (L4)."""

from __future__ import annotations

import logging
from collections.abc import Generator, Sequence
from typing import Literal

import pytest
import trio
from hypothesis import example, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from autonomy import ChildSpec, Node, WorkerExists, WorkerNotFound, open_node
from autonomy._sansio.restarts import ChildRestart, Strategy

from .test_groups import Member
from .workers import Recorder

Ending = Literal["fail", "stop", "stopped by the user"]
Step = tuple[int, Ending] | float
NAMES = "abcd"
WITHIN = 10.0


@pytest.fixture(autouse=True, scope="module")
def quiet() -> Generator[None]:
    logging.getLogger("autonomy").setLevel(logging.CRITICAL)
    yield
    logging.getLogger("autonomy").setLevel(logging.NOTSET)


class Model:
    """A group as its documentation has it, with nobody waiting for anybody."""

    def __init__(self, strategy: Strategy, restarts: Sequence[ChildRestart], max_restarts: int) -> None:
        self.strategy = strategy
        self.kinds = dict(zip(NAMES, restarts, strict=False))
        self.alive = list(self.kinds)
        self.max_restarts = max_restarts
        self.times: list[float] = []
        self.log = [f"+{name}" for name in self.alive]

    def end(self, name: str, ending: Ending, now: float) -> None:
        if ending != "stopped by the user":
            self.log.append(f"{name} {ending}")
        self.log.append(f"-{name}")
        if not self.wants_restart(self.kinds[name], ending):
            self.alive.remove(name)
        elif not self.allows_restart(now):
            self.log += [f"-{other}" for other in reversed(self.alive) if other != name]
            self.alive = []
        else:
            self.restart(name)

    @staticmethod
    def wants_restart(kind: ChildRestart, ending: Ending) -> bool:
        return {"fail": kind != "temporary", "stop": kind == "permanent", "stopped by the user": False}[ending]

    def allows_restart(self, now: float) -> bool:
        self.times.append(now)
        recent = [time for time in self.times if time > now - WITHIN]
        return len(recent) <= self.max_restarts

    def restart(self, name: str) -> None:
        first = {"one_for_one": None, "one_for_all": 0, "rest_for_one": self.alive.index(name)}[self.strategy]
        together = [name] if first is None else self.alive[first:]
        self.log += [f"-{other}" for other in reversed(together) if other != name]
        for other in together:
            if other == name or self.kinds[other] != "temporary":
                self.log.append(f"+{other}")
            else:
                self.alive.remove(other)


async def is_taken(node: Node, name: str) -> bool:
    try:
        await node.start_worker(name, Recorder())
    except WorkerExists:
        return True
    await node.stop_worker(name)
    return False


def check_against_model(
    strategy: Strategy, restarts: Sequence[ChildRestart], max_restarts: int, steps: Sequence[Step]
) -> None:
    """Run the steps on a group and on the model, and raise AssertionError where they differ."""

    async def scenario() -> None:
        log: list[str] = []
        model = Model(strategy, restarts, max_restarts)
        children = [ChildSpec(name, lambda: Member(log), kind) for name, kind in model.kinds.items()]
        async with open_node("n", stall_warning=None) as node:
            await node.start_group("group", children, strategy=strategy, max_restarts=max_restarts, within=WITHIN)
            for step in steps:
                if isinstance(step, float):
                    await trio.sleep(step)
                    continue
                name, ending = NAMES[step[0] % len(restarts)], step[1]
                if name in model.alive:
                    model.end(name, ending, trio.current_time())
                    await (
                        node.stop_worker(name) if ending == "stopped by the user" else node.send_message(name, ending)
                    )
                else:
                    with pytest.raises(WorkerNotFound):
                        await node.send_message(name, ending)
                await wait_all_tasks_blocked()
                assert log == model.log
                assert [str(info) for info in await node.list_workers()] == sorted(model.alive)
                assert await is_taken(node, "group") == bool(model.alive)

    trio.run(scenario, clock=MockClock(autojump_threshold=0))


endings = st.sampled_from(["fail", "fail", "fail", "stop", "stopped by the user"])


@settings(max_examples=200, deadline=None)
@given(
    strategy=st.sampled_from(["one_for_one", "one_for_all", "rest_for_one"]),
    restarts=st.lists(st.sampled_from(["permanent", "transient", "temporary"]), min_size=1, max_size=4),
    max_restarts=st.integers(0, 4),
    steps=st.lists(st.tuples(st.integers(0, 3), endings) | st.sampled_from([1.0, 5.0, 10.0]), max_size=12),
)
@example("rest_for_one", ["permanent", "temporary", "transient"], 3, [(0, "fail"), (2, "stop"), (1, "fail")])
@example("one_for_all", ["permanent"] * 3, 1, [(0, "fail"), 10.0, (1, "fail"), 9.0, (2, "fail")])
def test_a_group_does_what_its_model_does(
    strategy: Strategy, restarts: Sequence[ChildRestart], max_restarts: int, steps: Sequence[Step]
) -> None:
    check_against_model(strategy, restarts, max_restarts, steps)


@pytest.mark.parametrize(
    ("broken", "mutant"),
    [
        ("autonomy._actors.supervisor.affected", lambda strategy, children, failed: [failed]),
        ("autonomy._actors.supervisor.affected", lambda strategy, children, failed: list(reversed(children))),
        ("autonomy._sansio.restarts.ChildSpec.wants_restart", lambda self, ending: ending != "stopped"),
        ("autonomy._sansio.restarts.RestartWindow.allow", lambda self, now: 1),
    ],
    ids=["restarts the failed one alone", "starts in reverse", "restarts everybody", "never gives up"],
)
def test_the_model_catches_a_group_that(monkeypatch: pytest.MonkeyPatch, broken: str, mutant: object) -> None:
    monkeypatch.setattr(broken, mutant)
    steps: list[Step] = [(1, "fail"), (0, "fail"), (2, "stop"), (1, "fail")]

    with pytest.raises(AssertionError):
        check_against_model("one_for_all", ["permanent", "permanent", "transient"], 2, steps)
