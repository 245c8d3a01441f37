"""Strangers in a simulated zone that breaks: who cannot prove a name gets nothing through, whatever else happens (K1).

All links are TLS. One stranger has the certificate of another node of the zone, one has a certificate for the right
name by another CA of the same zone, and one waits where somebody believes a node to be.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest
import trio

from autonomy import Context, Node, NoReply, open_node
from autonomy._sansio.greeting import Greeting
from autonomy._sansio.management import WORKER, ListWorkers, text_of
from autonomy._sansio.rights import Rights
from autonomy._sansio.spiffe import PeerIdentity
from autonomy.identity import Credentials, TrustStore, ZoneAuthority, new_key
from autonomy.identity.roots import Roots
from autonomy.testing import Simulation, SimulationFailed
from autonomy.testing.lanes import ZONE
from autonomy.testing.network import address_of
from autonomy.testing.stand_ins import EPOCH
from autonomy.testing.streams import secured

pytestmark = pytest.mark.slow

ATTACKED: Final = "a"
HONEST: Final = "b"
THIRD: Final = "x"
"""A node of the zone; from its machine the strangers come, too."""
ALL: Final = Rights(message="*", manage="*", ship="*")
BREAKS: Final = ("partition", "one-way block", "slow", "reset", "black hole", "stall", "refusal", "jitter", "clog")


class Inbox:
    """Keeps what comes, and from whom."""

    def __init__(self, got: list[tuple[str, str]]) -> None:
        self._got = got

    async def handle_message(self, context: Context, message: str) -> None:
        """Keep it."""
        self._got.append((context.sender, message))
        await context.reply(context.node.name)


class StrangerWorld:
    """A zone of two nodes, and strangers.

    Args:
        seed: What happens.
        folder: For the other CA.
    """

    def __init__(self, seed: int, folder: Path, seconds: float = 20.0) -> None:
        self.sim = Simulation(seed, wire="tls")
        self.other = ZoneAuthority.create(folder, ZONE, clock=self._now)
        self._key = new_key()
        self.got: dict[str, list[tuple[str, str]]] = {ATTACKED: [], HONEST: [], THIRD: []}
        self.told: Counter[str] = Counter()
        self.wrong: list[str] = []
        for name in self.got:
            self.sim.node(name, self._main, rights=ALL)
        self.sim.chaos(rate=1 / 2, for_=seconds, kinds=BREAKS, grace=60)

    @staticmethod
    def _now() -> datetime:
        return datetime.fromtimestamp(EPOCH + 1, UTC)

    async def _main(self, node: Node) -> None:
        await node.start_worker("inbox", Inbox(self.got[node.name]))

    def run(self) -> None:
        """Run it."""
        self.sim.run(self._scenario)
        for name, letters in self.got.items():
            self.wrong += [f"K1 {name} was told by {sender}: {text}" for sender, text in letters if text != "honest"]
        if ("@b", "honest") not in self.got[ATTACKED]:
            self.wrong.append("K1 the honest node got nothing through either")

    async def _scenario(self, sim: Simulation) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._be_honest)
            nursery.start_soon(self._be, "another name", sim._issued.of(THIRD))
            nursery.start_soon(self._be, "another CA", self._forged())
            nursery.start_soon(self._be_lured)
            with sim.crash(HONEST):  # while it is there, whoever else has its name is refused for that alone
                await trio.sleep(10)
            await sim.calm()
            await trio.sleep(20)
            nursery.cancel_scope.cancel()

    def _forged(self) -> Credentials:
        """Return credentials for the honest name, by another CA of a zone of the same name; their owner trusts ours."""
        ours, other = self.sim._issued.of(THIRD).trust, self.other
        trust = TrustStore(ZONE, ca=[*other.ca, *ours.ca], crl=[*other.crl, *ours.crl], clock=self._now)
        return Credentials(self._key, other.issue(HONEST, self._key.public_key()), trust)

    async def _be_honest(self) -> None:
        while True:
            node = await self.sim.host(HONEST).up()
            await self._try(node, "honest", f"inbox@{ATTACKED}", "honest")

    async def _be(self, kind: str, credentials: Credentials) -> None:
        """Be a node with the honest one's name, and another certificate."""
        transport = secured(self.sim.network, THIRD, credentials, self.sim.chance("bytes of", kind))
        async with open_node(HONEST, transport=transport, stall_warning=None) as liar:
            assert liar._remoting is not None
            liar._remoting.introduce(ATTACKED, address_of(ATTACKED))
            while True:
                await self._try(liar, kind, f"inbox@{ATTACKED}", kind)
                await self._try(liar, kind, f"{WORKER}@{ATTACKED}", text_of(ListWorkers()))

    async def _be_lured(self) -> None:
        """Have a node believe that the honest one is where the third one is; what is for that does not go there."""
        transport = secured(self.sim.network, ATTACKED, self.sim._issued.of(ATTACKED), self.sim.chance("lured"))
        async with open_node(ATTACKED, transport=transport, stall_warning=None) as lured:
            assert lured._remoting is not None
            lured._remoting.introduce(HONEST, address_of(THIRD))
            while True:
                await self._try(lured, "another place", f"inbox@{HONEST}", "another place")

    async def _try(self, node: Node, kind: str, to: str, text: str) -> None:
        try:
            answer = await node.send_and_receive(to, text, timeout=4)
        except NoReply as error:
            self.told[kind] += 1
            if kind != "honest" and error.outcome != "not_sent":
                self.wrong.append(f"K1 {kind} is told {error!r}")
        else:
            if kind != "honest":
                self.wrong.append(f"K1 {kind} got the answer {answer:.80}")
            await trio.sleep(1)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Log nothing: what goes wrong is wanted."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def wrong_in(world: StrangerWorld) -> list[str]:
    try:
        world.run()
    except SimulationFailed as failure:
        return [str(failure)]
    return world.wrong


