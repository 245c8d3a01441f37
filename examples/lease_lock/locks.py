"""A lock with leases, and its bug. The tutorial "Find a bug in a distributed lock" goes with it."""

from contextlib import suppress

import trio

from autonomy import Context, Node, NoReply
from autonomy.testing import Simulation


class Lock:
    """Gives the lock to one client at a time, for two seconds."""

    def __init__(self) -> None:
        self.lease = 0
        self.free_at = 0.0

    async def handle_message(self, context: Context, message: str) -> None:
        if trio.current_time() < self.free_at:
            await context.reply("taken")
            return
        self.lease += 1
        self.free_at = trio.current_time() + 2
        await context.reply(str(self.lease))


class File:
    """Is written by whoever has the lock."""

    def __init__(self) -> None:
        self.writes: list[int] = []

    async def handle_message(self, context: Context, message: str) -> None:
        self.writes.append(int(message))
        await context.reply("written")


async def client(node: Node) -> None:
    while True:
        with suppress(NoReply):
            lease = await node.send_and_receive("lock@locks", "acquire", timeout=20)
            if lease != "taken":
                await node.send_and_receive("file@files", lease, timeout=20)
        await trio.sleep(0.3)


def play(sim: Simulation) -> None:
    run(sim, File())


def run(sim: Simulation, file: File) -> None:
    lock = Lock()  # it and the file outlive a crash of their hosts, as if they were on disk
    sim.node("locks", lambda node: node.start_worker("lock", lock))
    sim.node("files", lambda node: node.start_worker("file", file))
    sim.nodes("client", 2, client)

    def no_write_comes_after_a_newer_one(_: Simulation) -> bool:
        return file.writes == sorted(file.writes)

    sim.always(no_write_comes_after_a_newer_one)
    sim.chaos(rate=1 / 3, for_=30, grace=5)
    sim.run()


class FencedFile(File):
    """Takes no write of an older lease than it has seen."""

    async def handle_message(self, context: Context, message: str) -> None:
        if int(message) < max(self.writes, default=0):
            await context.reply("too late")
            return
        await super().handle_message(context, message)


def fenced(sim: Simulation) -> None:
    run(sim, FencedFile())
