"""Whatever a far node sends within a session, this node takes it or ends the session, and goes on working (K5, D7)."""

from __future__ import annotations

import random
from collections.abc import Callable

import trio

from autonomy import Context, Node, open_node
from autonomy._exchange.here import Here
from autonomy._exchange.partner import Partner
from autonomy._sansio import cargo
from autonomy._sansio.cargo import Item
from autonomy._sansio.envelope import Failure
from autonomy._sansio.rights import Rights
from autonomy._sansio.spiffe import PeerIdentity
from autonomy.errors import ProtocolError
from autonomy.testing.lanes import identity_of

SESSIONS = 3_000
ITEMS = 40
"""Of each session, together more than 10^5."""


class Echo:
    async def handle_message(self, context: Context, message: str) -> None:
        await context.reply(message)


class Keeper:
    """Keeps what it gets for itself, for a while."""

    async def handle_message(self, context: Context, message: str) -> None:
        await trio.sleep(0.5)


class HostileWire:
    """The way to a node that says what it likes."""

    node = "far"

    def __init__(self) -> None:
        self.identity: PeerIdentity | None = identity_of("far")
        self.is_up = True
        self.told: list[Item] = []

    def want(self) -> None:
        """Nothing is to be done."""

    def tell(self, item: Item) -> None:
        """Note what was said."""
        self.told.append(item)

    def is_large(self, text: str) -> bool:
        """Whether it goes by `send`."""
        return len(text) > 1000

    def offer(self, item: Item) -> bool:
        """Take it."""
        self.told.append(item)
        return True

    def when_room(self, tell: Callable[[], None]) -> None:
        """There is room always."""
        raise AssertionError

    async def send(self, item: Item) -> None:
        """Take it."""
        await trio.lowlevel.checkpoint()
        self.told.append(item)


def any_item(chance: random.Random) -> Item:
    """Return an item that decodes, with small numbers so that they often hit something."""
    flow, number = chance.randrange(4), chance.randrange(6)
    name = chance.choice(["echo", "keeper", "box", "group", "nobody", "", "a b", "x@y", "\x1b[2J", "n" * 128])
    sender = chance.choice(["", "worker", "a\nb", "s" * 128])
    failure = Failure(chance.choice(["NodeDown", "Exception", "errors", "__doc__", ""]), "why", "not_sent")
    chain = tuple(chance.choices(["echo@near", "worker@far", "@", ""], k=chance.randrange(3)))
    choices: list[Callable[[], Item]] = [
        lambda: cargo.Open(flow, name),
        lambda: cargo.Want(flow, chance.choice([0, 1, 5, 2**63 - 1])),
        lambda: cargo.Grant(flow, chance.choice([0, 1, 2**63 - 1])),
        lambda: cargo.AskBack(flow),
        lambda: cargo.GiveBack(flow, chance.choice([0, 1, 2**63 - 1])),
        lambda: cargo.End(flow),
        lambda: cargo.Message(flow, "text", sender, chance.choice([0, number])),
        lambda: cargo.Request(
            flow, number, "text", sender, chance.random() < 0.3, chance.choice([0.0, 1.0, float("inf")]), chain, name
        ),
        lambda: cargo.Reply(number, "text"),
        lambda: cargo.Failed(number, failure),
        lambda: cargo.Withdraw(number),
        lambda: cargo.Watch(number, name),
        lambda: cargo.Unwatch(number),
        lambda: cargo.Gone(number, "1", "gone"),
        lambda: cargo.Part(number, True, b"x"),
        lambda: cargo.Shut(flow, failure),
    ]
    return chance.choice(choices)()


async def one_session(node: Node, here: Here, chance: random.Random) -> tuple[int, int]:
    """Let a far node say what it likes, and go on when it should have been cut off; return how much was taken, and how
    much was refused.
    """
    partner = Partner(HostileWire(), here)
    taken = refused = 0
    for flow, name in enumerate(["echo", "keeper", "box"]):
        partner.accept(cargo.Open(flow, name))
        partner.accept(cargo.Want(flow, 20))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_ask, partner)
        for _ in range(ITEMS):
            try:
                partner.accept(any_item(chance))
                taken += 1
            except ProtocolError:
                refused += 1
            if chance.random() < 0.1:
                await trio.sleep(chance.choice([0.0, 0.2]))
        partner.lost("it is over", [], [])
        nursery.cancel_scope.cancel()
    return taken, refused


async def _ask(partner: Partner) -> None:
    watch = partner.watch("worker", lambda down: None)
    await trio.sleep(0.1)
    watch()


async def test_for_all_items_of_a_far_node_there_is_at_worst_a_protocol_error(autojump_clock: trio.abc.Clock) -> None:
    chance = random.Random(1)
    async with open_node("near", stall_warning=None, drain_timeout=0) as node:
        await node.start_worker("echo", Echo(), mailbox_capacity=3)
        await node.start_worker("keeper", Keeper(), mailbox_capacity=2)
        box = await node.create_mailbox("box")
        here = Here(node._runtime, node._system, Rights(), lambda: "", node._nursery.start_soon)

        counts = [await one_session(node, here, chance) for _ in range(SESSIONS)]

        assert all(sum(each) > SESSIONS * ITEMS // 10 for each in zip(*counts, strict=True))
        handled = {str(worker): worker["handled"] for worker in await node.list_workers()}
        assert min(int(str(handled[name])) for name in ("echo", "keeper")) > 100, (
            handled
        )  # they had places, and took them
        assert await node.send_and_receive("echo", "still there") == "still there"
        reserved = [node._system.registry.queues[name].reserved for name in ("echo", "keeper")]
        await trio.sleep(5)
        assert all(each is None or not each._room.flows for each in reserved)
        box.close()
