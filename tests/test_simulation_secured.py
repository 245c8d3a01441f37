"""Simulated zones with the real TLS and websockets: the same faults, and still the same run twice."""

from __future__ import annotations

from autonomy.testing import Report, Simulation

from .simulated import bank, client, troubles


def troubled(seed: int) -> Report:
    sim = Simulation(seed, wire="tls")
    sim.node("bank", bank)
    sim.nodes("client", 3, client)
    return sim.run(troubles)


def test_with_tls_too_the_same_seed_is_the_same_run_whatever_the_keys_are() -> None:
    one, two, other = troubled(7), troubled(7), troubled(8)

    assert one.trace_hash == two.trace_hash != other.trace_hash
    assert len(one.faults) >= 12


def test_with_tls_a_client_is_answered_after_all() -> None:
    async def scenario(sim: Simulation) -> None:
        await troubles(sim)
        sim.heal()
        shop = await sim.host("client-0").up()
        assert await shop.send_and_receive("counter@bank", "hello", timeout=30)

    sim = Simulation(3, wire="tls")
    sim.node("bank", bank)
    sim.nodes("client", 3, client)
    report = sim.run(scenario)

    assert any(moment.kind == "link" for moment in report.moments)
    assert not any("bytes" in moment.text for moment in report.moments)