def test_who_cannot_prove_a_name_gets_nothing_through_whatever_breaks(tmp_path: Path) -> None:
    for seed in (1, 2):
        world = StrangerWorld(seed, tmp_path / f"{seed}")

        assert wrong_in(world) == []
        assert min(world.told[kind] for kind in ("another name", "another CA", "another place")) > 5


def every_certificate_is_the_expected_one(patch: pytest.MonkeyPatch, _: StrangerWorld) -> None:
    """Take whoever has a certificate of the zone for the node that one wants, whatever his WELCOME says, too."""
    original = TrustStore._judge

    def judge(self: TrustStore, certificate: bytes | None, expected: str | None) -> PeerIdentity:
        identity = original(self, certificate, None)
        return identity if expected is None else replace(identity, name=expected)

    patch.setattr(TrustStore, "_judge", judge)
    patch.setattr(Greeting, "fits", lambda self, welcome, life: welcome.session == life.id)


def everybody_is_who_he_says(patch: pytest.MonkeyPatch, _: StrangerWorld) -> None:
    """Take whoever has a certificate of the zone for the node that he says he is. Nobody else comes from there."""
    original = TrustStore._judge

    def judge(self: TrustStore, certificate: bytes | None, expected: str | None) -> PeerIdentity:
        identity = original(self, certificate, expected)
        return replace(identity, name=HONEST) if identity.name == THIRD else identity

    patch.setattr(TrustStore, "_judge", judge)


def every_ca_is_trusted(patch: pytest.MonkeyPatch, world: StrangerWorld) -> None:
    """Do not ask who has signed a certificate."""
    original = TrustStore.ca.fget  # type: ignore[attr-defined]  # it is a property
    patch.setattr(TrustStore, "ca", property(lambda self: (*original(self), *world.other.ca)))
    patch.setattr(Roots, "check_path", lambda *_: timedelta(0))


@pytest.mark.parametrize(
    "plant",
    [every_certificate_is_the_expected_one, everybody_is_who_he_says, every_ca_is_trusted],
    ids=lambda plant: plant.__name__,
)
def test_a_planted_bug_lets_a_stranger_in_and_is_found(
    plant: Callable[[pytest.MonkeyPatch, StrangerWorld], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    world = StrangerWorld(1, tmp_path / "other", 5.0)
    plant(monkeypatch, world)
    world.sim.always(lambda _: not world.wrong)

    wrong_in(world)

    print(f"\n{plant.__name__}: {world.wrong[:1]!s:.200}")  # noqa: T201  # what found it
    assert world.wrong


@pytest.mark.soak
def test_strangers_in_many_zones(tmp_path: Path) -> None:
    assert [wrong for seed in range(3, 203) for wrong in wrong_in(StrangerWorld(seed, tmp_path / f"{seed}"))] == []
