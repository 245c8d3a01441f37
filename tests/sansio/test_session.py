"""Two sessions, with everything between them that can go wrong: the promises hold after each step (D1 to D4, K3).

The promises are I1 to I9 of `session_world`. The machine is Hypothesis's: it finds short histories. The walks are many:
each takes a millisecond.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from autonomy._sansio.session_terms import TRANSITIONS

from .session_world import FAULTS, KINDS, MORTAL, PATIENT, SIDES, Wire, World, walk_through

SOAK = bool(os.environ.get("AUTONOMY_SOAK"))
a_side = st.sampled_from(SIDES)
a_wire = st.integers(0, 5)


class Machine(RuleBasedStateMachine):
    """Any faults, in any order."""

    faults = FAULTS

    def __init__(self) -> None:
        super().__init__()
        self.world = World(MORTAL if self.faults & {"expire", "crash", "impostor"} else PATIENT)
        self.dialers, self.always, self.lockstep = "ab", False, False

    def may(self, fault: str) -> bool:
        return fault in self.faults

    def wire(self, number: int) -> Wire | None:
        wires = list(self.world.wires.values())
        return wires[number % len(wires)] if wires else None

    @initialize(dialers=st.sampled_from(["ab", "a", "b"]), always=st.booleans(), lockstep=st.booleans())
    def reach(self, dialers: str, *, always: bool, lockstep: bool) -> None:
        """Who can dial, in the end or ever, and whether both do so at once."""
        self.dialers, self.always, self.lockstep = dialers, always, lockstep

    @rule(side=a_side, count=st.integers(1, 3))
    def send(self, side: str, count: int) -> None:
        for _ in range(count):
            self.world.send(side)

    @rule(side=a_side)
    def want(self, side: str) -> None:
        self.world.want(side)

    @rule(side=a_side)
    def dial(self, side: str) -> None:
        may = side in self.dialers or not self.always
        if may and len(self.world.wires) < 6 and self.world.at[side].wants_dial:
            self.world.dial(side)

    @rule(number=a_wire, side=a_side, count=st.integers(1, 6))
    def deliver(self, number: int, side: str, count: int) -> None:
        wire = self.wire(number)
        for _ in range(count if wire else 0):
            assert wire is not None
            self.world.deliver(wire, side)
        self.world.gather()

    @rule(number=a_wire, a=st.integers(0, 3), b=st.integers(0, 3))
    def cut(self, number: int, a: int, b: int) -> None:
        wire = self.wire(number)
        if wire is not None:
            self.world.cut(wire, {"a": a, "b": b})

    @rule(number=a_wire, side=a_side)
    def lose(self, number: int, side: str) -> None:
        wire = self.wire(number)
        if wire is not None and wire.open[side]:
            self.world.lose(side, wire)

    @rule(number=a_wire)
    def stall(self, number: int) -> None:
        wire = self.wire(number)
        if wire is not None:
            self.world.stall(wire)

    @rule()
    def notice(self) -> None:
        self.world.notice()

    @rule(seconds=st.sampled_from([0.01, 0.1, 1.0]))
    def pass_time(self, seconds: float) -> None:
        self.world.pass_time(seconds)

    @precondition(lambda self: self.may("close"))
    @rule(sides=st.sampled_from(["a", "b", "ab"]))
    def close(self, sides: str) -> None:
        for side in sides:
            self.world.close(side)

    @precondition(lambda self: self.may("expire"))
    @rule()
    def expire(self) -> None:
        for side in SIDES:
            self.world.expire(side)

    @precondition(lambda self: self.may("expire"))
    @rule(side=a_side)
    def expire_one(self, side: str) -> None:
        self.world.expire(side)

    @precondition(lambda self: self.may("crash"))
    @rule(side=a_side, silent=st.booleans())
    def crash(self, side: str, *, silent: bool) -> None:
        self.world.crash(side, silent=silent)

    @precondition(lambda self: self.may("impostor"))
    @rule(side=a_side, ahead=st.integers(0, 2))
    def impostor(self, side: str, ahead: int) -> None:
        if len(self.world.wires) < 6:
            self.world.impostor(side, self.world.at[side]._generation + ahead)

    def teardown(self) -> None:
        self.world.finish(self.faults, dialers=self.dialers, lockstep=self.lockstep)


class OnlyCuts(Machine):
    faults = frozenset({"cut"})


class CutsAndLeaving(Machine):
    faults = frozenset({"cut", "close"})


def run(machine: type[Machine], examples: int) -> None:
    quiet = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
    chosen: dict[str, Any] = {"stateful_step_count": 60, "deadline": None, "suppress_health_check": quiet}
    run_state_machine_as_test(machine, settings=settings(max_examples=examples, **chosen))


@pytest.mark.slow
@pytest.mark.parametrize(("machine", "examples"), [(Machine, 60), (OnlyCuts, 25), (CutsAndLeaving, 25)])
def test_the_promises_hold_whatever_happens(machine: type[Machine], examples: int) -> None:
    run(machine, examples)


@pytest.mark.soak
@pytest.mark.parametrize("machine", [Machine, OnlyCuts, CutsAndLeaving])
def test_the_promises_hold_for_long_whatever_happens(machine: type[Machine]) -> None:
    run(machine, 3000)


@pytest.mark.slow
def test_the_promises_hold_on_many_walks_and_every_change_of_state_is_met() -> None:
    met = Counter(move for seed in range(1000) for move in walk_through(seed, 60).moves)

    never = [f"{before.value} to {after.value}" for before, after, _ in TRANSITIONS if (before, after) not in met]
    print("never met:", never or "none")  # noqa: T201
    assert not never
    assert len(met) == len(TRANSITIONS)


@pytest.mark.soak
@pytest.mark.parametrize("kind", range(len(KINDS)))
def test_the_promises_hold_on_very_many_walks(kind: int) -> None:
    count = 20_000
    for seed in range(kind, count * len(KINDS), len(KINDS)):
        walk_through(seed, 60 if seed % 2 else 200)
    print(f"{count} walks of 60 or 200 steps, {sorted(KINDS[kind])}: 0 violations")  # noqa: T201
