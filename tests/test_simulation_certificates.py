"""Certificates in a simulated zone are renewed, end, and are revoked while it runs."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from autonomy import Context, Node, NodeDown, NoReply
from autonomy.testing import Fault, Report, Simulation, Story
from autonomy.testing.sweeping import perturbed

ROOT = Path(__file__).parent.parent
CERTIFICATES = ["renewal", "expiry", "revocation"]
FAULTS = [
    "partition",
    "one-way block",
    "isolation",
    "slow",
    "reset",
    "black hole",
    "clog",
    "stall",
    "refusal",
    "jitter",
]


class Inbox:
    """Writes down what comes."""

    def __init__(self, got: list[str]) -> None:
        self._got = got

    async def handle_message(self, context: Context, message: str) -> None:
        self._got.append(message)
        if message == "wait":
            await trio.sleep_forever()
        await context.reply(message)


def zone(seed: int) -> tuple[Simulation, dict[str, list[str]]]:
    """Return three hosts with an inbox each, and what comes to them."""
    sim = Simulation(seed, wire="tls")
    got: dict[str, list[str]] = {name: [] for name in "abc"}

    async def main(node: Node) -> None:
        await node.start_worker("inbox", Inbox(got[node.name]))

    for name in got:
        sim.node(name, main)
    return sim, got


async def send_on(sim: Simulation, sender: str, receiver: str, count: int) -> None:
    """Send numbered messages, some ten a second."""
    node = await sim.host(sender).up()
    for number in range(count):
        await node.send_message(f"inbox@{receiver}", f"{sender} {number}")
        await trio.sleep(0.1)


async def can_reach(sim: Simulation, sender: str, receiver: str, seconds: float = 3) -> bool:
    node = await sim.host(sender).up()
    try:
        await node.send_and_receive(f"inbox@{receiver}", "there?", timeout=seconds)
    except NoReply:
        return False
    return True


def rotated(seed: int) -> tuple[Report, dict[str, list[str]]]:
    """Have all send to all while certificates, CRL and CA change and links break, for less than the window."""
    sim, got = zone(seed)
    chance = sim.chance("rotation")

    async def rotate() -> None:
        steps: list[Callable[[], None]] = [sim.roll_over, sim.switch_over, sim.retire, sim.send_crl]
        for step in steps:
            for name in chance.sample("abc", 3):
                sim.renew(name)
                await trio.sleep(chance.uniform(0, 1.5))
            step()

    async def trouble() -> None:
        for _ in range(8):
            await trio.sleep(chance.uniform(0.2, 1.5))
            one, other = chance.sample("abc", 2)
            if chance.random() < 0.5:
                sim.reset(one, other)
                continue
            with sim.partition(one, other):
                await trio.sleep(chance.uniform(0.1, 2))

    async def scenario(sim: Simulation) -> None:
        async with trio.open_nursery() as nursery:
            for sender in "abc":
                for receiver in "abc".replace(sender, ""):
                    nursery.start_soon(send_on, sim, sender, receiver, 150)
            nursery.start_soon(rotate)
            nursery.start_soon(trouble)
        await trio.sleep(15)

    return sim.run(scenario), got


@pytest.mark.parametrize("seed", range(1, 5))
def test_rotation_under_load_and_faults_loses_nothing_and_repeats_nothing(seed: int) -> None:
    report, got = rotated(seed)

    assert sum(moment.text == "renewal" for moment in report.faults) == 12
    assert sum(moment.text == "CA retired" for moment in report.faults) == 3
    for receiver, messages in got.items():
        for sender in "abc".replace(receiver, ""):
            of_one = [message for message in messages if message.startswith(sender)]
            assert of_one == [f"{sender} {number}" for number in range(150)], (sender, receiver)


def test_links_are_made_anew_under_a_new_certificate() -> None:
    sim, _ = zone(1)

    async def scenario(sim: Simulation) -> None:
        assert await can_reach(sim, "a", "b")
        before = links(sim)
        await trio.sleep(2)
        assert links(sim) == before
        sim.renew("b")
        await trio.sleep(2)
        assert links(sim) > before
        assert await can_reach(sim, "a", "b", 0.1)

    sim.run(scenario)


def links(sim: Simulation) -> int:
    """Return how many links were ever made between a and b."""
    assert sim._moments is not None
    return sum(moment.kind == "link" and {moment.node, moment.peer} == {"a", "b"} for moment in sim._moments.all)


@pytest.mark.parametrize("seed", range(1, 5))
def test_a_revoked_node_is_cut_off_within_a_second_and_reaches_nobody(
    seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    sim, got = zone(seed)
    ended: list[float] = []
    sim.chaos(kinds=[*FAULTS, "renewal"], hosts=["a", "c"], rate=1, for_=20)

    async def wait(asker: str, worker: str) -> None:
        with pytest.raises(NodeDown, match="revoked"):
            await (await sim.host(asker).up()).send_and_receive(worker, "wait", timeout=60)
        ended.append(trio.current_time())

    async def scenario(sim: Simulation) -> None:
        await sim.calm()
        await trio.sleep(15)
        async with trio.open_nursery() as nursery:
            for asker in "ac":
                assert await can_reach(sim, asker, "b", 15)
                assert await can_reach(sim, "b", asker, 15)
            for asker in "ac":
                nursery.start_soon(wait, asker, "inbox@b")
            await trio.sleep(1)
            caplog.clear()
            revoked = trio.current_time()
            sim.revoke("b")
        assert len(ended) == 2
        assert max(ended) - revoked < 1
        for messages in got.values():
            messages.clear()
        with sim.crash("a"), sim.crash("b"):
            await trio.sleep(1)
        for asker in "ac":
            assert not await can_reach(sim, asker, "b")
            assert not await can_reach(sim, "b", asker)
        assert got == {"a": [], "b": [], "c": []}
        refusals = [record.getMessage() for record in caplog.records if record.name == "autonomy.security"]
        assert any("refused" in text and "revoked" in text for text in refusals), refusals
        assert await can_reach(sim, "a", "c")

    sim.run(scenario)


def test_a_node_that_is_given_a_new_certificate_after_all_is_let_in_again() -> None:
    sim, _ = zone(1)

    async def scenario(sim: Simulation) -> None:
        with sim.revoke("b"), sim.revoke("b"):
            await trio.sleep(1)
            assert not await can_reach(sim, "a", "b")
        assert await can_reach(sim, "a", "b", 15)

    sim.run(scenario)


def test_a_crl_that_has_not_arrived_is_not_heeded() -> None:
    sim, _ = zone(1)

    async def scenario(sim: Simulation) -> None:
        sim.revoke("b", ["a"])
        assert not await can_reach(sim, "a", "b")
        assert await can_reach(sim, "c", "b")
        sim.send_crl(["c"])
        assert not await can_reach(sim, "c", "b")

    sim.run(scenario)


def test_a_certificate_that_ends_makes_no_new_links_and_ends_those_there_are_within_a_minute() -> None:
    sim, _ = zone(1)

    async def scenario(sim: Simulation) -> None:
        assert await can_reach(sim, "a", "b")
        with sim.expire("b", 5):
            assert await can_reach(sim, "c", "b")
            await trio.sleep(6)
            assert await can_reach(sim, "a", "b")
            sim.reset("a", "b")
            assert not await can_reach(sim, "a", "b")
            await trio.sleep(60)
            assert not await can_reach(sim, "c", "b")
        assert await can_reach(sim, "a", "b", 15)
        assert await can_reach(sim, "c", "b", 15)

    sim.run(scenario)


def test_certificates_end_by_the_clock_on_the_wall_of_who_looks() -> None:
    sim, _ = zone(1)

    async def scenario(sim: Simulation) -> None:
        sim.renew("b", lifetime=3600)
        with sim.skew("a", 3700):
            assert not await can_reach(sim, "a", "b")
            assert await can_reach(sim, "c", "b")
        assert await can_reach(sim, "a", "b", 15)
        sim.jump("c", 90_000)  # by which the CRL has ended, too
        await trio.sleep(60)
        assert not await can_reach(sim, "c", "b")

    sim.run(scenario)


def lapsing(seed: int) -> Report:
    """Let certificates end and be revoked among other faults; then everybody must reach everybody."""
    sim, _ = zone(seed)
    sim.chaos(kinds=[*CERTIFICATES, *FAULTS, "skew", "crash"], rate=2, for_=30, grace=60)

    async def scenario(sim: Simulation) -> None:
        await sim.calm()
        await trio.sleep(20)
        for sender in "abc":
            for receiver in "abc".replace(sender, ""):
                assert await can_reach(sim, sender, receiver, 15)

    return sim.run(scenario)


@pytest.mark.parametrize("seed", range(1, 5))
def test_whose_certificate_ends_or_is_revoked_in_a_story_is_let_in_when_that_is_over(seed: int) -> None:
    report = lapsing(seed)

    assert {moment.text.partition(":")[0] for moment in report.faults} >= {*CERTIFICATES}


@pytest.mark.parametrize(
    "act",
    [
        lambda sim: sim.renew("a"), lambda sim: sim.expire("a"), lambda sim: sim.revoke("a"), Simulation.send_crl,
        Simulation.roll_over, Simulation.switch_over, Simulation.retire,
    ],
)  # fmt: skip
def test_without_tls_there_are_no_certificates(act: Callable[[Simulation], object]) -> None:
    async def scenario(sim: Simulation) -> None:
        with pytest.raises(RuntimeError, match='Simulation\\(wire="tls"\\)'):
            act(sim)

    sim = Simulation(1)
    sim.node("a")
    sim.run(scenario)


@pytest.mark.parametrize("kind", CERTIFICATES)
def test_a_story_about_certificates_is_refused_without_tls(kind: str) -> None:
    sim = Simulation(1)
    sim.node("a")
    sim.apply(Story((Fault(kind, ("a",), 1, 0 if kind == "renewal" else 2),)))

    with pytest.raises(ValueError, match=f'Simulation\\(wire="tls"\\).*{kind} a'):
        sim.run()


def in_process(*command: str, hash_seed: str = "random") -> str:
    """Run Python in a process of its own; return what it prints."""
    paths = os.pathsep.join([str(ROOT), str(ROOT / "src"), *sys.path])
    environment = os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": paths}
    ended = subprocess.run(
        [sys.executable, *command], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_certificates_are_made_also_where_a_simulation_is_the_first_to_do_so() -> None:
    in_process(
        "-c",
        "from autonomy.testing import Simulation\n"
        "sim = Simulation(1, wire='tls')\n"
        "sim.node('a')\n"
        "sim.run(Simulation.calm)",
    )


@pytest.mark.slow
def test_the_same_seed_is_the_same_rotation_in_every_process() -> None:
    program = ("-m", "tests.test_simulation_certificates")
    one = in_process(*program, "7", hash_seed="1")

    assert one == in_process(*program, "7")
    assert one != in_process(*program, "8")


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)  # what goes wrong is wanted
    kept = perturbed()
    for run in (rotated(int(sys.argv[1]))[0], lapsing(int(sys.argv[1]))):
        print(run.trace_hash, len(run.moments), len(run.faults))  # noqa: T201  # it is a program
    kept.clear()
